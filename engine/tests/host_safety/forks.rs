//! A host that forks: in the child everything that would wait for a thread of the parent says so instead,
//! everything can be dropped, and the parent notices nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use latchless::LayerId;
use latchless_engine::backend::scripted::{Gate, Script, ScriptedBackend};
use latchless_engine::store::{Durability, SqliteStore, Store, StoreError, StoreOptions};
use latchless_engine::{
    AgentError, CacheConfig, Engine, EngineConfig, Event, FinishReason, Request, RequestError,
    SubmitError, SwapError,
};
use nix::libc;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, alarm, fork};

/// Seconds after which a child that hangs is killed.
const PATIENCE: u32 = 60;

type Checked = Result<(), i32>;

/// What a child found out: its number is the child's exit status when it does not hold.
fn check(number: i32, holds: bool) -> Checked {
    if holds { Ok(()) } else { Err(number) }
}

/// Runs `body` in a child. It fails when a check does not hold, when the child panics, and when it hangs.
fn in_child(body: impl FnOnce() -> Checked) {
    // SAFETY: the child has this thread alone. What it runs allocates, for which the C library prepares its
    // allocator, and takes no lock that another thread of the tests can hold; it leaves by `_exit`, so
    // that nothing of the parent is run twice.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            // SAFETY: the default action needs no handler.
            let _before = unsafe { signal(Signal::SIGALRM, SigHandler::SigDfl) };
            alarm::set(PATIENCE);
            let code = match catch_unwind(AssertUnwindSafe(body)) {
                Ok(Ok(())) => 0,
                Ok(Err(number)) => number,
                Err(_) => 101,
            };
            // SAFETY: ends the process.
            unsafe { libc::_exit(code) }
        }
        ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
        }
    }
}

fn says(text: &str) -> ScriptedBackend {
    ScriptedBackend::builder(Script::Text(text.into())).build()
}

#[test]
fn an_engine_refuses_in_the_child_and_goes_on_in_the_parent() {
    let gate = Gate::closed();
    let backend = ScriptedBackend::builder(Script::Text("Yes.".into())).gate(&gate).build();
    let engine = Engine::start(backend, EngineConfig::default()).unwrap();
    let agent = engine.agent("planner").unwrap();
    let mut stream = engine.submit(agent, Request::text("Well?")).unwrap();
    let waited = engine.submit(agent, Request::text("And?")).unwrap();
    gate.wait_for_arrivals(1);

    let parent = std::process::id();
    let (there, ours, others) = (engine.clone(), &mut stream, &waited);
    in_child(move || {
        let refused = there.submit(agent, Request::text("Here?")).err();
        let Some(SubmitError::Forked(forked)) = refused else { return Err(1) };
        check(2, forked.made_in == parent && forked.here == std::process::id())?;
        check(3, matches!(there.agent("other"), Err(AgentError::Forked(_))))?;
        let swapped = there.swap(|| Ok::<_, std::io::Error>([says("no")]));
        check(4, matches!(swapped, Err(SwapError::Forked(_))))?;
        let drained = there.drain(Duration::MAX).err();
        check(5, drained.is_some_and(|late| late.pending.len() == 2 && late.forked.is_some()))?;
        let Some(Event::Finished(last)) = ours.recv() else { return Err(6) };
        let forked = FinishReason::Failed(RequestError::Forked(forked));
        check(7, last.reason == forked)?;
        check(8, ours.recv().is_none() && ours.completion().is_some())?;
        check(9, others.cancel())?;
        check(10, there.snapshot().requests == 2)?;
        there.shutdown();
        drop(there);

        let own = Engine::start(says("Here."), EngineConfig::default()).map_err(|_| 11)?;
        let agent = own.agent("planner").map_err(|_| 12)?;
        let stream = own.submit(agent, Request::text("And here?")).map_err(|_| 13)?;
        check(14, stream.wait().text == "Here.")
    });

    gate.open();
    assert_eq!(waited.wait().text, "Yes.");
    assert_eq!(stream.wait().text, "Yes.");
    engine.drain(Duration::MAX).unwrap();
}

#[test]
fn the_last_handle_may_go_in_the_child() {
    let folder = tempfile::tempdir().unwrap();
    let config = EngineConfig::default().cache(CacheConfig::new(folder.path(), 1 << 20));
    let engine = Engine::start(says("Yes."), config).unwrap();
    let agent = engine.agent("planner").unwrap();
    let mut engine = Some(engine);
    in_child(|| {
        let engine = engine.take().ok_or(1)?;
        check(2, engine.flush_cache().is_none())?;
        check(3, engine.snapshot().cache.is_none())?;
        // Its threads are joined by nobody, its folder stays the parent's.
        drop(engine);
        Ok(())
    });
    let engine = engine.unwrap();
    let answer = engine.submit(agent, Request::text("Still?")).unwrap().wait();
    assert_eq!(answer.text, "Yes.");
    drop(engine);
}

/// The pool has no threads: the child has a copy, in which what other threads held stays held.
#[test]
fn a_pool_in_the_child_is_a_copy() {
    let (engine, _lane) = Engine::new(says(""), EngineConfig::default()).unwrap();
    let (pool, agent) = (engine.pool(), engine.agent("planner").unwrap());
    let lease = pool.allocate(agent, LayerId(0), 10).unwrap();
    let lent = &pool;
    in_child(move || {
        check(1, lent.usage().used == 10)?;
        let more = lent.allocate(agent, LayerId(0), 5).map_err(|_| 2)?;
        check(3, lent.usage().used == 15 && more.len() == 5)
    });
    assert_eq!(pool.usage().used, 10);
    drop(lease);
    assert_eq!(pool.usage().used, 0);
}

#[test]
fn a_store_refuses_in_the_child_and_keeps_its_file_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("s.db"), StoreOptions::default()).unwrap();
    store.add_output("planner", None, "before", Durability::Durable).unwrap();
    assert_eq!(store.outputs("planner", 9).unwrap().len(), 1, "a reader is open");
    let mut store = Some(store);
    in_child(|| {
        let store = store.take().ok_or(1)?;
        let wrote = store.add_output("planner", None, "child", Durability::Durable);
        check(2, matches!(wrote, Err(StoreError::Forked(_))))?;
        check(3, matches!(store.outputs("planner", 9), Err(StoreError::Forked(_))))?;
        drop(store);
        Ok(())
    });
    let store = store.unwrap();
    store.add_output("planner", None, "after", Durability::Durable).unwrap();
    assert_eq!(store.outputs("planner", 9).unwrap().len(), 2);
    store.verify().unwrap();
}
