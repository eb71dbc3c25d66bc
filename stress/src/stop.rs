//! The end of a run: once, and for one reason.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::failure::Failure;
use crate::part::Kind;
use crate::violation::Violation;

/// An invariant that did not hold, and where.
#[derive(Debug, Clone)]
pub(crate) struct Broken {
    pub(crate) violation: Violation,
    /// The part of the system; none when it concerns the whole process.
    pub(crate) part: Option<Kind>,
    /// The round of that part.
    pub(crate) round: u64,
    /// The thread that saw it; none when the check or the watcher did.
    pub(crate) thread: Option<u16>,
}

/// Tells all threads that it is over.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    /// Read by every worker before each decision.
    now: AtomicBool,
    interrupted: AtomicBool,
    broken: Mutex<Option<Broken>>,
    failed: Mutex<Option<Failure>>,
}

impl Stop {
    /// No more decisions.
    pub(crate) fn stop(&self) {
        self.now.store(true, Ordering::Release);
    }

    /// The same, because somebody wishes so.
    pub(crate) fn interrupt(&self) {
        self.interrupted.store(true, Ordering::Release);
        self.stop();
    }

    /// The same, because something does not hold. The first one counts: what follows may follow from it.
    pub(crate) fn broken(&self, broken: Broken) {
        self.first_broken().get_or_insert(broken);
        self.stop();
    }

    /// The same, because the machine does not give what the run needs.
    pub(crate) fn failed(&self, failure: Failure) {
        self.first_failure().get_or_insert(failure);
        self.stop();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.now.load(Ordering::Acquire)
    }

    pub(crate) fn was_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Acquire)
    }

    pub(crate) fn what_broke(&self) -> Option<Broken> {
        self.first_broken().clone()
    }

    pub(crate) fn what_failed(&self) -> Option<Failure> {
        self.first_failure().clone()
    }

    /// Whether nothing broke, and the machine did not fail: else what is left behind says nothing any more.
    pub(crate) fn is_sound(&self) -> bool {
        self.first_broken().is_none() && self.first_failure().is_none()
    }

    fn first_broken(&self) -> MutexGuard<'_, Option<Broken>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn first_failure(&self) -> MutexGuard<'_, Option<Failure>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
