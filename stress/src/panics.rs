//! A waker that panics: code of a host, or of a task, that runs on the thread of whoever wakes it.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Wake;

/// Panics whenever it is woken, and counts it.
#[derive(Debug, Default)]
pub(crate) struct Panics(AtomicU64);

impl Panics {
    /// How often it was woken so far.
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        // Not `panic!`, whose hook would print.
        resume_unwind(Box::new(Planned));
    }
}

/// What such a waker throws.
struct Planned;

/// Runs what may wake such a waker on this thread; `None` when it did. Any other panic goes on.
pub(crate) fn catch<R>(wakes: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(wakes)) {
        Ok(result) => Some(result),
        Err(thrown) if thrown.is::<Planned>() => None,
        Err(thrown) => resume_unwind(thrown),
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn it_panics_each_time_and_counts() {
        let panics = Arc::new(Panics::default());
        let waker = Waker::from(Arc::clone(&panics));
        assert_eq!(catch(|| waker.wake_by_ref()), None);
        let waker = Waker::from(Arc::clone(&panics));
        assert_eq!(catch(|| waker.wake()), None);
        assert_eq!(panics.count(), 2);
    }

    #[test]
    fn a_panic_that_was_not_planned_goes_on() {
        let other = || resume_unwind(Box::new("another"));
        let gone_on = catch_unwind(|| catch::<()>(other));
        assert!(gone_on.is_err_and(|thrown| thrown.is::<&str>()));
        assert_eq!(catch(|| 7), Some(7));
    }
}
