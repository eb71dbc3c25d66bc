//! What a submit and a cancel cost another thread while the lane decodes.

use std::collections::VecDeque;
use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use latchless_engine::backend::llama::ContextOptions;
use latchless_engine::{Engine, EngineConfig, Event, FinishReason, Request, Token};

use crate::Bench;
use crate::report::{Report, micros, millis, percentile};

const GROUP: &str = "latency";
/// Submits right after another.
const BURST: usize = 8;

pub(crate) fn measure(bench: &Bench, report: &mut Report) -> Result<(), Box<dyn Error>> {
    // One thread for ggml, so that the host has a core: what is measured is the engine, not the scheduler.
    let options = ContextOptions { threads: Some(1), ..bench.options(4096, 4) };
    let engine = Engine::start(bench.model.context(&options)?, EngineConfig::default())?;
    let talker = engine.agent("talker")?;
    let asker = engine.agent("asker")?;
    let prompt: Vec<Token> = (1000..1016).map(Token).collect();
    let endless = || {
        // No sequence ends by itself for a while.
        let asked = Request::tokens(prompt.iter().copied()).max_tokens(1800);
        engine.submit(talker, asked.sampling(latchless_engine::Sampling::seeded(1)))
    };
    let mut running = endless()?;
    let rounds = bench.rounds(2000, 200);
    let (mut firsts, mut controls) = (Vec::new(), Vec::new());
    let control = Mutex::new(VecDeque::new());
    let (mut submits, mut cancels, mut acks, mut steps) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        while running.try_recv().is_ok() {}
        // The lane decodes all the time: who has ended is asked again.
        if running.completion().is_some() {
            running = endless()?;
        }
        let asked = Request::tokens(prompt.iter().copied()).max_tokens(64);
        // Every other round the queue is what finds the caches cold.
        let plain = || {
            let start = Instant::now();
            let mut queue = control.lock().unwrap_or_else(PoisonError::into_inner);
            queue.push_back(vec![Token(0); prompt.len() + 64]);
            drop(queue);
            start.elapsed()
        };
        if round % 2 == 0 {
            controls.push(plain());
        }
        let start = Instant::now();
        let mut stream = engine.submit(asker, asked)?;
        if round % 2 == 1 {
            firsts.push(start.elapsed());
        }
        let mut burst = Vec::with_capacity(BURST);
        for _ in 0..BURST {
            let asked = Request::tokens(prompt.iter().copied()).max_tokens(64);
            let start = Instant::now();
            burst.push(engine.submit(asker, asked)?);
            submits.push(start.elapsed());
        }
        // Dropping cancels.
        drop(burst);
        // Now and then into the queue, the prefill and the decode.
        thread::sleep(Duration::from_micros(37 * (round as u64 % 97)));
        let start = Instant::now();
        stream.cancel();
        cancels.push(start.elapsed());
        while let Some(event) = stream.recv() {
            if let Event::Finished(completion) = event {
                if completion.reason == FinishReason::Cancelled {
                    acks.push(start.elapsed());
                }
                break;
            }
        }
        // How long a step takes meanwhile: from one token of the other to the next.
        if round % 8 == 0 && running.recv().is_some() {
            let now = Instant::now();
            if running.recv().is_some() {
                steps.push(now.elapsed());
            }
        }
    }
    // After a pause the caches hold the model's weights and nothing of ours; nor of anybody's: a plain
    // queue shows what that alone costs.
    let cold = micros(percentile(&mut controls, 0.5));
    report.add(GROUP, "a push under a mutex after a pause, p50", cold, "µs", None);
    for (name, times, wanted) in [
        ("submit after a pause", &mut firsts, [None, None]),
        ("submit in a burst", &mut submits, [Some("at most 5"), Some("at most 50")]),
    ] {
        let (p50, p999) = (percentile(times, 0.5), percentile(times, 0.999));
        report.add(GROUP, format!("{name}, p50"), micros(p50), "µs", wanted[0]);
        report.add(GROUP, format!("{name}, p99.9"), micros(p999), "µs", wanted[1]);
    }
    report.add(GROUP, "cancel, p50", micros(percentile(&mut cancels, 0.5)), "µs", None);
    report.add(GROUP, "cancel, p99.9", micros(percentile(&mut cancels, 0.999)), "µs", None);
    report.add(
        GROUP,
        "a step without a prompt, p50",
        millis(percentile(&mut steps, 0.5)),
        "ms",
        None,
    );
    report.add(
        GROUP,
        "a step without a prompt, p99",
        millis(percentile(&mut steps, 0.99)),
        "ms",
        None,
    );
    let acknowledged = percentile(&mut acks, 0.5);
    report.add(GROUP, "cancel until acknowledged, p50", millis(acknowledged), "ms", None);
    let acknowledged = percentile(&mut acks, 0.99);
    let wanted = Some("one step");
    report.add(GROUP, "cancel until acknowledged, p99", millis(acknowledged), "ms", wanted);
    engine.shutdown();
    Ok(())
}
