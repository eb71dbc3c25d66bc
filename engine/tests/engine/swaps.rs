//! Case 23: the model is replaced while requests run, and none of them is lost.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use latchless::ModelSpec;
use latchless_engine::backend::scripted::{Gate, ScriptedBackend, ScriptedModel};
use latchless_engine::{Draining, Engine, FinishReason, Request, SubmitError, SwapError};

use super::support::{ENOUGH, alone, babble, endless, ready, reason, started, stepped, text};

fn swap(engine: &Engine, backend: ScriptedBackend) -> latchless_engine::Retiring {
    engine.swap(|| Ok::<_, Infallible>([backend])).unwrap()
}

/// What runs and what waits finishes on the model that accepted it; what comes later has the new one. The
/// old one goes when the last of its requests has ended, and its model with it.
#[test]
fn each_request_is_answered_by_the_model_that_accepted_it() {
    let (engine, mut lane, agent) = stepped(babble(20).sequences(1).build());
    let ask = || Request::text("which model is this?");
    let old = [engine.submit(agent, ask()).unwrap(), engine.submit(agent, ask()).unwrap()];
    lane.step();
    let model = Arc::downgrade(&engine.model());
    let (retiring, mut lanes) = engine.swap_stepped([text("new").build()]).unwrap();
    assert_eq!((engine.generation(), retiring.remaining()), (1, 2));
    let new = engine.submit(agent, ask()).unwrap();
    assert_eq!(engine.pending().len(), 3);
    assert_eq!(lanes[0].run_until_idle(ENOUGH).ended, 1);
    let answer = new.wait();
    assert_eq!((answer.text.as_str(), answer.completion.generation), ("new", 1));

    assert_eq!(lane.run_until_idle(ENOUGH).ended, 2);
    let expected = alone(babble(20).build(), ask());
    for stream in old {
        let answer = stream.wait();
        assert_eq!((answer.text, answer.completion.generation), (expected.text.clone(), 0));
    }
    assert_eq!(retiring.remaining(), 0);
    assert!(lane.step().closed && !retiring.is_gone());
    assert_eq!(retiring.wait(Duration::ZERO), Err(Draining { remaining: 0 }));
    drop(lane);
    assert_eq!(retiring.wait(Duration::ZERO), Ok(()));
    assert!(model.upgrade().is_none(), "the old model is in memory");
    assert_eq!(engine.pool().usage().used, 0);
}

/// A load that fails, in any way, leaves everything as it was.
#[test]
fn a_failed_load_changes_nothing() {
    let (engine, agent) = started(text("old").build());
    let failed = engine.swap(|| Err::<[ScriptedBackend; 1], _>(io::Error::other("no such file")));
    let shown = failed.unwrap_err().to_string();
    assert!(shown.contains("no such file") && shown.contains("serves on"), "{shown}");
    let none = engine.swap(|| Ok::<[ScriptedBackend; 0], Infallible>([]));
    assert!(matches!(none, Err(SwapError::Engine(_))));
    let useless = engine.swap(|| Ok::<_, Infallible>([text("").sequences(0).build()]));
    assert!(matches!(useless, Err(SwapError::Engine(_))));
    assert_eq!(engine.generation(), 0);
    assert_eq!(engine.submit(agent, Request::text("q")).unwrap().wait().text, "old");
}

/// The old model serves while the new one loads, and nobody else may load meanwhile.
#[test]
fn requests_go_on_while_the_new_model_loads() {
    let (engine, agent) = started(text("old").build());
    let retiring = engine
        .swap(|| {
            assert_eq!(engine.submit(agent, Request::text("q")).unwrap().wait().text, "old");
            let again = engine.swap(|| Ok::<_, Infallible>([text("no").build()]));
            assert!(matches!(again, Err(SwapError::Swapping)));
            Ok::<_, Infallible>([text("new").build()])
        })
        .unwrap();
    assert_eq!(engine.submit(agent, Request::text("q")).unwrap().wait().text, "new");
    retiring.wait(Duration::MAX).unwrap();
}

/// Two models at most: the next swap is refused, with what is left, until the old one is gone.
#[test]
fn a_swap_waits_for_the_one_before() {
    let gate = Gate::closed();
    let (engine, agent) = started(text("slow").gate(&gate).build());
    let slow = engine.submit(agent, Request::text("q")).unwrap();
    gate.wait_for_arrivals(1);
    let retiring = swap(&engine, text("new").build());
    let mut loaded = false;
    let refused = engine.swap(|| {
        loaded = true;
        Ok::<_, Infallible>([text("newer").build()])
    });
    assert!(matches!(refused, Err(SwapError::Draining(Draining { remaining: 1 }))));
    assert!(!loaded, "there is no room for a third");
    assert_eq!(retiring.wait(Duration::ZERO), Err(Draining { remaining: 1 }));
    gate.open();
    assert_eq!(slow.wait().text, "slow");
    retiring.wait(Duration::MAX).unwrap();
    swap(&engine, text("newer").build());
    assert_eq!(engine.submit(agent, Request::text("q")).unwrap().wait().text, "newer");
    assert_eq!(engine.generation(), 2);
}

/// Agents keep their handles over models of another geometry, and blocks are counted in each one's own.
#[test]
fn the_geometry_may_change() {
    let (engine, agent) = started(text("old").build());
    assert_eq!(engine.submit(agent, Request::text("q")).unwrap().wait().text, "old");
    let spec = ModelSpec::new(5, 2, 16, 32).unwrap();
    let model = ScriptedModel::new().with_name("other").with_spec(spec.clone());
    swap(&engine, text("new").model(model).sequences(2).build());
    assert_eq!((engine.model().name(), engine.limits().sequences), ("other", 2));
    assert_eq!(engine.pool().model().spec, spec);
    let answer = engine.submit(agent, Request::text("q").max_tokens(8)).unwrap().wait();
    assert_eq!((answer.text.as_str(), answer.completion.agent), ("new", agent));
    assert_eq!(answer.completion.blocks_freed, 5, "a block in each layer");
    let newcomer = engine.agent("newcomer").unwrap();
    assert_eq!(engine.submit(newcomer, Request::text("q")).unwrap().wait().text, "new");
    engine.directory().unregister(&latchless::AgentId::new("newcomer").unwrap());
    let refused = engine.submit(newcomer, Request::text("q"));
    assert!(matches!(refused, Err(SubmitError::Blocks(_))), "it has left");
    assert_eq!(engine.pool().usage().used, 0);
}

/// Cancel, drain and shutdown reach both models.
#[test]
fn control_reaches_the_old_model_too() {
    let (engine, mut lane, agent) = stepped(endless().build());
    let ask = || Request::text("q").max_tokens(500);
    let mut old = [engine.submit(agent, ask()).unwrap(), engine.submit(agent, ask()).unwrap()];
    lane.step();
    let (_, mut lanes) = engine.swap_stepped([endless().build()]).unwrap();
    let mut new = engine.submit(agent, ask()).unwrap();
    assert_eq!(engine.drain(Duration::ZERO).unwrap_err().pending.len(), 3);
    assert!(engine.cancel(old[0].id()));
    lane.step();
    assert_eq!(reason(&mut old[0]), FinishReason::Cancelled);
    engine.shutdown();
    assert!(lane.step().closed && lanes[0].step().closed);
    assert_eq!(reason(&mut old[1]), FinishReason::Shutdown);
    assert_eq!(reason(&mut new), FinishReason::Shutdown);
    let closed = engine.swap(|| Ok::<_, Infallible>([text("").build()]));
    assert!(matches!(closed, Err(SwapError::Closed)));
}

/// Threads submit without a pause while the model is replaced again and again: every request ends whole.
#[test]
fn no_request_is_lost_under_load() {
    const SWAPS: u64 = 25;
    let (engine, _) = started(babble(12).build());
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let hosts: Vec<_> = (0..3)
        .map(|host| {
            let (engine, stop, answered) =
                (engine.clone(), Arc::clone(&stop), Arc::clone(&answered));
            thread::spawn(move || {
                let agent = engine.agent(&format!("host {host}")).unwrap();
                let mut newest = 0;
                while !stop.load(Ordering::Acquire) {
                    let asked = Request::text(format!("host {host} asks"));
                    let answer = engine.submit(agent, asked).unwrap().wait();
                    let completion = answer.completion;
                    assert_eq!(completion.reason, FinishReason::EndOfGeneration);
                    assert_eq!(answer.tokens.len(), 12);
                    assert!(completion.generation >= newest, "back to an old model");
                    newest = completion.generation;
                    answered.fetch_add(1, Ordering::AcqRel);
                }
            })
        })
        .collect();
    for number in 1..=SWAPS {
        let before = answered.load(Ordering::Acquire);
        let retiring = swap(&engine, babble(12).build());
        retiring.wait(Duration::MAX).unwrap();
        assert_eq!(engine.generation(), number);
        while answered.load(Ordering::Acquire) < before + 4 {
            thread::yield_now();
        }
    }
    stop.store(true, Ordering::Release);
    for host in hosts {
        host.join().unwrap();
    }
    assert!(answered.load(Ordering::Acquire) >= 4 * SWAPS);
    assert_eq!((engine.pending(), engine.pool().usage().used), (vec![], 0));
}

/// A stream that is read late, from a model that is gone.
#[test]
fn what_was_said_outlives_its_model() {
    let (engine, agent) = started(text("said").build());
    let mut stream = engine.submit(agent, Request::text("q")).unwrap();
    let retiring = swap(&engine, text("new").build());
    retiring.wait(Duration::MAX).unwrap();
    assert_eq!(ready(&mut stream).len(), 5);
    assert_eq!(stream.completion().unwrap().generation, 0);
    assert!(!stream.cancel());
}
