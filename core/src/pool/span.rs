//! Spans decide **which** blocks: [`SPAN_BLOCKS`] consecutive ones share a word, a set bit is a free
//! block.
//!
//! Blocks are claimed by one CAS and freed by one addition, up to a whole span at a time; a whole span
//! is freed by a store. There are no
//! next-pointers, so there is no ABA: a bit is free or it is not.
//!
//! # Orderings
//!
//! Whoever holds a permit is owed a bit, and must come to see one. Claims are `AcqRel` and loads are
//! `Acquire` for that reason: a thread that finds a bit taken reads the word of the claimer, hence sees
//! everything that the claimer saw, and with it the bits whose release made the claimer's permit. A
//! thread that scanned all spans in vain has therefore been overtaken, and its next round starts with
//! what the overtakers knew.

use crate::mutant::weaker;
use crate::sync::{AtomicU64, Ordering};

/// Blocks of a span. A loom model has 4, so that two spans are a pool.
pub(super) const SPAN_BLOCKS: u32 = if cfg!(latchless_loom) { 4 } else { 64 };

/// All blocks of a span.
pub(super) const FULL: u64 = u64::MAX >> (64 - SPAN_BLOCKS);

/// The free bits of one span.
#[derive(Debug)]
pub(super) struct FreeBits(AtomicU64);

impl FreeBits {
    /// A span whose first `blocks` blocks exist and are free.
    pub(super) fn new(blocks: u32) -> Self {
        debug_assert!((1..=SPAN_BLOCKS).contains(&blocks));
        Self(AtomicU64::new(FULL >> (SPAN_BLOCKS - blocks)))
    }

    /// Claims up to `n` free blocks, the lowest ones; 0 when none is free. `lost` is called for each
    /// compare-and-swap that another thread's change came before.
    #[inline]
    pub(super) fn claim_up_to(&self, n: u32, lost: impl Fn()) -> u64 {
        let acquire = weaker("span.claim-relaxed", Ordering::Acquire);
        let acq_rel = weaker("span.claim-relaxed", Ordering::AcqRel);
        let mut bits = self.0.load(acquire);
        while bits != 0 {
            let take = lowest(bits, n);
            match self.0.compare_exchange(bits, bits & !take, acq_rel, acquire) {
                Ok(_) => return take,
                Err(now) => {
                    lost();
                    bits = now;
                }
            }
        }
        0
    }

    /// Frees the blocks of `mask` and tells whether the span had none free before.
    ///
    /// Only the winner of a block's owner word calls this, so no bit of `mask` can be set.
    #[inline]
    pub(super) fn free(&self, mask: u64) -> bool {
        // Release: what was done with the blocks is done for whoever claims them. An addition because no
        // bit of the mask is set, and because it is one instruction that gives the old word: an "or" that
        // does is a loop.
        let before = self.0.fetch_add(mask, weaker("span.free-relaxed", Ordering::AcqRel));
        debug_assert_eq!(before & mask, 0, "a block was freed twice");
        before == 0
    }

    /// Frees all blocks, which are all the caller's: nobody else can change the word meanwhile, so this
    /// is a store.
    #[inline]
    pub(super) fn free_whole(&self) {
        debug_assert_eq!(self.0.load(Ordering::Relaxed), 0, "a block was freed twice");
        // Release: as in `free`; what earlier writers of this word knew, we know from claiming it.
        self.0.store(FULL, weaker("span.free-whole-relaxed", Ordering::Release));
    }

    /// The free blocks at this instant.
    pub(super) fn load(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// The lowest `n` set bits of `bits`, or all when there are no more.
#[inline]
fn lowest(bits: u64, n: u32) -> u64 {
    if n >= bits.count_ones() {
        return bits;
    }
    lowest_below_count(bits, n)
}

#[cfg(all(target_arch = "x86_64", target_feature = "bmi2"))]
#[inline]
#[allow(unsafe_code)]
fn lowest_below_count(bits: u64, n: u32) -> u64 {
    // SAFETY: this function is compiled only when the whole program is compiled for a CPU with BMI2.
    unsafe { core::arch::x86_64::_pdep_u64((1 << n) - 1, bits) }
}

#[cfg(not(all(target_arch = "x86_64", target_feature = "bmi2")))]
#[inline]
fn lowest_below_count(bits: u64, n: u32) -> u64 {
    lowest_by_clearing(bits, n)
}

/// The portable form, and the reference of the test.
#[cfg(any(
    all(test, not(latchless_loom)),
    not(all(target_arch = "x86_64", target_feature = "bmi2"))
))]
fn lowest_by_clearing(bits: u64, n: u32) -> u64 {
    let above = (0..n).fold(bits, |rest, _| rest & (rest - 1));
    bits ^ above
}

/// The bits of `mask`, lowest first, as block numbers counted from `base`.
#[inline]
pub(super) fn blocks_of(base: u32, mut mask: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = (mask != 0).then(|| mask.trailing_zeros())?;
        mask &= mask - 1;
        Some(base + bit)
    })
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;

    #[test]
    fn lowest_bits_by_either_way() {
        let words =
            [1, 0b1011_0100, u64::MAX, 0xAAAA_AAAA_AAAA_AAAA, 1 << 63, 0x8000_0000_0000_0001];
        for bits in words {
            for n in 1..=64 {
                let take = lowest(bits, n);
                assert_eq!(take.count_ones(), n.min(bits.count_ones()));
                assert_eq!(take & !bits, 0);
                assert!(
                    (bits ^ take) == 0 || take.leading_zeros() >= (bits ^ take).leading_zeros()
                );
                if n < bits.count_ones() {
                    assert_eq!(take, lowest_by_clearing(bits, n));
                    assert!(
                        (bits ^ take).trailing_zeros() > take.ilog2(),
                        "{bits:#x} {n}: not the lowest"
                    );
                }
            }
        }
    }

    #[test]
    fn claims_what_is_there() {
        let span = FreeBits::new(10);
        assert_eq!(span.claim_up_to(4, || ()), 0b1111);
        assert_eq!(span.claim_up_to(100, || ()), 0b11_1111_0000);
        assert_eq!(span.claim_up_to(1, || ()), 0);
        assert!(span.free(0b100));
        assert!(!span.free(0b1));
        assert_eq!(span.load(), 0b101);
    }

    #[test]
    fn names_blocks() {
        assert_eq!(blocks_of(64, 0b1000_0101).collect::<Vec<_>>(), [64, 66, 71]);
        assert_eq!(blocks_of(0, 0).count(), 0);
    }
}
