//! Case 22: a cancel in the queue, in prefill and in decode is acknowledged with the blocks freed.

use std::thread;
use std::time::Duration;

use latchless::RequestId;
use latchless_engine::backend::Token;
use latchless_engine::backend::scripted::Gate;
use latchless_engine::{Engine, EngineConfig, Event, FinishReason, Request};

use super::support::{
    ENOUGH, assert_nothing_held, babble, endless, ready, reason, started, stepped, text, text_of,
};

#[test]
fn a_cancel_in_the_queue_frees_the_blocks() {
    let (engine, mut lane, agent) = stepped(endless().sequences(1).build());
    let submit = || engine.submit(agent, Request::text("x").max_tokens(200)).unwrap();
    let (mut first, mut second, mut third) = (submit(), submit(), submit());
    assert_eq!(lane.step().waiting, 2);
    let blocks = engine.pool().usage().used / 3;
    assert!(second.cancel());
    let report = lane.step();
    assert_eq!((report.ended, report.waiting), (1, 1));
    let events = ready(&mut second);
    let [Event::Finished(completion)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(completion.reason, FinishReason::Cancelled);
    assert_eq!(completion.blocks_freed, blocks);
    assert_eq!(completion.timings.queued, None, "it never had a sequence");
    assert_eq!(engine.pool().usage().used, 2 * blocks);
    // The third keeps its place, and the first is not disturbed.
    assert!(engine.cancel(first.id()));
    assert_eq!(lane.step().admitted, 1);
    assert_eq!(reason(&mut first), FinishReason::Cancelled);
    assert_eq!(text_of(&ready(&mut third)), "o");
}

#[test]
fn a_cancel_before_the_lane_has_seen_the_request() {
    let backend = endless().build();
    let probe = backend.probe();
    let (engine, mut lane, agent) = stepped(backend);
    let mut stream = engine.submit(agent, Request::text("x")).unwrap();
    assert!(stream.cancel());
    assert_eq!(lane.step().ended, 1);
    assert_eq!(reason(&mut stream), FinishReason::Cancelled);
    assert_eq!(probe.decodes(), 0);
    assert_nothing_held(&engine);
}

#[test]
fn a_cancel_in_prefill_frees_the_blocks_and_the_cells() {
    let (engine, mut lane, agent) = stepped(endless().batch_rows(4).sequences(1).build());
    let mut stream = engine.submit(agent, Request::tokens(vec![Token(65); 100])).unwrap();
    let blocks = engine.pool().usage().used;
    assert_eq!(lane.step().prefill_rows, 4);
    stream.cancel();
    assert_eq!(lane.step().ended, 1);
    assert!(matches!(ready(&mut stream).as_slice(), [Event::Finished(_)]));
    assert_eq!(stream.completion().unwrap().blocks_freed, blocks);
    assert_nothing_held(&engine);
    // The sequence is clean: the next request's positions start at 0.
    let mut next = engine.submit(agent, Request::text("x").max_tokens(5)).unwrap();
    lane.run_until_idle(ENOUGH);
    assert_eq!(text_of(&ready(&mut next)), "on an");
}

#[test]
fn a_cancel_in_decode_frees_the_blocks_and_keeps_the_text() {
    let (engine, mut lane, agent) = stepped(endless().build());
    let request = Request::text("x").max_tokens(200).stop("and X");
    let mut stream = engine.submit(agent, request).unwrap();
    let blocks = engine.pool().usage().used;
    lane.run_until_idle(6);
    stream.cancel();
    lane.step();
    let events = ready(&mut stream);
    assert_eq!(text_of(&events), "on and", "what was held back for a stop string is given");
    assert!(matches!(&events[events.len() - 2], Event::Held { text } if text == "and"));
    let completion = stream.completion().unwrap();
    assert_eq!((&completion.reason, completion.blocks_freed), (&FinishReason::Cancelled, blocks));
    assert_nothing_held(&engine);
}

#[test]
fn a_cancel_of_what_is_over_or_never_was_says_so() {
    let (engine, mut lane, agent) = stepped(text("hi").build());
    let mut stream = engine.submit(agent, Request::text("x")).unwrap();
    let id = stream.id();
    lane.run_until_idle(ENOUGH);
    assert!(!stream.cancel() && !engine.cancel(id) && !engine.cancel(RequestId(u64::MAX)));
    assert_eq!(reason(&mut stream), FinishReason::EndOfGeneration);
    // Twice is once.
    let mut stream = engine.submit(agent, Request::text("x")).unwrap();
    assert!(stream.cancel() && stream.cancel() && engine.cancel(stream.id()));
    assert_eq!(lane.step().ended, 1);
    assert_eq!(reason(&mut stream), FinishReason::Cancelled);
    assert_nothing_held(&engine);
}

/// A cancel of one leaves what the others say as it is.
#[test]
fn a_cancel_concerns_only_its_own_request() {
    let (engine, mut lane, agent) = stepped(babble(30).build());
    let submit = |prompt: &str| engine.submit(agent, Request::text(prompt)).unwrap();
    let mut undisturbed = submit("a");
    lane.run_until_idle(ENOUGH);
    let expected = text_of(&ready(&mut undisturbed));

    let (cancelled, mut others) = (submit("b"), [submit("a"), submit("a")]);
    lane.run_until_idle(10);
    cancelled.cancel();
    lane.run_until_idle(ENOUGH);
    for other in &mut others {
        assert_eq!(text_of(&ready(other)), expected);
    }
    assert_nothing_held(&engine);
}

#[test]
fn a_dropped_stream_cancels_its_request() {
    let (engine, mut lane, agent) = stepped(endless().build());
    let stream = engine.submit(agent, Request::text("x").max_tokens(500)).unwrap();
    lane.run_until_idle(3);
    drop(stream);
    let report = lane.step();
    assert_eq!((report.ended, report.running), (1, 0));
    assert_nothing_held(&engine);
}

/// The lane's thread sleeps when every request is paused; whoever cancels or drops must wake it.
#[test]
fn a_cancel_and_a_dropped_stream_wake_a_sleeping_lane() {
    let backend = endless().build();
    let probe = backend.probe();
    let engine = Engine::start(backend, EngineConfig::default().stream_events(1)).unwrap();
    let agent = engine.agent("planner").unwrap();
    for round in 0..100 {
        let stream = engine.submit(agent, Request::text("x").max_tokens(500)).unwrap();
        // After this decode the stream is full, and the lane goes to sleep.
        while probe.samples() <= round {
            thread::yield_now();
        }
        if round % 2 == 0 {
            stream.cancel();
            assert_eq!(stream.wait().completion.reason, FinishReason::Cancelled);
        } else {
            drop(stream);
            engine.drain(Duration::MAX).unwrap();
        }
        assert_nothing_held(&engine);
    }
}

/// A cancel that comes in the middle of a decode is seen in the next step.
#[test]
fn a_cancel_during_a_decode_takes_effect_after_it() {
    let gate = Gate::closed();
    let backend = endless().gate(&gate).build();
    let probe = backend.probe();
    let (engine, agent) = started(backend);
    let stream = engine.submit(agent, Request::text("x").max_tokens(500)).unwrap();
    gate.wait_for_arrivals(1);
    assert!(engine.cancel(stream.id()), "returns although the lane is in a decode");
    gate.open();
    let answer = stream.wait();
    assert_eq!(answer.completion.reason, FinishReason::Cancelled);
    assert_eq!((answer.tokens.len(), probe.decodes()), (1, 1));
    assert_nothing_held(&engine);
}
