//! What an owner word says.

use super::super::accounts::Tenure;
use crate::mutant::mutant;

/// Bits of an agent slot or of a count of holders.
const VALUE_BITS: u32 = 24;
const KIND_BITS: u32 = 3;
const TAG_SHIFT: u32 = VALUE_BITS + KIND_BITS;
const _: () = assert!(TAG_SHIFT + Tenure::TAG_BITS == 32);
pub(in super::super) const MAX_VALUE: u32 = (1 << VALUE_BITS) - 1;

/// What a block's word says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Kind {
    /// Not the head of anything: free, or inside somebody's run.
    Free,
    /// A run of this block alone.
    One,
    /// A run of several blocks of a half span.
    Part,
    /// A run of blocks in both halves of a span.
    Wide,
    /// A run of one or more whole spans.
    Whole,
    /// One block with a count of holders.
    Shared,
    /// A run that its lease is regrouping.
    Moving,
    /// One block that is out under a handle.
    Handed,
}

/// `generation (32) | tenure's tag (5) | kind (3) | agent slot or holders (24)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Word(pub(super) u64);

impl Word {
    const KIND: u64 = ((1 << KIND_BITS) - 1) << VALUE_BITS;
    const TAG: u64 = ((1 << Tenure::TAG_BITS) - 1) << TAG_SHIFT;

    /// Blocks of an agent.
    #[inline]
    pub(super) fn of(kind: Kind, owner: Tenure, generation: u32) -> Self {
        let low = owner.tag() << TAG_SHIFT | (kind as u32) << VALUE_BITS | owner.slot();
        Self(u64::from(generation) << 32 | u64::from(low))
    }

    /// A block with several holders.
    pub(super) fn shared(holders: u32, generation: u32) -> Self {
        Self(u64::from(generation) << 32 | (Kind::Shared as u64) << VALUE_BITS | u64::from(holders))
    }

    /// Of a block that a slot's agent has out under a handle, but for the [tag](Self::tag).
    #[inline]
    pub(in super::super) fn handed(slot: u32, generation: u32) -> Self {
        let low = (Kind::Handed as u32) << VALUE_BITS | slot;
        Self(u64::from(generation) << 32 | u64::from(low))
    }

    /// The same with a tag.
    #[inline]
    pub(in super::super) fn tagged(self, tag: u32) -> Self {
        Self(self.0 | u64::from(tag) << TAG_SHIFT)
    }

    #[inline]
    pub(in super::super) fn untagged(self) -> Self {
        Self(self.0 & !Self::TAG)
    }

    pub(in super::super) fn kind(self) -> Kind {
        match (self.0 & Self::KIND) >> VALUE_BITS {
            1 => Kind::One,
            2 => Kind::Part,
            3 => Kind::Wide,
            4 => Kind::Whole,
            5 => Kind::Shared,
            6 => Kind::Moving,
            7 => Kind::Handed,
            _ => Kind::Free,
        }
    }

    /// The agent's slot, or the number of holders of a shared block.
    pub(in super::super) fn value(self) -> u32 {
        self.0 as u32 & MAX_VALUE
    }

    /// The agent's [tenure](Tenure::tag) in which the blocks were charged; 0 of shared blocks.
    pub(in super::super) fn tag(self) -> u32 {
        self.0 as u32 >> TAG_SHIFT
    }

    #[inline]
    pub(in super::super) fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(super) fn with_kind(self, kind: Kind) -> Self {
        Self(self.0 & !Self::KIND | (kind as u64) << VALUE_BITS)
    }

    /// The end of this life.
    #[inline]
    pub(super) fn freed(self) -> Self {
        let next = u64::from(!mutant("owners.no-generation"));
        Self((self.0 >> 32).wrapping_add(next) << 32)
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip() {
        for kind in [
            Kind::Free,
            Kind::One,
            Kind::Part,
            Kind::Wide,
            Kind::Whole,
            Kind::Shared,
            Kind::Moving,
            Kind::Handed,
        ] {
            let word = Word::of(Kind::One, Tenure::of(MAX_VALUE, 31), u32::MAX).with_kind(kind);
            let parts = (word.kind(), word.value(), word.tag(), word.generation());
            assert_eq!(parts, (kind, MAX_VALUE, 31, u32::MAX));
            assert_eq!(word.freed(), Word(0), "the generation wraps, and nothing else is left");
        }
        let shared = Word::shared(3, 5);
        assert_eq!((shared.kind(), shared.value(), shared.tag()), (Kind::Shared, 3, 0));
    }
}
