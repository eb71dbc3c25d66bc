//! Who goes first, and who is too late.

use std::hint;
use std::time::{Duration, Instant};

use latchless_engine::backend::scripted::Gate;
use latchless_engine::{EngineConfig, FinishReason, Priority, Request, Sampling, TryRecvError};

use super::support::{
    ENOUGH, assert_nothing_held, endless, ready, reason, started, stepped, stepped_with, text,
    text_of,
};

/// With one sequence, requests run one after another.
#[test]
fn the_most_urgent_goes_first_and_equals_in_order() {
    let (engine, mut lane, agent) = stepped(text("x").sequences(1).build());
    let priorities =
        [Priority::Low, Priority::Normal, Priority::High, Priority::Normal, Priority::High];
    let mut streams: Vec<_> = priorities
        .map(|priority| engine.submit(agent, Request::text("q").priority(priority)).unwrap())
        .into();
    let mut order = Vec::new();
    for _ in 0..ENOUGH {
        lane.step();
        for (index, stream) in streams.iter_mut().enumerate() {
            if !ready(stream).is_empty() && stream.completion().is_some() {
                order.push(index);
            }
        }
    }
    assert_eq!(order, [2, 4, 1, 3, 0]);
    assert_nothing_held(&engine);
}

/// A steady flow of urgent requests does not starve the one that is not: it is passed over a bounded
/// number of times.
#[test]
fn low_priority_is_not_starved_by_a_flow_of_high() {
    let (engine, mut lane, agent) = stepped(text("x").sequences(1).build());
    let submit = |priority| engine.submit(agent, Request::text("q").priority(priority)).unwrap();
    let mut first = submit(Priority::High);
    let mut patient = submit(Priority::Low);
    let mut passed = 0;
    while patient.completion().is_none() {
        // Before the sequence is free there is always another one that is urgent.
        let next = submit(Priority::High);
        while first.completion().is_none() {
            lane.step();
            ready(&mut first);
            ready(&mut patient);
            assert!(passed < 100, "starved");
            if patient.completion().is_some() {
                break;
            }
        }
        first = next;
        passed += 1;
    }
    assert!((8..=12).contains(&passed), "two levels, four passes each: {passed}");
}

/// A deadline that has passed ends a request that waits without a decode, and frees its blocks.
#[test]
fn a_request_that_is_too_late_is_not_computed() {
    let backend = text("hi").build();
    let probe = backend.probe();
    let (engine, mut lane, agent) = stepped(backend);
    let late = Request::text("q").deadline(Instant::now());
    let mut stream = engine.submit(agent, late).unwrap();
    assert!(engine.pool().usage().used > 0);
    let report = lane.step();
    assert_eq!((report.ended, report.admitted), (1, 0));
    assert_eq!(reason(&mut stream), FinishReason::Deadline);
    assert!(stream.completion().unwrap().blocks_freed > 0);
    assert_eq!(probe.decodes(), 0);
    assert_nothing_held(&engine);
}

/// What was generated before the deadline stands; others are not touched.
#[test]
fn a_running_request_ends_at_its_deadline_with_what_it_has() {
    let (engine, mut lane, agent) = stepped(endless().build());
    let at = Instant::now() + Duration::from_millis(20);
    let ask = || Request::text("q").max_tokens(900);
    let mut other = engine.submit(agent, ask()).unwrap();
    let mut stream = engine.submit(agent, ask().deadline(at)).unwrap();
    lane.step();
    lane.step();
    while Instant::now() < at {
        hint::spin_loop();
    }
    lane.step();
    let events = ready(&mut stream);
    let completion = stream.completion().unwrap();
    assert_eq!(completion.reason, FinishReason::Deadline);
    assert_eq!(text_of(&events).len() as u32, completion.usage.generated_tokens);
    assert!(other.try_recv().is_ok() && other.completion().is_none());
    lane.run_until_idle(ENOUGH);
}

/// A lane that sleeps because its only reader is slow wakes for the deadline, without a ring.
#[test]
fn a_sleeping_lane_wakes_for_a_deadline() {
    let gate = Gate::open_at_first();
    let backend = endless().gate(&gate).build();
    let config = EngineConfig::default().stream_events(1);
    let engine = latchless_engine::Engine::start(backend, config).unwrap();
    let agent = engine.agent("slow").unwrap();
    let asked = Request::text("q").max_tokens(900).within(Duration::from_millis(50));
    let mut stream = engine.submit(agent, asked).unwrap();
    assert_eq!(engine.drain(Duration::from_hours(1)), Ok(1), "ended without its reader");
    let mut last = None;
    while let Some(event) = stream.recv() {
        last = Some(event);
    }
    assert!(last.is_some());
    assert_eq!(stream.completion().unwrap().reason, FinishReason::Deadline);
    assert_eq!(stream.try_recv(), Err(TryRecvError::Ended));
}

/// A backend without grammars fails only the request that asks for one.
#[test]
fn a_grammar_that_cannot_be_followed_fails_its_own_request() {
    let (engine, agent) = started(text("hi").build());
    let guided = Sampling::greedy().grammar("root ::= \"a\"");
    let refused = engine.submit(agent, Request::text("q").sampling(guided)).unwrap().wait();
    let shown = refused.completion.reason.to_string();
    assert!(shown.contains("grammar is refused") && shown.contains("GBNF"), "{shown}");
    assert_eq!(engine.submit(agent, Request::text("q")).unwrap().wait().text, "hi");
    engine.shutdown();
    assert_nothing_held(&engine);
}

/// Rows of the prompt in each batch that computes a part of it beside the one who generates.
fn chunks(target: Duration) -> Vec<usize> {
    let backend = endless().batch_rows(64).record_batches().build();
    let probe = backend.probe();
    let config = EngineConfig::default().token_interval(target);
    let (engine, mut lane, agent) = stepped_with(backend, config);
    let mut talker = engine.submit(agent, Request::text("q").max_tokens(900)).unwrap();
    for _ in 0..3 {
        lane.step();
    }
    let mut reader = engine.submit(agent, Request::text("w".repeat(400)).max_tokens(1)).unwrap();
    let before = probe.decodes() as usize;
    let mut steps = 0;
    while reader.completion().is_none() {
        lane.step();
        steps += 1;
        ready(&mut reader);
        assert_eq!(ready(&mut talker).len(), if steps == 1 { 4 } else { 1 }, "a token a step");
    }
    probe.batches()[before..].iter().map(|batch| batch.len() - 1).collect()
}

/// A target that nothing can hold leaves the prompt a row a batch; one that everything holds gives it
/// all the room there is, in growing steps. The times themselves are simulated in the pacer's own tests.
#[test]
fn a_prompt_takes_what_the_time_between_tokens_leaves() {
    let least = chunks(Duration::from_nanos(1));
    assert_eq!((least.len(), least[0], least[99]), (401, 1, 1), "{least:?}");
    let most = chunks(Duration::from_hours(1));
    assert!(most.len() < 12 && most.contains(&63), "{most:?}");
    assert!(most.iter().sum::<usize>() == 401 && least.iter().sum::<usize>() == 401);
}
