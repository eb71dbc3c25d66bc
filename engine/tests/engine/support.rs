//! What the tests share.

use latchless::AgentHandle;
use latchless_engine::backend::Backend;
use latchless_engine::backend::scripted::{Script, ScriptedBackend, ScriptedBuilder};
use latchless_engine::{
    Answer, Engine, EngineConfig, Event, FinishReason, Lane, Request, TokenStream, TryRecvError,
};

/// More steps than any of these tests needs.
pub(crate) const ENOUGH: usize = 10_000;

pub(crate) fn text(text: &str) -> ScriptedBuilder {
    ScriptedBackend::builder(Script::Text(text.into()))
}

/// Letters that depend on every token before them: a lane that mixes up two requests says other ones.
pub(crate) fn babble(tokens: u32) -> ScriptedBuilder {
    ScriptedBackend::builder(Script::Babble { tokens })
}

pub(crate) fn endless() -> ScriptedBuilder {
    ScriptedBackend::builder(Script::Endless("on and ".into()))
}

/// An engine whose lane the test steps, and an agent.
pub(crate) fn stepped<B: Backend>(backend: B) -> (Engine, Lane<B>, AgentHandle) {
    stepped_with(backend, EngineConfig::default())
}

pub(crate) fn stepped_with<B: Backend>(
    backend: B,
    config: EngineConfig,
) -> (Engine, Lane<B>, AgentHandle) {
    let (engine, lane) = Engine::new(backend, config).unwrap();
    let agent = engine.agent("planner").unwrap();
    (engine, lane, agent)
}

/// An engine with a thread, and an agent.
pub(crate) fn started<B: Backend>(backend: B) -> (Engine, AgentHandle) {
    let engine = Engine::start(backend, EngineConfig::default()).unwrap();
    let agent = engine.agent("planner").unwrap();
    (engine, agent)
}

/// What `prompt` is answered when nobody else is there.
pub(crate) fn alone(backend: impl Backend, request: Request) -> Answer {
    let (engine, agent) = started(backend);
    engine.submit(agent, request).unwrap().wait()
}

/// The events that are there now.
pub(crate) fn ready(stream: &mut TokenStream) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        match stream.try_recv() {
            Ok(event) => events.push(event),
            Err(TryRecvError::Empty | TryRecvError::Ended) => return events,
        }
    }
}

pub(crate) fn text_of(events: &[Event]) -> String {
    events.iter().map(Event::text).collect()
}

/// Why a stream ended; it must have.
pub(crate) fn reason(stream: &mut TokenStream) -> FinishReason {
    ready(stream);
    stream.completion().expect("the request has ended").reason.clone()
}

/// Nothing is held for anybody.
#[track_caller]
pub(crate) fn assert_nothing_held(engine: &Engine) {
    let usage = engine.pool().usage();
    assert_eq!((usage.used, usage.free), (0, usage.total));
    assert_eq!(engine.pending(), []);
}
