//! Runs: blocks that are owned together.

use super::super::accounts::Tenure;
use super::super::permits::MAX_PERMITS;
use super::super::span::{FULL, SPAN_BLOCKS, blocks_of};
use super::HALF_FULL;
use super::word::{Kind, Word};

/// How a run is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Hold {
    /// Alone, through the head's word.
    Sole,
    /// With others, through the word of each block.
    Shared,
}

/// What a lease knows of a run: enough to expect its exact word. 16 bytes.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Run {
    /// `shared (1) | further whole spans (7) | first block of the first span (24)`.
    pub(super) place: u32,
    /// The generation of the head's word; of every block's word in a shared run.
    pub(super) generation: u32,
    /// Blocks of the run, bits of the span; of each of its spans.
    pub(super) mask: u64,
}

/// Spans of a range at most.
pub(in super::super) const MAX_RANGE: u32 = 128;

const PLACE_BITS: u32 = 24;
const _: () = assert!(MAX_PERMITS == 1 << PLACE_BITS && MAX_RANGE == 1 << (31 - PLACE_BITS));

impl Run {
    pub(super) const SHARED: u32 = 1 << 31;

    pub(super) fn new(span_first: u32, spans: u32, mask: u64, generation: u32) -> Self {
        debug_assert!((1..=MAX_RANGE).contains(&spans) && (spans == 1 || mask == FULL));
        Self { place: (spans - 1) << PLACE_BITS | span_first, generation, mask }
    }

    /// Blocks in the run.
    #[inline]
    pub(in super::super) fn len(&self) -> u32 {
        self.mask.count_ones() * self.spans()
    }

    /// Bits of the span, or of each span of a range.
    #[inline]
    pub(in super::super) fn mask(&self) -> u64 {
        self.mask
    }

    /// Spans that the run lies in: more than one are whole.
    #[inline]
    pub(in super::super) fn spans(&self) -> u32 {
        ((self.place & !Self::SHARED) >> PLACE_BITS) + 1
    }

    /// First block of the first span.
    #[inline]
    pub(in super::super) fn span_first(&self) -> u32 {
        self.place & (MAX_PERMITS - 1)
    }

    /// The blocks, lowest first.
    pub(in super::super) fn blocks(&self) -> impl Iterator<Item = u32> + use<> {
        let Self { mask, .. } = *self;
        let first = self.span_first();
        (0..self.spans()).flat_map(move |i| blocks_of(first + i * SPAN_BLOCKS, mask))
    }

    /// Number of the first span.
    #[inline]
    pub(in super::super) fn span(&self) -> usize {
        (self.span_first() / SPAN_BLOCKS) as usize
    }

    #[inline]
    pub(in super::super) fn hold(&self) -> Hold {
        if self.place & Self::SHARED == 0 { Hold::Sole } else { Hold::Shared }
    }

    /// A run of one span in two of which only the masks part: a shared one, where every block has its own
    /// word, or one that is not there any more, where it does not matter.
    pub(in super::super) fn divide(self, low: u64) -> [Self; 2] {
        [Self { mask: self.mask & low, ..self }, Self { mask: self.mask & !low, ..self }]
    }

    #[inline]
    pub(super) fn head(&self) -> usize {
        self.mask.trailing_zeros() as usize
    }

    #[inline]
    pub(super) fn word(&self, owner: Tenure) -> Word {
        Word::of(kind_of(self.mask), owner, self.generation)
    }
}

#[inline]
fn kind_of(mask: u64) -> Kind {
    match mask.count_ones() {
        1 => Kind::One,
        SPAN_BLOCKS => Kind::Whole,
        _ if mask & HALF_FULL != 0 && mask & !HALF_FULL != 0 => Kind::Wide,
        _ => Kind::Part,
    }
}

/// The pieces of `mask` that can be a run each: all of it, unless it has one block in the lower half and
/// some in the upper.
#[inline]
pub(super) fn pieces(mask: u64) -> impl Iterator<Item = u64> {
    let (low, high) = (mask & HALF_FULL, mask & !HALF_FULL);
    let pieces = if low.is_power_of_two() { [low, high] } else { [mask, 0] };
    pieces.into_iter().filter(|piece| *piece != 0)
}
