//! A table that grows and never moves: entries by number, in chunks of which each is twice the last.
//!
//! A chunk is allocated by whoever needs it first. Two may do so at once; one of them puts his in by a
//! compare-and-swap, and the other gives his back. Nobody waits until it is there.
#![allow(unsafe_code)]

use std::ptr;

use crate::mutant::{mutant, weaker};
use crate::sync::{AtomicPtr, Ordering};

/// Entries of the first chunk, as a power of two.
const FIRST_BITS: u32 = if cfg!(latchless_loom) { 0 } else { 5 };
/// Chunks, together for 2^(5 + 24) entries.
const CHUNKS: usize = if cfg!(latchless_loom) { 3 } else { 24 };

/// Entries that there can be.
pub(super) const MAX_ENTRIES: u64 = ((1 << CHUNKS) - 1) << FIRST_BITS;

pub(super) struct Table<E> {
    /// Null, or the first entry of a chunk from `Box<[E]>`.
    chunks: [AtomicPtr<E>; CHUNKS],
}

// SAFETY: the table owns its entries and gives out shared references to them only.
unsafe impl<E: Send + Sync> Sync for Table<E> {}
// SAFETY: as above.
unsafe impl<E: Send> Send for Table<E> {}

/// Chunk and place in it.
fn place_of(entry: u64) -> (usize, usize) {
    let shifted = entry + (1 << FIRST_BITS);
    let bits = shifted.ilog2();
    ((bits - FIRST_BITS) as usize, (shifted - (1 << bits)) as usize)
}

fn len_of(chunk: usize) -> usize {
    1 << (FIRST_BITS as usize + chunk)
}

impl<E> Table<E> {
    pub(super) fn new() -> Self {
        Self { chunks: std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())) }
    }

    /// An entry; `None` when nobody has [made](Self::get_or_make) its chunk.
    #[inline]
    pub(super) fn get(&self, entry: u64) -> Option<&E> {
        if entry >= MAX_ENTRIES {
            return None;
        }
        let (chunk, place) = place_of(entry);
        // Acquire: pairs with the swap that put it in.
        let acquire = weaker("plan.entry-relaxed", Ordering::Acquire);
        let first = self.chunks[chunk].load(acquire);
        if first.is_null() {
            return None;
        }
        // SAFETY: a chunk that is in the table has `len_of(chunk)` entries, and `place` is less.
        let entry = unsafe { first.add(place) };
        // SAFETY: an entry of the chunk, which stays as long as the table, which the reference borrows.
        Some(unsafe { &*entry })
    }

    /// An entry, made by `make` with its neighbours if it is not there; `None` when there can be none.
    pub(super) fn get_or_make(&self, entry: u64, make: impl Fn() -> E) -> Option<&E> {
        if entry >= MAX_ENTRIES {
            return None;
        }
        let (chunk, _) = place_of(entry);
        let at = &self.chunks[chunk];
        if at.load(Ordering::Acquire).is_null() {
            let made: Box<[E]> = (0..len_of(chunk)).map(|_| make()).collect();
            let first = Box::into_raw(made).cast::<E>();
            // Release: the entries are whole for whoever finds the chunk.
            let release = weaker("plan.chunk-relaxed", Ordering::Release);
            let replaced = mutant("plan.chunk-replaced").then(|| at.load(Ordering::Relaxed));
            let none = replaced.unwrap_or(ptr::null_mut());
            if at.compare_exchange(none, first, release, Ordering::Relaxed).is_err() {
                // SAFETY: from `Box::into_raw` just now, and nobody else has seen it.
                unsafe { give_back(first, chunk) };
            }
        }
        self.get(entry)
    }
}

/// Frees a chunk.
///
/// # Safety
/// `first` is from `Box<[E]>` of `len_of(chunk)` entries, and nobody uses it any more.
unsafe fn give_back<E>(first: *mut E, chunk: usize) {
    let entries = ptr::slice_from_raw_parts_mut(first, len_of(chunk));
    // SAFETY: the caller's promise.
    drop(unsafe { Box::from_raw(entries) });
}

impl<E> Drop for Table<E> {
    fn drop(&mut self) {
        for (chunk, at) in self.chunks.iter().enumerate() {
            // Relaxed: whoever drops the table is alone with it.
            let first = at.load(Ordering::Relaxed);
            if !first.is_null() {
                // SAFETY: what is in the table was put in by `get_or_make`, and no reference outlives it.
                unsafe { give_back(first, chunk) };
            }
        }
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;

    #[test]
    fn chunks_follow_each_other_without_gaps() {
        let mut expected = (0, 0);
        for entry in 0..100_000 {
            assert_eq!(place_of(entry), expected);
            expected.1 += 1;
            if expected.1 == len_of(expected.0) {
                expected = (expected.0 + 1, 0);
            }
        }
        assert_eq!(place_of(MAX_ENTRIES - 1), (CHUNKS - 1, len_of(CHUNKS - 1) - 1));
    }

    #[test]
    fn entries_stay_where_they_are() {
        let table = Table::new();
        assert!(table.get(0).is_none() && table.get(MAX_ENTRIES).is_none());
        let first: *const u64 = table.get_or_make(0, || 7).unwrap();
        for entry in 0..10_000 {
            assert_eq!(table.get_or_make(entry, || 7), Some(&7));
        }
        assert!(ptr::eq(table.get(0).unwrap(), first));
        assert!(table.get_or_make(MAX_ENTRIES, || 7).is_none());
    }
}

#[cfg(all(test, latchless_loom))]
mod loom_models {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;
    use crate::sync::explore::explore;
    use crate::sync::{AtomicU32, UnsafeCell};

    /// Whoever finds an entry finds it whole: what its maker wrote into it before the chunk was put in is
    /// there. loom watches the cell.
    #[test]
    fn loom_an_entry_is_whole() {
        explore("table: an entry is whole", None, 2, || {
            let table = Arc::new(Table::<UnsafeCell<u32>>::new());
            let other = Arc::clone(&table);
            let thread = thread::spawn(move || {
                let Some(entry) = other.get(0) else { return };
                // SAFETY: nobody writes to an entry that is in the table; loom checks that this is so.
                assert_eq!(entry.with(|cell| unsafe { *cell }), 7);
            });
            table.get_or_make(0, || UnsafeCell::new(7));
            thread.join().unwrap();
        });
    }

    /// Two make one chunk at once: both have the same entries, and what either puts there stays.
    #[test]
    fn loom_one_of_two_chunks() {
        explore("table: one of two chunks", None, 5, || {
            let table = Arc::new(Table::<AtomicU32>::new());
            let count = |table: &Table<AtomicU32>| {
                table.get_or_make(1, || AtomicU32::new(0)).unwrap().fetch_add(1, Ordering::AcqRel);
            };
            let other = Arc::clone(&table);
            let thread = thread::spawn(move || count(&other));
            count(&table);
            thread.join().unwrap();
            assert_eq!(table.get(1).unwrap().load(Ordering::Acquire), 2);
        });
    }
}
