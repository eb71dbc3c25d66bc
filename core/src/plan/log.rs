//! A log that many record into until one seals it, and gets everything: the records of a changeset.
//!
//! It is one word, which leads to its newest [segment](super::segment), and each of those to the one before.
//! A record goes into a place of the newest segment, or comes with a segment of its own when that is full.
//! Sealing is one swap of the word for a mark that is no segment, and then one step for each segment: they
//! are [closed](Segments::close), and what is whole in them is what was recorded.
//!
//! So a record that is in a segment before that is closed is in what the sealer takes; any other one finds
//! its segment closed, or the mark, and goes elsewhere. Two records of which one began after the other was in
//! are taken in this order: places are taken one after the other, and so are segments.
#![allow(unsafe_code)]

use std::sync::Arc;

use super::segment::{Link, NotPut, Segments};
use crate::mutant::{mutant, weaker};
use crate::sync::{AtomicU64, Ordering};

/// What the word of a sealed log is: no segment has this number.
const SEALED: Link = Link(u64::MAX);

/// 8 bytes; the records are in segments of the plan.
pub(super) struct Log(AtomicU64);

impl Log {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(Link::NONE.0))
    }

    #[inline]
    fn newest(&self) -> Link {
        // Acquire: the segment is there; and who finds the log sealed sees what the sealer saw, a newer
        // changeset above all.
        Link(self.0.load(weaker("plan.sealed-relaxed", Ordering::Acquire)))
    }

    /// Records an item; gives it back when the log is sealed. `lost` is called for each compare-and-swap that
    /// another recorder's came before.
    #[inline]
    pub(super) fn record<T>(
        &self,
        segments: &Segments<T>,
        item: T,
        lost: impl Fn(),
    ) -> Result<(), T> {
        let newest = self.newest();
        match put(segments, newest, item, &lost) {
            Ok(()) => Ok(()),
            Err(NotPut::Closed(item)) => Err(item),
            Err(NotPut::Full(item)) => self.record_in_new(segments, newest, item, &lost),
        }
    }

    /// As [`record`](Self::record), when the newest segment was full.
    #[cold]
    fn record_in_new<T>(
        &self,
        segments: &Segments<T>,
        full: Link,
        mut item: T,
        lost: &impl Fn(),
    ) -> Result<(), T> {
        let mut newest = full;
        let number = segments.take();
        let outcome = loop {
            let own = segments.begin(number, newest, item);
            // Release: the segment and its record are there for the sealer, and for who records next. Those
            // of the older ones, too: each is put in by a read-modify-write of the last.
            let release = weaker("plan.segment-relaxed", Ordering::Release);
            match self.0.compare_exchange(newest.0, own.0, release, Ordering::Acquire) {
                Ok(_) => return Ok(()),
                Err(now) => newest = Link(now),
            }
            lost();
            // It was sealed, or somebody else brought a segment.
            match put(segments, newest, segments.undo(number), lost) {
                Ok(()) => break Ok(()),
                Err(NotPut::Closed(back)) => break Err(back),
                Err(NotPut::Full(back)) => item = back,
            }
        };
        segments.give_back(number);
        outcome
    }

    /// Seals the log and takes everything; `None` when it was sealed before.
    pub(super) fn seal<T>(&self, segments: &Arc<Segments<T>>) -> Option<Items<T>> {
        // Acquire: pairs with each segment. Release: who finds the log sealed comes after it.
        let sealed = if mutant("plan.seal-skipped") { Link::NONE } else { SEALED };
        let mut link = Link(self.0.swap(sealed.0, weaker("plan.seal-relaxed", Ordering::AcqRel)));
        if link == SEALED {
            return None;
        }
        let (mut oldest, mut len) = (0, 0);
        while let Some(taken) = segments.close(link, oldest) {
            // What the segment is in a chain, without its life.
            oldest = link.0 as u32;
            len += taken.records as usize;
            link = taken.older;
        }
        let mut items = Items { segments: Arc::clone(segments), segment: 0, left: 0, len };
        items.enter(oldest);
        Some(items)
    }

    /// Whether the log is sealed.
    pub(super) fn is_sealed(&self) -> bool {
        self.newest() == SEALED
    }
}

#[inline]
fn put<T>(
    segments: &Segments<T>,
    newest: Link,
    item: T,
    lost: &impl Fn(),
) -> Result<(), NotPut<T>> {
    if newest == SEALED {
        return Err(NotPut::Closed(item));
    }
    match newest.number() {
        Some(number) => segments.put(number, newest.life(), item, lost),
        None => Err(NotPut::Full(item)),
    }
}

/// What was in a log, in the order in which it was recorded.
pub(super) struct Items<T> {
    segments: Arc<Segments<T>>,
    /// The number + 1 of the oldest segment that is not empty, which this has closed.
    segment: u32,
    /// Its records that were not taken out yet.
    left: u32,
    len: usize,
}

impl<T> Items<T> {
    fn enter(&mut self, segment: u32) {
        self.segment = segment;
        self.left = segment.checked_sub(1).map_or(0, |number| self.segments.closed(number).0);
    }
}

impl<T> Iterator for Items<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        loop {
            let number = self.segment.checked_sub(1)?;
            if self.left != 0 {
                let cell = self.left.trailing_zeros();
                self.left &= self.left - 1;
                self.len -= 1;
                // SAFETY: the segment was closed by `seal`, and this bit of it is not set any more.
                return Some(unsafe { self.segments.read(number, cell) });
            }
            // Before it can be another one's.
            let (_, younger) = self.segments.closed(number);
            self.segments.leave(number);
            self.enter(younger);
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len, Some(self.len))
    }
}

impl<T> Drop for Items<T> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;

    #[test]
    fn everything_comes_out_in_order_and_once() {
        let segments = Arc::new(Segments::new());
        for records in [0, 1, 31, 32, 33, 64, 1_000] {
            let log = Log::new();
            for i in 0..records {
                assert_eq!(log.record(&segments, i, || ()), Ok(()));
            }
            let items = log.seal(&segments).unwrap();
            assert_eq!((items.size_hint(), log.is_sealed()), ((records, Some(records)), true));
            assert!(items.eq(0..records), "{records}");
            assert_eq!(log.record(&segments, 3, || ()), Err(3));
            assert!(log.seal(&segments).is_none());
        }
        assert_eq!(segments.made(), 1_000_usize.div_ceil(32) as u64, "used again and again");
    }

    #[test]
    fn what_nobody_takes_is_dropped() {
        let item = Arc::new(());
        let segments = Arc::new(Segments::new());
        let log = Log::new();
        for _ in 0..100 {
            log.record(&segments, Arc::clone(&item), || ()).unwrap();
        }
        let mut items = log.seal(&segments).unwrap();
        assert!(items.next().is_some());
        drop(segments);
        drop(items);
        assert_eq!(Arc::strong_count(&item), 1);
    }
}
