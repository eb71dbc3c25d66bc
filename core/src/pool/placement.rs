//! Placement: which span a thread takes its blocks from.
//!
//! A thread goes on where it last found something (its *cursor*), so that an agent's blocks lie in few
//! spans and different threads use different ones. When the cursor's span has too little, a large request
//! goes on with the whole span beside it; any other with what the thread [remembers](super::home), with the
//! [free list](super::free_list), with what other threads remember, or with a scan in order.

use super::counters::{Counters, Event};
use super::free_list::FreeList;
use super::home::Home;
use super::owners::{MAX_RANGE, Owners, Run};
use super::span::{FULL, FreeBits, SPAN_BLOCKS};
use crate::id::BlockId;
use crate::mutant::mutant;
use crate::sync::{AtomicBool, Ordering};

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
    homes: Box<[Home]>,
    /// A region is `1 << region_shift` spans.
    region_shift: u32,
    counters: Counters,
}

/// Parts that a pool is divided into, to remember where an agent has blocks.
const REGIONS: usize = 64;

impl Blocks {
    pub(super) fn new(blocks: u32, homes: usize) -> Self {
        let count = blocks.div_ceil(SPAN_BLOCKS);
        let spans: Box<[_]> = (0..count)
            .map(|i| Span {
                free: FreeBits::new((blocks - i * SPAN_BLOCKS).min(SPAN_BLOCKS)),
                listed: AtomicBool::new(false),
                owners: Owners::new(),
            })
            .collect();
        let homes: Box<[_]> = (0..homes)
            .map(|i| Home::new((u64::from(count) * i as u64 / homes as u64) as u32))
            .collect();
        let region_shift = spans.len().div_ceil(REGIONS).next_power_of_two().ilog2();
        let counters = Counters::new(homes.len());
        Self { free_list: FreeList::new(spans.len()), spans, homes, region_shift, counters }
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
        let home = self.home(home);
        let span = home.cursor();
        let first = Claim { span, spans: 1, mask: self.claim_of(span, n) };
        if first.len() == n {
            claimed(first);
        } else {
            let last = self.claim_more(home, first, n, claimed);
            home.set_cursor(last);
        }
    }

    /// Claims up to `n` blocks of a span.
    #[inline]
    fn claim_of(&self, span: usize, n: u32) -> u64 {
        self.spans[span].free.claim_up_to(n, || self.counters.add(Event::SpanRetry))
    }

    /// Goes on after a first claim, and returns the span where it ended.
    #[inline(never)]
    fn claim_more(
        &self,
        home: &Home,
        first: Claim,
        n: u32,
        mut claimed: impl FnMut(Claim),
    ) -> usize {
        // What others remember, once, and then everything.
        let mut others = self.homes.iter().flat_map(Home::recent);
        let mut next = first.span + 1;
        let mut last = first;
        let mut left = n - first.len();
        while left > 0 {
            let span = self
                .whole_span_after(last, left)
                .or_else(|| home.recall())
                .or_else(|| self.listed_span())
                .or_else(|| others.next());
            let span = span.unwrap_or_else(|| {
                self.counters.add(Event::Scan);
                let span = next % self.spans.len();
                next = span + 1;
                span
            });
            let mask = self.claim_of(span, left);
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

    #[inline]
    fn home(&self, home: usize) -> &Home {
        &self.homes[home & (self.homes.len() - 1)]
    }

    /// Frees blocks of a span, and remembers the span if it had none free.
    #[inline]
    pub(super) fn free(&self, span: usize, mask: u64, home: usize) {
        if self.spans[span].free.free(mask) {
            self.remember(span, home);
        }
    }

    /// Frees a run.
    #[inline]
    pub(super) fn free_run(&self, run: &Run, home: usize) {
        if run.mask() == FULL {
            self.free_spans(run.span(), run.spans() as usize, home);
            // What was just freed is still in this core's cache.
            self.home(home).set_cursor(run.span());
        } else {
            self.free(run.span(), run.mask(), home);
        }
    }

    /// Frees whole spans and remembers the first of them: whoever wants more goes on beside it.
    pub(super) fn free_spans(&self, first: usize, spans: usize, home: usize) {
        for span in &self.spans[first..first + spans] {
            span.free.free_whole();
        }
        self.remember(first, home);
    }

    /// Remembers a span at home; what is forgotten for it is listed, so that others find it.
    #[cold]
    fn remember(&self, span: usize, home: usize) {
        if let Some(forgotten) = self.home(home).remember(span)
            && self.spans[forgotten].free.load() != 0
        {
            self.list(forgotten);
        }
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    fn listed_span(&self) -> Option<usize> {
        let span = (self.free_list.try_pop()?.0 / SPAN_BLOCKS) as usize;
        // After the pop: from here on whoever frees the first block of this span lists it again.
        self.spans[span].listed.store(false, Ordering::Release);
        self.counters.add(Event::Listed);
        Some(span)
    }

    fn list(&self, span: usize) {
        let listed = &self.spans[span].listed;
        // The load spares a span that is listed already the write. Acquire and Release order the pop
        // before the next push of the same span. If somebody is inside the list the span stays unlisted,
        // and is found by a scan.
        if (!listed.load(Ordering::Relaxed) || mutant("placement.listed-twice"))
            && (!listed.swap(true, Ordering::AcqRel) || mutant("placement.listed-twice"))
            && !self.free_list.try_push(BlockId(span as u32 * SPAN_BLOCKS))
        {
            listed.store(false, Ordering::Release);
            self.counters.add(Event::Unlisted);
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
    #[test]
    fn a_span_is_listed_once_at_a_time() {
        let pool = Blocks::new(256, 1);
        for _ in 0..3 {
            pool.list(2);
            pool.list(2);
            assert_eq!(pool.listed_span(), Some(2));
            assert_eq!(pool.listed_span(), None);
        }
    }
}
