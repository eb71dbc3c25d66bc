//! More requests than cells: who gives way, who goes on, and that all come to their end.

use latchless_engine::backend::scripted::{Probe, ScriptedBackend};
use latchless_engine::{EngineConfig, FinishReason, Priority, Request, RequestError, TokenStream};

use super::support::{
    ENOUGH, alone, assert_nothing_held, babble, endless, ready, reason, stepped_with, text_of,
};

const TOKENS: u32 = 40;

fn prompt(index: usize) -> String {
    format!("{index}: a prompt of a few dozen tokens")
}

/// Blocks for everybody, and cells for two requests and a bit.
fn scarce() -> (ScriptedBackend, EngineConfig, Probe) {
    let backend = babble(TOKENS).cells(180).build();
    let probe = backend.probe();
    (backend, EngineConfig::default().blocks(1_000), probe)
}

fn assert_undisturbed(stream: &mut TokenStream, prompt: &str) {
    let events = ready(stream);
    let completion = stream.completion().expect("it has ended");
    assert_eq!(completion.reason, FinishReason::EndOfGeneration, "{prompt}");
    assert_eq!(text_of(&events), alone(babble(TOKENS).build(), Request::text(prompt)).text);
}

/// Nobody fails, and everybody says what they would have said alone.
#[test]
fn requests_give_way_and_come_back() {
    let (backend, config, probe) = scarce();
    let (engine, mut lane, agent) = stepped_with(backend, config);
    let mut streams: Vec<_> =
        (0..8).map(|index| engine.submit(agent, Request::text(prompt(index))).unwrap()).collect();
    let mut parked = 0;
    let mut unfinished = true;
    for _ in 0..ENOUGH {
        let report = lane.step();
        parked += report.parked;
        unfinished = report.running + report.waiting > 0;
        if !report.progressed() {
            break;
        }
    }
    assert!(!unfinished);
    for (index, stream) in streams.iter_mut().enumerate() {
        assert_undisturbed(stream, &prompt(index));
    }
    assert!(parked > 0 && probe.parked() == u64::from(parked));
    assert_eq!(probe.unparked(), u64::from(parked), "everybody came back");
    assert_nothing_held(&engine);
}

/// The most urgent of the oldest never gives way.
#[test]
fn the_most_urgent_goes_on() {
    let (backend, config, _) = scarce();
    let (engine, mut lane, agent) = stepped_with(backend, config);
    let submit = |index, priority| {
        engine.submit(agent, Request::text(prompt(index)).priority(priority)).unwrap()
    };
    let mut low: Vec<_> = (0..4).map(|index| submit(index, Priority::Low)).collect();
    lane.step();
    let mut high = submit(4, Priority::High);
    let mut steps = 0;
    while high.completion().is_none() {
        lane.step();
        ready(&mut high);
        steps += 1;
    }
    assert!(steps <= TOKENS + 3, "a token in each step, {steps}");
    lane.run_until_idle(ENOUGH);
    for (index, stream) in low.iter_mut().enumerate() {
        assert_undisturbed(stream, &prompt(index));
    }
}

/// Readers that never read have every sequence. Whoever comes later gets one all the same, and they go on
/// where they were as soon as they read.
#[test]
fn frozen_readers_do_not_keep_their_sequences_from_others() {
    let backend = babble(TOKENS).sequences(2).build();
    let config = EngineConfig::default().blocks(1_000).stream_events(4);
    let (engine, mut lane, agent) = stepped_with(backend, config);
    let submit = |index| engine.submit(agent, Request::text(prompt(index))).unwrap();
    let mut frozen = [submit(0), submit(1)];
    lane.run_until_idle(ENOUGH);
    // One after the other, and the second while the first one is read: with somebody else who goes on, too.
    let mut others = [submit(2), submit(3)];
    let mut texts = [String::new(), String::new()];
    for _ in 0..ENOUGH {
        lane.step();
        for (other, text) in others.iter_mut().zip(&mut texts) {
            text.push_str(&text_of(&ready(other)));
        }
    }
    for (index, (other, text)) in others.iter().zip(&texts).enumerate() {
        assert!(other.completion().is_some_and(|end| end.reason.is_success()), "{index}");
        let request = Request::text(prompt(index + 2));
        assert_eq!(*text, alone(babble(TOKENS).build(), request).text);
    }
    let mut texts = [String::new(), String::new()];
    for _ in 0..ENOUGH {
        lane.step();
        for (late, text) in frozen.iter_mut().zip(&mut texts) {
            text.push_str(&text_of(&ready(late)));
        }
    }
    for (index, text) in texts.iter().enumerate() {
        assert_eq!(*text, alone(babble(TOKENS).build(), Request::text(prompt(index))).text);
    }
    assert_nothing_held(&engine);
}

/// One of two readers is behind for a moment: nobody is parked for that. When it stays behind, it gives its
/// sequence to who waits.
#[test]
fn a_reader_has_some_steps_before_its_request_gives_way() {
    let backend = endless().sequences(2).build();
    let config = EngineConfig::default().blocks(1_000).stream_events(4);
    let (engine, mut lane, agent) = stepped_with(backend, config);
    let submit = || engine.submit(agent, Request::text("?").max_tokens(200)).unwrap();
    let (_behind, mut read) = (submit(), submit());
    for _ in 0..8 {
        lane.step();
        ready(&mut read);
    }
    let mut third = submit();
    let mut steps = 0;
    while ready(&mut third).is_empty() {
        assert_eq!(lane.step().parked, u32::from(steps == 15), "{steps}");
        ready(&mut read);
        steps += 1;
        assert!(steps < 20);
    }
}

/// A reader that never reads costs its own request, which gives way to those that can go on, and ends
/// whole when it is read after all.
#[test]
fn a_frozen_reader_gives_its_cells_to_others() {
    let (backend, config, _) = scarce();
    let (engine, mut lane, agent) = stepped_with(backend, config.stream_events(20));
    let mut frozen = engine.submit(agent, Request::text(prompt(0))).unwrap();
    lane.run_until_idle(ENOUGH);
    assert_eq!(lane.run_until_idle(1).unfinished, 1);
    let mut others: Vec<_> =
        (1..7).map(|index| engine.submit(agent, Request::text(prompt(index))).unwrap()).collect();
    let mut texts = vec![String::new(); others.len()];
    let mut parked = 0;
    for _ in 0..ENOUGH {
        parked += lane.step().parked;
        for (stream, text) in others.iter_mut().zip(&mut texts) {
            text.push_str(&text_of(&ready(stream)));
        }
    }
    for (index, (stream, text)) in others.iter_mut().zip(texts).enumerate() {
        assert_eq!(reason(stream), FinishReason::EndOfGeneration);
        let whole = alone(babble(TOKENS).build(), Request::text(prompt(index + 1))).text;
        assert_eq!(text, whole);
    }
    assert!(parked > 0);
    let mut text = String::new();
    while frozen.completion().is_none() {
        text.push_str(&text_of(&ready(&mut frozen)));
        lane.step();
    }
    assert_eq!(text, alone(babble(TOKENS).build(), Request::text(prompt(0))).text);
    assert_nothing_held(&engine);
}

/// With too little host memory for their states, requests are computed again, and say the same.
#[test]
fn what_is_not_kept_is_computed_again() {
    // A script's state has 4 bytes a token: none, one at a time, and all of them fit.
    for (bytes, least, most) in [(0, 1, u32::MAX), (4 * 80, 1, u32::MAX), (1 << 20, 0, 0)] {
        let (backend, config, probe) = scarce();
        let (engine, mut lane, agent) = stepped_with(backend, config.parked_bytes(bytes));
        let mut streams: Vec<_> = (0..8)
            .map(|index| engine.submit(agent, Request::text(prompt(index))).unwrap())
            .collect();
        let (mut parked, mut dropped) = (0, 0);
        for _ in 0..ENOUGH {
            let report = lane.step();
            (parked, dropped) = (parked + report.parked, dropped + report.dropped);
            if report.running + report.waiting == 0 {
                break;
            }
        }
        let mut recomputed = 0;
        for (index, stream) in streams.iter_mut().enumerate() {
            assert_undisturbed(stream, &prompt(index));
            recomputed += stream.completion().unwrap().usage.recomputed_tokens;
        }
        assert!((least..=most).contains(&dropped), "{bytes}: {dropped} of {parked}");
        assert_eq!(probe.parked(), u64::from(parked - dropped));
        assert_eq!(recomputed > 0, dropped > 0);
        if bytes > 0 {
            assert!(parked > dropped, "{bytes}: one state fits");
        }
        assert_nothing_held(&engine);
    }
}

/// A request that is computed again draws nothing before its reader has taken what is there.
#[test]
fn a_dropped_request_waits_for_its_reader() {
    let (backend, config, _) = scarce();
    let config = config.stream_events(20).parked_bytes(0);
    let (engine, mut lane, agent) = stepped_with(backend, config);
    let mut slow = engine.submit(agent, Request::text(prompt(0))).unwrap();
    lane.run_until_idle(ENOUGH);
    let mut others: Vec<_> =
        (1..5).map(|index| engine.submit(agent, Request::text(prompt(index))).unwrap()).collect();
    let mut dropped = 0;
    while others.iter().any(|stream| stream.completion().is_none()) {
        dropped += lane.step().dropped;
        for stream in &mut others {
            ready(stream);
        }
    }
    assert!(dropped > 0);
    let mut text = String::new();
    while slow.completion().is_none() {
        text.push_str(&text_of(&ready(&mut slow)));
        lane.step();
    }
    assert_eq!(text, alone(babble(TOKENS).build(), Request::text(prompt(0))).text);
    assert!(slow.completion().unwrap().usage.recomputed_tokens > 0);
    assert_nothing_held(&engine);
}

/// Idle sequences go before anybody who runs.
#[test]
fn idle_sequences_go_first() {
    let (backend, config, probe) = scarce();
    let (engine, mut lane, agent) = stepped_with(backend, config);
    let mut evicted = 0;
    for index in 0..6 {
        let mut stream = engine.submit(agent, Request::text(prompt(index))).unwrap();
        while stream.completion().is_none() {
            evicted += lane.step().evicted;
            ready(&mut stream);
        }
    }
    assert!(evicted >= 3, "{evicted}");
    assert_eq!(probe.parked(), 0);
}

/// A backend that cannot park computes smaller batches, and not everybody fails.
#[test]
fn without_parking_the_batch_shrinks_and_the_oldest_goes_on() {
    let backend = babble(TOKENS).cells(180).fail_park().build();
    let (engine, mut lane, agent) = stepped_with(backend, EngineConfig::default().blocks(1_000));
    let mut streams: Vec<_> =
        (0..4).map(|index| engine.submit(agent, Request::text(prompt(index))).unwrap()).collect();
    lane.run_until_idle(ENOUGH);
    assert_undisturbed(&mut streams[0], &prompt(0));
    assert!(reason(&mut streams[1]).is_success());
    assert_nothing_held(&engine);
}

/// What cannot be brought back fails with a reason of its own, when nobody else could go on.
#[test]
fn what_cannot_be_brought_back_fails_alone() {
    let backend = babble(TOKENS).cells(180).fail_unpark().build();
    let (engine, mut lane, agent) = stepped_with(backend, EngineConfig::default().blocks(1_000));
    let mut streams: Vec<_> =
        (0..4).map(|index| engine.submit(agent, Request::text(prompt(index))).unwrap()).collect();
    assert_eq!(lane.run_until_idle(ENOUGH).unfinished, 0);
    assert_undisturbed(&mut streams[0], &prompt(0));
    let mut failed = 0;
    for stream in &mut streams[1..] {
        match reason(stream) {
            FinishReason::Failed(RequestError::Unpark(_)) => failed += 1,
            reason => assert!(reason.is_success(), "{reason}"),
        }
    }
    assert!(failed > 0);
    assert_nothing_held(&engine);
}

/// A request that is parked can be cancelled, and goes with the engine.
#[test]
fn a_parked_request_can_be_ended() {
    let (backend, config, _) = scarce();
    let (engine, mut lane, agent) = stepped_with(backend, config);
    let mut streams: Vec<_> =
        (0..6).map(|index| engine.submit(agent, Request::text(prompt(index))).unwrap()).collect();
    while lane.step().parked == 0 {}
    // The youngest gave way first.
    let mut last = streams.pop().unwrap();
    assert!(last.cancel());
    lane.step();
    assert_eq!(reason(&mut last), FinishReason::Cancelled);
    assert!(last.completion().unwrap().blocks_freed > 0);
    while lane.step().parked == 0 {}
    engine.shutdown();
    lane.step();
    for stream in &mut streams {
        let reason = reason(stream);
        assert!(reason == FinishReason::Shutdown || reason.is_success(), "{reason}");
    }
    assert_nothing_held(&engine);
}
