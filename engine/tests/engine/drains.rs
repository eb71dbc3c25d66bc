//! Case 19: drain and shutdown.

use std::thread;
use std::time::Duration;

use latchless_engine::backend::scripted::Gate;
use latchless_engine::{Engine, EngineConfig, FinishReason, Request, SubmitError, TokenStream};

use super::support::{ENOUGH, assert_nothing_held, endless, ready, reason, started, stepped, text};

#[test]
fn an_idle_engine_drains_at_once() {
    let (engine, mut lane, agent) = stepped(text("hi").build());
    assert_eq!(engine.drain(Duration::ZERO), Ok(0));
    let mut stream = engine.submit(agent, Request::text("x")).unwrap();
    lane.run_until_idle(ENOUGH);
    assert_eq!(engine.drain(Duration::ZERO), Ok(0));
    assert_eq!(reason(&mut stream), FinishReason::EndOfGeneration);
}

#[test]
fn a_drain_that_runs_out_names_what_is_pending() {
    let (engine, mut lane, agent) = stepped(endless().sequences(1).build());
    let submit = || engine.submit(agent, Request::text("x").max_tokens(9)).unwrap();
    let streams = [submit(), submit(), submit()];
    lane.step();
    let late = engine.drain(Duration::ZERO).unwrap_err();
    assert_eq!(late.pending, streams.each_ref().map(TokenStream::id));
    assert!(late.to_string().contains("3 requests"), "{late}");
    // Afterwards the engine is as before.
    let _fourth = submit();
    lane.run_until_idle(ENOUGH);
    assert_nothing_held(&engine);
}

#[test]
fn an_active_engine_drains_when_it_is_done_and_refuses_meanwhile() {
    let gate = Gate::closed();
    let (engine, agent) = started(endless().gate(&gate).build());
    let submit = || engine.submit(agent, Request::text("x").max_tokens(20));
    let streams = [submit().unwrap(), submit().unwrap()];
    gate.wait_for_arrivals(1);
    let drain = thread::spawn({
        let engine = engine.clone();
        move || engine.drain(Duration::MAX)
    });
    // Until the drain has begun, submits are accepted, and refused for want of blocks.
    while !matches!(submit(), Err(SubmitError::Draining)) {
        thread::yield_now();
    }
    gate.open();
    assert!(drain.join().unwrap().unwrap() >= 2);
    assert_nothing_held(&engine);
    for stream in streams {
        assert_eq!(stream.wait().completion.reason, FinishReason::Length);
    }
    assert_eq!(submit().unwrap().wait().tokens.len(), 20, "accepted again");
}

#[test]
fn a_shutdown_ends_everything_and_may_be_repeated() {
    let (engine, agent) = started(endless().sequences(1).build());
    let submit = || engine.submit(agent, Request::text("x").max_tokens(1_000));
    let mut streams = [submit().unwrap(), submit().unwrap()];
    assert!(streams[0].recv().is_some(), "the first one runs, the second waits");
    engine.shutdown();
    engine.shutdown();
    for stream in &mut streams {
        assert_eq!(reason(stream), FinishReason::Shutdown);
    }
    assert_nothing_held(&engine);
    assert!(matches!(submit(), Err(SubmitError::Closed)));
    assert_eq!(engine.drain(Duration::ZERO), Ok(0));
    assert!(!streams[0].cancel());
}

#[test]
fn a_shutdown_from_several_threads_waits_for_the_lane_in_each() {
    let (engine, agent) = started(endless().build());
    let mut stream = engine.submit(agent, Request::text("x").max_tokens(1_000)).unwrap();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let engine = engine.clone();
            thread::spawn(move || {
                engine.shutdown();
                assert_nothing_held(&engine);
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(reason(&mut stream), FinishReason::Shutdown);
}

#[test]
fn a_stepped_lane_ends_everything_in_the_step_after_a_shutdown() {
    let (engine, mut lane, agent) = stepped(endless().sequences(1).build());
    let submit = || engine.submit(agent, Request::text("x")).unwrap();
    let mut streams = [submit(), submit()];
    lane.step();
    let mut unseen = submit();
    engine.shutdown();
    let report = lane.step();
    assert!(report.closed);
    assert_eq!((report.ended, report.running, report.waiting), (3, 0, 0));
    for stream in streams.iter_mut().chain([&mut unseen]) {
        assert_eq!(reason(stream), FinishReason::Shutdown);
    }
    assert_nothing_held(&engine);
    let report = lane.step();
    assert_eq!((report.closed, report.ended), (true, 0));
}

#[test]
fn a_dropped_lane_closes_its_engine() {
    let (engine, mut lane, agent) = stepped(endless().build());
    let mut running = engine.submit(agent, Request::text("x")).unwrap();
    lane.step();
    let mut unseen = engine.submit(agent, Request::text("x")).unwrap();
    drop(lane);
    assert_eq!(reason(&mut running), FinishReason::Shutdown);
    assert_eq!(reason(&mut unseen), FinishReason::Shutdown);
    assert_nothing_held(&engine);
    assert!(matches!(engine.submit(agent, Request::text("x")), Err(SubmitError::Closed)));
}

/// The last handle shuts down; a stream lives on, and knows how it ended.
#[test]
fn the_last_handle_shuts_the_engine_down() {
    let engine = Engine::start(endless().build(), EngineConfig::default()).unwrap();
    let agent = engine.agent("a").unwrap();
    let other = engine.clone();
    let mut stream = engine.submit(agent, Request::text("x").max_tokens(1_000)).unwrap();
    drop(engine);
    assert!(stream.recv().is_some(), "another handle is there");
    let pool = other.pool().clone();
    drop(other);
    assert_eq!(pool.usage().used, 0, "the lane has ended");
    ready(&mut stream);
    assert_eq!(stream.wait().completion.reason, FinishReason::Shutdown);
}
