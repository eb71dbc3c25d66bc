//! Waking the thread that reads a stream or waits for a drain.

use std::sync::Arc;
use std::task::{Wake, Waker};

use crate::sync::{AtomicWaker, Thread, contain, current_thread};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Wakes whom a host has registered. That runs the host's code on a thread that serves others, too: a panic
/// of it ends here.
pub(crate) fn wake(cell: &AtomicWaker) {
    if !contain(|| cell.wake()) {
        tracing::error!("a waker panicked; its task may never run again");
    }
}

#[cfg(not(latchless_loom))]
thread_local! {
    /// One waker a thread: [`atomic_waker::AtomicWaker`] keeps a waker that would wake the same thread,
    /// so a reader that waits a thousand times clones it once.
    static THREAD: Waker = Waker::from(Arc::new(Unpark(current_thread())));
}

/// A waker that unparks the calling thread.
pub(crate) fn thread_waker() -> Waker {
    // A model's threads are all on one of the system's.
    #[cfg(latchless_loom)]
    return Waker::from(Arc::new(Unpark(current_thread())));
    // A destructor of another thread-local may come after ours is gone.
    #[cfg(not(latchless_loom))]
    THREAD
        .try_with(Waker::clone)
        .unwrap_or_else(|_| Waker::from(Arc::new(Unpark(current_thread()))))
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn the_same_thread_has_the_same_waker() {
        let here = thread_waker();
        assert!(here.will_wake(&thread_waker()));
        let there = thread::spawn(thread_waker).join().unwrap();
        assert!(!here.will_wake(&there));
    }
}
