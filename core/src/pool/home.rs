//! What the threads of a stripe remember of the pool: hints, each of which may be wrong.
//!
//! The *cursor* is the span where a thread last found something; the *recent* spans are those that its
//! frees made worth a look. Near exhaustion, where blocks come in pieces from all over the pool, what a
//! thread gives back is what it takes next, and neither costs a locked instruction.
//!
//! # Orderings
//!
//! All is relaxed, and threads of one stripe may undo each other's writes: a hint that is lost is found
//! by a scan, and one that is wrong costs a look at a word.

use crate::sync::{AtomicU32, Ordering};

/// Spans remembered. None in a loom model, where every hint multiplies the schedules: there the free list
/// and the scan do it all.
const RECENT: usize = if cfg!(latchless_loom) { 0 } else { 24 };

const NONE: u32 = u32::MAX;

/// Of one stripe; two cache lines.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Home {
    cursor: AtomicU32,
    /// The number of spans remembered so far, less those taken.
    count: AtomicU32,
    recent: [AtomicU32; RECENT],
}

impl Home {
    pub(super) fn new(cursor: u32) -> Self {
        Self {
            cursor: AtomicU32::new(cursor),
            count: AtomicU32::new(0),
            recent: std::array::from_fn(|_| AtomicU32::new(NONE)),
        }
    }

    #[inline]
    pub(super) fn cursor(&self) -> usize {
        self.cursor.load(Ordering::Relaxed) as usize
    }

    #[inline]
    pub(super) fn set_cursor(&self, span: usize) {
        self.cursor.store(span as u32, Ordering::Relaxed);
    }

    /// Remembers a span, and returns the one that is forgotten for it.
    #[inline]
    pub(super) fn remember(&self, span: usize) -> Option<usize> {
        if RECENT == 0 {
            return Some(span);
        }
        let count = self.count.load(Ordering::Relaxed);
        self.count.store(count.wrapping_add(1), Ordering::Relaxed);
        let place = &self.recent[count as usize % RECENT.max(1)];
        let forgotten = place.load(Ordering::Relaxed);
        place.store(span as u32, Ordering::Relaxed);
        (forgotten != NONE).then_some(forgotten as usize)
    }

    /// The span remembered last, once.
    #[inline]
    pub(super) fn recall(&self) -> Option<usize> {
        if RECENT == 0 {
            return None;
        }
        let last = self.count.load(Ordering::Relaxed).wrapping_sub(1);
        let place = &self.recent[last as usize % RECENT.max(1)];
        let span = place.load(Ordering::Relaxed);
        if span == NONE {
            return None;
        }
        place.store(NONE, Ordering::Relaxed);
        self.count.store(last, Ordering::Relaxed);
        Some(span as usize)
    }

    /// All that is remembered, for others to look at.
    pub(super) fn recent(&self) -> impl Iterator<Item = usize> {
        let spans = self.recent.iter().map(|span| span.load(Ordering::Relaxed));
        spans.filter(|span| *span != NONE).map(|span| span as usize)
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;

    #[test]
    fn recalls_the_last_first_and_forgets_the_oldest() {
        let home = Home::new(0);
        assert_eq!(home.recall(), None);
        for span in 0..RECENT {
            assert_eq!(home.remember(span), None);
        }
        assert_eq!(home.remember(100), Some(0));
        assert_eq!(home.recent().count(), RECENT);
        assert_eq!(home.recall(), Some(100));
        for span in (1..RECENT).rev() {
            assert_eq!(home.recall(), Some(span));
        }
        assert_eq!(home.recall(), None);
        assert_eq!(home.recall(), None, "an empty memory stays empty");
        assert_eq!(home.remember(7), None);
        assert_eq!(home.recall(), Some(7));
    }
}
