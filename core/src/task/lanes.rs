//! Lanes: which slots to look at for a task of a priority and a type.
//!
//! A lane is a bitmap over all slots, and a second one over the words of the first, so that an empty lane
//! is passed in a load. The bits are **hints**; the truth is in the tasks' words, and a task is claimed by
//! its word alone. A bit without a claimable task costs a look. A claimable task without a bit would be
//! overlooked, and that is what the versions are for:
//!
//! - whoever makes a task claimable *lists* it afterwards, which sets the bit and counts the word's
//!   version up, even when the bit is set already;
//! - whoever finds a bit without a claimable task *unlists* it: reads the word of bits, looks at the task
//!   again, and clears the bit by a compare-and-swap from the word that it read.
//!
//! So either the look came after the task had become claimable, and saw it; or the listing came after the
//! word of bits was read, and the swap fails, or the bit is set again after it. The upper bitmap is kept
//! in the same way, with "some bit of the lower word is set" in the place of "claimable".

use crate::mutant::mutant;
use crate::sync::{AtomicU64, Ordering};

/// Bits of a word; the version takes the other half. A loom model has 2, so that 3 slots have two words.
const FAN: usize = if cfg!(latchless_loom) { 2 } else { 32 };
const VERSION: u64 = 1 << 32;
const BITS: u64 = VERSION - 1;

#[derive(Debug)]
pub(super) struct Lanes {
    /// A lane's words lie together.
    leaves: Box<[AtomicU64]>,
    roots: Box<[AtomicU64]>,
    leaves_a_lane: usize,
    roots_a_lane: usize,
}

impl Lanes {
    pub(super) fn new(lanes: usize, slots: usize) -> Self {
        let leaves_a_lane = slots.div_ceil(FAN);
        let roots_a_lane = leaves_a_lane.div_ceil(FAN);
        let words = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        Self {
            leaves: words(lanes * leaves_a_lane),
            roots: words(lanes * roots_a_lane),
            leaves_a_lane,
            roots_a_lane,
        }
    }

    fn leaf(&self, lane: usize, leaf: usize) -> &AtomicU64 {
        &self.leaves[lane * self.leaves_a_lane + leaf]
    }

    fn root(&self, lane: usize, leaf: usize) -> &AtomicU64 {
        &self.roots[lane * self.roots_a_lane + leaf / FAN]
    }

    /// Says that the task in `slot` is claimable in `lane`, which it has been made before.
    /// `lost` is called for each compare-and-swap that another thread's came before.
    pub(super) fn list(&self, lane: usize, slot: usize, lost: impl Fn()) {
        let leaf = slot / FAN;
        let others = mutant("lanes.upper-bit-once")
            && self.leaf(lane, leaf).load(Ordering::Relaxed) & BITS != 0;
        set(self.leaf(lane, leaf), bit(slot), &lost);
        if others {
            return;
        }
        // Also when the lower word had bits before: whoever set those may not have come here yet.
        set(self.root(lane, leaf), bit(leaf), &lost);
    }

    /// Takes `slot` off the lane, unless `is_claimable` says that the task in it is to be found there.
    pub(super) fn unlist(
        &self,
        lane: usize,
        slot: usize,
        is_claimable: impl Fn() -> bool,
        lost: impl Fn(),
    ) {
        let leaf = slot / FAN;
        let word = self.leaf(lane, leaf);
        if clear(word, bit(slot), is_claimable, &lost) == Cleared::Last {
            let has_bits = || word.load(Ordering::Acquire) & BITS != 0;
            clear(self.root(lane, leaf), bit(leaf), has_bits, &lost);
        }
    }

    /// The first listed slot of `from .. end`.
    #[inline]
    pub(super) fn next(&self, lane: usize, from: usize, end: usize) -> Option<usize> {
        let mut slot = from;
        while slot < end {
            let leaf = slot / FAN;
            let leaves = self.root(lane, leaf).load(Ordering::Acquire) & BITS;
            let leaves = leaves >> (leaf % FAN);
            if leaves == 0 {
                slot = (leaf / FAN + 1) * FAN * FAN;
            } else if leaves & 1 == 0 {
                slot = (leaf + leaves.trailing_zeros() as usize) * FAN;
            } else {
                // Acquire: what the lister did before, the task's word is to show.
                let slots = self.leaf(lane, leaf).load(Ordering::Acquire) & BITS;
                match slots >> (slot % FAN) {
                    0 => slot = (leaf + 1) * FAN,
                    slots => {
                        let found = slot + slots.trailing_zeros() as usize;
                        return (found < end).then_some(found);
                    }
                }
            }
        }
        None
    }
}

fn bit(place: usize) -> u64 {
    1 << (place % FAN)
}

fn set(word: &AtomicU64, bit: u64, lost: &impl Fn()) {
    let mut now = word.load(Ordering::Relaxed);
    loop {
        let version = if mutant("lanes.no-version") { 0 } else { VERSION };
        let next = (now | bit).wrapping_add(version);
        // Release: whoever finds the bit finds what it stands for. AcqRel, because a later one passes it
        // on.
        match word.compare_exchange_weak(now, next, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => return,
            Err(other) => {
                lost();
                now = other;
            }
        }
    }
}

/// What became of a bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cleared {
    /// No other bit is left in its word.
    Last,
    /// There are others, or it stays.
    Others,
}

fn clear(word: &AtomicU64, bit: u64, stands: impl Fn() -> bool, lost: &impl Fn()) -> Cleared {
    let mut now = word.load(Ordering::Acquire);
    loop {
        if now & bit == 0 || (stands() && !mutant("lanes.unlisted-unlooked")) {
            return Cleared::Others;
        }
        match word.compare_exchange(now, now & !bit, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) if now & BITS == bit => return Cleared::Last,
            Ok(_) => return Cleared::Others,
            Err(other) => {
                lost();
                now = other;
            }
        }
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn all(lanes: &Lanes, lane: usize, slots: usize) -> Vec<usize> {
        let mut from = 0;
        let next = || {
            let slot = lanes.next(lane, from, slots)?;
            from = slot + 1;
            Some(slot)
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn what_is_listed_is_found_in_order() {
        let slots = 5_000;
        let lanes = Lanes::new(2, slots);
        let listed = [0, 1, 31, 32, 63, 1_023, 1_024, 2_500, 4_999];
        for slot in listed.iter().rev() {
            lanes.list(1, *slot, || ());
        }
        assert_eq!(all(&lanes, 1, slots), listed);
        assert_eq!(all(&lanes, 0, slots), [], "another lane is another bitmap");
        assert_eq!((lanes.next(1, 33, 63), lanes.next(1, 33, 64)), (None, Some(63)));
        for slot in listed {
            lanes.unlist(1, slot, || slot == 63, || ());
        }
        assert_eq!(all(&lanes, 1, slots), [63], "it is claimable, so it stays");
        lanes.unlist(1, 63, || false, || ());
        assert!(lanes.roots.iter().all(|root| root.load(Ordering::Relaxed) & BITS == 0));
    }

    /// Another task is listed between the look and the swap of who takes one off, once.
    #[test]
    fn who_was_overtaken_is_counted() {
        let (lanes, looks, retries) = (Lanes::new(1, 40), Cell::new(0), Cell::new(0));
        lanes.list(0, 3, || ());
        let listed_meanwhile = || {
            if looks.replace(looks.get() + 1) == 0 {
                lanes.list(0, 4, || ());
            }
            false
        };
        lanes.unlist(0, 3, listed_meanwhile, || retries.set(retries.get() + 1));
        assert_eq!((looks.get(), retries.get(), all(&lanes, 0, 40)), (2, 1, vec![4]));
    }

    #[test]
    fn listing_twice_is_listing_once() {
        let lanes = Lanes::new(1, 40);
        lanes.list(0, 33, || ());
        lanes.list(0, 33, || ());
        lanes.unlist(0, 33, || false, || ());
        assert_eq!(lanes.next(0, 0, 40), None);
    }
}

#[cfg(all(test, latchless_loom))]
mod loom_models {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;
    use crate::sync::AtomicBool;
    use crate::sync::explore::explore;

    /// A task is made claimable and listed, while two who saw it before that take it off: when the lister
    /// is through it is found, whoever is still on the way.
    #[test]
    fn loom_a_claimable_task_is_found() {
        explore("lanes: a claimable task is found", Some(3), 1_000, || {
            let lanes = Arc::new((Lanes::new(1, 3), AtomicBool::new(false)));
            lanes.0.list(0, 2, || ());
            let unlist = || {
                let lanes = Arc::clone(&lanes);
                move || lanes.0.unlist(0, 2, || lanes.1.load(Ordering::Acquire), || ())
            };
            let threads = [thread::spawn(unlist()), thread::spawn(unlist())];
            lanes.1.store(true, Ordering::Release);
            lanes.0.list(0, 2, || ());
            assert_eq!(lanes.0.next(0, 0, 3), Some(2), "overlooked");
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(lanes.0.next(0, 0, 3), Some(2), "lost");
        });
    }

    /// Two neighbours in one word: one is listed while the other, the last, is taken off. The upper bit
    /// stays or comes back.
    #[test]
    fn loom_the_upper_bit_follows_the_lower_ones() {
        explore("lanes: the upper bit", None, 50, || {
            let lanes = Arc::new(Lanes::new(1, 2));
            lanes.list(0, 0, || ());
            let other = Arc::clone(&lanes);
            let thread = thread::spawn(move || other.unlist(0, 0, || false, || ()));
            lanes.list(0, 1, || ());
            assert!(lanes.next(0, 1, 2).is_some(), "overlooked");
            thread.join().unwrap();
            assert_eq!(lanes.next(0, 0, 2), Some(1));
        });
    }
}
