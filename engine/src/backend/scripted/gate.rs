//! When a decode returns, decided by the host.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A gate in front of every decode of one backend: a test closes it to hold a lane in the middle of a
/// step, instead of sleeping and hoping.
///
/// A closed gate holds the decode for ever: open it before joining the lane's thread.
///
/// It waits on a condition variable, so a decode at a closed gate blocks: that is what it is for. No
/// other part of the engine may use it.
#[derive(Clone, Default)]
pub struct Gate(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    /// Decodes that may pass although it is closed.
    passes: u64,
    /// Decodes that came to the gate, whether they passed or wait.
    arrivals: u64,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gate").field(&*self.state()).finish()
    }
}

impl Gate {
    /// An open gate.
    pub fn open_at_first() -> Self {
        Self::default()
    }

    /// A closed gate: the first decode waits.
    pub fn closed() -> Self {
        let gate = Self::default();
        gate.close();
        gate
    }

    /// Lets everything through from now on.
    pub fn open(&self) {
        let mut state = self.state();
        state.closed = false;
        state.passes = 0;
        self.0.changed.notify_all();
    }

    /// Holds the next decode.
    pub fn close(&self) {
        self.state().closed = true;
    }

    /// Lets `decodes` more through a closed gate.
    pub fn let_through(&self, decodes: u64) {
        self.state().passes += decodes;
        self.0.changed.notify_all();
    }

    /// Decodes that have come to the gate so far, whether they passed or wait.
    pub fn arrivals(&self) -> u64 {
        self.state().arrivals
    }

    /// Waits until `arrivals` decodes in all have come to the gate. With a closed gate and one more
    /// than it let through, this is the moment when the lane is held inside a decode.
    pub fn wait_for_arrivals(&self, arrivals: u64) {
        let reached = self.0.changed.wait_while(self.state(), |state| state.arrivals < arrivals);
        drop(reached.unwrap_or_else(PoisonError::into_inner));
    }

    /// A decode comes to the gate.
    pub(super) fn pass(&self) {
        let mut state = self.state();
        state.arrivals += 1;
        self.0.changed.notify_all();
        let held = |state: &mut State| state.closed && state.passes == 0;
        state = self.0.changed.wait_while(state, held).unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            state.passes -= 1;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked while it held the lock left nothing half done.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn an_open_gate_counts_and_lets_pass() {
        let gate = Gate::open_at_first();
        gate.pass();
        gate.pass();
        assert_eq!(gate.arrivals(), 2);
    }

    #[test]
    fn a_closed_gate_lets_through_exactly_what_it_is_told() {
        let gate = Gate::closed();
        let passed = Arc::new(AtomicU64::new(0));
        let lane = thread::spawn({
            let (gate, passed) = (gate.clone(), Arc::clone(&passed));
            move || {
                for _ in 0..4 {
                    gate.pass();
                    passed.fetch_add(1, Ordering::Release);
                }
            }
        });
        gate.wait_for_arrivals(1);
        assert_eq!(passed.load(Ordering::Acquire), 0);
        gate.let_through(2);
        gate.wait_for_arrivals(3);
        assert_eq!(passed.load(Ordering::Acquire), 2, "the third waits");
        gate.open();
        lane.join().unwrap();
        assert_eq!((passed.load(Ordering::Acquire), gate.arrivals()), (4, 4));
    }
}
