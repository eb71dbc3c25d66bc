//! Waking the thread that reads a stream or waits for a drain.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::{self, Thread};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

thread_local! {
    /// One waker a thread: [`atomic_waker::AtomicWaker`] keeps a waker that would wake the same thread,
    /// so a reader that waits a thousand times clones it once.
    static THREAD: Waker = Waker::from(Arc::new(Unpark(thread::current())));
}

/// A waker that unparks the calling thread.
pub(crate) fn thread_waker() -> Waker {
    // A destructor of another thread-local may come after ours is gone.
    THREAD
        .try_with(Waker::clone)
        .unwrap_or_else(|_| Waker::from(Arc::new(Unpark(thread::current()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_thread_has_the_same_waker() {
        let here = thread_waker();
        assert!(here.will_wake(&thread_waker()));
        let there = thread::spawn(thread_waker).join().unwrap();
        assert!(!here.will_wake(&there));
    }
}
