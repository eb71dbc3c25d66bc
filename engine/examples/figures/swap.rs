//! The model is replaced under load: what is lost, and how long streams pause.

use std::error::Error;
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
    let (mut loads, mut drains) = (Vec::new(), Vec::new());
    thread::sleep(Duration::from_secs(2));
    let swaps = bench.rounds(6, 3);
    for _ in 0..swaps {
        let start = Instant::now();
        let old = engine.swap(load)?;
        let loaded = Instant::now();
        loads.push((start, loaded));
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
    report.add(GROUP, "loading, p50", millis(percentile(&mut lengths(&loads), 0.5)), "ms", None);
    let gone = millis(percentile(&mut lengths(&drains), 0.5));
    report.add(GROUP, "until the old one was gone, p50", gone, "ms", None);
    let quiet = |gap: &&Gap| !gap.touches(&loads) && !gap.touches(&drains);
    for (phase, gaps) in [
        ("one model", all.gaps.iter().filter(quiet).collect::<Vec<_>>()),
        ("while one loads", all.gaps.iter().filter(|gap| gap.touches(&loads)).collect()),
        ("while one drains", all.gaps.iter().filter(|gap| gap.touches(&drains)).collect()),
    ] {
        let mut lengths: Vec<Duration> = gaps.into_iter().map(Gap::length).collect();
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
