//! The engine's own work in a step: a script in place of the model.

use std::error::Error;
use std::time::{Duration, Instant};

use latchless_engine::backend::scripted::{Script, ScriptedBackend};
use latchless_engine::{Engine, EngineConfig, Request};

use crate::Bench;
use crate::report::{Report, micros, percentile};

const GROUP: &str = "overhead";

pub(crate) fn measure(bench: &Bench, report: &mut Report) -> Result<(), Box<dyn Error>> {
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
