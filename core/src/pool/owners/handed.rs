//! Which blocks of a span are out under a handle, and who ends that.
//!
//! A bit for each block, those of a half span in one word with a version that counts how often blocks
//! were handed out there. Whoever ends a hand-out (a free by handles, a lease made of them, or the free
//! of a whole agent) clears the bits by a CAS from a word that it read before the blocks' owner words:
//! so a list of handles costs a CAS for each half span, and the owner words are what they were. While a
//! bit is set nobody writes its block's owner word, and a block that has been freed and handed out again
//! since has changed the version.
//!
//! Versions have 32 bits and wrap: a thread would have to be frozen between its read and its CAS for
//! exactly a multiple of 4,294,967,296 hand-outs of one half span, and find the same blocks out.

use super::{HALF_BLOCKS, HALF_FULL};
use crate::mutant::mutant;
use crate::sync::{AtomicU64, Ordering};

const HALVES: usize = 2;
const ONE_VERSION: u64 = 1 << 32;

/// The bits of one span.
#[derive(Debug)]
pub(super) struct Handed([AtomicU64; HALVES]);

/// One half's word, as it was read.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Seen {
    half: usize,
    word: u64,
}

impl Seen {
    /// The blocks that were out, as bits of the span.
    #[inline]
    pub(in super::super) fn blocks(self) -> u64 {
        (self.word & HALF_FULL) << (self.half as u32 * HALF_BLOCKS)
    }
}

impl Handed {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    /// The half of the span in which the block at `bit` lies. To be read before the owner words.
    #[inline]
    pub(super) fn read(&self, bit: u32) -> Seen {
        let half = (bit / HALF_BLOCKS) as usize;
        // Acquire: with a bit its block's owner word is seen.
        Seen { half, word: self.0[half].load(Ordering::Acquire) }
    }

    /// Marks blocks as out, whose owner words the caller has just written.
    #[inline]
    pub(super) fn hand_out(&self, mask: u64) {
        self.add(mask, if mutant("handed.no-version") { 0 } else { ONE_VERSION });
    }

    /// Undoes [`claim`](Self::claim): they are out as before, and need no new version.
    pub(super) fn put_back(&self, mask: u64) {
        self.add(mask, 0);
    }

    #[inline]
    fn add(&self, mask: u64, version: u64) {
        for (half, word) in self.0.iter().enumerate() {
            let bits = (mask >> (half as u32 * HALF_BLOCKS)) & HALF_FULL;
            if bits != 0 {
                // An addition sets the bits, for they are clear: the blocks are the caller's. Release: who
                // sees a bit sees the owner word.
                word.fetch_add(version + bits, Ordering::AcqRel);
            }
        }
    }

    /// Ends the hand-out of blocks of `seen`'s half, all at once; what is there now when that has changed.
    /// The blocks are the caller's then, to free, to lease or to [put back](Self::put_back).
    #[inline]
    pub(super) fn claim(&self, seen: Seen, mask: u64) -> Result<(), Seen> {
        debug_assert_eq!(mask & !seen.blocks(), 0, "only what is out can be claimed");
        let Seen { half, word } = seen;
        let next = word & !(mask >> (half as u32 * HALF_BLOCKS));
        // AcqRel: what the last claimer, or the one who handed out, did to these blocks is done.
        self.0[half]
            .compare_exchange(word, next, Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
            .or_else(
                |word| {
                    if mutant("handed.claim-twice") { Ok(()) } else { Err(Seen { half, word }) }
                },
            )
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_was_handed_out_again_is_not_claimed_by_who_saw_it_before() {
        let handed = Handed::new();
        let both_halves = 1 << 63 | 0b101;
        handed.hand_out(both_halves);
        let (low, high) = (handed.read(0), handed.read(63));
        assert_eq!((low.blocks(), high.blocks()), (0b101, 1 << 63));
        handed.claim(high, 1 << 63).unwrap();
        handed.claim(low, 0b100).unwrap();
        assert_eq!(handed.claim(low, 1).unwrap_err().blocks(), 1, "something else has ended since");
        handed.hand_out(0b100);
        assert!(handed.claim(low, 0b100).is_err(), "the same blocks, in another life");
        // A block that was put back is the one it was.
        let low = handed.read(31);
        handed.claim(low, 0b100).unwrap();
        handed.put_back(0b100);
        handed.claim(low, 0b101).unwrap();
        assert_eq!(handed.read(0).blocks(), 0);
    }
}
