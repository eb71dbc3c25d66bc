//! Numbers that are good for one object only.
//!
//! An agent's, a block's and a task's number is a slot and a generation, and two pools may well have the
//! same ones. So what a caller gets is mixed with a key of its pool, engine or queue: a number that is
//! handed to another one opens as a slot or a generation that is not there. It protects from mistakes, not
//! from attackers, who have the memory anyway.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// What one object's numbers are mixed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key(u64);

impl Key {
    /// A key that no other object has.
    pub(crate) fn new() -> Self {
        static START: OnceLock<u64> = OnceLock::new();
        static KEYS: AtomicU64 = AtomicU64::new(0);
        let start = *START.get_or_init(|| RandomState::new().hash_one(0));
        // Relaxed: only that they differ matters.
        let number = start.wrapping_add(KEYS.fetch_add(1, Ordering::Relaxed));
        // The finaliser of SplitMix64 (Steele, Lea and Flood 2014): a permutation, so that no two are equal,
        // and neighbours differ in about half of their bits.
        let mixed = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Self(mixed ^ (mixed >> 31))
    }

    /// Closes a number, and opens one that was closed.
    #[inline]
    pub(crate) fn apply(self, bits: u64) -> u64 {
        bits ^ self.0
    }

    /// The half for numbers of 32 bits.
    #[inline]
    pub(crate) fn apply_half(self, bits: u32) -> u32 {
        bits ^ self.0 as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_opens_with_its_own_key_only() {
        let (mine, other) = (Key::new(), Key::new());
        assert_eq!(mine.apply(mine.apply(7)), 7);
        assert_ne!(other.apply(mine.apply(7)), 7);
        // Slots and generations are small: what opens wrongly is out of range, in either half.
        let wrong = other.apply(mine.apply(7));
        assert!(wrong >> 32 > 1 << 8 && wrong as u32 > 1 << 8, "{wrong:x}");
    }
}
