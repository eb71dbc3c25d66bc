//! Lists of handles: in which order they are gone through.

use std::borrow::Cow;
use std::iter;

use super::super::owners::HALF_BLOCKS;
use super::super::span::SPAN_BLOCKS;
use super::BlockHandle;

impl BlockHandle {
    #[inline]
    pub(super) fn span(self) -> usize {
        (self.block.0 / SPAN_BLOCKS) as usize
    }

    /// Of the span.
    #[inline]
    pub(super) fn bit(self) -> u32 {
        self.block.0 % SPAN_BLOCKS
    }

    #[inline]
    pub(super) fn mask(self) -> u64 {
        1 << self.bit()
    }

    #[inline]
    fn half(self) -> u32 {
        self.block.0 / HALF_BLOCKS
    }
}

/// Handles of one half of a span: at least one.
#[derive(Clone, Copy)]
pub(super) struct Half<'a> {
    pub(super) handles: &'a [BlockHandle],
    /// Their blocks, as bits of the span.
    pub(super) mask: u64,
}

impl Half<'_> {
    #[inline]
    pub(super) fn span(&self) -> usize {
        self.handles[0].span()
    }

    #[inline]
    pub(super) fn first_bit(&self) -> u32 {
        self.handles[0].bit()
    }
}

/// The same handles in the order of halves of spans, so that two callers with the same blocks collide at
/// the first ones. Within a half there is no order: it is claimed at once.
#[inline]
pub(super) fn in_order(handles: &[BlockHandle]) -> Cow<'_, [BlockHandle]> {
    // Without an early end, for there is as good as never one.
    let ordered = handles.windows(2).fold(true, |all, two| all & (two[0].half() <= two[1].half()));
    let mut handles = Cow::Borrowed(handles);
    if !ordered {
        handles.to_mut().sort_unstable_by_key(|handle| handle.block);
    }
    handles
}

/// Handles [in order](in_order), half by half.
#[inline]
pub(super) fn halves(mut handles: &[BlockHandle]) -> impl Iterator<Item = Half<'_>> {
    iter::from_fn(move || {
        let half = handles.first()?.half();
        let (mut mask, mut len) = (0, 0);
        for handle in handles {
            if handle.half() != half {
                break;
            }
            mask |= handle.mask();
            len += 1;
        }
        let (here, rest) = handles.split_at(len);
        handles = rest;
        Some(Half { handles: here, mask })
    })
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::super::super::owners::HALF_BLOCKS;
    use super::*;

    fn handles(blocks: &[u32]) -> Vec<BlockHandle> {
        blocks.iter().map(|block| BlockHandle::from_bits(u64::from(*block))).collect()
    }

    #[test]
    fn lists_are_cut_at_halves_of_spans() {
        let (half, span) = (HALF_BLOCKS, SPAN_BLOCKS);
        let list = handles(&[1, 0, half, span - 1, span + 1, 3 * span + 2]);
        let ordered = in_order(&list);
        assert!(matches!(ordered, Cow::Borrowed(_)), "in order but for a half's own");
        let parts: Vec<_> = halves(&ordered).map(|half| (half.span(), half.mask)).collect();
        let high = 1 << half | 1 << (span - 1);
        assert_eq!(parts, [(0, 0b11), (0, high), (1, 0b10), (3, 0b100)]);

        let list = handles(&[half, 0, 1]);
        let ordered = in_order(&list);
        assert_eq!(*ordered, handles(&[0, 1, half]));
        assert_eq!(halves(&[]).count(), 0);
    }
}
