//! The end of a run: once, and for one reason.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

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

    pub(crate) fn is_stopped(&self) -> bool {
        self.now.load(Ordering::Acquire)
    }

    pub(crate) fn was_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Acquire)
    }

    pub(crate) fn what_broke(&self) -> Option<Broken> {
        self.first_broken().clone()
    }

    fn first_broken(&self) -> std::sync::MutexGuard<'_, Option<Broken>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
