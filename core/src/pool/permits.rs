//! Permits decide **how many** blocks may be taken: an exact, striped counting semaphore.
//!
//! The promise: [`Permits::acquire`]`(n)` succeeds, or at some instant during the call fewer than `n`
//! permits were free. There is no spurious refusal, nobody waits for anybody, and in the steady state a
//! thread touches its own stripe only.
//!
//! # The algorithm
//!
//! Permits lie in **stripes**, one word on a cache line of its own for every core or so, and in one
//! **centre** word. A thread takes from its home stripe and gives back to it, each by one CAS. That is
//! all there is in *spread* mode, and it cannot refuse: a stripe with too few says nothing about the
//! others, and a sum over words that are read one after another is no instant.
//!
//! So a caller who finds no single word with `n` permits **gathers**: it moves the centre to *gathered*
//! mode under a new epoch, closes every stripe (a CAS that keeps the count in the closed word, to be
//! moved) and moves each count to the centre. Anybody can finish anybody's move: the centre has one
//! `moved` bit for each stripe, set by the same CAS that adds the count, so that each count is added
//! once. When all bits are set, every free permit is in the centre, because a stripe opens only in
//! spread mode. One load of the centre then decides: enough, and a CAS takes them; fewer, and the
//! refusal is exact at that load.
//!
//! When the centre is rich again the mode goes back to spread, and stripes reopen one by one as
//! permits are released to them.
//!
//! # Why it is right
//!
//! - *A stripe is never open in a gathered epoch that is complete.* It is closed under the epoch's label
//!   before its `moved` bit is set, and it is reopened only by a CAS on a word labelled `e` by a thread
//!   that read the centre as spread with epoch `e` **before** it read the stripe. If a later gather
//!   began since, the stripe either has the later label already, and the CAS fails, or it will be closed
//!   by that gather, whose bit for it is not set yet.
//! - *No count is lost or moved twice.* Spread follows a gather of the same epoch only with all bits
//!   set, so a word closed under `e` that is seen while the centre is spread in `e` has been moved. A
//!   move is a CAS on a centre word that was read as gathered, of that epoch, with the bit clear; while
//!   that holds, the closed word cannot change.
//! - *A late helper does no harm.* It compares epochs and never gives a stripe an older one.
//! - *Lock-free.* Each failed CAS means another's success, and a gather is at most one close and one
//!   move a stripe, by whoever gets there. It is not wait-free: a thread can lose its CAS again and again.
//!
//! Epochs have 22 bits and wrap: a thread would have to be frozen for exactly a multiple of 4,194,304
//! gathers, between a load and a CAS, and find the very same word again.
//!
//! # Orderings
//!
//! A release publishes what happened before it (the bits of the freed blocks) to the acquire that takes
//! the permits: release CAS with `Release`, acquire CAS with `Acquire`. Every change of a word is a
//! read-modify-write, so release sequences pass through all of them, and an acquirer sees the blocks of
//! everybody who released into that word. Closing and moving is `AcqRel`: it carries those blocks from
//! the stripe to the centre.

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicU64, Ordering};

/// Stripes at most: one `moved` bit each in the centre word.
pub(super) const MAX_STRIPES: usize = 16;

/// Permits at most; counts never sum up to more than the total, which fits.
pub(super) const MAX_PERMITS: u32 = 1 << 24;

const COUNT_BITS: u32 = 25;
const EPOCH_BITS: u32 = 22;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const EPOCH_MASK: u64 = (1 << EPOCH_BITS) - 1;
const MOVED_SHIFT: u32 = COUNT_BITS + EPOCH_BITS;
const FLAG: u64 = 1 << 63;

const _: () = assert!(COUNT_BITS + EPOCH_BITS + MAX_STRIPES as u32 + 1 == 64);
const _: () = assert!(MAX_PERMITS as u64 <= COUNT_MASK);

/// `flag | moved (16) | epoch (22) | count (25)`. The flag says "gathered" of the centre and "closed"
/// of a stripe; only the centre uses `moved`.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Word(u64);

impl Word {
    fn count(self) -> u32 {
        (self.0 & COUNT_MASK) as u32
    }

    fn epoch(self) -> u64 {
        (self.0 >> COUNT_BITS) & EPOCH_MASK
    }

    fn flag(self) -> bool {
        self.0 & FLAG != 0
    }

    fn plus(self, n: u32) -> Self {
        Self(self.0 + u64::from(n))
    }

    fn minus(self, n: u32) -> Self {
        Self(self.0 - u64::from(n))
    }

    fn open(epoch: u64, count: u32) -> Self {
        Self(epoch << COUNT_BITS | u64::from(count))
    }

    fn closed(epoch: u64, count: u32) -> Self {
        Self(FLAG | Self::open(epoch, count).0)
    }

    fn moved(self, stripe: usize) -> bool {
        self.0 & Self::moved_bit(stripe) != 0
    }

    fn moved_bit(stripe: usize) -> u64 {
        1 << (MOVED_SHIFT as usize + stripe)
    }

    /// Gathered mode in the next epoch, nothing moved yet.
    fn gather(self) -> Self {
        Self::closed((self.epoch() + 1) & EPOCH_MASK, self.count())
    }

    /// Spread mode in the same epoch.
    fn spread(self) -> Self {
        Self::open(self.epoch(), self.count())
    }

    /// Whether this epoch came after `other`, also when the counter has wrapped in between.
    fn is_newer_than(self, other: u64) -> bool {
        let ahead = self.epoch().wrapping_sub(other) & EPOCH_MASK;
        ahead != 0 && ahead < 1 << (EPOCH_BITS - 1)
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Permits {
    centre: CachePadded<AtomicU64>,
    stripes: Box<[CachePadded<AtomicU64>]>,
    total: u32,
    /// A centre with this many permits goes back to spread mode.
    rich: u32,
}

/// Fewer permits than asked for were free: exactly this many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) available: u32,
}

impl Permits {
    /// `total` permits, all free, spread over `stripes` stripes.
    ///
    /// `total` is at most [`MAX_PERMITS`] and `stripes` a power of two up to [`MAX_STRIPES`]: the pool's
    /// configuration has seen to both.
    pub(super) fn new(total: u32, stripes: usize) -> Self {
        debug_assert!(stripes.is_power_of_two() && stripes <= MAX_STRIPES);
        let share = |i: u32| total / stripes as u32 + u32::from(i < total % stripes as u32);
        Self {
            centre: CachePadded::new(AtomicU64::new(Word::open(0, 0).0)),
            stripes: (0..stripes as u32)
                .map(|i| CachePadded::new(AtomicU64::new(Word::open(0, share(i)).0)))
                .collect(),
            total,
            // Below an eighth a gather would soon follow: requests find no single stripe that has
            // enough. Small totals (and models) stay spread while there is anything to spread.
            rich: (total / 8).max(1),
        }
    }

    /// Takes `n` permits, or says how many there were when there were too few.
    #[inline]
    pub(super) fn acquire(&self, n: u32, home: usize) -> Result<(), Refused> {
        if self.take_from_stripe(self.stripe_of(home), n) {
            return Ok(());
        }
        self.acquire_slow(n, home)
    }

    #[cold]
    fn acquire_slow(&self, n: u32, home: usize) -> Result<(), Refused> {
        loop {
            let centre = Word(self.centre.load(Ordering::Acquire));
            let next = if centre.flag() {
                if !self.all_moved(centre) {
                    self.finish_gather(centre);
                    continue;
                }
                if centre.count() < n {
                    // Every stripe is closed and moved in this epoch: the refusal is exact at the load.
                    return Err(Refused { available: centre.count() });
                }
                self.spread_if_rich(centre.minus(n))
            } else if centre.count() >= n {
                centre.minus(n)
            } else {
                let stripes = self.stripes.len();
                if (0..stripes).any(|i| self.take_from_stripe((home + i) % stripes, n)) {
                    return Ok(());
                }
                // Nobody alone has n. A lost CAS means that somebody else moved on: look again.
                self.change_centre(centre, centre.gather());
                continue;
            };
            if self.change_centre(centre, next) {
                return Ok(());
            }
        }
    }

    /// Gives `n` permits back. What happened before is visible to whoever takes them.
    #[inline]
    pub(super) fn release(&self, n: u32, home: usize) {
        let stripe = &self.stripes[self.stripe_of(home)];
        let mut word = Word(stripe.load(Ordering::Relaxed));
        while !word.flag() {
            match change(stripe, word, word.plus(n), Ordering::Release) {
                Ok(()) => return,
                Err(now) => word = now,
            }
        }
        self.release_slow(n, home);
    }

    #[cold]
    fn release_slow(&self, n: u32, home: usize) {
        let stripe = &self.stripes[self.stripe_of(home)];
        loop {
            // The centre before the stripe: see "why it is right".
            let centre = Word(self.centre.load(Ordering::Acquire));
            if centre.flag() {
                let next = centre.plus(n);
                let next = if self.all_moved(centre) { self.spread_if_rich(next) } else { next };
                if self.change_centre(centre, next) {
                    return;
                }
                continue;
            }
            let word = Word(stripe.load(Ordering::Acquire));
            let next = if !word.flag() {
                word.plus(n)
            } else if word.epoch() == centre.epoch() {
                // Its count has been moved: it opens with what comes back now.
                Word::open(centre.epoch(), n)
            } else {
                continue; // The centre has moved on since.
            };
            if change(stripe, word, next, Ordering::Release).is_ok() {
                return;
            }
        }
    }

    /// Gives all permits back, evenly: what [`acquire`](Self::acquire) of the total took.
    pub(super) fn release_all(&self) {
        let stripes = self.stripes.len() as u32;
        for i in 0..stripes {
            let share = self.total / stripes + u32::from(i < self.total % stripes);
            if share > 0 {
                self.release(share, i as usize);
            }
        }
    }

    /// Free permits, as a sum over words that are read one after another: exact when nobody changes
    /// them meanwhile, and never more than the total.
    pub(super) fn available(&self) -> u32 {
        let centre = Word(self.centre.load(Ordering::Acquire));
        let in_stripes: u32 = self
            .stripes
            .iter()
            .enumerate()
            .map(|(i, stripe)| {
                let word = Word(stripe.load(Ordering::Acquire));
                // A closed stripe's count is in the centre already, unless its move is under way.
                let counted = word.flag() && (!centre.flag() || centre.moved(i));
                if counted { 0 } else { word.count() }
            })
            .sum();
        (centre.count() + in_stripes).min(self.total)
    }

    pub(super) fn total(&self) -> u32 {
        self.total
    }

    /// A thread's home: its index modulo the number of stripes, which is a power of two.
    #[inline]
    fn stripe_of(&self, home: usize) -> usize {
        home & (self.stripes.len() - 1)
    }

    #[inline]
    fn take_from_stripe(&self, stripe: usize, n: u32) -> bool {
        let stripe = &self.stripes[stripe];
        let mut word = Word(stripe.load(Ordering::Relaxed));
        while !word.flag() && word.count() >= n {
            match change(stripe, word, word.minus(n), Ordering::Acquire) {
                Ok(()) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Closes every stripe under `centre`'s epoch and moves its count, as far as others have not.
    fn finish_gather(&self, centre: Word) {
        let epoch = centre.epoch();
        for i in (0..self.stripes.len()).filter(|i| !centre.moved(*i)) {
            let Some(count) = self.close(i, epoch) else {
                return;
            };
            loop {
                let now = Word(self.centre.load(Ordering::Acquire));
                if !now.flag() || now.epoch() != epoch {
                    return;
                }
                let moved = Word(now.0 | Word::moved_bit(i)).plus(count);
                if now.moved(i) || self.change_centre(now, moved) {
                    break;
                }
            }
        }
    }

    /// Closes a stripe under `epoch` and returns the count that is to be moved; `None` when the stripe
    /// is already in a later life, so that the gather must be over.
    fn close(&self, stripe: usize, epoch: u64) -> Option<u32> {
        let stripe = &self.stripes[stripe];
        let mut word = Word(stripe.load(Ordering::Acquire));
        loop {
            if word.epoch() == epoch {
                return word.flag().then_some(word.count());
            }
            if word.is_newer_than(epoch) {
                return None;
            }
            // A word that is closed under an older epoch has been moved then: nothing is left in it.
            let count = if word.flag() { 0 } else { word.count() };
            match change(stripe, word, Word::closed(epoch, count), Ordering::AcqRel) {
                Ok(()) => return Some(count),
                Err(now) => word = now,
            }
        }
    }

    fn all_moved(&self, centre: Word) -> bool {
        (0..self.stripes.len()).all(|i| centre.moved(i))
    }

    fn spread_if_rich(&self, centre: Word) -> Word {
        if centre.count() >= self.rich { centre.spread() } else { centre }
    }

    fn change_centre(&self, from: Word, to: Word) -> bool {
        change(&self.centre, from, to, Ordering::AcqRel).is_ok()
    }
}

/// One CAS; the word that was there instead, read with `Acquire`, when it fails.
#[inline]
fn change(at: &AtomicU64, from: Word, to: Word, success: Ordering) -> Result<(), Word> {
    at.compare_exchange(from.0, to.0, success, Ordering::Acquire).map(|_| ()).map_err(Word)
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;

    #[test]
    fn takes_and_refuses_exactly() {
        let permits = Permits::new(10, 4);
        assert_eq!(permits.acquire(7, 0), Ok(()));
        assert_eq!(permits.acquire(4, 1), Err(Refused { available: 3 }));
        assert_eq!(permits.acquire(3, 2), Ok(()));
        assert_eq!(permits.acquire(1, 3), Err(Refused { available: 0 }));
        permits.release(10, 3);
        assert_eq!(permits.available(), 10);
    }

    #[test]
    fn goes_back_to_spread_and_gathers_again() {
        let permits = Permits::new(16, 2);
        for round in 0..100 {
            // 9 lie in no single word of the two: each round gathers.
            permits.acquire(9, round % 2).unwrap();
            permits.acquire(7, 1).unwrap();
            assert_eq!(permits.acquire(1, 0), Err(Refused { available: 0 }));
            permits.release(8, 0);
            permits.release(8, 1);
            assert_eq!(permits.available(), 16);
        }
    }

    #[test]
    fn all_can_be_taken_and_given_back() {
        let permits = Permits::new(101, 4);
        permits.acquire(101, 2).unwrap();
        assert_eq!(permits.available(), 0);
        permits.release_all();
        assert_eq!(permits.available(), 101);
        permits.acquire(25, 3).unwrap();
        assert_eq!(permits.acquire(101, 0), Err(Refused { available: 76 }));
    }

    #[test]
    fn epochs_wrap() {
        let newest = Word::open(0, 0);
        assert!(newest.is_newer_than(EPOCH_MASK));
        assert!(!Word::open(EPOCH_MASK, 0).is_newer_than(0));
        assert!(!newest.is_newer_than(0));
        let last = Word::open(EPOCH_MASK, 5).gather();
        assert_eq!((last.epoch(), last.count(), last.flag()), (0, 5, true));
    }
}

#[cfg(all(test, latchless_loom))]
mod loom_models {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;
    use crate::sync::explore::explore;

    /// Two threads want more than one stripe holds, and together more than there is: a refusal says a
    /// number below what was asked, and only when the other held some; nothing is lost.
    #[test]
    fn loom_two_gatherers() {
        explore("permits: two gatherers", None, 500, || {
            let permits = Arc::new(Permits::new(3, 2));
            let other = Arc::clone(&permits);
            let thread = thread::spawn(move || {
                let got = other.acquire(2, 1);
                if got.is_ok() {
                    other.release(2, 1);
                }
                got
            });
            let mine = permits.acquire(2, 0);
            if let Err(refused) = mine {
                assert_eq!(refused.available, 1, "only the other thread's 2 can be missing");
            } else {
                permits.release(2, 0);
            }
            let theirs = thread.join().unwrap();
            assert!(mine.is_ok() || theirs.is_ok(), "both refused, and nobody held anything");
            assert_eq!(permits.available(), 3);
            assert_eq!(permits.acquire(3, 0), Ok(()), "a permit was lost");
            assert_eq!(permits.acquire(1, 1), Err(Refused { available: 0 }), "a permit was made");
        });
    }

    /// A release to one stripe races with a gather that begins at the other: the gatherer gets what it
    /// wants, or the refusal tells the number before the release.
    #[test]
    fn loom_release_races_with_gather() {
        explore("permits: release and gather", None, 100, || {
            let permits = Arc::new(Permits::new(2, 2));
            permits.acquire(1, 1).unwrap();
            let other = Arc::clone(&permits);
            let thread = thread::spawn(move || other.release(1, 1));
            match permits.acquire(2, 0) {
                Ok(()) => permits.release(2, 0),
                Err(refused) => assert_eq!(refused.available, 1),
            }
            thread.join().unwrap();
            assert_eq!(permits.acquire(2, 1), Ok(()), "a permit was lost");
            assert_eq!(permits.acquire(1, 0), Err(Refused { available: 0 }), "a permit was made");
        });
    }

    /// Three threads that together never want more than there is are never refused, although one of
    /// them has to gather while the others' permits come and go.
    #[test]
    fn loom_no_spurious_refusal() {
        explore("permits: no spurious refusal", Some(2), 1_000, || {
            let permits = Arc::new(Permits::new(6, 2));
            let take_and_give = |n, home| {
                let permits = Arc::clone(&permits);
                move || {
                    assert_eq!(permits.acquire(n, home), Ok(()), "at most 6 of 6 are ever taken");
                    permits.release(n, home);
                }
            };
            let threads = [thread::spawn(take_and_give(1, 0)), thread::spawn(take_and_give(1, 1))];
            take_and_give(4, 0)();
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(permits.acquire(6, 0), Ok(()), "a permit was lost");
        });
    }
}
