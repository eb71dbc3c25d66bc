//! Threads of a host that end while something of an engine is theirs.

use std::cell::RefCell;
use std::sync::mpsc;
use std::thread;

use latchless::LayerId;
use latchless_engine::backend::scripted::{Gate, Script, ScriptedBackend};
use latchless_engine::{Answer, Engine, EngineConfig, Request, TokenStream};

fn held(gate: &Gate) -> Engine {
    let script = Script::Text("It scatters.".into());
    let backend = ScriptedBackend::builder(script).gate(gate).build();
    Engine::start(backend, EngineConfig::default()).unwrap()
}

fn submit(engine: &Engine) -> TokenStream {
    let agent = engine.agent("planner").unwrap();
    engine.submit(agent, Request::text("Why?")).unwrap()
}

/// The lane wakes whoever waited last, also a thread that is not there any more; the next one looks first.
#[test]
fn a_stream_goes_on_in_another_thread_when_its_reader_has_ended() {
    let gate = Gate::closed();
    let engine = held(&gate);
    let mut stream = submit(&engine);
    let (reader_gate, text) = (gate.clone(), "It scatters.");
    let reader = thread::spawn(move || {
        reader_gate.let_through(1);
        let first = stream.recv().unwrap();
        (stream, first)
    });
    let (mut stream, first) = reader.join().unwrap();
    gate.open();
    let rest: String = stream.events().map(|event| event.text().to_owned()).collect();
    assert_eq!(first.text().to_owned() + &rest, text);
}

/// What a thread does when its thread-local values are dropped: the thread's waker may be gone by then.
#[test]
fn a_stream_is_read_to_its_end_while_its_thread_is_torn_down() {
    struct Last(Option<(TokenStream, mpsc::Sender<Answer>)>);
    impl Drop for Last {
        fn drop(&mut self) {
            if let Some((stream, answers)) = self.0.take() {
                answers.send(stream.wait()).unwrap();
            }
        }
    }
    thread_local! {
        static LAST: RefCell<Last> = const { RefCell::new(Last(None)) };
    }

    let gate = Gate::closed();
    let engine = held(&gate);
    for waits_before in [false, true] {
        let (answers, answer) = mpsc::channel();
        let stream = submit(&engine);
        let other = submit(&engine);
        gate.open();
        thread::spawn(move || {
            // With a waker of this thread that was made before, or without one.
            if waits_before {
                assert!(other.wait().completion.reason.is_success());
            }
            LAST.with(|last| last.borrow_mut().0 = Some((stream, answers)));
        })
        .join()
        .unwrap();
        assert_eq!(answer.recv().unwrap().text, "It scatters.");
    }
}

#[test]
fn a_lease_is_given_back_while_its_thread_is_torn_down() {
    thread_local! {
        static KEPT: RefCell<Vec<latchless::OwnedLease>> = const { RefCell::new(Vec::new()) };
    }
    let engine = held(&Gate::closed());
    let (pool, agent) = (engine.pool(), engine.agent("planner").unwrap());
    let lender = pool.clone();
    thread::spawn(move || {
        let lease = lender.allocate_owned(agent, LayerId(0), 5).unwrap();
        KEPT.with(|kept| kept.borrow_mut().push(lease));
        assert_eq!(lender.usage().used, 5);
    })
    .join()
    .unwrap();
    assert_eq!(pool.usage().used, 0);
}

/// A thread that panics with a stream in its hands cancels it, and nobody else hears of it.
#[test]
fn a_reader_that_panics_cancels_its_request() {
    let gate = Gate::closed();
    let engine = held(&gate);
    let stream = submit(&engine);
    let reader = thread::spawn(move || {
        let _stream = stream;
        std::panic::resume_unwind(Box::new("the host's own"));
    });
    assert!(reader.join().is_err());
    gate.open();
    engine.drain(std::time::Duration::MAX).unwrap();
    assert_eq!(engine.snapshot().lanes[0].ended.cancelled, 1);
    assert_eq!(submit(&engine).wait().text, "It scatters.");
}
