//! What stands in a model for the parts that loom cannot see into: each behaves as its original's
//! documentation and source say, with loom's primitives inside. That the originals do so is theirs to prove.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use latchless::workspace::{AtomicBool, AtomicU32, AtomicUsize};
use loom::sync::{Condvar, Mutex, Notify};

use super::Ordering;

/// The system's list of who sleeps on a word. It looks at the word under a lock that a wake takes, too, as
/// Linux does.
#[derive(Debug, Default)]
pub(super) struct Sleepers {
    lock: Mutex<()>,
    woken: Condvar,
}

impl Sleepers {
    pub(super) fn wait(&self, word: &AtomicU32, expected: u32, _at_most: Option<Duration>) {
        let lock = self.lock.lock().unwrap();
        if word.load(Ordering::Relaxed) == expected {
            drop(self.woken.wait(lock).unwrap());
        }
    }

    pub(super) fn wake_all(&self) {
        let _lock = self.lock.lock().unwrap();
        self.woken.notify_all();
    }
}

loom::thread_local! {
    static HERE: Thread = Thread(Arc::new(Notify::new()));
}

/// A thread that can be unparked. loom's own takes an unpark that comes late for the end of another wait.
#[derive(Debug, Clone)]
pub(crate) struct Thread(Arc<Notify>);

impl Thread {
    pub(crate) fn unpark(&self) {
        self.0.notify();
    }
}

pub(crate) fn current_thread() -> Thread {
    HERE.with(Thread::clone)
}

pub(crate) fn park() {
    current_thread().0.wait();
}

/// A model has no time: a wake-up that is lost is a deadlock, which loom reports.
pub(crate) fn park_timeout(_: Duration) {
    park();
}

/// atomic-waker's cell. All its operations are read-modify-writes of one word with Acquire and Release, so
/// they are in one order in which each sees what came before: a lock's.
#[derive(Debug, Default)]
pub(crate) struct AtomicWaker(Mutex<Option<Waker>>);

impl AtomicWaker {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn register(&self, waker: &Waker) {
        *self.0.lock().unwrap() = Some(waker.clone());
    }

    pub(crate) fn take(&self) -> Option<Waker> {
        self.0.lock().unwrap().take()
    }

    pub(crate) fn wake(&self) {
        // Not under the lock.
        let waker = self.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// rtrb's ring: two indices, each written by one side with Release and read by the other with Acquire, and a
/// flag for a side that is gone.
#[derive(Debug)]
struct Ring<T> {
    /// Pushed and not popped. std's lock, and never held across a step that loom schedules: it orders nothing in
    /// the model.
    items: std::sync::Mutex<VecDeque<T>>,
    capacity: usize,
    pushed: AtomicUsize,
    popped: AtomicUsize,
    abandoned: AtomicBool,
}

#[derive(Debug)]
pub(crate) struct Producer<T>(Arc<Ring<T>>);

#[derive(Debug)]
pub(crate) struct Consumer<T>(Arc<Ring<T>>);

/// The name under which rtrb makes both ends.
pub(crate) struct RingBuffer;

impl RingBuffer {
    pub(crate) fn new<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
        let ring = Arc::new(Ring {
            items: std::sync::Mutex::default(),
            capacity,
            pushed: AtomicUsize::new(0),
            popped: AtomicUsize::new(0),
            abandoned: AtomicBool::new(false),
        });
        (Producer(Arc::clone(&ring)), Consumer(ring))
    }
}

impl<T> Producer<T> {
    pub(crate) fn push(&mut self, item: T) -> Result<(), T> {
        if self.slots() == 0 {
            return Err(item);
        }
        self.0.items.lock().unwrap().push_back(item);
        let pushed = self.0.pushed.load(Ordering::Relaxed);
        self.0.pushed.store(pushed + 1, Ordering::Release);
        Ok(())
    }

    pub(crate) fn slots(&self) -> usize {
        let waiting = self.0.pushed.load(Ordering::Relaxed) - self.0.popped.load(Ordering::Acquire);
        self.0.capacity - waiting
    }

    /// None is known without looking: a model looks each time.
    #[allow(clippy::unused_self)] // The original's.
    pub(crate) fn cached_slots(&self) -> usize {
        0
    }
}

impl<T> Consumer<T> {
    pub(crate) fn pop(&mut self) -> Result<T, ()> {
        if self.is_empty() {
            return Err(());
        }
        let item = self.0.items.lock().unwrap().pop_front().ok_or(())?;
        let popped = self.0.popped.load(Ordering::Relaxed);
        self.0.popped.store(popped + 1, Ordering::Release);
        Ok(item)
    }

    pub(crate) fn slots(&self) -> usize {
        self.0.pushed.load(Ordering::Acquire) - self.0.popped.load(Ordering::Relaxed)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots() == 0
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.0.abandoned.load(Ordering::Acquire)
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        self.0.abandoned.store(true, Ordering::Release);
    }
}
