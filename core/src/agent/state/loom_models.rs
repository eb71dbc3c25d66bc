//! Models of the state machine: transitions that race are one after the other, and no half of one is
//! ever seen.

use loom::sync::Arc;
use loom::thread;

use super::AgentState::{Assistant, Response, ToolExecution};
use super::*;
use crate::sync::explore::explore;
use crate::sync::{AtomicU32, Ordering};

/// Two threads want different edges out of ASSISTANT. Exactly one order explains what both were told.
#[test]
fn loom_two_ways_out_of_a_state() {
    explore("state: two ways out", None, 5, || {
        let machine = Arc::new(StateMachine::new());
        machine.transition(Assistant).unwrap();
        let other = Arc::clone(&machine);
        let thread = thread::spawn(move || other.transition(ToolExecution));
        let mine = machine.transition(Response);
        let theirs = thread.join().unwrap();
        let end = machine.snapshot();
        assert_eq!((end.state(), mine.is_ok()), (Response, true), "RESPONSE follows both");
        match theirs {
            Ok(tools) => assert_eq!((tools.version(), end.version()), (2, 3)),
            Err(refused) => {
                assert_eq!(refused, TransitionRefused { from: Response, to: ToolExecution });
                assert_eq!(end.version(), 2);
            }
        }
    });
}

/// One thread detects completion while another ends the turn, by what it saw: the flag is in the turn
/// in which it was seen, or nowhere.
#[test]
fn loom_a_flag_stays_in_its_turn() {
    explore("state: a flag stays in its turn", None, 10, || {
        let machine = Arc::new(StateMachine::new());
        machine.transition(Assistant).unwrap();
        let seen = machine.transition(Response).unwrap();
        let other = Arc::clone(&machine);
        let thread = thread::spawn(move || other.set_completion_from(seen, true));
        let next = machine.transition(Assistant).expect("it is an edge");
        assert!(!next.completion_detected(), "the flag came over into the next turn");
        match thread.join().unwrap() {
            Ok(flagged) => assert!(flagged.is_completed() && next.version() == 4),
            Err(Overtaken { now, .. }) => assert_eq!((now, next.version()), (next, 3)),
        }
        assert_eq!(machine.snapshot(), next);
    });
}

/// Of two who decide by the same snapshot one succeeds; a third sees every step whole: the version tells
/// the state and the flag.
#[test]
fn loom_no_partial_state() {
    explore("state: no partial state", None, 100, || {
        let machine = Arc::new(StateMachine::new());
        let seen = machine.transition(Assistant).unwrap();
        let decide = |completes: bool| {
            let machine = Arc::clone(&machine);
            move || match completes {
                true => machine.set_completion_from(seen, true).is_ok(),
                false => machine.transition_from(seen, ToolExecution).is_ok(),
            }
        };
        let threads = [thread::spawn(decide(true)), thread::spawn(decide(false))];
        let look = machine.snapshot();
        let parts = (look.version(), look.state(), look.completion_detected());
        let whole = [(1, Assistant, false), (2, Assistant, true), (2, ToolExecution, false)];
        assert!(whole.contains(&parts), "{parts:?}");
        let won = threads.into_iter().map(|thread| thread.join().unwrap());
        assert_eq!(won.filter(|won| *won).count(), 1);
    });
}

/// What an agent did in a state is seen by whoever sees the next one. It is written and read relaxed: only
/// the machine passes it on.
#[test]
fn loom_what_was_done_is_seen_with_the_state() {
    explore("state: what was done is seen", None, 5, || {
        let machine = Arc::new((StateMachine::new(), AtomicU32::new(0)));
        let other = Arc::clone(&machine);
        let thread = thread::spawn(move || {
            if other.0.snapshot().state() == Assistant {
                assert_eq!(other.1.load(Ordering::Relaxed), 7, "the prompt was left behind");
            }
        });
        machine.1.store(7, Ordering::Relaxed);
        machine.0.transition(Assistant).unwrap();
        thread.join().unwrap();
    });
}
