//! A state machine under six threads.

use std::sync::{Arc, Mutex};

use latchless::AgentState::{Assistant, Response, ToolExecution};
use latchless::{StateMachine, StateSnapshot};
use shuttle::thread;

use crate::explore;

/// Whether one change leads from `a` to `b`: along an edge, with the flag gone when a turn ends, or of the flag
/// alone.
fn follows(a: StateSnapshot, b: StateSnapshot) -> bool {
    let kept = a.completion_detected() && a.state() != Response;
    let went = a.state().may_become(b.state()) && b.completion_detected() == kept;
    b.version() == a.version() + 1 && (went || a.state() == b.state())
}

/// What all of them did is one walk: each change has a number of its own, and each leads on from the one
/// before. Who decided by a snapshot was not overtaken.
#[test]
fn all_changes_are_one_walk() {
    explore("a state machine", || {
        let machine = Arc::new(StateMachine::new());
        let changes = Arc::new(Mutex::new(vec![machine.snapshot()]));
        let threads = [0, 1, 2, 3, 4, 5].map(|i| {
            let (machine, changes) = (Arc::clone(&machine), Arc::clone(&changes));
            thread::spawn(move || {
                let mut mine = Vec::new();
                for to in [[Assistant, Response], [ToolExecution, Assistant]][i % 2] {
                    let seen = machine.snapshot();
                    let made = match i / 2 {
                        0 => machine.transition(to).ok(),
                        1 => machine.transition_from(seen, to).ok(),
                        _ => machine.set_completion_from(seen, i == 4).ok(),
                    };
                    assert!(i < 2 || made.is_none_or(|now| now.version() == seen.version() + 1));
                    mine.extend(made);
                }
                changes.lock().unwrap().extend(mine);
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        let mut changes = std::mem::take(&mut *changes.lock().unwrap());
        changes.sort_by_key(|change| change.version());
        for pair in changes.windows(2) {
            assert!(follows(pair[0], pair[1]), "{pair:?}");
        }
        assert_eq!(changes.last(), Some(&machine.snapshot()), "a change was lost");
    });
}
