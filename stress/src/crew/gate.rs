//! Where the threads of a round wait for each other, so that they begin together; or for the word that some of
//! them never come.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A barrier that whoever makes the threads can give up.
#[derive(Debug)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// So many have not come yet.
    Missing(u16),
    Open,
    Shut,
}

impl Gate {
    pub(super) fn new(threads: u16) -> Self {
        Self { state: Mutex::new(State::Missing(threads)), changed: Condvar::new() }
    }

    /// Waits until all are there. `false`: some never come, and nobody may begin.
    pub(super) fn pass(&self) -> bool {
        let mut state = self.state();
        if let State::Missing(missing) = *state {
            *state = if missing > 1 { State::Missing(missing - 1) } else { State::Open };
        }
        if *state == State::Open {
            self.changed.notify_all();
        }
        let waits = |state: &mut State| matches!(state, State::Missing(_));
        let state = self.changed.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner);
        *state == State::Open
    }

    /// Not all threads come: those that are here go.
    pub(super) fn shut(&self) {
        *self.state() = State::Shut;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU16, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn all_pass_when_all_are_there() {
        let (gate, here) = (Gate::new(3), AtomicU16::new(0));
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    here.fetch_add(1, Ordering::AcqRel);
                    assert!(gate.pass());
                    assert_eq!(here.load(Ordering::Acquire), 3, "nobody begins before the last");
                });
            }
        });
    }

    #[test]
    fn nobody_waits_for_a_thread_that_never_comes() {
        let gate = Gate::new(3);
        thread::scope(|scope| {
            let waiting = [(); 2].map(|()| scope.spawn(|| gate.pass()));
            gate.shut();
            assert!(waiting.into_iter().all(|waiting| !waiting.join().unwrap()));
        });
        assert!(!gate.pass(), "who comes later does not wait either");
    }
}
