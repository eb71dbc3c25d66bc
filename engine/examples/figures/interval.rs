//! The time between tokens of four requests while a long prompt comes in, with a target and without.
//!
//! Each of the two runs has a baseline of its own: the steps of the four alone, half of them before the prompt
//! and half of them after it. By then the four answers have grown, and their batches take longer: a prompt that
//! takes many batches would be blamed for that by a baseline from before.

use std::error::Error;
use std::time::{Duration, Instant};

use latchless_engine::{Engine, EngineConfig, Request, Sampling, Token};

use crate::Bench;
use crate::report::{Report, millis, percentile};

const GROUP: &str = "interval";
const LONG: usize = 1500;
/// Tokens that each of the four can say: more than all batches here.
const TALK: u32 = 2400;
/// Room for the four, the prompt and some.
const CELLS: u32 = 12_288;

/// How long steps took, and how many the prompt needed.
struct Measured {
    /// The baseline: before the prompt and after it.
    without: Vec<Duration>,
    with: Vec<Duration>,
}

fn run(bench: &Bench, target: Option<Duration>) -> Result<Measured, Box<dyn Error>> {
    let mut config = EngineConfig::default().idle_tokens(0);
    if let Some(target) = target {
        config = config.token_interval(target);
    }
    let (engine, mut lane) = Engine::new(bench.context(CELLS, 5)?, config)?;
    let mut streams = Vec::new();
    for index in 0..4 {
        let agent = engine.agent(&format!("talker {index}"))?;
        let prompt = (1000..1020).map(|token| Token(token + 50 * index));
        let asked = Request::tokens(prompt).max_tokens(TALK);
        streams.push(engine.submit(agent, asked.sampling(Sampling::seeded(index as u32)))?);
    }
    for _ in 0..8 {
        lane.step();
    }
    let mut step = |times: &mut Vec<Duration>| {
        let start = Instant::now();
        let report = lane.step();
        times.push(start.elapsed());
        for stream in &mut streams {
            while stream.try_recv().is_ok() {}
        }
        report
    };
    let mut measured = Measured { without: Vec::new(), with: Vec::new() };
    let alone = bench.rounds(300, 30);
    for _ in 0..alone {
        step(&mut measured.without);
    }
    let reader = engine.agent("reader")?;
    let prompt = (0..LONG as i32).map(|index| Token(2000 + index * 7 % 20_000));
    let mut long = engine.submit(reader, Request::tokens(prompt).max_tokens(1))?;
    // A tight target gives the prompt a row a batch: a short run looks at the first of them only.
    let most = bench.rounds(usize::MAX, 150);
    while long.completion().is_none() && measured.with.len() < most {
        step(&mut measured.with);
        while long.try_recv().is_ok() {}
    }
    // Before and after: a batch takes longer as the four grow, and the machine has moods.
    drop(long);
    step(&mut Vec::new());
    for _ in 0..alone {
        step(&mut measured.without);
    }
    Ok(measured)
}

pub(crate) fn measure(bench: &Bench, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let mut off = run(bench, None)?;
    let before = percentile(&mut off.without, 0.5);
    let before99 = percentile(&mut off.without, 0.99);
    // Below what is wanted: half of the steps may be above the middle.
    let target = before.mul_f64(1.35);
    let mut on = run(bench, Some(target))?;
    report.add(GROUP, "time between tokens of 4, p50", millis(before), "ms", None);
    report.add(GROUP, "time between tokens of 4, p99", millis(before99), "ms", None);
    report.add(GROUP, "target", millis(target), "ms", None);
    for (name, measured, wanted) in
        [("target off", &mut off, None), ("target on", &mut on, Some("at most 1.5"))]
    {
        for (percent, share, wanted) in [("p50", 0.5, None), ("p99", 0.99, wanted)] {
            let alone = percentile(&mut measured.without, share);
            let with = percentile(&mut measured.with, share);
            report.add(GROUP, format!("{percent} without it, {name}"), millis(alone), "ms", None);
            let figure = format!("{percent} with a prompt of {LONG} tokens, {name}");
            report.add(GROUP, figure, millis(with), "ms", None);
            let figure = format!("{percent} with the prompt ÷ without, {name}");
            report.add(GROUP, figure, with.as_secs_f64() / alone.as_secs_f64(), "", wanted);
        }
        let figure = format!("batches beside the prompt, {name}");
        report.add(GROUP, figure, measured.with.len() as f64, "", None);
        let total: Duration = measured.with.iter().sum();
        let figure = format!("time of these batches, {name}");
        report.add(GROUP, figure, millis(total), "ms", None);
    }
    Ok(())
}
