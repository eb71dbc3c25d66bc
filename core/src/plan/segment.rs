//! Segments: room for some records each, handed out and used again without the allocator.
//!
//! An allocator has locks. A thread that is preempted inside one would delay whoever comes to the same
//! lock, so recording asks it for memory only when there are more records at once than ever before.
//!
//! A segment's places are taken one after the other, and each is filled by whoever took it. That is the
//! pattern in which a frozen writer holds everybody up, and what makes it harmless here is that the segment
//! can be [closed](Segments::close): one addition to the word that says which places are *whole*, after which
//! those are the closer's, and the others nobody's. Whoever comes to fill such a place finds it closed, and
//! keeps its record. So nobody waits for a place; it costs its owner another attempt.
//!
//! # Why a segment is not used again too early
//!
//! Each use is a *life* with a number. Who has taken a place holds the segment until it has filled it: the
//! closer counts those places that were taken and not whole, and itself, and whoever is the last of these to
//! leave gives the segment back. Before that it cannot begin another life. Who has only read where the
//! segment is holds nothing: it takes a place by a compare-and-swap that names the life, and is refused in
//! every other one. Segments are not unmapped before the plan is dropped, so that even a look that comes far
//! too late is a look at a segment. Lives have 32 bits: a thread would have to be frozen between a load and
//! a compare-and-swap for exactly a multiple of 4,294,967,296 uses of one segment.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ptr;

use crossbeam_utils::CachePadded;

use super::table::Table;
use crate::mutant::{mutant, weaker};
use crate::sync::{AtomicPtr, AtomicU64, Ordering, UnsafeCell, pause};

/// Records of a segment. A model has 2, so that a third one needs another segment.
const CELLS: usize = if cfg!(latchless_loom) { 2 } else { 32 };

const LOW: u64 = (1 << 32) - 1;

/// In a segment's `whole`, above the cells' bits.
const CLOSED: u64 = 1 << 32;
const _: () = assert!(CELLS <= 32);

/// A segment in one of its lives: `life (32) | number + 1 (32)`. 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link(pub(super) u64);

impl Link {
    pub(super) const NONE: Self = Self(0);

    fn new(number: u32, life: u64) -> Self {
        Self(life << 32 | u64::from(number + 1))
    }

    pub(super) fn number(self) -> Option<u32> {
        (self.0 as u32).checked_sub(1)
    }

    pub(super) fn life(self) -> u64 {
        self.0 >> 32
    }
}

/// A line for the words, and the items.
#[repr(align(64))]
struct Segment<T> {
    /// `life (32) | places taken (32)`.
    taken: AtomicU64,
    /// A bit for each place that is filled, and [`CLOSED`].
    whole: AtomicU64,
    /// Who still uses a closed segment. Before it is closed, those who found it so already, as a negative
    /// number.
    holders: AtomicU64,
    /// The [`Link`] to the next older segment of the changeset; of a closed one, `items (32) | number + 1 of
    /// the next younger one`; of a free one, `number + 1` of the next free one.
    next: AtomicU64,
    items: [UnsafeCell<MaybeUninit<T>>; CELLS],
}

impl<T> Segment<T> {
    fn new() -> Self {
        Self {
            taken: AtomicU64::new(CELLS as u64),
            whole: AtomicU64::new(0),
            holders: AtomicU64::new(0),
            next: AtomicU64::new(0),
            items: std::array::from_fn(|_| UnsafeCell::new(MaybeUninit::uninit())),
        }
    }

    /// Fills a cell.
    ///
    /// # Safety
    /// The cell is the caller's, and empty.
    unsafe fn fill(&self, cell: usize, item: T) {
        self.items[cell].with_mut(|at| {
            // SAFETY: the caller's promise; the pointer is to the cell.
            unsafe { (*at).write(item) };
        });
    }

    /// Empties a cell.
    ///
    /// # Safety
    /// The cell is the caller's, and full.
    unsafe fn empty(&self, cell: usize) -> T {
        self.items[cell].with_mut(|at| {
            // SAFETY: the pointer is to the cell, and nobody else uses that.
            let item = unsafe { &*at };
            // SAFETY: the caller's promise that it is full.
            unsafe { item.assume_init_read() }
        })
    }
}

/// All segments of a plan. Those that are not in use are a stack with a tag (after R. K. Treiber, *Systems
/// programming: coping with parallelism*, 1986).
pub(super) struct Segments<T> {
    all: Table<AtomicPtr<Segment<T>>>,
    made: CachePadded<AtomicU64>,
    /// `tag (32) | number + 1 (32)`.
    free: CachePadded<AtomicU64>,
}

// SAFETY: items are moved in and out on any thread, by who has their cell alone; no reference to one is
// given out.
unsafe impl<T: Send> Sync for Segments<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Segments<T> {}

/// A record was not put into a segment: here it is again.
pub(super) enum NotPut<T> {
    /// Every place is taken.
    Full(T),
    /// The segment was closed. Whoever is told so sees what the closer saw.
    Closed(T),
}

/// What a closed segment had.
pub(super) struct Taken {
    pub(super) older: Link,
    pub(super) records: u32,
}

impl<T> Segments<T> {
    pub(super) fn new() -> Self {
        Self {
            all: Table::new(),
            made: CachePadded::new(AtomicU64::new(0)),
            free: CachePadded::new(AtomicU64::new(0)),
        }
    }

    /// Segments that were made so far.
    pub(super) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    #[inline]
    fn at(&self, number: u32) -> &Segment<T> {
        let place = self.all.get(u64::from(number));
        // Acquire: pairs with the store that put it there.
        let segment = place.map_or(ptr::null_mut(), |place| place.load(Ordering::Acquire));
        debug_assert!(!segment.is_null(), "a number is told after its segment was made");
        // SAFETY: a number goes from hand to hand by words that are read with `Acquire`, from the one that
        // made its segment; a segment stays until all are dropped, and no reference outlives that.
        unsafe { &*segment }
    }

    /// A segment for the caller alone: one that was used before, or else a new one.
    ///
    /// # Panics
    /// When there are 2^29 of them.
    pub(super) fn take(&self) -> u32 {
        // Acquire: the last user is done with it.
        let mut head = self.free.load(Ordering::Acquire);
        while let Some(number) = Link(head).number() {
            // Relaxed: if it is not what was there when the head was read, the tag is another one too.
            let next = self.at(number).next.load(Ordering::Relaxed) & LOW;
            let new = head & !LOW | next;
            match self.free.compare_exchange(head, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return number,
                Err(now) => head = now,
            }
        }
        self.make()
    }

    #[cold]
    fn make(&self) -> u32 {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let place = self.all.get_or_make(number, || AtomicPtr::new(ptr::null_mut()));
        let place = place.expect("a plan has at most 2^34 records that are not sealed");
        place.store(Box::into_raw(Box::new(Segment::new())), Ordering::Release);
        number as u32
    }

    /// Gives a segment back, which is the caller's alone and empty.
    pub(super) fn give_back(&self, number: u32) {
        let segment = self.at(number);
        let mut head = self.free.load(Ordering::Relaxed);
        loop {
            segment.next.store(head & LOW, Ordering::Relaxed);
            // The tag tells this from every earlier time that the segment was on top.
            let tag = if mutant("plan.no-tag") { 0 } else { (head >> 32).wrapping_add(1) };
            let new = tag << 32 | u64::from(number + 1);
            // Release: whoever takes it comes after its last user.
            match self.free.compare_exchange(head, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Begins the next life of a segment that is the caller's alone, with a first record in it.
    pub(super) fn begin(&self, number: u32, older: Link, item: T) -> Link {
        let segment = self.at(number);
        let life = (segment.taken.load(Ordering::Relaxed) >> 32).wrapping_add(1) & LOW;
        // SAFETY: the segment is the caller's and empty.
        unsafe { segment.fill(0, item) };
        // Relaxed: published with the link. Stores, because in the life before this one all have left.
        segment.whole.store(1, Ordering::Relaxed);
        segment.next.store(older.0, Ordering::Relaxed);
        // Release: who comes too late for the life before sees that it has been closed, and what its closer
        // saw.
        segment.taken.store(life << 32 | 1, Ordering::Release);
        Link::new(number, life)
    }

    /// Takes the first record out again, of a life that nobody was told of.
    pub(super) fn undo(&self, number: u32) -> T {
        let segment = self.at(number);
        let life = segment.taken.load(Ordering::Relaxed) & !LOW;
        segment.taken.store(life | CELLS as u64, Ordering::Relaxed);
        // SAFETY: filled by `begin`, and still the caller's alone.
        unsafe { segment.empty(0) }
    }

    /// Puts a record into a segment in this life. `lost` is called for each compare-and-swap that another
    /// recorder's came before.
    #[inline]
    pub(super) fn put(
        &self,
        number: u32,
        life: u64,
        item: T,
        lost: impl Fn(),
    ) -> Result<(), NotPut<T>> {
        match self.take_place(number, life, lost) {
            // SAFETY: it has just been taken.
            Ok(cell) => unsafe { self.fill_place(number, cell, item) },
            Err(NotPut::Full(())) => Err(NotPut::Full(item)),
            Err(NotPut::Closed(())) => Err(NotPut::Closed(item)),
        }
    }

    /// Takes a place of a segment in this life, which is the caller's to fill from now on.
    #[inline]
    fn take_place(&self, number: u32, life: u64, lost: impl Fn()) -> Result<usize, NotPut<()>> {
        let segment = self.at(number);
        loop {
            // Acquire: in another life it was closed, with all that its closer did.
            let taken = segment.taken.load(Ordering::Acquire);
            if taken >> 32 != life && !mutant("plan.any-life") {
                return Err(NotPut::Closed(()));
            }
            if taken & LOW >= CELLS as u64 {
                return Err(NotPut::Full(()));
            }
            // Relaxed: the place is empty since the life began, and the link told of that.
            let swap = segment.taken.compare_exchange(
                taken,
                taken + 1,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            if swap.is_ok() {
                return Ok((taken & LOW) as usize);
            }
            lost();
            // Of fixed length: another one's record gets in meanwhile, and perhaps its next.
            pause();
        }
    }

    /// Fills a place.
    ///
    /// # Safety
    /// The caller [has taken](Self::take_place) it, and not filled it yet.
    #[inline]
    unsafe fn fill_place(&self, number: u32, cell: usize, item: T) -> Result<(), NotPut<T>> {
        let segment = self.at(number);
        // SAFETY: the caller's promise: the swap that took the place succeeded for one thread in this life.
        unsafe { segment.fill(cell, item) };
        // Release: the record is there for the closer. Acquire: who is late sees what the closer saw. An
        // addition, because the bit is not set, and because it is one instruction that gives the old word.
        let put = weaker("plan.put-relaxed", Ordering::AcqRel);
        let before = segment.whole.fetch_add(1 << cell, put);
        if before & CLOSED == 0 || mutant("plan.closed-unnoticed") {
            return Ok(());
        }
        // SAFETY: it was not whole when the segment was closed, so the closer leaves it alone.
        let item = unsafe { segment.empty(cell) };
        self.leave(number);
        Err(NotPut::Closed(item))
    }

    /// Closes a segment of a chain that is the caller's alone: what is whole is the caller's from now on, to
    /// be [read](Self::read) once. `younger` is where the chain goes on, for [`younger`](Self::younger).
    pub(super) fn close(&self, link: Link, younger: u32) -> Option<Taken> {
        let segment = self.at(link.number()?);
        // Nobody takes a place any more. Relaxed, because all that is counted here are changes of this word;
        // and whoever was in time for the next one has changed this word before.
        let taken = segment.taken.swap(link.life() << 32 | CELLS as u64, Ordering::Relaxed) & LOW;
        // Acquire: the records are there. Release: who is late sees what we saw.
        let whole = segment.whole.fetch_add(CLOSED, weaker("plan.close-relaxed", Ordering::AcqRel));
        let records = whole.count_ones();
        // Those who are late, and we. Some of them may have left already, into the negative.
        let late = if mutant("plan.late-uncounted") { 0 } else { taken - u64::from(records) };
        segment.holders.fetch_add(late + 1, Ordering::AcqRel);
        // Relaxed: written by who began the life, and told with the link.
        let older = Link(segment.next.load(Ordering::Relaxed));
        segment.next.store(whole << 32 | u64::from(younger), Ordering::Relaxed);
        Some(Taken { older, records })
    }

    /// The records of a segment that the caller has closed, as bits, and the number + 1 of the next one of
    /// its chain.
    pub(super) fn closed(&self, number: u32) -> (u32, u32) {
        let next = self.at(number).next.load(Ordering::Relaxed);
        ((next >> 32) as u32, next as u32)
    }

    /// Takes a record out.
    ///
    /// # Safety
    /// Its bit is one of those that were [closed](Self::closed) by the caller, and was not read before.
    pub(super) unsafe fn read(&self, number: u32, cell: u32) -> T {
        // SAFETY: a place that was whole when the segment was closed is full, and nobody else's.
        unsafe { self.at(number).empty(cell as usize) }
    }

    /// Leaves a segment that was closed. The last one to do so gives it back.
    pub(super) fn leave(&self, number: u32) {
        let segment = self.at(number);
        // AcqRel: the last one comes after what the others did with their cells.
        if segment.holders.fetch_sub(1, weaker("plan.leave-relaxed", Ordering::AcqRel)) == 1 {
            self.give_back(number);
        }
    }
}

impl<T> Drop for Segments<T> {
    fn drop(&mut self) {
        for number in 0..self.made() {
            let place = self.all.get(number).map(|place| place.load(Ordering::Relaxed));
            let segment = place.unwrap_or(ptr::null_mut());
            if !segment.is_null() {
                // SAFETY: from a box, when it was made; whoever drops the segments is alone with them. What
                // is in one was taken out, or belongs to a list of records that was forgotten.
                drop(unsafe { Box::from_raw(segment) });
            }
        }
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;

    /// The number and the life of a link.
    fn of(link: Link) -> (u32, u64) {
        (link.number().unwrap(), link.life())
    }

    #[test]
    fn a_segment_is_used_again_in_another_life() {
        let segments = Segments::new();
        let number = segments.take();
        let first = segments.begin(number, Link::NONE, 0);
        for item in 1..CELLS {
            assert!(segments.put(number, first.life(), item, || ()).is_ok());
        }
        assert!(matches!(segments.put(number, first.life(), 99, || ()), Err(NotPut::Full(99))));
        let taken = segments.close(first, 7).unwrap();
        assert_eq!((taken.older, taken.records), (Link::NONE, CELLS as u32));
        assert_eq!(segments.closed(number), (u32::MAX, 7));
        for cell in 0..CELLS {
            // SAFETY: closed just now, and each is read once.
            assert_eq!(unsafe { segments.read(number, cell as u32) }, cell);
        }
        segments.leave(number);
        assert_eq!((segments.take(), segments.made()), (number, 1));
        let second = segments.begin(number, first, 5);
        assert_eq!(of(second), (number, first.life() + 1));
        assert!(matches!(segments.put(number, first.life(), 6, || ()), Err(NotPut::Closed(6))));
        assert_eq!(segments.undo(number), 5);
        assert!(matches!(segments.put(number, second.life(), 6, || ()), Err(NotPut::Full(6))));
    }

    /// One recorder is frozen between its place and its record while the segment is closed: the segment is
    /// not used again until it has left.
    #[test]
    fn a_segment_waits_for_who_is_late() {
        let segments = Segments::new();
        let number = segments.take();
        let link = segments.begin(number, Link::NONE, 0);
        // What a recorder does before it is frozen.
        let place = segments.take_place(number, link.life(), || ());
        assert!(matches!(place, Ok(1)));
        assert_eq!(segments.close(link, 0).unwrap().records, 1);
        segments.leave(number);
        let other = segments.take();
        assert_ne!(other, number, "somebody is inside");
        // It goes on, keeps its record, and is the last to leave.
        // SAFETY: taken above.
        let filled = unsafe { segments.fill_place(number, 1, 5) };
        assert!(matches!(filled, Err(NotPut::Closed(5))));
        assert_eq!(segments.take(), number);
    }

    #[test]
    fn lives_begin_again_after_the_last_one() {
        let segments = Segments::new();
        let number = segments.take();
        segments.at(number).taken.store(u64::MAX << 32 | CELLS as u64, Ordering::Relaxed);
        assert_eq!(of(segments.begin(number, Link::NONE, 0)), (number, 0));
    }
}

#[cfg(all(test, latchless_loom))]
mod loom_models {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;
    use crate::sync::explore::explore;

    /// Two take segments. One of them gives one back and keeps the next, so that the same is on top with
    /// another one under it: never one in two hands.
    #[test]
    fn loom_a_segment_is_in_one_hand() {
        explore("plan: a segment is in one hand", None, 40, || {
            let segments = Arc::new(Segments::<usize>::new());
            let [first, second] = [(); 2].map(|()| segments.take());
            segments.give_back(first);
            segments.give_back(second);
            let other = Arc::clone(&segments);
            let thread = thread::spawn(move || {
                let [a, kept] = [(); 2].map(|()| other.take());
                other.give_back(a);
                [kept, other.take()]
            });
            let mine = segments.take();
            let theirs = thread.join().unwrap();
            assert!(theirs[0] != theirs[1] && !theirs.contains(&mine), "in two hands");
        });
    }

    /// A recorder comes while the segment is closed and used again: its record is in, or comes back; and
    /// nothing of it is in the next life, in which loom watches the cells.
    #[test]
    fn loom_a_late_recorder_is_out_before_the_next_life() {
        explore("plan: a late recorder", None, 100, || {
            let segments = Arc::new(Segments::new());
            let number = segments.take();
            let link = segments.begin(number, Link::NONE, 1);
            let other = Arc::clone(&segments);
            let recorder = thread::spawn(move || match other.put(number, link.life(), 2, || ()) {
                Ok(()) => true,
                Err(NotPut::Full(item) | NotPut::Closed(item)) => {
                    assert_eq!(item, 2);
                    false
                }
            });
            let taken = segments.close(link, 0).unwrap();
            let (whole, _) = segments.closed(number);
            assert_eq!(whole.count_ones(), taken.records);
            for cell in 0..taken.records {
                // SAFETY: places become whole in order here: the first is, and there are two.
                assert_eq!(unsafe { segments.read(number, cell) }, cell + 1);
            }
            segments.leave(number);
            let next = segments.take();
            let again = segments.begin(next, Link::NONE, 3);
            assert!(segments.put(next, again.life(), 4, || ()).is_ok());
            let is_in = recorder.join().unwrap();
            assert_eq!(taken.records, 1 + u32::from(is_in));
            assert_eq!(segments.close(again, 0).unwrap().records, 2);
        });
    }
}
