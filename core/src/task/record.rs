//! A slot's record: shared by those who read it, and gone when it is closed and the last of them is. Its memory
//! stays, for the slot's next task.
//!
//! An allocator has locks. A thread that is preempted inside one delays whoever comes to the same lock, so tasks
//! come and go without it: a slot has a *node* from the beginning, which it fills again and again. A claim may
//! outlive its task, the slot's next one and the queue; as long as it reads a node, that node is left alone, and
//! the slot fills another one, which it makes if need be. So a reader that is frozen keeps one node from being
//! used again, delays nobody, and does not even keep the slot.
//!
//! # The node's word
//!
//! Generation, flags and the number of readers lie in one word, and a reader comes in by one compare-and-swap
//! that names the generation: it is refused by every other task of the slot. Nodes are not unmapped as long as
//! the cell lives, so a look that comes far too late is a look at a node.
//!
//! A node is *open* from when it is filled until its task is forgotten, and *full* until it was emptied after
//! that: by the last one to leave, be it the closer or a reader. Only one that is not full is filled, and only
//! by who has the slot. When the cell goes while a node is read, that node is made an *orphan*, and whoever
//! empties it unmaps it.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::process;
use std::ptr::NonNull;

use super::word::GENERATION_BITS;
use crate::mutant::{mutant, weaker};
use crate::sync::{AtomicPtr, AtomicU64, Ordering, UnsafeCell};

const GENERATION_SHIFT: u32 = 64 - GENERATION_BITS;
const FULL: u64 = 1 << (GENERATION_SHIFT - 1);
const OPEN: u64 = 1 << (GENERATION_SHIFT - 2);
const ORPHAN: u64 = 1 << (GENERATION_SHIFT - 3);
const READER: u64 = 1;
const READERS: u64 = ORPHAN - 1;
/// More readers than there can be without forgetting them again and again.
const TOO_MANY: u64 = ORPHAN >> 1;

/// Nodes that are looked at before a new one is made. If all of a slot's are in use and stay so, every look
/// begins where the last one ended: a slot makes at most a third more than were ever in use at once.
const LOOKS: usize = 4;

/// `generation (24) | full (1) | open (1) | orphan (1) | readers (37)`.
struct Node<R> {
    state: AtomicU64,
    record: UnsafeCell<Option<R>>,
    /// The next one of the slot's nodes, which lie in a circle. For who has the slot.
    next: AtomicPtr<Node<R>>,
}

/// Where a slot's record is.
pub(super) struct RecordCell<R> {
    /// The node that was filled last. It owns the circle.
    current: AtomicPtr<Node<R>>,
    owned: PhantomData<Box<Node<R>>>,
}

// SAFETY: through `&RecordCell` an `R` is put in and lent to any thread, and the last of those takes it out,
// which is sound when `R` is `Send` and `Sync`; a node's word lets one thread at a time change it, and none
// while others read it.
unsafe impl<R: Send + Sync> Sync for RecordCell<R> {}
// SAFETY: as above; the cell is not bound to a thread. `Sync`, because those who read may stay where they are.
unsafe impl<R: Send + Sync> Send for RecordCell<R> {}

/// A record that is read: it stays as long as this does, like what is in an `Arc`.
pub(super) struct RecordRef<R> {
    node: NonNull<Node<R>>,
    shared: PhantomData<R>,
}

// SAFETY: it lends `&R` on the thread that it is sent to, where the `R` may also be taken out and dropped.
unsafe impl<R: Send + Sync> Send for RecordRef<R> {}
// SAFETY: through a shared one, other threads read the `R` and make references of their own: as above.
unsafe impl<R: Send + Sync> Sync for RecordRef<R> {}

impl<R> Node<R> {
    fn make() -> NonNull<Self> {
        let (state, record) = (AtomicU64::new(0), UnsafeCell::new(None));
        let node = Box::new(Self { state, record, next: AtomicPtr::new(std::ptr::null_mut()) });
        let node = NonNull::from(Box::leak(node));
        // SAFETY: made just now.
        let it = unsafe { node.as_ref() };
        // Relaxed: nobody knows it yet. A circle of one.
        it.next.store(node.as_ptr(), Ordering::Relaxed);
        node
    }

    /// Takes the record out, so that the node can be filled again.
    ///
    /// # Safety
    /// The caller has seen the node full, not open and without readers in a change of its word that was the
    /// caller's own, which is one thread only; or is alone with it. It does not use `node` afterwards.
    unsafe fn empty(node: NonNull<Self>) -> Option<R> {
        // SAFETY: a node that is full is not unmapped by others.
        let it = unsafe { node.as_ref() };
        let record = it.record.with_mut(|record| {
            // SAFETY: the caller's promise: this thread is alone with the record.
            unsafe { (*record).take() }
        });
        // Release: who fills it comes after this. Acquire: should the cell be gone, its drop comes before.
        let acq_rel = weaker("record.emptied-relaxed", Ordering::AcqRel);
        if it.state.fetch_and(!FULL, acq_rel) & ORPHAN != 0 {
            // SAFETY: from a box; the cell has left it to whoever empties it, and that was once.
            drop(unsafe { Box::from_raw(node.as_ptr()) });
        }
        record
    }
}

impl<R> RecordCell<R> {
    /// A cell with a node, empty.
    pub(super) fn new() -> Self {
        Self { current: AtomicPtr::new(Node::make().as_ptr()), owned: PhantomData }
    }

    fn current(&self) -> NonNull<Node<R>> {
        // Acquire: pairs with the store of a node that was made just before.
        let current = self.current.load(Ordering::Acquire);
        // SAFETY: never null: set when the cell was made, and to nodes only.
        unsafe { NonNull::new_unchecked(current) }
    }

    /// Puts the record of a generation in. Only for who has the slot, of which the last record was closed.
    pub(super) fn fill(&self, generation: u32, record: R) {
        let node = self.unused();
        // SAFETY: a node of this cell is not unmapped before the cell goes.
        let it = unsafe { node.as_ref() };
        it.record.with_mut(|cell| {
            // SAFETY: the node is not full and the slot is the caller's, so nobody else fills it; nobody reads
            // one that is not open.
            unsafe { *cell = Some(record) }
        });
        let full = u64::from(generation) << GENERATION_SHIFT | FULL | OPEN;
        // Release: who comes in finds the record. A store, because nobody changes a node that is not full.
        it.state.store(full, weaker("record.fill-relaxed", Ordering::Release));
        self.current.store(node.as_ptr(), Ordering::Release);
    }

    /// A node that nobody uses. The circle is the caller's, with the slot.
    fn unused(&self) -> NonNull<Node<R>> {
        let first = self.current();
        let mut node = first;
        for _ in 0..LOOKS {
            // SAFETY: a node of this cell is not unmapped before the cell goes.
            let it = unsafe { node.as_ref() };
            // Acquire: whoever emptied it is done.
            if it.state.load(Ordering::Acquire) & FULL == 0 || mutant("record.filled-in-use") {
                return node;
            }
            // Relaxed: handed over with the slot.
            let Some(next) = NonNull::new(it.next.load(Ordering::Relaxed)) else { break };
            if next == first {
                break;
            }
            node = next;
        }
        Self::one_more(node)
    }

    /// A new node, behind this one.
    #[cold]
    fn one_more(last: NonNull<Node<R>>) -> NonNull<Node<R>> {
        let node = Node::make();
        // SAFETY: a node of this cell is not unmapped before the cell goes.
        let last = unsafe { last.as_ref() };
        // SAFETY: made just now.
        let it = unsafe { node.as_ref() };
        // Relaxed: for who has the slot after the caller.
        it.next.store(last.next.load(Ordering::Relaxed), Ordering::Relaxed);
        last.next.store(node.as_ptr(), Ordering::Relaxed);
        node
    }

    /// The record of a generation; `None` when it is not there yet, or not any more.
    #[inline]
    pub(super) fn get(&self, generation: u32) -> Option<RecordRef<R>> {
        let node = self.current();
        // SAFETY: a node of this cell is not unmapped before the cell goes.
        let it = unsafe { node.as_ref() };
        let open = u64::from(generation) << GENERATION_SHIFT | FULL | OPEN;
        let mut state = it.state.load(Ordering::Relaxed);
        loop {
            let is_it =
                state & !READERS == open || mutant("record.any-generation") && state & OPEN != 0;
            if !is_it {
                return None;
            }
            abort_if_too_many(state);
            // Acquire: pairs with the store that made it full.
            match it.state.compare_exchange_weak(
                state,
                state + READER,
                weaker("record.get-relaxed", Ordering::Acquire),
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(RecordRef { node, shared: PhantomData }),
                Err(now) => state = now,
            }
        }
    }

    /// Lets nobody in any more. Returns the record if nobody reads it; else the last reader drops it. Only for
    /// who has the slot, once after each fill.
    pub(super) fn close(&self) -> Option<R> {
        let node = self.current();
        // SAFETY: a node of this cell is not unmapped before the cell goes.
        let it = unsafe { node.as_ref() };
        // Acquire: after all that readers did who have left. Release: for who empties it.
        let state = it.state.fetch_and(!OPEN, Ordering::AcqRel);
        debug_assert!(state & OPEN != 0, "closed twice, or never filled");
        let last = state & READERS == 0 || mutant("record.closed-under-a-reader");
        // SAFETY: it was open, so nobody has emptied it; nobody comes in any more, and nobody is inside.
        if last { unsafe { Node::empty(node) } } else { None }
    }
}

impl<R> Drop for RecordCell<R> {
    fn drop(&mut self) {
        let first = self.current();
        let mut node = first;
        loop {
            // SAFETY: not unmapped yet: each node of the circle is visited once.
            let it = unsafe { node.as_ref() };
            let next = it.next.load(Ordering::Relaxed);
            // AcqRel: whoever leaves later finds it an orphan; who has left is done.
            let left = |state: u64| Some(state & !OPEN | ORPHAN);
            let (Ok(state) | Err(state)) =
                it.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, left);
            let is_read = state & READERS != 0 && !mutant("record.orphan-emptied");
            // Full, and neither open nor read: a reader that left is just about to empty it.
            if state & FULL == 0 {
                // SAFETY: from a box; nobody knows it any more.
                drop(unsafe { Box::from_raw(node.as_ptr()) });
            } else if state & OPEN != 0 && !is_read {
                // SAFETY: it was open and nobody was inside; now nobody comes any more.
                drop(unsafe { Node::empty(node) });
            }
            match NonNull::new(next) {
                Some(next) if next != first => node = next,
                _ => return,
            }
        }
    }
}

/// As an `Arc` does it: so many readers were forgotten, each with its memory, that their number would overflow.
#[inline]
fn abort_if_too_many(state: u64) {
    if state & READERS >= TOO_MANY {
        process::abort();
    }
}

impl<R> Clone for RecordRef<R> {
    fn clone(&self) -> Self {
        // SAFETY: it is read, by this one.
        let it = unsafe { self.node.as_ref() };
        // Relaxed: who is inside may count in another one, and has what it hands on.
        abort_if_too_many(it.state.fetch_add(READER, Ordering::Relaxed));
        Self { node: self.node, shared: PhantomData }
    }
}

impl<R> Deref for RecordRef<R> {
    type Target = R;

    #[inline]
    fn deref(&self) -> &R {
        // SAFETY: it is read, by this one, so that it is neither emptied nor unmapped.
        let it = unsafe { self.node.as_ref() };
        let record = it.record.with(|record| {
            // SAFETY: nobody changes the record while it is read, and that is as long as this lives.
            unsafe { (*record).as_ref() }
        });
        // Filled before anybody came in.
        record.expect("a record that is read is there")
    }
}

impl<R> Drop for RecordRef<R> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: it is read, by this one.
        let it = unsafe { self.node.as_ref() };
        // Release: the emptier comes after this read. Acquire: if that is us, after all the others.
        let acq_rel = weaker("record.leave-relaxed", Ordering::AcqRel);
        let state = it.state.fetch_sub(READER, acq_rel) - READER;
        if state & (READERS | OPEN) == 0 {
            // SAFETY: closed, and the last one has just left; it is full, because it was read.
            drop(unsafe { Node::empty(self.node) });
        }
    }
}

impl<R> fmt::Debug for RecordCell<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordCell").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn nodes<R>(cell: &RecordCell<R>) -> usize {
        let first = cell.current();
        let mut count = 1;
        // SAFETY: nodes of a cell that lives.
        let next = |node: NonNull<Node<R>>| unsafe { node.as_ref() }.next.load(Ordering::Relaxed);
        let mut node = next(first);
        while node != first.as_ptr() {
            count += 1;
            node = next(NonNull::new(node).unwrap());
        }
        count
    }

    #[test]
    fn a_record_is_there_from_fill_to_close_and_its_memory_after_it() {
        let cell = RecordCell::new();
        let record = Arc::new("task");
        assert!(cell.get(0).is_none());
        for generation in 7..20 {
            cell.fill(generation, Arc::clone(&record));
            assert_eq!(**cell.get(generation).unwrap(), "task");
            assert!(cell.get(generation + 1).is_none() && cell.get(generation - 1).is_none());
            drop(cell.close().expect("nobody reads"));
            assert_eq!(Arc::strong_count(&record), 1);
            assert!(cell.get(generation).is_none());
        }
        assert_eq!(nodes(&cell), 1);
    }

    #[test]
    fn what_is_read_stays_though_the_slot_goes_on() {
        let (cell, dropped) = (RecordCell::new(), Arc::new(()));
        cell.fill(1, (1, Arc::clone(&dropped)));
        let late = cell.get(1).unwrap();
        let later = late.clone();
        assert!(cell.close().is_none(), "somebody reads");
        cell.fill(2, (2, Arc::clone(&dropped)));
        assert_eq!((late.0, cell.get(2).unwrap().0), (1, 2));
        drop(late);
        assert_eq!((later.0, Arc::strong_count(&dropped)), (1, 3));
        drop(later);
        assert_eq!(Arc::strong_count(&dropped), 2, "dropped by the last one");
        // Both nodes are used again.
        for generation in 3..20 {
            drop(cell.close());
            cell.fill(generation, (generation, Arc::clone(&dropped)));
        }
        assert_eq!(nodes(&cell), 2);
        drop(cell);
        assert_eq!(Arc::strong_count(&dropped), 1);
    }

    /// A hundred records are kept for ever: those that come and go beside them need a node or two, and not one
    /// each time.
    #[test]
    fn kept_records_do_not_make_the_others_cost_more_and_more() {
        let cell = RecordCell::new();
        let fill = |generation| {
            cell.fill(generation, generation);
            let record = cell.get(generation).unwrap();
            assert!(cell.close().is_none());
            record
        };
        let kept: Vec<_> = (0..100).map(fill).collect();
        for generation in 100..10_000 {
            drop(fill(generation));
        }
        assert!(kept.iter().zip(0..).all(|(record, generation)| **record == generation));
        assert!(nodes(&cell) <= 100 + 100 / 3 + 2, "{}", nodes(&cell));
    }

    #[test]
    fn readers_outlive_the_cell() {
        let cell = RecordCell::new();
        let dropped = Arc::new(());
        cell.fill(1, Arc::clone(&dropped));
        let closed = cell.get(1).unwrap();
        drop(cell.close());
        cell.fill(2, Arc::clone(&dropped));
        let open = [cell.get(2).unwrap(), cell.get(2).unwrap()];
        drop(cell);
        assert_eq!(Arc::strong_count(&dropped), 3);
        drop(closed);
        assert_eq!(Arc::strong_count(&open[0]), 2);
        drop(open);
        assert_eq!(Arc::strong_count(&dropped), 1);
    }
}

#[cfg(all(test, latchless_loom))]
mod loom_models {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;
    use crate::sync::explore::explore;

    /// What it counts is how often it was dropped; loom reports it when it never is.
    type Watched = (u32, Arc<()>);

    fn watched(number: u32) -> Watched {
        (number, Arc::new(()))
    }

    /// Two read while the owner closes, and uses the slot again at once: each reads the record whole or finds it
    /// gone. loom watches the cell, and whether each record was dropped.
    #[test]
    fn loom_the_last_one_empties() {
        explore("record: the last one empties", Some(3), 500, || {
            let cell = Arc::new(RecordCell::<Watched>::new());
            cell.fill(3, watched(3));
            let read = || {
                let cell = Arc::clone(&cell);
                move || assert!(cell.get(3).is_none_or(|record| record.0 == 3))
            };
            let threads = [thread::spawn(read()), thread::spawn(read())];
            drop(cell.close());
            cell.fill(4, watched(4));
            assert_eq!(cell.get(4).map(|record| record.0), Some(4));
            for thread in threads {
                thread.join().unwrap();
            }
        });
    }

    /// Who has read the last task's record keeps it while the slot goes on, and leaves at any moment: the node is
    /// filled again when nobody is in it, and not before.
    #[test]
    fn loom_a_node_is_used_again_when_its_reader_has_left() {
        explore("record: used again", None, 15, || {
            let cell = Arc::new(RecordCell::<Watched>::new());
            cell.fill(3, watched(3));
            let late = cell.get(3).expect("it is open");
            let thread = thread::spawn(move || {
                assert_eq!(late.0, 3);
                drop(late);
            });
            drop(cell.close());
            for generation in 4..6 {
                cell.fill(generation, watched(generation));
                assert_eq!(cell.get(generation).map(|record| record.0), Some(generation));
                drop(cell.close());
            }
            thread.join().unwrap();
        });
    }

    /// The slot is used again while a reader of the last generation comes late: it never gets the other
    /// one's record.
    #[test]
    fn loom_a_late_reader_finds_nothing() {
        explore("record: a late reader", None, 20, || {
            let cell = Arc::new(RecordCell::<Watched>::new());
            cell.fill(3, watched(3));
            let other = Arc::clone(&cell);
            let thread = thread::spawn(move || {
                assert!(other.get(3).is_none_or(|record| record.0 == 3));
            });
            drop(cell.close());
            cell.fill(4, watched(4));
            assert_eq!(cell.get(4).map(|record| record.0), Some(4));
            thread.join().unwrap();
        });
    }

    /// A cell is filled while another thread asks for what comes into it: that one gets it whole, or
    /// nothing yet. loom watches the cell.
    #[test]
    fn loom_a_record_is_read_whole() {
        explore("record: read whole", None, 5, || {
            let cell = Arc::new(RecordCell::<Watched>::new());
            let other = Arc::clone(&cell);
            let thread = thread::spawn(move || {
                assert!(other.get(3).is_none_or(|record| record.0 == 3));
            });
            cell.fill(3, watched(3));
            thread.join().unwrap();
        });
    }

    /// The cell goes while two still read, one of them after its task was forgotten: each record stays until its
    /// reader has left, and goes then.
    #[test]
    fn loom_readers_outlive_the_cell() {
        explore("record: readers outlive the cell", None, 50, || {
            let cell = RecordCell::<Watched>::new();
            cell.fill(3, watched(3));
            let forgotten = cell.get(3).expect("it is open");
            drop(cell.close());
            cell.fill(4, watched(4));
            let open = cell.get(4).expect("it is open");
            let thread = thread::spawn(move || {
                assert_eq!((forgotten.0, open.0), (3, 4));
                drop((forgotten, open));
            });
            drop(cell);
            thread.join().unwrap();
        });
    }
}
