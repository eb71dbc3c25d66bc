//! A slot's record: shared by those who read it, and gone when it is closed and the last of them is.
//!
//! A reader has to get from the slot to the record's reference count before the slot is used again. It
//! says so first: a *pin* is one compare-and-swap on the access word, which names the generation, and it
//! is held for a reference count's increment. Closing keeps further readers out; whoever is last, the
//! closer or a reader, empties the cell. So a reader that is frozen keeps one slot from being used again,
//! and delays nobody.
#![allow(unsafe_code)]

use std::sync::Arc;

use crate::mutant::{mutant, weaker};
use crate::sync::{AtomicU64, Ordering, UnsafeCell};

const PIN: u64 = 1;
const PINS: u64 = (1 << 30) - 1;
const CLOSING: u64 = 1 << 30;
const FULL: u64 = 1 << 31;
const GENERATION_SHIFT: u32 = 32;

/// `generation (32) | full (1) | closing (1) | pins (30)`. Neither full nor closing: the cell is vacant,
/// or one thread fills or empties it.
#[derive(Debug)]
pub(super) struct RecordCell<R> {
    access: AtomicU64,
    record: UnsafeCell<Option<Arc<R>>>,
}

// SAFETY: through `&RecordCell` an `Arc<R>` is put in, cloned and dropped on any thread, which is sound
// when `Arc<R>` is `Send`; the access word lets one thread at a time change the cell, and none while
// others read it.
unsafe impl<R: Send + Sync> Sync for RecordCell<R> {}
// SAFETY: as above; the cell is not bound to a thread.
unsafe impl<R: Send + Sync> Send for RecordCell<R> {}

/// The cell was emptied by the caller, who has what was in it.
#[derive(Debug)]
#[must_use = "whoever empties the cell must free its slot"]
pub(super) struct Emptied<R>(pub(super) Option<Arc<R>>);

impl<R> RecordCell<R> {
    pub(super) fn new() -> Self {
        Self { access: AtomicU64::new(0), record: UnsafeCell::new(None) }
    }

    /// Fills the cell, which is vacant and the caller's: false, and nothing changed, when it is not.
    pub(super) fn fill(&self, generation: u32, record: Arc<R>) -> bool {
        // The generation that nobody asks for while it is not full marks the cell as being filled.
        let filling = u64::from(generation) << GENERATION_SHIFT | PINS;
        // Acquire: the last one to empty it is done.
        if self.access.compare_exchange(0, filling, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return false;
        }
        self.record.with_mut(|cell| {
            // SAFETY: the swap from vacant to filling succeeded for this thread only; nobody pins or
            // closes a cell that is not full.
            unsafe { *cell = Some(record) }
        });
        let full = u64::from(generation) << GENERATION_SHIFT | FULL;
        self.access.store(full, weaker("record.fill-relaxed", Ordering::Release));
        true
    }

    /// The record of a generation; `None` when it is gone. The second is there when the caller turned out
    /// to be the last reader of a closed cell.
    pub(super) fn get(&self, generation: u32) -> (Option<Arc<R>>, Option<Emptied<R>>) {
        let open = u64::from(generation) << GENERATION_SHIFT | FULL;
        let mut access = self.access.load(Ordering::Relaxed);
        loop {
            let is_open = access & !PINS == open
                || mutant("record.any-generation") && access & (FULL | CLOSING) == FULL;
            if !is_open {
                return (None, None);
            }
            // Acquire: pairs with the store that made it full.
            match self.access.compare_exchange_weak(
                access,
                access + PIN,
                weaker("record.pin-relaxed", Ordering::Acquire),
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(now) => access = now,
            }
        }
        let record = self.record.with(|cell| {
            // SAFETY: the cell is full and pinned, so that nobody changes it until the pin is gone.
            unsafe { (*cell).clone() }
        });
        // Release: the emptier comes after this read. Acquire: if that is us, after all the others.
        let acq_rel = weaker("record.unpin-relaxed", Ordering::AcqRel);
        let access = self.access.fetch_sub(PIN, acq_rel) - PIN;
        let last = access & CLOSING != 0 && access & PINS == 0;
        (record, last.then(|| self.empty()))
    }

    /// Keeps readers out from now on, and empties the cell if none is inside. Only for who may: one
    /// thread, once, after the cell was filled.
    pub(super) fn close(&self) -> Option<Emptied<R>> {
        let access = self.access.fetch_xor(FULL | CLOSING, Ordering::AcqRel);
        debug_assert!(access & FULL != 0 && access & CLOSING == 0, "closed twice, or never filled");
        (access & PINS == 0 || mutant("record.closed-under-a-pin")).then(|| self.empty())
    }

    /// The caller saw the cell closing and without a pin, in a change of the access word of its own. No
    /// pin comes any more, so that is seen by one thread only.
    fn empty(&self) -> Emptied<R> {
        let record = self.record.with_mut(|cell| {
            // SAFETY: see above: this thread is alone with the cell.
            unsafe { (*cell).take() }
        });
        self.access.store(0, Ordering::Release);
        Emptied(record)
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_there_from_fill_to_close() {
        let cell = RecordCell::new();
        let record = Arc::new("task");
        assert!(cell.get(0).0.is_none());
        assert!(cell.fill(7, Arc::clone(&record)));
        assert!(!cell.fill(8, Arc::clone(&record)), "it is full");
        assert_eq!(cell.get(7).0.as_deref(), Some(&"task"));
        assert!(cell.get(8).0.is_none() && cell.get(6).0.is_none());
        drop(cell.close().expect("nobody reads").0.expect("it was full"));
        assert_eq!(Arc::strong_count(&record), 1);
        assert!(cell.get(7).0.is_none());
        assert!(cell.fill(8, record));
    }
}

#[cfg(all(test, latchless_loom))]
mod loom_models {
    use loom::sync::Arc as LoomArc;
    use loom::thread;

    use super::*;
    use crate::sync::explore::explore;

    /// Two read while the owner closes: each reads the record whole or finds it gone; one of the three
    /// empties the cell, once, and it can be filled again.
    #[test]
    fn loom_the_last_one_empties() {
        explore("record: the last one empties", None, 500, || {
            let cell = LoomArc::new(RecordCell::new());
            assert!(cell.fill(3, Arc::new(5)));
            let read = || {
                let cell = LoomArc::clone(&cell);
                move || {
                    let (record, emptied) = cell.get(3);
                    assert!(record.is_none_or(|record| *record == 5));
                    usize::from(emptied.is_some())
                }
            };
            let threads = [thread::spawn(read()), thread::spawn(read())];
            let mine = usize::from(cell.close().is_some());
            let theirs: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
            assert_eq!(mine + theirs, 1, "emptied once");
            assert!(cell.fill(4, Arc::new(6)));
            assert_eq!((cell.get(3).0, cell.get(4).0.as_deref()), (None, Some(&6)));
        });
    }

    /// The slot is used again while a reader of the last generation comes late: it never gets the other
    /// one's record.
    #[test]
    fn loom_a_late_reader_finds_nothing() {
        explore("record: a late reader", None, 50, || {
            let cell = LoomArc::new(RecordCell::new());
            assert!(cell.fill(3, Arc::new(3)));
            let other = LoomArc::clone(&cell);
            let thread = thread::spawn(move || {
                let (record, emptied) = other.get(3);
                assert!(record.is_none_or(|record| *record == 3));
                emptied.is_some_and(|_| other.fill(4, Arc::new(4)))
            });
            let mine = cell.close().is_some_and(|_| cell.fill(4, Arc::new(4)));
            assert_ne!(mine, thread.join().unwrap(), "one of the two fills it again");
            assert_eq!(cell.get(4).0.as_deref(), Some(&4));
        });
    }

    /// A cell is filled while another thread asks for what comes into it: that one gets it whole, or
    /// nothing yet. loom watches the cell.
    #[test]
    fn loom_a_record_is_read_whole() {
        explore("record: read whole", None, 5, || {
            let cell = LoomArc::new(RecordCell::new());
            let other = LoomArc::clone(&cell);
            let thread = thread::spawn(move || {
                let (record, emptied) = other.get(3);
                assert!(record.is_none_or(|record| *record == 3) && emptied.is_none());
            });
            assert!(cell.fill(3, Arc::new(3)));
            thread.join().unwrap();
        });
    }
}
