//! The one place that chooses between std's primitives, loom's and shuttle's.
//!
//! `cargo xtask test --loom` builds the crate with `--cfg latchless_loom`, `--shuttle` with
//! `--cfg latchless_shuttle`; a user's own `--cfg loom` changes nothing here. Capacities shrink under loom (see [`crate::pool`]'s geometry), so that
//! "empty", "full" and "wraps around" are a few steps away.

#[cfg(not(any(latchless_loom, latchless_shuttle)))]
pub use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};

#[cfg(latchless_loom)]
pub use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};

#[cfg(latchless_shuttle)]
pub use shuttle::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};

pub(crate) use std::sync::atomic::Ordering;

use std::sync::Arc;
use std::task::Waker;

/// A cell for what one thread at a time may change, by a protocol beside it. loom's watches that.
#[cfg(latchless_loom)]
pub(crate) use loom::cell::UnsafeCell;

#[cfg(not(latchless_loom))]
#[derive(Debug, Default)]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(latchless_loom))]
impl<T> UnsafeCell<T> {
    pub(crate) fn new(content: T) -> Self {
        Self(std::cell::UnsafeCell::new(content))
    }

    /// Lends a pointer to the content for reading.
    #[inline]
    pub(crate) fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
        read(self.0.get())
    }

    /// Lends a pointer to the content for changing it.
    #[inline]
    pub(crate) fn with_mut<R>(&self, change: impl FnOnce(*mut T) -> R) -> R {
        change(self.0.get())
    }
}

/// Threads that run at once, as far as that can be known: how many places to spread them over, as a power
/// of two.
pub(crate) fn default_stripes() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // A model has two, whatever the machine.
    if cfg!(any(latchless_loom, latchless_shuttle)) { 2 } else { cores.next_power_of_two().min(64) }
}

/// A pause of fixed length, some tens of nanoseconds, after a compare-and-swap that was lost.
#[inline]
pub(crate) fn pause() {
    // In a model every order is explored anyway.
    #[cfg(not(any(latchless_loom, latchless_shuttle)))]
    for _ in 0..8 {
        std::hint::spin_loop();
    }
}

#[cfg(not(any(latchless_loom, latchless_shuttle)))]
pub(crate) use std::thread::{Thread, current as current_thread, park_timeout};

#[cfg(latchless_shuttle)]
pub(crate) use shuttle::thread::{Thread, current as current_thread, park_timeout};

#[cfg(latchless_loom)]
pub(crate) use loom::thread::{Thread, current as current_thread};

/// A model has no time: a wake-up that is lost is a deadlock, which loom reports.
#[cfg(latchless_loom)]
pub(crate) fn park_timeout(_: std::time::Duration) {
    loom::thread::park();
}

/// Whom to wake. Any number of threads may wake at once, so one that is frozen while it does keeps
/// nobody from being woken by another (the usual cell of one producer and one consumer would).
#[cfg(not(latchless_loom))]
#[derive(Debug)]
pub(crate) struct WakerCell(arc_swap::ArcSwapOption<Waker>);

#[cfg(not(latchless_loom))]
impl WakerCell {
    pub(crate) fn empty() -> Self {
        Self(arc_swap::ArcSwapOption::empty())
    }

    pub(crate) fn replace(&self, waker: Option<Waker>) -> Option<Arc<Waker>> {
        self.0.swap(waker.map(Arc::new))
    }

    pub(crate) fn get(&self) -> Option<Arc<Waker>> {
        self.0.load_full()
    }
}

/// arc-swap, which loom cannot see into, as what it is to its users: a pointer that is swapped and loaded.
/// What it points to is never freed here, so that a load may come late, as far as `Acquire` lets it.
#[cfg(latchless_loom)]
#[derive(Debug)]
pub(crate) struct WakerCell {
    at: AtomicUsize,
    // std's, and never held across a step that loom schedules: it orders nothing in the model.
    wakers: std::sync::Mutex<Vec<Option<Arc<Waker>>>>,
}

#[cfg(latchless_loom)]
impl WakerCell {
    pub(crate) fn empty() -> Self {
        Self { at: AtomicUsize::new(0), wakers: std::sync::Mutex::new(vec![None]) }
    }

    pub(crate) fn replace(&self, waker: Option<Waker>) -> Option<Arc<Waker>> {
        let next = {
            let mut wakers = self.wakers.lock().unwrap();
            wakers.push(waker.map(Arc::new));
            wakers.len() - 1
        };
        let last = self.at.swap(next, Ordering::AcqRel);
        self.wakers.lock().unwrap()[last].clone()
    }

    pub(crate) fn get(&self) -> Option<Arc<Waker>> {
        let at = self.at.load(Ordering::Acquire);
        self.wakers.lock().unwrap()[at].clone()
    }
}

/// A small number that differs from thread to thread: the first thread that asks has 0. It picks the
/// thread's home stripe and its cursor, so that threads meet as rarely as possible.
#[cfg(not(any(latchless_loom, latchless_shuttle)))]
#[inline]
pub(crate) fn thread_index() -> usize {
    use std::cell::Cell;

    const NONE: usize = usize::MAX;
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        // Constant and without a destructor: reading it is one load, also while the thread is torn down.
        static INDEX: Cell<usize> = const { Cell::new(NONE) };
    }
    INDEX.with(|index| {
        if index.get() == NONE {
            // Relaxed: only uniqueness matters.
            index.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        index.get()
    })
}

/// The same in each repetition of a schedule.
#[cfg(latchless_shuttle)]
pub(crate) fn thread_index() -> usize {
    shuttle::current::me().into()
}

#[cfg(latchless_loom)]
pub(crate) use self::model::thread_index;

#[cfg(all(test, latchless_loom))]
pub(crate) use self::model::set_thread_index;

/// A model says itself which thread has which index: loom needs every execution to be the same.
#[cfg(latchless_loom)]
mod model {
    use std::cell::Cell;

    loom::thread_local! {
        static INDEX: Cell<usize> = Cell::new(0);
    }

    pub(crate) fn thread_index() -> usize {
        INDEX.with(Cell::get)
    }

    #[cfg(test)]
    pub(crate) fn set_thread_index(index: usize) {
        INDEX.with(|cell| cell.set(index));
    }
}

/// Counts a model's executions, so that a model that loom cannot see into fails instead of passing
/// after one.
#[cfg(latchless_loom)]
pub(crate) mod explore {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Runs `model` under every schedule that loom finds, prints how many there were and asserts that
    /// there were at least `floor`. A model that would take too long has at most `preemptions`
    /// preemptions in each, or `LOOM_MAX_PREEMPTIONS` if that is more.
    ///
    /// # Panics
    /// When there were fewer, or `model` panics.
    pub fn explore(
        name: &str,
        preemptions: Option<usize>,
        floor: usize,
        model: impl Fn() + Sync + Send + 'static,
    ) {
        let executions = Arc::new(AtomicUsize::new(0));
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound =
            preemptions.map(|n| n.max(builder.preemption_bound.unwrap_or(n)));
        let counter = Arc::clone(&executions);
        builder.check(move || {
            counter.fetch_add(1, Ordering::Relaxed);
            model();
        });
        let executions = executions.load(Ordering::Relaxed);
        println!("model {name}: {executions} executions");
        assert!(
            executions >= floor,
            "model {name} ran {executions} executions and needs {floor}: loom does not see it"
        );
    }
}
