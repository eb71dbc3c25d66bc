//! The garage: lanes between two steps. The run's own threads step them, so that they can be frozen in the
//! middle of a step.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use latchless_engine::Lane;
use latchless_engine::backend::Backend;

/// How long a thread without work sleeps.
const NAP: Duration = Duration::from_micros(50);

/// Lanes that nobody steps right now.
pub(super) struct Garage<B: Backend>(Mutex<VecDeque<Lane<B>>>);

impl<B: Backend> Default for Garage<B> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<B: Backend> Garage<B> {
    pub(super) fn park(&self, lanes: impl IntoIterator<Item = Lane<B>>) {
        self.lanes().extend(lanes);
    }

    /// Steps the lane that has waited longest; one that is closed is dropped. `false`: there was none.
    pub(super) fn step(&self) -> bool {
        let Some(mut lane) = self.take() else {
            thread::sleep(NAP);
            return false;
        };
        let report = lane.step();
        if report.closed {
            return true;
        }
        self.park([lane]);
        if !report.progressed() {
            thread::sleep(NAP);
        }
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lanes().is_empty()
    }

    fn take(&self) -> Option<Lane<B>> {
        self.lanes().pop_front()
    }

    fn lanes(&self) -> MutexGuard<'_, VecDeque<Lane<B>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
