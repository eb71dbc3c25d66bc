//! Placement: which span a thread takes its blocks from.
//!
//! A thread goes on where it last found something (its *cursor*), so that an agent's blocks lie in few
//! spans and different threads use different ones. When the cursor's span has too little, a large request
//! goes on with the whole span beside it, and any other with the [free list](super::free_list), or with a
//! scan in order.

use crossbeam_utils::CachePadded;

use super::free_list::FreeList;
use super::owners::{MAX_RANGE, Owners, Run};
use super::span::{FULL, FreeBits, SPAN_BLOCKS};
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

/// Blocks that were claimed together: some of a span, or a range of whole spans.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub(super) span: usize,
    pub(super) spans: u32,
    pub(super) mask: u64,
}

impl Claim {
    #[inline]
    fn len(&self) -> u32 {
        self.mask.count_ones() * self.spans
    }

    /// Makes this a range with the blocks of one more span; false if they do not make one.
    fn extend(&mut self, span: usize, mask: u64) -> bool {
        let fits = self.mask == FULL
            && mask == FULL
            && span == self.span + self.spans as usize
            && self.spans < MAX_RANGE;
        self.spans += u32::from(fits);
        fits
    }
}

/// All blocks of a pool, in spans.
#[derive(Debug)]
pub(super) struct Blocks {
    pub(super) spans: Box<[Span]>,
    free_list: FreeList,
    cursors: Box<[CachePadded<AtomicU32>]>,
    /// A region is `1 << region_shift` spans.
    region_shift: u32,
}

/// Parts that a pool is divided into, to remember where an agent has blocks.
const REGIONS: usize = 64;

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
        let region_shift = spans.len().div_ceil(REGIONS).next_power_of_two().ilog2();
        Self { free_list: FreeList::new(spans.len()), spans, cursors, region_shift }
    }

    /// The regions of `spans` spans, a bit for each.
    #[inline]
    pub(super) fn regions(&self, first: usize, spans: u32) -> u64 {
        let (from, to) =
            (first >> self.region_shift, (first + spans as usize - 1) >> self.region_shift);
        u64::MAX >> (REGIONS - 1 - (to - from)) << from
    }

    /// The spans of these regions, in order.
    pub(super) fn spans_of(&self, regions: u64) -> impl Iterator<Item = (usize, &Span)> {
        let size = 1 << self.region_shift;
        self.spans
            .chunks(size)
            .enumerate()
            .filter(move |(region, _)| regions >> region & 1 != 0)
            .flat_map(move |(region, spans)| (region * size..).zip(spans))
    }

    /// Claims `n` blocks, calling `claimed` with each part. The caller holds `n` permits, so the blocks
    /// exist: a round over all spans that finds too few was overtaken by others who got theirs.
    #[inline]
    pub(super) fn claim(&self, n: u32, home: usize, mut claimed: impl FnMut(Claim)) {
        let cursor = &self.cursors[home & (self.cursors.len() - 1)];
        // Relaxed: a hint, whatever its age.
        let span = cursor.load(Ordering::Relaxed) as usize;
        let first = Claim { span, spans: 1, mask: self.spans[span].free.claim_up_to(n) };
        if first.len() == n {
            claimed(first);
        } else {
            let last = self.claim_more(first, n, claimed);
            cursor.store(last as u32, Ordering::Relaxed);
        }
    }

    /// Goes on after a first claim, and returns the span where it ended.
    #[inline(never)]
    fn claim_more(&self, first: Claim, n: u32, mut claimed: impl FnMut(Claim)) -> usize {
        let mut next = first.span + 1;
        let mut last = first;
        let mut left = n - first.len();
        while left > 0 {
            let span = self.whole_span_after(last, left).or_else(|| self.listed_span());
            let span = span.unwrap_or_else(|| {
                let span = next % self.spans.len();
                next = span + 1;
                span
            });
            let mask = self.spans[span].free.claim_up_to(left);
            if mask == 0 {
                continue;
            }
            left -= mask.count_ones();
            if !last.extend(span, mask) {
                if last.mask != 0 {
                    claimed(last);
                }
                last = Claim { span, spans: 1, mask };
            }
        }
        let end = last.span + last.spans as usize - 1;
        claimed(last);
        end
    }

    /// The span beside what was claimed last, if it is wholly free and wholly wanted: a range is cheaper
    /// to own than spans here and there.
    fn whole_span_after(&self, last: Claim, wanted: u32) -> Option<usize> {
        let beside = last.span + last.spans as usize;
        let fits = wanted >= SPAN_BLOCKS && self.spans.get(beside)?.free.load() == FULL;
        fits.then_some(beside)
    }

    /// Frees blocks of a span, and lists the span if it had none free.
    #[inline]
    pub(super) fn free(&self, span: usize, mask: u64) {
        if self.spans[span].free.free(mask) {
            self.list(span);
        }
    }

    /// Frees a run.
    #[inline]
    pub(super) fn free_run(&self, run: &Run, home: usize) {
        if run.mask() == FULL {
            self.free_spans(run.span(), run.spans() as usize);
            // What was just freed is still in this core's cache.
            self.cursors[home & (self.cursors.len() - 1)]
                .store(run.span() as u32, Ordering::Relaxed);
        } else {
            self.free(run.span(), run.mask());
        }
    }

    /// Frees whole spans and lists the first of them: whoever wants more than that goes on beside it.
    pub(super) fn free_spans(&self, first: usize, spans: usize) {
        for span in &self.spans[first..first + spans] {
            span.free.free_whole();
        }
        self.list(first);
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
        // The load spares a span that is listed already the write. Acquire and Release order the pop
        // before the next push of the same span. If somebody is inside the list the span stays unlisted,
        // and is found by a scan.
        if !listed.load(Ordering::Relaxed)
            && !listed.swap(true, Ordering::AcqRel)
            && !self.free_list.try_push(BlockId(span as u32 * SPAN_BLOCKS))
        {
            listed.store(false, Ordering::Release);
        }
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;

    #[test]
    fn regions_cover_their_spans_and_no_others() {
        for blocks in [1, 64, 65, 4_096, 8_192, 100_000, 1 << 20] {
            let pool = Blocks::new(blocks, 1);
            assert!(pool.spans_of(u64::MAX).map(|(i, _)| i).eq(0..pool.spans.len()), "{blocks}");
            for span in [0, pool.spans.len() / 3, pool.spans.len() - 1] {
                let near = pool.spans_of(pool.regions(span, 1)).map(|(i, _)| i);
                let near: Vec<_> = near.collect();
                assert!(near.contains(&span) && near.len() <= pool.spans.len().div_ceil(32));
            }
            let range = pool.spans.len().min(100);
            let regions = pool.regions(pool.spans.len() - range, range as u32);
            assert!(pool.spans_of(regions).count() >= range);
        }
    }
}
