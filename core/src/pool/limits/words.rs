//! The words of an agent's limits: both on its account's cache line, each changed by CAS.

use crate::mutant::mutant;
use crate::sync::{AtomicU64, Ordering};

/// No quota.
pub(in crate::pool) const NO_QUOTA: u32 = u32::MAX;

/// The most blocks that an agent may have: `agent's generation (32) | blocks (32)`.
///
/// The generation keeps a thread that sets the quota of an agent that has just left from setting the
/// next one's.
#[derive(Debug)]
pub(in crate::pool) struct Quota(AtomicU64);

impl Quota {
    pub(in crate::pool) fn new() -> Self {
        Self(AtomicU64::new(Self::word(0, NO_QUOTA)))
    }

    fn word(generation: u32, blocks: u32) -> u64 {
        u64::from(generation) << 32 | u64::from(blocks)
    }

    /// Begins the life of an agent, without a quota. Called before its account opens, by the one who
    /// opens it.
    pub(in crate::pool) fn begin(&self, generation: u32) {
        // Relaxed: the account's word, opened after this, publishes it. A late `set` of the agent before
        // either came first and is overwritten, or fails.
        self.0.store(Self::word(generation, NO_QUOTA), Ordering::Relaxed);
    }

    pub(in crate::pool) fn load(&self) -> u32 {
        self.0.load(Ordering::Acquire) as u32
    }

    /// False when this is another agent's by now.
    pub(in crate::pool) fn set(&self, generation: u32, blocks: u32) -> bool {
        let next = Self::word(generation, blocks);
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
                ((now >> 32) as u32 == generation).then_some(next)
            })
            .is_ok()
    }
}

const COUNT_BITS: u32 = 25;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const STAMP_SHIFT: u32 = 2 * COUNT_BITS;

/// What an agent's reserve is and has: `stamp (14) | size (25) | free (25)`.
///
/// The stamp counts the changes. Two equal words, read one after the other, say that nothing changed in
/// between, and a CAS from a word fails after any change: up to a thread that is frozen between the two
/// for a multiple of 16,384 changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) struct ReserveWord(u64);

impl ReserveWord {
    /// Blocks that are kept for the agent when it uses none of them.
    pub(in crate::pool) fn size(self) -> u32 {
        (self.0 >> COUNT_BITS & COUNT_MASK) as u32
    }

    /// Permits that are there now.
    pub(in crate::pool) fn free(self) -> u32 {
        (self.0 & COUNT_MASK) as u32
    }

    /// Permits that are out with blocks of the agent.
    pub(in crate::pool) fn missing(self) -> u32 {
        self.size() - self.free()
    }

    /// The next word, of another content or the same.
    #[must_use]
    pub(in crate::pool) fn with(self, size: u32, free: u32) -> Self {
        debug_assert!(free <= size && u64::from(size) <= COUNT_MASK);
        let changes = u64::from(!mutant("limits.no-stamp"));
        let stamp = (self.0 >> STAMP_SHIFT).wrapping_add(changes);
        Self(stamp << STAMP_SHIFT | u64::from(size) << COUNT_BITS | u64::from(free))
    }
}

/// Permits that are kept for an agent.
#[derive(Debug)]
pub(in crate::pool) struct Reserve(AtomicU64);

impl Reserve {
    pub(in crate::pool) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(in crate::pool) fn load(&self) -> ReserveWord {
        ReserveWord(self.0.load(Ordering::Acquire))
    }

    /// One CAS. Release: whoever takes a permit sees the bit of its block; Acquire: and the other way
    /// round. Every change is a read-modify-write, so that holds for all permits in the word. `to` may be
    /// `from`: then this asks whether the word is still the same.
    pub(in crate::pool) fn change(&self, from: ReserveWord, to: ReserveWord) -> bool {
        self.0.compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Changes the word to what `next` says and returns what it was.
    pub(in crate::pool) fn update(&self, next: impl Fn(ReserveWord) -> ReserveWord) -> ReserveWord {
        loop {
            let now = self.load();
            if self.change(now, next(now)) {
                return now;
            }
        }
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_set_for_one_generation() {
        let quota = Quota::new();
        assert_eq!(quota.load(), NO_QUOTA);
        assert!(quota.set(0, 7));
        assert_eq!(quota.load(), 7);
        quota.begin(1);
        assert!(!quota.set(0, 7), "the agent of this generation has left");
        assert_eq!(quota.load(), NO_QUOTA);
    }

    #[test]
    fn a_reserve_word_keeps_its_parts_apart() {
        let most = 1 << 24;
        let mut word = ReserveWord(0);
        for _ in 0..1 << 14 {
            let next = word.with(most, 5);
            assert_ne!(next, word, "the same content has another stamp");
            assert_eq!((next.size(), next.free(), next.missing()), (most, 5, most - 5));
            word = next;
        }
        assert_eq!(word.0 >> STAMP_SHIFT, 0, "the stamp wraps and touches nothing else");
    }

    #[test]
    fn a_change_from_an_old_word_fails() {
        let reserve = Reserve::new();
        let old = reserve.load();
        reserve.update(|now| now.with(3, 3));
        reserve.update(|now| now.with(0, 0));
        assert!(!reserve.change(old, old.with(1, 1)));
        assert_eq!((reserve.load().size(), reserve.load().free()), (0, 0));
    }
}
