//! With the threads of the disk frozen at their worst: under the lock, and in the middle of a load.

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use latchless::AgentId;
use tempfile::TempDir;

use super::super::{Engine, EngineConfig, FinishReason, Lane, Request, TokenStream};
use super::{CacheConfig, Warm};
use crate::backend::scripted::{Script, ScriptedBackend};
use crate::cache::LoadJob;

const ENOUGH: usize = 10_000;
const ASKED: &str = "a question that is long enough to be worth a file";

fn engine(config: CacheConfig) -> (Engine, Lane<ScriptedBackend>) {
    let backend = ScriptedBackend::builder(Script::Text("an answer".into())).sequences(2).build();
    Engine::new(backend, EngineConfig::default().cache(config)).unwrap()
}

/// A folder with a file of each of these agents.
fn folder_of(agents: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (engine, mut lane) = engine(CacheConfig::new(folder.path(), 1 << 20));
    for agent in agents {
        let stream = submit(&engine, agent);
        lane.run_until_idle(ENOUGH);
        drop(stream);
    }
    folder
}

fn folder() -> TempDir {
    folder_of(&["stored"])
}

fn submit(engine: &Engine, agent: &str) -> TokenStream {
    // What is in common is too little to matter.
    let asked = Request::text(format!("{agent}: {ASKED}"));
    engine.submit(engine.agent(agent).unwrap(), asked).unwrap()
}

fn with_warm<T>(engine: &Engine, work: impl FnOnce(&Warm) -> T) -> T {
    work(engine.handle().live.load().on_disk().unwrap().warm())
}

/// Stops the reader in the middle of a load, until the sender is dropped.
fn freeze_reader(engine: &Engine) -> Sender<()> {
    let (thaw, frozen) = channel::<()>();
    let (inside, entered) = channel();
    let deliver = Box::new(move |_| {
        inside.send(()).unwrap();
        let _thawed = frozen.recv();
    });
    with_warm(engine, |warm| {
        let (cache, agent) = (warm.cache.clone(), AgentId::new("nobody").unwrap());
        assert!(warm.reader.handle().load(LoadJob { cache, agent, deliver }));
    });
    entered.recv().unwrap();
    thaw
}

fn is_answered(mut stream: TokenStream) -> bool {
    while stream.try_recv().is_ok() {}
    stream.completion().is_some_and(|completion| completion.reason.is_success())
}

/// Requests that want nothing of the disk go on, whoever is frozen: submits, steps, evictions, all.
#[test]
fn a_thread_that_is_frozen_under_the_lock_stops_nobody() {
    let folder = folder();
    let (engine, mut lane) = engine(CacheConfig::new(folder.path(), 1 << 20));
    let cache = engine.cache().unwrap();
    let frozen = cache.freeze();
    let waiting = submit(&engine, "stored");
    let mut saved = 0;
    for agent in ["a", "b", "c", "d", "e"] {
        let stream = submit(&engine, agent);
        for _ in 0..100 {
            saved += lane.step().saved;
        }
        assert!(is_answered(stream), "{agent}");
    }
    assert_eq!(saved, 5, "handed over to a writer that is frozen");
    assert_eq!(lane.step().waiting, 1, "the one that waits for the disk");
    drop(frozen);
    while lane.step().waiting > 0 {
        std::thread::yield_now();
    }
    lane.run_until_idle(ENOUGH);
    assert!(waiting.wait().completion.usage.resumed_tokens > 0);
}

/// A request that waits for a frozen reader can be cancelled, has its deadline, and loses its patience.
#[test]
fn a_request_that_waits_for_the_disk_can_be_ended() {
    let folder = folder();
    let patience = CacheConfig::new(folder.path(), 1 << 20).patience(Duration::MAX);
    let (engine, mut lane) = engine(patience);
    let thaw = freeze_reader(&engine);
    let cancelled = submit(&engine, "stored");
    lane.step();
    assert_eq!(lane.step().waiting, 1);
    assert!(cancelled.cancel());
    lane.step();
    assert_eq!(cancelled.wait().completion.reason, FinishReason::Cancelled);
    let agent = engine.agent("stored").unwrap();
    let asked = Request::text(format!("stored: {ASKED}")).within(Duration::from_millis(20));
    let late = engine.submit(agent, asked).unwrap();
    while lane.step().ended == 0 {
        std::thread::yield_now();
    }
    assert_eq!(late.wait().completion.reason, FinishReason::Deadline);
    let shut = submit(&engine, "stored");
    lane.step();
    drop(thaw);
    engine.shutdown();
    lane.step();
    assert_eq!(shut.wait().completion.reason, FinishReason::Shutdown);
    assert_eq!(engine.pool().usage().used, 0);
}

#[test]
fn patience_with_the_disk_ends_in_a_computation() {
    let folder = folder();
    let impatient = CacheConfig::new(folder.path(), 1 << 20).patience(Duration::ZERO);
    let (engine, mut lane) = engine(impatient);
    let thaw = freeze_reader(&engine);
    let stream = submit(&engine, "stored");
    lane.step();
    lane.run_until_idle(ENOUGH);
    let usage = stream.wait().completion.usage;
    assert_eq!((usage.cached_tokens, usage.generated_tokens), (0, 9));
    // What comes late is dropped.
    drop(thaw);
    assert_eq!(lane.run_until_idle(ENOUGH).unfinished, 0);
}

/// No more states are read than there are sequences, and those that wait for their turn keep it.
#[test]
fn no_more_is_read_than_there_are_sequences() {
    let agents = ["a", "b", "c", "d"];
    let folder = folder_of(&agents);
    let (engine, mut lane) = engine(CacheConfig::new(folder.path(), 1 << 20));
    let thaw = freeze_reader(&engine);
    let streams = agents.map(|agent| submit(&engine, agent));
    for _ in 0..10 {
        assert_eq!(lane.step().admitted, 0);
    }
    assert_eq!(lane.warm.as_ref().unwrap().asked.len(), 2);
    drop(thaw);
    let mut resumed = 0;
    while lane.step().waiting > 0 {
        std::thread::yield_now();
        let here = lane.queue.count(|arrival| matches!(arrival.stored, super::Stored::Here(_)));
        assert!(here + lane.warm.as_ref().unwrap().asked.len() <= 2);
    }
    lane.run_until_idle(ENOUGH);
    for stream in streams {
        let usage = stream.wait().completion.usage;
        resumed += u32::from(usage.resumed_tokens == usage.prompt_tokens - 1);
    }
    assert_eq!(resumed, 4);
}

/// The disk is frozen and as many wait for it as may: who wants nothing of it passes even those who wait to
/// ask.
#[test]
fn who_wants_nothing_of_the_disk_passes_those_who_do() {
    let folder = folder_of(&["a", "b", "c"]);
    let (engine, mut lane) = engine(CacheConfig::new(folder.path(), 1 << 20));
    let thaw = freeze_reader(&engine);
    let waiting = ["a", "b", "c"].map(|agent| submit(&engine, agent));
    let new = submit(&engine, "new");
    lane.run_until_idle(ENOUGH);
    assert!(is_answered(new));
    assert_eq!(lane.step().waiting, 3);
    drop(thaw);
    while lane.step().waiting > 0 {
        std::thread::yield_now();
    }
    lane.run_until_idle(ENOUGH);
    for stream in waiting {
        assert!(stream.wait().completion.usage.resumed_tokens > 0);
    }
}

/// A sequence that had to go, and whose writer has not got to it: the agent's next turn finds it in memory.
#[test]
fn what_is_not_written_yet_is_not_computed_again() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, mut lane) = engine(CacheConfig::new(folder.path(), 1 << 20));
    let cache = engine.cache().unwrap();
    let frozen = cache.freeze();
    let mut ask = |agent| {
        let stream = submit(&engine, agent);
        lane.run_until_idle(ENOUGH);
        stream.wait().completion.usage
    };
    // Two sequences: the third takes that of the first.
    for agent in ["a", "b", "c"] {
        assert_eq!(ask(agent).cached_tokens, 0, "{agent}");
    }
    let usage = ask("a");
    assert_eq!((usage.resumed_tokens, usage.generated_tokens), (usage.prompt_tokens - 1, 9));
    drop(frozen);
    engine.flush_cache();
    // Written, and not in memory any more: it comes from the disk.
    assert!(lane.warm.as_ref().unwrap().unwritten.iter().all(|unwritten| !unwritten.is_there()));
    assert_eq!((cache.len(), engine.pool().usage().used), (3, 0));
}

/// The writer has room for one state at a time: a lane with nothing to do hands the next one over when the last is
/// written, though nobody asks for anything.
#[test]
fn what_found_no_room_is_handed_over_when_there_is_some() {
    let folder = tempfile::tempdir().unwrap();
    let config = CacheConfig::new(folder.path(), 1 << 20).waiting_bytes(400);
    let backend = ScriptedBackend::builder(Script::Text("an answer".into())).sequences(2).build();
    let engine = Engine::start(backend, EngineConfig::default().cache(config)).unwrap();
    let cache = engine.cache().unwrap();
    let frozen = cache.freeze();
    for agent in ["a", "b"] {
        assert!(submit(&engine, agent).wait().completion.reason.is_success());
    }
    drop(frozen);
    while cache.len() < 2 {
        std::thread::yield_now();
    }
}
