//! The one place that chooses between std's primitives and loom's.
//!
//! `cargo xtask test --loom` builds the crate with `--cfg latchless_loom`; a user's own `--cfg loom`
//! changes nothing here.

#[cfg(not(latchless_loom))]
pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64};

#[cfg(latchless_loom)]
pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64};

pub(crate) use std::sync::atomic::Ordering;

/// A cell for what one thread at a time may change, by a protocol beside it. loom's watches that.
#[cfg(latchless_loom)]
pub(crate) use loom::cell::UnsafeCell;

#[cfg(not(latchless_loom))]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(latchless_loom))]
impl<T> UnsafeCell<T> {
    pub(crate) const fn new(content: T) -> Self {
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

/// A small number that differs from thread to thread: it picks the stripe that the thread counts on.
#[cfg(not(latchless_loom))]
#[inline]
pub(crate) fn thread_index() -> usize {
    use std::cell::Cell;

    const NONE: usize = usize::MAX;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    thread_local! {
        // Constant and without a destructor: reading it is one load, also while the thread is torn down,
        // and it keeps no library from being unloaded.
        static INDEX: Cell<usize> = const { Cell::new(NONE) };
    }
    INDEX.with(|index| {
        if index.get() == NONE {
            // Relaxed: only that threads differ matters, and that only as a rule.
            index.set(NEXT.fetch_add(1, Ordering::Relaxed) as usize);
        }
        index.get()
    })
}

/// Models name the stripe themselves.
#[cfg(latchless_loom)]
pub(crate) fn thread_index() -> usize {
    0
}
