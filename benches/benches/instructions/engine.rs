//! The engine over a script: what a submitter and a lane do beside the model.

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group};
use latchless::AgentHandle;
use latchless_engine::backend::scripted::{Script, ScriptedBackend};
use latchless_engine::{
    Engine, EngineConfig, Event, Lane, Request, StepReport, Token, TokenStream,
};

type ScriptedLane = Lane<ScriptedBackend>;

/// Tokens of each prompt.
const PROMPT: usize = 16;

/// Steps until every prompt is computed, and some more.
const STEPS: usize = 16;

fn engine(sequences: u32) -> (&'static Engine, &'static mut ScriptedLane) {
    let backend = ScriptedBackend::builder(Script::Endless("So it goes. ".into()))
        .sequences(sequences)
        .cells(sequences * 1_024)
        .batch_rows(512)
        .build();
    let config = EngineConfig::default().stream_events(256);
    let (engine, lane) = Engine::new(backend, config).expect("a possible engine");
    (Box::leak(Box::new(engine)), Box::leak(Box::new(lane)))
}

/// Prompts that have nothing in common, so that none is served by another's.
fn request(number: usize) -> Request {
    Request::tokens((0..PROMPT).map(|i| Token((32 + number + i) as i32))).max_tokens(512)
}

fn submitted(engine: &Engine, number: usize) -> TokenStream {
    let agent = engine.agent(&format!("agent-{number}")).expect("there is room");
    engine.submit(agent, request(number)).expect("there is room")
}

/// An engine that has answered before, and what it is asked next.
fn warm() -> (&'static Engine, AgentHandle, Request) {
    let (engine, lane) = engine(8);
    for number in 0..4 {
        let stream = submitted(engine, number);
        lane.step();
        drop(stream);
        lane.run_until_idle(STEPS);
    }
    let agent = engine.agent("agent-1").expect("it is there");
    (engine, agent, request(9))
}

/// So many sequences, each of which has its prompt behind it and draws a token a step.
fn decoding(sequences: usize) -> &'static mut ScriptedLane {
    let (engine, lane) = engine(sequences as u32);
    let streams: Vec<_> = (0..sequences).map(|number| submitted(engine, number)).collect();
    for _ in 0..STEPS {
        lane.step();
    }
    assert_eq!(lane.step().decode_rows as usize, sequences, "all prompts are computed");
    streams.leak();
    lane
}

/// The reader's side, with an event that waits.
fn told() -> &'static mut TokenStream {
    let (engine, lane) = engine(1);
    let mut stream = submitted(engine, 0);
    for _ in 0..STEPS {
        lane.step();
    }
    stream.try_recv().expect("tokens were drawn");
    Box::leak(Box::new(stream))
}

#[library_benchmark(setup = warm)]
fn submit((engine, agent, request): (&'static Engine, AgentHandle, Request)) -> TokenStream {
    engine.submit(agent, black_box(request)).expect("there is room")
}

#[library_benchmark(setup = decoding)]
#[bench::sequences_1(1)]
#[bench::sequences_8(8)]
#[bench::sequences_32(32)]
fn lane_step(lane: &'static mut ScriptedLane) -> StepReport {
    black_box(lane).step()
}

#[library_benchmark(setup = told)]
fn try_recv(stream: &'static mut TokenStream) -> Option<Event> {
    black_box(stream).try_recv().ok()
}

library_benchmark_group!(name = engine_operations, benchmarks = [submit, lane_step, try_recv]);
