//! Numbered slots, each in use or free: a set bit is a free one.
//!
//! A slot is claimed and freed by one compare-and-swap or one "or" on a word, so there is no moment in
//! which it is neither, and nobody to wait for. Each thread goes on where it found the last one (next
//! fit): threads meet seldom, and what one thread claims comes in the order of the numbers.

use crossbeam_utils::CachePadded;

use crate::mutant::{mutant, weaker};
use crate::sync::{AtomicU64, AtomicUsize, Ordering, default_stripes, thread_index};

const WORD: usize = 64;

#[derive(Debug)]
pub(crate) struct FreeSlots {
    free: Box<[CachePadded<AtomicU64>]>,
    /// Where each thread goes on, or several that share a stripe.
    cursors: Box<[CachePadded<Cursor>]>,
    slots: usize,
}

#[derive(Debug)]
struct Cursor {
    at: AtomicUsize,
    /// Slots that another thread took first. std's, and beside what its thread touches anyway: nothing is
    /// decided by it.
    retries: std::sync::atomic::AtomicU64,
}

impl FreeSlots {
    /// `slots` free slots, with the numbers from 0 on.
    pub(crate) fn new(slots: usize) -> Self {
        let word = |i: usize| match slots - i * WORD {
            left @ 0..WORD => (1 << left) - 1,
            _ => u64::MAX,
        };
        let stripes = default_stripes();
        Self {
            free: (0..slots.div_ceil(WORD))
                .map(|i| CachePadded::new(AtomicU64::new(word(i))))
                .collect(),
            cursors: (0..stripes)
                .map(|i| {
                    let at = AtomicUsize::new(start_of(i, stripes, slots));
                    CachePadded::new(Cursor { at, retries: 0.into() })
                })
                .collect(),
            slots,
        }
    }

    /// A slot for the caller alone. `None` when there was none; one that is free during the whole call is
    /// found.
    pub(crate) fn claim(&self) -> Option<usize> {
        let cursor = &self.cursors[thread_index() & (self.cursors.len() - 1)];
        // Relaxed: a cursor is a hint.
        let at = cursor.at.load(Ordering::Relaxed);
        let words = self.free.len();
        let above = u64::MAX << (at % WORD);
        // All words, and the first one twice: what is above the cursor first, the rest of it last.
        for i in 0..=words {
            let mask = match i {
                0 => above,
                _ if i == words => !above,
                _ => u64::MAX,
            };
            let word = (at / WORD + i) % words.max(1);
            if let Some(bit) = self.claim_of(word, mask, cursor) {
                let slot = word * WORD + bit;
                cursor
                    .at
                    .store(if slot + 1 == self.slots { 0 } else { slot + 1 }, Ordering::Relaxed);
                return Some(slot);
            }
        }
        None
    }

    fn claim_of(&self, word: usize, mask: u64, cursor: &Cursor) -> Option<usize> {
        let word = self.free.get(word)?;
        let acquire = weaker("slots.claim-relaxed", Ordering::Acquire);
        let mut free = word.load(acquire);
        while free & mask != 0 {
            let bit = (free & mask).trailing_zeros();
            // Acquire: the last owner is done with the slot. Release: passes on what he knew.
            match word.compare_exchange(
                free,
                free & !(1 << bit),
                weaker("slots.claim-relaxed", Ordering::AcqRel),
                acquire,
            ) {
                Ok(_) => return Some(bit as usize),
                Err(_) if mutant("slots.claimed-twice") => return Some(bit as usize),
                Err(now) => {
                    cursor.retries.fetch_add(1, Ordering::Relaxed);
                    free = now;
                }
            }
        }
        None
    }

    /// Frees a slot. Only its owner may; false when it had none.
    pub(crate) fn free(&self, slot: usize) -> bool {
        let bit = 1 << (slot % WORD);
        // AcqRel: the next owner comes after everything that was done with it.
        let acq_rel = weaker("slots.free-relaxed", Ordering::AcqRel);
        self.free[slot / WORD].fetch_or(bit, acq_rel) & bit == 0
    }

    /// Compare-and-swaps of claims that another thread's change came before.
    pub(crate) fn retries(&self) -> u64 {
        self.cursors.iter().map(|cursor| cursor.retries.load(Ordering::Relaxed)).sum()
    }

    /// Slots in use, the words read one after another.
    pub(crate) fn used(&self) -> usize {
        let free =
            |word: &CachePadded<AtomicU64>| word.load(Ordering::Acquire).count_ones() as usize;
        self.slots - self.free.iter().map(free).sum::<usize>()
    }
}

/// Where stripe `i` of `stripes` begins among `slots` slots: as far from the others as possible.
pub(crate) fn start_of(i: usize, stripes: usize, slots: usize) -> usize {
    i * (slots / stripes)
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_given_once_and_in_order() {
        for slots in [0, 1, 63, 64, 65, 200] {
            let set = FreeSlots::new(slots);
            let mut claimed: Vec<_> = std::iter::from_fn(|| set.claim()).collect();
            let first = claimed.first().copied().unwrap_or(0);
            claimed.rotate_right(first);
            assert_eq!(
                claimed,
                (0..slots).collect::<Vec<_>>(),
                "in order, from the thread's start"
            );
            assert_eq!(set.used(), slots);
            assert!((0..slots).all(|slot| set.free(slot)));
            assert!(slots == 0 || !set.free(0), "it is free already");
            assert_eq!(set.used(), 0);
        }
    }

    #[test]
    fn the_oldest_freed_slot_comes_last() {
        let set = FreeSlots::new(100);
        let first = set.claim().unwrap();
        assert!(set.free(first));
        let next: Vec<_> = (0..100).map_while(|_| set.claim()).collect();
        assert_eq!((next.len(), next.last()), (100, Some(&first)));
    }
}

#[cfg(all(test, latchless_loom))]
mod loom_models {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;
    use crate::sync::explore::explore;

    /// Three threads and two slots, one of which is given back: never in two hands, and whoever finds
    /// none has looked while both were taken.
    #[test]
    fn loom_a_slot_is_in_one_hand() {
        explore("slots: one hand", None, 100, || {
            let set = Arc::new(FreeSlots::new(2));
            let other = Arc::clone(&set);
            let thread = thread::spawn(move || {
                let slot = other.claim().expect("there are two for two");
                assert!(other.free(slot));
                other.claim()
            });
            let mine = set.claim().expect("there are two for two");
            let theirs = thread.join().unwrap().expect("one was free all the time");
            assert_ne!(mine, theirs);
            assert_eq!((set.used(), set.claim()), (2, None));
        });
    }

    /// What an owner did with a slot comes before what the next one does. It is written and read relaxed:
    /// only the slot passes it on.
    #[test]
    fn loom_a_slot_is_handed_over() {
        explore("slots: handed over", None, 5, || {
            let set = Arc::new((FreeSlots::new(1), AtomicUsize::new(0)));
            let slot = set.0.claim().unwrap();
            let other = Arc::clone(&set);
            let thread = thread::spawn(move || {
                if other.0.claim().is_some() {
                    assert_eq!(other.1.load(Ordering::Relaxed), 7, "left behind");
                }
            });
            set.1.store(7, Ordering::Relaxed);
            assert!(set.0.free(slot));
            thread.join().unwrap();
        });
    }
}
