//! Cells whose content is replaced whole while others read it: an epoch keeps a replaced content until
//! nobody can be on his way to it any more.
//!
//! A reader has to get from the pointer to the content's reference count before the count falls to zero
//! under him. That way, a load and an increment, is all that an epoch is pinned for: what comes out is an
//! [`Arc`], and no code of a caller runs while pinned. (Epochs: K. Fraser, *Practical lock-freedom*, 2004;
//! here as [crossbeam-epoch](https://docs.rs/crossbeam-epoch) has them.)
//!
//! All unsafe code of the tables is in this file.
#![allow(unsafe_code)]

use std::ptr;
use std::sync::Arc;

use crossbeam_epoch::{Collector, Guard, LocalHandle};

use crate::mutant::mutant;
use crate::sync::{AtomicPtr, AtomicU64, Ordering};

/// A row of cells, each empty or with a content.
///
/// Their collector is their own: who else in the process uses epochs, and stays pinned there, holds
/// nothing of theirs back.
#[derive(Debug)]
pub(super) struct Cells<T> {
    /// Null, or from `Arc::into_raw`: the cell owns one reference.
    contents: Box<[AtomicPtr<T>]>,
    collector: Collector,
    /// Contents that were taken out of their cell.
    retired: AtomicU64,
    /// Those of them whose reference was given up. In an `Arc`, because that happens in closures that
    /// the collector keeps, perhaps for longer than the cells.
    dropped: Arc<AtomicU64>,
}

// SAFETY: a shared reference gives out `Arc<T>` and takes `Arc<T>` in, on any thread, and drops contents
// on whatever thread collects; that is sound when `Arc<T>` is `Send`.
unsafe impl<T: Send + Sync> Sync for Cells<T> {}
// SAFETY: as above; the cells themselves are not bound to a thread.
unsafe impl<T: Send + Sync> Send for Cells<T> {}

impl<T> Cells<T> {
    pub(super) fn new(cells: usize) -> Self {
        Self {
            contents: (0..cells).map(|_| AtomicPtr::new(ptr::null_mut())).collect(),
            collector: Collector::new(),
            retired: AtomicU64::new(0),
            dropped: Arc::new(AtomicU64::new(0)),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.contents.len()
    }

    /// Contents that were taken out and not yet given up.
    pub(super) fn waiting(&self) -> u64 {
        // `dropped` first: what is dropped was retired before.
        let dropped = self.dropped.load(Ordering::Acquire);
        self.retired.load(Ordering::Acquire) - dropped
    }
}

impl<T> Drop for Cells<T> {
    fn drop(&mut self) {
        for cell in &self.contents {
            // Relaxed: whoever drops the cells is alone with them.
            let content = cell.load(Ordering::Relaxed);
            if !content.is_null() {
                // SAFETY: it came from `Arc::into_raw`, and the cell still owns that reference: only what
                // was taken out of its cell is given to the collector.
                drop(unsafe { Arc::from_raw(content) });
            }
        }
    }
}

/// One thread's way to the cells.
#[derive(Debug)]
pub(super) struct Access<T> {
    cells: Arc<Cells<T>>,
    local: LocalHandle,
}

/// While this lives, nothing that was in a cell of `access` since it was made is given up.
pub(super) struct Pin<'a, T> {
    cells: &'a Cells<T>,
    guard: Guard,
}

impl<T: Send + Sync + 'static> Access<T> {
    pub(super) fn new(cells: &Arc<Cells<T>>) -> Self {
        Self { cells: Arc::clone(cells), local: cells.collector.register() }
    }

    pub(super) fn cells(&self) -> &Cells<T> {
        &self.cells
    }

    /// Pins the epoch of these cells. Every 128th time this also gives up some contents that nobody can
    /// reach any more.
    pub(super) fn pin(&self) -> Pin<'_, T> {
        Pin { cells: &self.cells, guard: self.local.pin() }
    }
}

impl<T: Send + Sync + 'static> Pin<'_, T> {
    /// The content of a cell, to keep. There is no such cell: `None`, as for an empty one.
    pub(super) fn load(&self, cell: usize) -> Option<Arc<T>> {
        let content = self.cells.contents.get(cell)?.load(Ordering::Acquire);
        if content.is_null() {
            return None;
        }
        // SAFETY: it came from `Arc::into_raw`, and the cell's reference to it is alive: the cell had it
        // after `self.guard` was pinned, so that its retirement, if it comes, waits for this guard.
        unsafe { Arc::increment_strong_count(content) };
        // SAFETY: from `Arc::into_raw`, and the reference is the one that was just counted.
        Some(unsafe { Arc::from_raw(content) })
    }

    /// Puts `next` into a cell in place of what `admit` agrees to: it sees the old content, and may
    /// change the new one as long as nobody else sees it. Err with the new one when it does not agree.
    ///
    /// # Panics
    /// When there is no such cell.
    pub(super) fn replace(
        &self,
        cell: usize,
        mut next: Option<T>,
        mut admit: impl FnMut(Option<&T>, Option<&mut T>) -> bool,
    ) -> Result<(), Option<T>> {
        let cell = &self.cells.contents[cell];
        let mut now = cell.load(Ordering::Acquire);
        loop {
            // SAFETY: null, or alive as in `load`; the reference ends before this guard does.
            let old = unsafe { now.as_ref() };
            if !admit(old, next.as_mut()) {
                return Err(next);
            }
            let new = next.take().map_or(ptr::null(), |next| Arc::into_raw(Arc::new(next)));
            // No ABA: while this guard is pinned, the old content's memory is not used again.
            // AcqRel: the new content is whole for whoever loads it, the old one for who drops it.
            match cell.compare_exchange(now, new.cast_mut(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    self.retire(now);
                    return Ok(());
                }
                Err(other) => {
                    now = other;
                    if !new.is_null() {
                        // SAFETY: from `Arc::into_raw` just now, and nobody else has seen it.
                        let unused = unsafe { Arc::from_raw(new) };
                        next = Arc::into_inner(unused);
                    }
                }
            }
        }
    }

    /// Gives what was just taken out of its cell to the collector.
    fn retire(&self, content: *mut T) {
        if content.is_null() {
            return;
        }
        self.cells.retired.fetch_add(1, Ordering::AcqRel);
        let content = Retired(content);
        if mutant("tables.freed-at-once") {
            content.give_up();
            self.cells.dropped.fetch_add(1, Ordering::AcqRel);
            return;
        }
        let dropped = Arc::clone(&self.cells.dropped);
        // SAFETY: the closure owns what it uses, and `T` is `'static` and may be dropped on any thread
        // (`Send + Sync`). It runs when no guard is pinned that was pinned by now; later ones do not find
        // the content, because it is not in its cell any more.
        unsafe {
            self.guard.defer_unchecked(move || {
                content.give_up();
                dropped.fetch_add(1, Ordering::AcqRel);
            });
        }
    }

    /// Hands what this thread retired to everybody, and gives up some of what nobody can reach any more.
    pub(super) fn collect(&self) {
        self.guard.flush();
    }
}

/// A content that is in no cell any more, with the reference that the cell had.
struct Retired<T>(*mut T);

impl<T> Retired<T> {
    fn give_up(self) {
        // SAFETY: from `Arc::into_raw`; the CAS that took it out of its cell succeeded for one thread
        // only, which made this of it.
        drop(unsafe { Arc::from_raw(self.0) });
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;

    fn cells(cells: usize) -> Arc<Cells<String>> {
        Arc::new(Cells::new(cells))
    }

    fn put(access: &Access<String>, text: &str) {
        access.pin().replace(0, Some(text.to_owned()), |_, _| true).unwrap();
    }

    #[test]
    fn a_content_is_replaced_and_the_old_one_given_up() {
        let cells = cells(1);
        let access = Access::new(&cells);
        assert_eq!(access.pin().load(0), None);
        put(&access, "first");
        let first = Arc::downgrade(&access.pin().load(0).unwrap());
        put(&access, "second");
        assert_eq!(access.pin().load(0).as_deref().map(String::as_str), Some("second"));
        assert_eq!(access.pin().load(1), None);
        for _ in 0..10 {
            access.pin().collect();
        }
        assert!(first.upgrade().is_none());
        assert_eq!(cells.waiting(), 0);
        let second = Arc::downgrade(&access.pin().load(0).unwrap());
        drop((access, cells));
        assert!(second.upgrade().is_none(), "the last content goes with its cell");
    }

    #[test]
    fn a_pin_holds_back_what_was_there_and_no_longer() {
        let cells = cells(1);
        let [frozen, access] = [(); 2].map(|()| Access::new(&cells));
        put(&access, "first");
        let first = Arc::downgrade(&access.pin().load(0).unwrap());
        let pin = frozen.pin();
        for _ in 0..1_000 {
            put(&access, "next");
            access.pin().collect();
        }
        assert!(first.upgrade().is_some(), "the pinned one might be on his way to it");
        assert_eq!(cells.waiting(), 1_000);
        drop(pin);
        for _ in 0..1_000 {
            access.pin().collect();
        }
        assert_eq!((first.upgrade(), cells.waiting()), (None, 0));
    }

    #[test]
    fn a_refused_content_comes_back() {
        let cells = cells(1);
        let access = Access::new(&cells);
        put(&access, "first");
        let refused = access.pin().replace(0, Some("second".to_owned()), |old, new| {
            assert_eq!((old.unwrap().as_str(), new.unwrap().as_str()), ("first", "second"));
            false
        });
        assert_eq!(refused, Err(Some("second".to_owned())));
        access.pin().replace(0, None, |_, _| true).unwrap();
        assert_eq!((access.pin().load(0), cells.waiting()), (None, 1));
    }

    /// What waits in a thread's own bag when the thread ends is not lost.
    #[test]
    fn everything_is_dropped_in_the_end() {
        let cells = cells(1);
        let contents: Vec<_> = (0..4)
            .map(|i| {
                let cells = Arc::clone(&cells);
                std::thread::spawn(move || {
                    let access = Access::new(&cells);
                    let seen = |n: u32| {
                        put(&access, &format!("{i} {n}"));
                        access.pin().load(0).as_ref().map(Arc::downgrade)
                    };
                    (0..1_000).filter_map(seen).collect::<Vec<_>>()
                })
            })
            .flat_map(|thread| thread.join().unwrap())
            .collect();
        assert_eq!(contents.len(), 4_000);
        drop(cells);
        assert_eq!(contents.iter().filter(|content| content.upgrade().is_some()).count(), 0);
    }
}

#[cfg(all(test, latchless_loom))]
mod loom_models {
    use loom::thread;

    use super::*;
    use crate::sync::explore::explore;

    fn put(access: &Access<u32>, content: u32) {
        access.pin().replace(0, Some(content), |_, _| true).unwrap();
    }

    /// A content is replaced and given up while another thread loads it: as long as that one is pinned, the
    /// cell's own reference to what it found is alive, so that its increment is of a count above zero.
    #[test]
    fn loom_a_pin_keeps_what_it_found() {
        explore("tables: a pin keeps what it found", Some(3), 1_000, || {
            let cells = Arc::new(Cells::new(1));
            let access = Access::new(&cells);
            put(&access, 1);
            // Keeps the memory, so that a count that is too low can be read.
            let kept = access.pin().load(0).unwrap();
            let others = Arc::clone(&cells);
            let reader = thread::spawn(move || {
                let access = Access::new(&others);
                let pin = access.pin();
                let found = pin.load(0).expect("there is always one");
                // The cell's, ours, and that of who keeps the first one.
                let alive = if *found == 1 { 3 } else { 2 };
                assert!(Arc::strong_count(&found) >= alive, "given up under a pin");
            });
            put(&access, 2);
            for _ in 0..3 {
                access.pin().collect();
            }
            reader.join().unwrap();
            drop(kept);
        });
    }
}
