//! Several threads at once: eight agents, a held decode, slow readers, an async reader.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use futures_core::Stream;
use latchless_engine::backend::scripted::Gate;
use latchless_engine::{
    Engine, EngineConfig, Event, FinishReason, Request, TokenStream, TryRecvError,
};

use super::support::{
    alone, assert_nothing_held, babble, endless, ready, started, stepped_with, text_of,
};

fn assert_send_sync<T: Send + Sync>(_: &T) {}
fn assert_send<T: Send>(_: &T) {}

/// Eight agents on eight threads through one engine: each gets the answer it would get alone.
#[test]
fn eight_agents_at_once_answer_as_if_alone() {
    const ROUNDS: usize = 20;
    let backend = || babble(30).sequences(5).batch_rows(16).build();
    let engine = Engine::start(backend(), EngineConfig::default()).unwrap();
    assert_send_sync(&engine);
    let agents: Vec<_> = (0..8)
        .map(|number| {
            let engine = engine.clone();
            thread::spawn(move || {
                let agent = engine.agent(&format!("agent {number}")).unwrap();
                let prompt = "p".repeat(1 + 7 * number);
                (0..ROUNDS)
                    .map(|_| {
                        let stream = engine.submit(agent, Request::text(&prompt)).unwrap();
                        assert_send(&stream);
                        let answer = stream.wait();
                        assert_eq!(answer.completion.reason, FinishReason::EndOfGeneration);
                        answer.text
                    })
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    for (number, agent) in agents.into_iter().enumerate() {
        let texts = agent.join().unwrap();
        let expected = alone(backend(), Request::text("p".repeat(1 + 7 * number))).text;
        assert_eq!(expected.len(), 30);
        assert!(texts.iter().all(|text| *text == expected), "agent {number}");
    }
    assert_nothing_held(&engine);
}

/// Requests that are read, dropped early and cancelled from elsewhere, on several threads: nothing is
/// left over, and no read ends without a completion.
#[test]
fn a_mix_of_readers_leaves_nothing_behind() {
    const ROUNDS: usize = 100;
    let engine = Engine::start(
        endless().sequences(3).batch_rows(8).build(),
        EngineConfig::default().stream_events(4),
    )
    .unwrap();
    let agents: Vec<_> = (0..6)
        .map(|number: usize| {
            let engine = engine.clone();
            thread::spawn(move || {
                let agent = engine.agent(&number.to_string()).unwrap();
                for round in 0..ROUNDS {
                    let request = Request::text("x".repeat(1 + round % 20)).max_tokens(12);
                    let mut stream = engine.submit(agent, request).unwrap();
                    match (number + round) % 4 {
                        0 => drop(stream),
                        1 => {
                            stream.recv();
                        }
                        2 => {
                            engine.cancel(stream.id());
                            let reason = stream.wait().completion.reason;
                            let ended = [FinishReason::Cancelled, FinishReason::Length];
                            assert!(ended.contains(&reason), "{reason}");
                        }
                        _ => {
                            let answer = stream.wait();
                            assert_eq!(answer.completion.reason, FinishReason::Length);
                            assert_eq!(answer.text, "on and on an");
                        }
                    }
                }
            })
        })
        .collect();
    for agent in agents {
        agent.join().unwrap();
    }
    engine.drain(Duration::MAX).unwrap();
    assert_nothing_held(&engine);
}

/// A submit returns while the lane is inside a decode, and its blocks are reserved by then.
#[test]
fn a_submit_does_not_wait_for_a_decode() {
    let gate = Gate::closed();
    let backend = babble(4).gate(&gate).build();
    let probe = backend.probe();
    let (engine, agent) = started(backend);
    let first = engine.submit(agent, Request::text("x").max_tokens(50)).unwrap();
    gate.wait_for_arrivals(1);
    let blocks = engine.pool().usage().used;
    // The lane cannot move before the gate opens, so these submits did not wait for it.
    let second = engine.submit(agent, Request::text("x").max_tokens(50)).unwrap();
    let mut third = engine.submit(agent, Request::text("x").max_tokens(50)).unwrap();
    assert_eq!(engine.pool().usage().used, 3 * blocks);
    assert_eq!(third.try_recv(), Err(TryRecvError::Empty));
    assert!(third.cancel());
    assert_eq!(probe.decodes(), 1, "still in the first decode");
    gate.open();
    assert_eq!(first.wait().text, second.wait().text);
    assert_eq!(third.wait().completion.reason, FinishReason::Cancelled);
    assert_nothing_held(&engine);
}

/// A reader that does not read pauses its own request and nobody else.
#[test]
fn a_slow_reader_pauses_only_itself() {
    let config = EngineConfig::default().stream_events(5);
    let (engine, mut lane, agent) = stepped_with(endless().build(), config);
    let submit = |tokens| engine.submit(agent, Request::text("x").max_tokens(tokens)).unwrap();
    let (mut slow, mut quick) = (submit(20), submit(20));
    let mut text = String::new();
    while quick.completion().is_none() {
        assert!(lane.step().progressed());
        text.push_str(&text_of(&ready(&mut quick)));
    }
    assert_eq!(text.len(), 20);
    let report = lane.step();
    assert!(!report.progressed());
    assert_eq!((report.running, report.decode_rows), (1, 0));
    // Each token that is taken makes room for one more.
    for taken in 0..3 {
        assert!(matches!(slow.try_recv(), Ok(Event::Token { .. })), "{taken}");
        assert_eq!(lane.run_until_idle(100).steps, 2);
    }
    assert_eq!(text_of(&ready(&mut slow)), "on and on"[3..8].to_owned());
    // Paused and cancelled: held text and completion still fit.
    lane.run_until_idle(100);
    slow.cancel();
    assert_eq!(lane.step().ended, 1);
    let events = ready(&mut slow);
    assert!(matches!(events.last(), Some(Event::Finished(_))));
    assert_eq!(events.len(), 6);
    assert_nothing_held(&engine);
}

/// A lane that sleeps because every reader is behind is woken by the reader that makes room.
#[test]
fn a_reader_that_makes_room_wakes_the_lane() {
    let config = EngineConfig::default().stream_events(1);
    let engine = Engine::start(endless().build(), config).unwrap();
    let agent = engine.agent("reader").unwrap();
    let submit = || engine.submit(agent, Request::text("x").max_tokens(500)).unwrap();
    let streams = [submit(), submit()];
    let readers = streams.map(|stream| thread::spawn(move || stream.wait()));
    for reader in readers {
        let answer = reader.join().unwrap();
        assert_eq!((answer.tokens.len(), answer.text.len()), (500, 500));
    }
    assert_nothing_held(&engine);
}

struct Wakes {
    thread: thread::Thread,
    count: AtomicU32,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.count.fetch_add(1, Ordering::AcqRel);
        self.thread.unpark();
    }
}

/// The stream as a `futures_core::Stream`: woken for each event, ready with `None` at the end.
#[test]
fn an_async_reader_gets_every_event() {
    let gate = Gate::closed();
    let (engine, agent) = started(endless().gate(&gate).build());
    let mut stream = engine.submit(agent, Request::text("x").max_tokens(9)).unwrap();
    let wakes = Arc::new(Wakes { thread: thread::current(), count: AtomicU32::new(0) });
    let waker = Waker::from(Arc::clone(&wakes));
    let mut context = Context::from_waker(&waker);
    let mut poll = |stream: &mut TokenStream| Pin::new(stream).poll_next(&mut context);

    gate.wait_for_arrivals(1);
    assert_eq!(poll(&mut stream), Poll::Pending);
    assert_eq!(wakes.count.load(Ordering::Acquire), 0);
    gate.open();
    let mut events = Vec::new();
    loop {
        match poll(&mut stream) {
            Poll::Ready(Some(event)) => events.push(event),
            Poll::Ready(None) => break,
            Poll::Pending => thread::park(),
        }
    }
    assert!(wakes.count.load(Ordering::Acquire) > 0);
    assert_eq!(text_of(&events), "on and on");
    assert_eq!(events.len(), 10);
    assert_eq!(poll(&mut stream), Poll::Ready(None), "stays ended");
    assert_nothing_held(&engine);
}

#[test]
fn a_read_after_the_end_says_so() {
    let (engine, agent) = started(babble(3).build());
    let mut stream = engine.submit(agent, Request::text("x")).unwrap();
    assert_eq!(stream.events().count(), 4);
    assert_eq!(stream.try_recv(), Err(TryRecvError::Ended));
    assert_eq!(stream.recv(), None);
    let completion = stream.completion().cloned();
    assert_eq!(stream.wait().completion, completion.unwrap());
}
