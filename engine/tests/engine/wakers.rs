//! Wakers are a host's code on a lane's thread: what they do there harms nobody else.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use futures_core::Stream;
use latchless_engine::backend::scripted::{DecodeFault, DecodeTrigger, Gate};
use latchless_engine::{Engine, EngineConfig, FinishReason, Request, RequestError, TokenStream};

use super::support::{assert_nothing_held, endless, ready, reason, stepped, text_of};

/// Panics whenever it is woken.
struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker's own affair");
    }
}

/// Registers a waker with a stream that has nothing to give yet.
fn register(stream: &mut TokenStream, waker: &Waker) {
    assert!(Pin::new(stream).poll_next(&mut Context::from_waker(waker)).is_pending());
}

/// A waker that panics at every token: the lane goes on, the others are answered, and so is its own
/// stream, for whoever looks.
#[test]
fn a_waker_that_panics_stops_no_lane() {
    let (engine, mut lane, agent) = stepped(endless().build());
    let submit = || engine.submit(agent, Request::text("x").max_tokens(9)).unwrap();
    let (mut stream, mut other) = (submit(), submit());
    let panics = Waker::from(Arc::new(Panics));
    let mut events = Vec::new();
    while stream.completion().is_none() {
        register(&mut stream, &panics);
        lane.step();
        events.extend(ready(&mut stream));
    }
    assert_eq!(text_of(&events), "on and on");
    assert_eq!(text_of(&ready(&mut other)), "on and on");
    assert_eq!(reason(&mut other), FinishReason::Length);
    assert_nothing_held(&engine);
}

/// A lane that panics ends its streams while it unwinds; a second panic that left one of their wakers would end
/// the process.
#[test]
fn a_waker_that_panics_while_its_lane_does_ends_no_process() {
    let backend = endless().fail_decode(DecodeTrigger::Decode(0), DecodeFault::Panic).build();
    let (engine, mut lane, agent) = stepped(backend);
    let mut stream = engine.submit(agent, Request::text("x")).unwrap();
    register(&mut stream, &Waker::from(Arc::new(Panics)));
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        lane.step();
    }));
    assert!(unwound.is_err());
    assert_eq!(reason(&mut stream), FinishReason::Failed(RequestError::LaneGone));
    assert_nothing_held(&engine);
}

/// A stream's waker goes with the stream, on its reader's thread, and not when the lane lets go of the request.
#[test]
fn a_waker_is_dropped_with_its_stream() {
    struct Counted;
    impl Wake for Counted {
        fn wake(self: Arc<Self>) {}
    }

    let (engine, mut lane, agent) = stepped(endless().build());
    let mut stream = engine.submit(agent, Request::text("x")).unwrap();
    let counted = Arc::new(Counted);
    register(&mut stream, &Waker::from(Arc::clone(&counted)));
    assert_eq!(Arc::strong_count(&counted), 2);
    drop(stream);
    assert_eq!(Arc::strong_count(&counted), 1);
    assert_eq!(lane.step().ended, 1);
}

/// A waker that shuts the engine down waits for no lane: not for its own, and not for another one, which may be
/// in a decode, or in a waker that waits for this one.
#[test]
fn a_waker_that_shuts_down_waits_for_no_lane() {
    struct ShutsDown(Engine, Mutex<Sender<()>>);
    impl Wake for ShutsDown {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().send(()).unwrap();
            self.0.shutdown();
        }
    }

    let gates = [Gate::closed(), Gate::closed()];
    let contexts = gates.each_ref().map(|gate| endless().gate(gate).build());
    let engine = Engine::start_lanes(contexts, EngineConfig::default()).unwrap();
    // The second agent goes to the lane that has nothing to do.
    let [mut first, second] = [0, 1].map(|index: usize| {
        let agent = engine.agent(&index.to_string()).unwrap();
        let stream = engine.submit(agent, Request::text("x").max_tokens(100)).unwrap();
        gates[index].wait_for_arrivals(1);
        stream
    });
    let (woken, has_woken) = channel();
    register(&mut first, &Arc::new(ShutsDown(engine.clone(), Mutex::new(woken))).into());
    gates[0].open();
    has_woken.recv().unwrap();
    // The other lane is in its decode and stays there.
    assert_eq!(first.wait().completion.reason, FinishReason::Shutdown);
    gates[1].open();
    assert_eq!(second.wait().completion.reason, FinishReason::Shutdown);
    engine.shutdown();
    assert_nothing_held(&engine);
}
