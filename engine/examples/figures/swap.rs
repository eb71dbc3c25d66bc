//! The model is replaced under load: what is lost, and how long streams pause. Every other time the model is
//! loaded by a thread of the lowest priority: lanes compute with a thread for each core, all of which wait for
//! one that lost its core to the loading.

use std::error::Error;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use latchless_engine::backend::llama::{LlamaModel, LoadError, ModelOptions};
use latchless_engine::{Engine, EngineConfig, Event, Request, Token};

use crate::Bench;
use crate::report::{Report, millis, percentile};

const GROUP: &str = "swap";
const HOSTS: u32 = 3;

/// What one host saw.
#[derive(Default)]
struct Seen {
    answered: u64,
    failed: u64,
    gaps: Vec<Gap>,
}

/// From one token of a stream to the next.
struct Gap {
    from: Instant,
    to: Instant,
}

impl Gap {
    fn length(&self) -> Duration {
        self.to.duration_since(self.from)
    }

    fn touches(&self, phases: &[(Instant, Instant)]) -> bool {
        phases.iter().any(|&(start, end)| self.from < end && self.to > start)
    }
}

fn host(engine: &Engine, number: u32, stop: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    let Ok(agent) = engine.agent(&format!("host {number}")) else { return seen };
    while !stop.load(Ordering::Acquire) {
        let prompt = (0..24).map(|index| Token(3000 + 100 * number as i32 + index));
        let asked = Request::tokens(prompt).max_tokens(32);
        let Ok(mut stream) = engine.submit(agent, asked) else {
            seen.failed += 1;
            continue;
        };
        let mut last = None;
        while let Some(event) = stream.recv() {
            match event {
                Event::Finished(completion) if completion.reason.is_success() => seen.answered += 1,
                Event::Finished(_) => seen.failed += 1,
                _ => {
                    let now = Instant::now();
                    seen.gaps.extend(last.map(|from| Gap { from, to: now }));
                    last = Some(now);
                }
            }
        }
    }
    seen
}

/// Loads on a thread that gives way to all others. Not on the one that swaps, which starts the lanes: they
/// would have its priority.
fn gently<T: Send>(load: impl FnOnce() -> Result<T, LoadError> + Send) -> Result<T, LoadError> {
    thread::scope(|scope| {
        let loading = scope.spawn(|| {
            #[cfg(target_os = "linux")] // where it is the thread's, and not the process's
            if let Err(error) = rustix::process::nice(19) {
                eprintln!("a model is loaded at the usual priority: {error}");
            }
            load()
        });
        loading.join().unwrap_or_else(|payload| resume_unwind(payload))
    })
}

pub(crate) fn measure(bench: &Bench, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let load = || -> Result<_, LoadError> {
        let model = LlamaModel::load(&bench.path, &ModelOptions::default())?;
        let options = bench.options(1024, 4);
        Ok([model.context(&options)?])
    };
    let engine = Engine::start_lanes(load()?, EngineConfig::default())?;
    let stop = Arc::new(AtomicBool::new(false));
    let hosts: Vec<_> = (0..HOSTS)
        .map(|number| {
            let (engine, stop) = (engine.clone(), Arc::clone(&stop));
            thread::spawn(move || host(&engine, number, &stop))
        })
        .collect();
    let (mut loads, mut gentle, mut drains) = (Vec::new(), Vec::new(), Vec::new());
    thread::sleep(Duration::from_secs(2));
    let swaps = bench.rounds(8, 4);
    for swap in 0..swaps {
        let is_gentle = swap % 2 == 1;
        let start = Instant::now();
        let old = engine.swap(|| if is_gentle { gently(load) } else { load() })?;
        let loaded = Instant::now();
        if is_gentle { &mut gentle } else { &mut loads }.push((start, loaded));
        old.wait(Duration::MAX)?;
        drains.push((loaded, Instant::now()));
        thread::sleep(Duration::from_millis(300));
    }
    stop.store(true, Ordering::Release);
    let mut all = Seen::default();
    for host in hosts {
        let seen = host.join().map_err(|_| "a host panicked")?;
        all.answered += seen.answered;
        all.failed += seen.failed;
        all.gaps.extend(seen.gaps);
    }
    report.add(GROUP, "swaps", swaps as f64, "", None);
    report.add(GROUP, "requests that were answered", all.answered as f64, "", None);
    report.add(GROUP, "requests lost or failed", all.failed as f64, "", Some("0"));
    let lengths = |phases: &[(Instant, Instant)]| -> Vec<Duration> {
        phases.iter().map(|(start, end)| end.duration_since(*start)).collect()
    };
    for (how, loads) in [("loading", &loads), ("loading at low priority", &gentle)] {
        let took = millis(percentile(&mut lengths(loads), 0.5));
        report.add(GROUP, format!("{how}, p50"), took, "ms", None);
    }
    let gone = millis(percentile(&mut lengths(&drains), 0.5));
    report.add(GROUP, "until the old one was gone, p50", gone, "ms", None);
    let swapping = [loads.as_slice(), &gentle, &drains].concat();
    let during = |phases: &[_]| -> Vec<Duration> {
        let touching = all.gaps.iter().filter(|gap| gap.touches(phases));
        touching.map(Gap::length).collect()
    };
    let quiet = all.gaps.iter().filter(|gap| !gap.touches(&swapping)).map(Gap::length);
    for (phase, mut lengths) in [
        ("one model", quiet.collect::<Vec<_>>()),
        ("while one loads", during(&loads)),
        ("while one loads at low priority", during(&gentle)),
        ("while one drains", during(&drains)),
    ] {
        if lengths.is_empty() {
            continue;
        }
        for (name, share) in [("p50", 0.5), ("p99", 0.99), ("longest", 1.0)] {
            let figure = format!("time between tokens, {phase}, {name}");
            report.add(GROUP, figure, millis(percentile(&mut lengths, share)), "ms", None);
        }
    }
    Ok(())
}
