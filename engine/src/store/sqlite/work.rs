//! Waking those who wait for work.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Counts the commits of this process that may have brought work.
#[derive(Debug, Default)]
pub(super) struct WorkBell {
    rung: Mutex<u64>,
    changed: Condvar,
}

impl WorkBell {
    pub(super) fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
    }

    pub(super) fn rung(&self) -> u64 {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the bell has rung since `seen`, at most `at_most`. True when it has.
    pub(super) fn wait(&self, seen: u64, at_most: Duration) -> bool {
        let until = Instant::now() + at_most;
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        while *rung == seen {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let woken = self.changed.wait_timeout(rung, left);
            rung = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}
