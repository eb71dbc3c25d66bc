//! The engine's own work in a step: a script in place of the model.

use std::error::Error;
use std::time::{Duration, Instant};

use latchless_engine::backend::Model;
use latchless_engine::backend::scripted::{Script, ScriptedBackend, ScriptedModel};
use latchless_engine::{Engine, EngineConfig, Request, Token};

use crate::Bench;
use crate::report::{Report, micros, percentile};

const GROUP: &str = "overhead";

/// A submit on a thread that has the machine to itself, with the model's geometry.
fn submits(bench: &Bench, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let model = ScriptedModel::new().with_spec(bench.model.spec().clone());
    let backend = ScriptedBackend::builder(Script::Text(String::new())).model(model).build();
    let (engine, mut lane) = Engine::new(backend, EngineConfig::default().idle_tokens(0))?;
    let agent = engine.agent("asker")?;
    let mut times = Vec::new();
    for _ in 0..bench.rounds(20_000, 2_000) {
        let asked = Request::tokens((0..16).map(Token)).max_tokens(64);
        let start = Instant::now();
        let stream = engine.submit(agent, asked)?;
        times.push(start.elapsed());
        lane.run_until_idle(10);
        drop(stream);
    }
    report.add(GROUP, "a submit, p50", micros(percentile(&mut times, 0.5)), "µs", None);
    report.add(GROUP, "a submit, p99.9", micros(percentile(&mut times, 0.999)), "µs", None);
    Ok(())
}

pub(crate) fn measure(bench: &Bench, report: &mut Report) -> Result<(), Box<dyn Error>> {
    submits(bench, report)?;
    for sequences in [1_u32, 8, 32] {
        let backend = ScriptedBackend::builder(Script::Endless("on and on ".into()))
            .sequences(sequences)
            .cells(sequences * 2048)
            .tokens_per_sequence(2048)
            .build();
        let config = EngineConfig::default().stream_events(2048);
        let (engine, mut lane) = Engine::new(backend, config)?;
        let mut streams = Vec::new();
        for index in 0..sequences {
            let agent = engine.agent(&format!("agent {index}"))?;
            streams.push(engine.submit(agent, Request::text("go").max_tokens(2000))?);
        }
        for _ in 0..50 {
            lane.step();
        }
        let steps = bench.rounds(1500, 200);
        let mut times = Vec::with_capacity(steps);
        for _ in 0..steps {
            let start = Instant::now();
            lane.step();
            times.push(start.elapsed());
        }
        let each = |time: Duration| micros(time) / f64::from(sequences);
        let wanted = Some("at most 2");
        let figure = format!("a step and a script, a sequence of {sequences}, p50");
        report.add(GROUP, figure, each(percentile(&mut times, 0.5)), "µs", wanted);
        let figure = format!("a step and a script, a sequence of {sequences}, p99");
        report.add(GROUP, figure, each(percentile(&mut times, 0.99)), "µs", None);
    }
    Ok(())
}
