//! Placement: which span a thread takes its blocks from.
//!
//! A thread goes on where it last found something (its *cursor*), so that an agent's blocks lie in few
//! spans and different threads use different ones. When the cursor's span has too little, the next one
//! comes from the [free list](super::free_list), or from a scan in order.

use crossbeam_utils::CachePadded;

use super::free_list::FreeList;
use super::owners::Owners;
use super::span::{FreeBits, SPAN_BLOCKS};
use crate::id::BlockId;
use crate::sync::{AtomicBool, AtomicU32, Ordering};

/// 64 consecutive blocks: which are free, and who has the others. 832 bytes, 13 a block.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Span {
    pub(super) free: FreeBits,
    /// Whether the span is in the free list: it is listed once at most.
    listed: AtomicBool,
    pub(super) owners: Owners,
}

/// All blocks of a pool, in spans.
#[derive(Debug)]
pub(super) struct Blocks {
    pub(super) spans: Box<[Span]>,
    free_list: FreeList,
    cursors: Box<[CachePadded<AtomicU32>]>,
}

impl Blocks {
    pub(super) fn new(blocks: u32, cursors: usize) -> Self {
        let count = blocks.div_ceil(SPAN_BLOCKS);
        let spans: Box<[_]> = (0..count)
            .map(|i| Span {
                free: FreeBits::new((blocks - i * SPAN_BLOCKS).min(SPAN_BLOCKS)),
                listed: AtomicBool::new(false),
                owners: Owners::new(),
            })
            .collect();
        let cursors = (0..cursors)
            .map(|i| {
                let start = u64::from(count) * i as u64 / cursors as u64;
                CachePadded::new(AtomicU32::new(start as u32))
            })
            .collect();
        Self { free_list: FreeList::new(spans.len()), spans, cursors }
    }

    /// Claims `n` blocks, calling `claimed` with span and mask of each part. The caller holds `n`
    /// permits, so the blocks exist: a round over all spans that finds too few was overtaken by others
    /// who got theirs.
    #[inline]
    pub(super) fn claim(&self, n: u32, home: usize, mut claimed: impl FnMut(usize, u64)) {
        let cursor = &self.cursors[home % self.cursors.len()];
        // Relaxed: a hint, whatever its age.
        let start = cursor.load(Ordering::Relaxed) as usize;
        let (mut at, mut next) = (start, start + 1);
        let mut left = n;
        loop {
            let mask = self.spans[at].free.claim_up_to(left);
            if mask != 0 {
                claimed(at, mask);
                left -= mask.count_ones();
                if left == 0 {
                    break;
                }
            }
            at = self.listed_span().unwrap_or_else(|| {
                let at = next % self.spans.len();
                next = at + 1;
                at
            });
        }
        if at != start {
            cursor.store(at as u32, Ordering::Relaxed);
        }
    }

    /// Frees blocks of a span, and lists the span if it had none free.
    #[inline]
    pub(super) fn free(&self, span: usize, mask: u64) {
        if self.spans[span].free.free(mask) {
            self.list(span);
        }
    }

    fn listed_span(&self) -> Option<usize> {
        let span = (self.free_list.try_pop()?.0 / SPAN_BLOCKS) as usize;
        // After the pop: from here on whoever frees the first block of this span lists it again.
        self.spans[span].listed.store(false, Ordering::Release);
        Some(span)
    }

    #[cold]
    fn list(&self, span: usize) {
        let listed = &self.spans[span].listed;
        // Acquire and Release order the pop before the next push of the same span. If somebody is inside
        // the list the span stays unlisted, and is found by a scan.
        if !listed.swap(true, Ordering::AcqRel)
            && !self.free_list.try_push(BlockId(span as u32 * SPAN_BLOCKS))
        {
            listed.store(false, Ordering::Release);
        }
    }
}
