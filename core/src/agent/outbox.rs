//! An agent's output: a bounded queue that never says no. When it is full, the oldest item goes.
//!
//! The usual ring reserves a place by a counter and fills it afterwards. A writer that is frozen in
//! between stops every reader at its place, and soon every writer. Here an item is written into a *node*
//! that is the writer's alone, and then published in its place in the row by **one** compare-and-swap on
//! the cell there, which also says the position. So there is no place without an item, a cell is never in
//! anybody's hands, and positions are published strictly one after the other.
//!
//! A cell's word is `position (48) | node (16)`. Only its owner touches a node, and the compare-and-swap
//! hands it over: to the cell, when an item is published; to the reader that takes it; or to the writer
//! that comes round to a full cell, whose item is a whole round younger. A position is used once, so
//! there is no ABA.
//!
//! Where the row begins and ends is only hinted at, by two words that are stored without a swap. A hint
//! can be late, never early, and the cells tell the rest.

use std::fmt;

use crossbeam_utils::CachePadded;
use thiserror::Error;

use self::nodes::Nodes;
use crate::contention::Tally;
use crate::mutant::{mutant, weaker};
use crate::sync::{AtomicU64, Ordering};

const NODE_BITS: u32 = 16;
/// The node of a cell whose item is gone.
const NONE: u64 = (1 << NODE_BITS) - 1;

/// Nodes beside those of a full row, for writers and readers on their way.
const SPARE: usize = if cfg!(latchless_loom) { 2 } else { 64 };

/// `position (48) | node (16)`.
#[derive(Clone, Copy)]
struct Cell(u64);

impl Cell {
    fn new(position: u64, node: u64) -> Self {
        Self(position << NODE_BITS | node)
    }

    fn position(self) -> u64 {
        self.0 >> NODE_BITS
    }

    fn node(self) -> Option<usize> {
        let node = self.0 & NONE;
        (node != NONE).then_some(node as usize)
    }
}

/// A bounded queue of output, first in first out, of any number of writers and readers. When it is full,
/// a push takes the oldest item out, hands it to its caller, and counts it.
///
/// Lock-free on both sides, without allocation: a frozen writer or reader stops nobody. Each keeps one
/// node from the others; with 64 threads frozen in the middle of their calls and a full queue, a push has
/// no node, and returns its own item. 2^48 items can be pushed in a queue's life: at a million a second,
/// nine years.
///
/// ```
/// use latchless::Outbox;
///
/// let outbox = Outbox::new(2)?;
/// assert_eq!(outbox.push("first"), None);
/// assert_eq!(outbox.push("second"), None);
/// assert_eq!(outbox.push("third"), Some("first"), "the oldest goes");
/// assert_eq!((outbox.pop(), outbox.pop(), outbox.pop()), (Some("second"), Some("third"), None));
/// assert_eq!(outbox.dropped(), 1);
/// # Ok::<(), latchless::OutboxCapacity>(())
/// ```
pub struct Outbox<T> {
    cells: Box<[AtomicU64]>,
    nodes: Nodes<T>,
    /// All positions before it are taken.
    head: CachePadded<AtomicU64>,
    /// All positions before it are published.
    tail: CachePadded<AtomicU64>,
    /// Items that were popped. Those that had to go are counted as the difference: a full outbox is where
    /// a push should cost least.
    popped: CachePadded<AtomicU64>,
    /// Items that went for want of a node.
    refused: AtomicU64,
    /// 2^64 / capacity, rounded up; 0 for a capacity of 1.
    reciprocal: u64,
    met: Tally<EVENTS>,
}

/// What is counted.
enum Event {
    PushRetry,
    PopRetry,
}

const EVENTS: usize = Event::PopRetry as usize + 1;

/// How often threads came into each other's way in an outbox, since it was made: see
/// [`Outbox::contention`].
///
/// ```
/// use latchless::{Outbox, OutboxContention};
/// let outbox = Outbox::new(4)?;
/// outbox.push("said");
/// assert_eq!(outbox.contention(), OutboxContention::default(), "nobody else was there");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct OutboxContention {
    /// Pushes whose place another push or a pop changed first, and that were tried again.
    pub push_retries: u64,
    /// Pops whose item another pop or a push took first, and that were tried again.
    pub pop_retries: u64,
    /// Nodes that another writer took first.
    pub node_retries: u64,
}

/// An outbox that cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("an outbox for {capacity} items; choose 1 to {}", OutboxCapacity::MAX)]
pub struct OutboxCapacity {
    /// What was asked for.
    pub capacity: usize,
}

impl OutboxCapacity {
    /// The most items that an outbox can be made for.
    pub const MAX: usize = 1 << 15;
}

impl<T> Outbox<T> {
    /// An empty outbox for at most `capacity` items. All its memory is taken here: 8 bytes for each, and
    /// its size for each of them and 64 more.
    ///
    /// # Errors
    /// [`OutboxCapacity`] when that is 0, or more than [`OutboxCapacity::MAX`].
    pub fn new(capacity: usize) -> Result<Self, OutboxCapacity> {
        if !(1..=OutboxCapacity::MAX).contains(&capacity) {
            return Err(OutboxCapacity { capacity });
        }
        // The first round of positions counts as published and taken, so that none is below 0.
        let begin = capacity as u64;
        Ok(Self {
            cells: (0..begin).map(|i| AtomicU64::new(Cell::new(i, NONE).0)).collect(),
            nodes: Nodes::new(capacity + SPARE),
            head: CachePadded::new(AtomicU64::new(begin)),
            tail: CachePadded::new(AtomicU64::new(begin)),
            popped: CachePadded::new(AtomicU64::new(0)),
            refused: AtomicU64::new(0),
            reciprocal: (u64::MAX / begin).wrapping_add(1),
            met: Tally::new(),
        })
    }

    /// Items that the outbox was made for.
    pub fn capacity(&self) -> usize {
        self.cells.len()
    }

    /// Puts an item in, behind all others. When the outbox was full, returns the oldest, which had to go.
    pub fn push(&self, item: T) -> Option<T> {
        let node = match self.nodes.claim(item) {
            Ok(node) => node,
            Err(item) => {
                self.refused
                    .fetch_add(u64::from(!mutant("outbox.refused-uncounted")), Ordering::Relaxed);
                return Some(item);
            }
        };
        let node = node as u64;
        let mut position = self.tail.load(Ordering::Acquire);
        let displaced = loop {
            let cell = self.cell(position);
            let seen = Cell(cell.load(Ordering::Acquire));
            if seen.position() >= position {
                // Published, and everything before it: the hint was late.
                position = seen.position() + 1;
                continue;
            }
            // All before it are published, so the cell has the position of a round ago.
            let new = Cell::new(position, node);
            // Release: the item is whole for who takes it. Acquire: so is the one that has to go.
            let acq_rel = weaker("outbox.publish-relaxed", Ordering::AcqRel);
            let swap = cell.compare_exchange(seen.0, new.0, acq_rel, Ordering::Relaxed);
            if swap.is_ok() {
                break seen.node();
            }
            self.met.count(Event::PushRetry as usize);
        };
        // Release: who begins from here sees everything before it published.
        self.tail.store(position + 1, Ordering::Release);
        self.nodes.take(displaced?)
    }

    /// Takes the oldest item; `None` when there was none at an instant during the call.
    pub fn pop(&self) -> Option<T> {
        let capacity = self.cells.len() as u64;
        let mut position = self.head.load(Ordering::Acquire);
        loop {
            let cell = self.cell(position);
            let seen = Cell(cell.load(Ordering::Acquire));
            if seen.position() < position {
                // Not published, and everything before it is taken.
                return None;
            }
            if seen.position() > position && !mutant("outbox.any-round") {
                // A round behind: what is that old has gone.
                position = seen.position() - capacity + 1;
                continue;
            }
            let Some(node) = seen.node() else {
                position += 1;
                continue;
            };
            let new = Cell::new(position, NONE);
            // Acquire: pairs with the publication. Release: passes it on to who comes round.
            let swap = cell.compare_exchange(seen.0, new.0, Ordering::AcqRel, Ordering::Relaxed);
            if swap.is_ok() || mutant("outbox.taken-twice") {
                self.head.store(position + 1, Ordering::Release);
                // Relaxed: a count.
                self.popped
                    .fetch_add(u64::from(!mutant("outbox.popped-uncounted")), Ordering::Relaxed);
                return self.nodes.take(node);
            }
            self.met.count(Event::PopRetry as usize);
        }
    }

    /// Items that went because newer ones came, so far: exact when nobody pushes or pops meanwhile, and
    /// else off by those who do.
    pub fn dropped(&self) -> u64 {
        let mut published = self.tail.load(Ordering::Acquire);
        // The hint may be late by what was published behind it.
        loop {
            let seen = Cell(self.cell(published).load(Ordering::Acquire)).position();
            if seen < published || mutant("outbox.hint-believed") {
                break;
            }
            published = seen + 1;
        }
        let pushed = published - self.cells.len() as u64;
        let kept = self.popped.load(Ordering::Relaxed) + self.len() as u64;
        pushed.saturating_sub(kept) + self.refused.load(Ordering::Relaxed)
    }

    /// How often threads came into each other's way. Wait-free: counters that are read one after another.
    pub fn contention(&self) -> OutboxContention {
        OutboxContention {
            push_retries: self.met.sum(Event::PushRetry as usize),
            pop_retries: self.met.sum(Event::PopRetry as usize),
            node_retries: self.nodes.retries(),
        }
    }

    /// Items in the outbox, counted one after another.
    pub fn len(&self) -> usize {
        let is_there = |cell: &&AtomicU64| Cell(cell.load(Ordering::Relaxed)).node().is_some();
        self.cells.iter().filter(is_there).count()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    fn cell(&self, position: u64) -> &AtomicU64 {
        // The remainder, without a division: exact as long as the product of position and capacity is less
        // than 2^64 (D. Lemire et al., *Faster remainder by direct computation*, 2019).
        let rounds = (u128::from(position) * u128::from(self.reciprocal)) >> 64;
        let cell = match self.reciprocal {
            0 => 0,
            _ => position - rounds as u64 * self.cells.len() as u64,
        };
        &self.cells[cell as usize]
    }
}

impl<T> fmt::Debug for Outbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("capacity", &self.capacity())
            .field("len", &self.len())
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}

/// Nodes: what one owner at a time has.
#[allow(unsafe_code)]
mod nodes {
    use crate::slots::FreeSlots;
    use crate::sync::UnsafeCell;

    pub(super) struct Nodes<T> {
        items: Box<[UnsafeCell<Option<T>>]>,
        free: FreeSlots,
    }

    // SAFETY: items are moved in and out on any thread, by a node's owner alone; no reference to one is
    // given out.
    unsafe impl<T: Send> Sync for Nodes<T> {}

    impl<T> Nodes<T> {
        pub(super) fn new(nodes: usize) -> Self {
            Self {
                items: (0..nodes).map(|_| UnsafeCell::new(None)).collect(),
                free: FreeSlots::new(nodes),
            }
        }

        /// A node with `item` for the caller alone; the item when there is none.
        pub(super) fn claim(&self, item: T) -> Result<usize, T> {
            let Some(node) = self.free.claim() else { return Err(item) };
            self.items[node].with_mut(|cell| {
                // SAFETY: the slot's bit was claimed by this thread, so the node is its own until it
                // hands the number on; the bit's last owner is done with it (acquired with the claim).
                unsafe { *cell = Some(item) }
            });
            Ok(node)
        }

        /// Nodes that another thread took first.
        pub(super) fn retries(&self) -> u64 {
            self.free.retries()
        }

        /// What is in a node that was handed to the caller; the node is free afterwards.
        ///
        /// Only for who took the node's number out of a cell by a compare-and-swap: one thread for each
        /// time that it was put in.
        pub(super) fn take(&self, node: usize) -> Option<T> {
            let item = self.items[node].with_mut(|cell| {
                // SAFETY: a cell has a node's number from its publication to the one swap that takes it
                // out, and that swap was the caller's; it acquired what the publisher wrote.
                unsafe { (*cell).take() }
            });
            self.free.free(node);
            item
        }
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::*;

    #[test]
    fn case_33_the_oldest_goes_and_is_counted() {
        let outbox = Outbox::new(3).unwrap();
        let gone: Vec<_> = (0..10).map(|i| outbox.push(i)).collect();
        assert_eq!(gone[..3], [None; 3]);
        assert_eq!(gone[3..], [0, 1, 2, 3, 4, 5, 6].map(Some));
        assert_eq!((outbox.len(), outbox.dropped(), outbox.capacity()), (3, 7, 3));
        assert_eq!([(); 4].map(|()| outbox.pop()), [Some(7), Some(8), Some(9), None]);
        assert_eq!((outbox.is_empty(), outbox.dropped()), (true, 7));
    }

    #[test]
    fn first_in_first_out_round_after_round() {
        let outbox = Outbox::new(5).unwrap();
        for i in 0..1_000 {
            assert_eq!(outbox.push(2 * i), None);
            assert_eq!(outbox.push(2 * i + 1), None);
            assert_eq!((outbox.pop(), outbox.pop()), (Some(2 * i), Some(2 * i + 1)));
            assert_eq!(outbox.pop(), None);
        }
    }

    #[test]
    fn an_outbox_has_room_for_one_at_least() {
        for capacity in [0, OutboxCapacity::MAX + 1] {
            assert_eq!(Outbox::<()>::new(capacity).unwrap_err(), OutboxCapacity { capacity });
        }
        assert!(Outbox::<()>::new(OutboxCapacity::MAX).is_ok());
    }

    #[test]
    fn nothing_is_left_over() {
        let item = Arc::new(());
        let outbox = Outbox::new(2).unwrap();
        for _ in 0..10 {
            outbox.push(Arc::clone(&item));
        }
        assert_eq!(Arc::strong_count(&item), 3);
        drop(outbox.pop());
        drop(outbox);
        assert_eq!(Arc::strong_count(&item), 1);
    }

    /// A writer's late hints send nobody to the wrong place.
    #[test]
    fn a_late_hint_is_only_a_detour() {
        let outbox = Outbox::new(4).unwrap();
        for i in 0..100 {
            outbox.push(i);
            outbox.tail.store(4, Ordering::Relaxed);
            outbox.head.store(4, Ordering::Relaxed);
        }
        assert_eq!(outbox.dropped(), 96);
        assert_eq!([(); 5].map(|()| outbox.pop()), [Some(96), Some(97), Some(98), Some(99), None]);
    }

    #[test]
    fn a_cell_is_found_without_a_division() {
        let last = (1 << (64 - NODE_BITS)) - 1;
        for capacity in [1, 2, 3, 7, 10, 1_000, 1_024, OutboxCapacity::MAX - 1, OutboxCapacity::MAX]
        {
            let outbox = Outbox::<()>::new(capacity).unwrap();
            for position in (0..10_000).flat_map(|i| [i, last - i, i * (last / 10_000)]) {
                let cell = &raw const outbox.cells[(position % capacity as u64) as usize];
                assert!(std::ptr::eq(outbox.cell(position), cell), "{position} of {capacity}");
            }
        }
    }

    #[test]
    fn without_a_node_the_item_itself_goes() {
        let outbox = Outbox::new(1).unwrap();
        // What frozen threads have in their hands.
        let frozen: Vec<_> = (0..SPARE).map(|i| outbox.nodes.claim(i).unwrap()).collect();
        assert_eq!(outbox.push(100), None);
        assert_eq!((outbox.push(101), outbox.dropped()), (Some(101), 1));
        assert_eq!(outbox.pop(), Some(100));
        for node in frozen {
            outbox.nodes.take(node);
        }
        assert_eq!(outbox.push(102), None);
    }

    /// Four write and two read: every item is read or has gone, once; each reader sees each writer's items
    /// in order.
    #[test]
    fn every_item_is_read_or_has_gone() {
        const ITEMS: u32 = 20_000;
        for capacity in [1, 7, 1_000] {
            let outbox = Outbox::new(capacity).unwrap();
            let stop = AtomicBool::new(false);
            let (outbox, stop) = (&outbox, &stop);
            let (gone, read) = thread::scope(|scope| {
                let writers: Vec<_> = (0..4)
                    .map(|thread| {
                        let push = move |i| outbox.push(thread * ITEMS + i);
                        scope.spawn(move || (0..ITEMS).filter_map(push).collect::<Vec<_>>())
                    })
                    .collect();
                let readers: Vec<_> = (0..2)
                    .map(|_| {
                        scope.spawn(move || {
                            let mut read = Vec::new();
                            loop {
                                let last = stop.load(Ordering::Acquire);
                                read.extend(std::iter::from_fn(|| outbox.pop()));
                                if last {
                                    break read;
                                }
                                thread::yield_now();
                            }
                        })
                    })
                    .collect();
                let join = |thread: thread::ScopedJoinHandle<'_, Vec<u32>>| thread.join().unwrap();
                let gone: Vec<_> = writers.into_iter().flat_map(join).collect();
                stop.store(true, Ordering::Release);
                let read: Vec<_> = readers.into_iter().map(join).collect();
                (gone, read)
            });
            for read in &read {
                for thread in 0..4 {
                    let of_thread = read.iter().filter(|item| *item / ITEMS == thread);
                    assert!(of_thread.is_sorted(), "a writer's items out of order");
                }
            }
            assert_eq!((gone.len() as u64, outbox.len()), (outbox.dropped(), 0));
            let mut all: Vec<_> = read.into_iter().flatten().chain(gone).collect();
            all.sort_unstable();
            assert_eq!(all, (0..4 * ITEMS).collect::<Vec<_>>());
        }
    }
}

#[cfg(all(test, latchless_loom))]
mod loom_models {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;
    use crate::sync::explore::explore;

    /// Two writers and a reader at a queue of one: every item is read, has gone or is there, once, and
    /// whole: loom watches the nodes.
    #[test]
    fn loom_read_gone_or_there() {
        explore("outbox: read, gone or there", Some(3), 1_000, || {
            let outbox = Arc::new(Outbox::new(1).unwrap());
            let push = |item: u32| {
                let outbox = Arc::clone(&outbox);
                move || outbox.push(Box::new(item)).map(|item| *item)
            };
            let threads = [thread::spawn(push(1)), thread::spawn(push(2))];
            let mut all = vec![outbox.pop().map(|item| *item)];
            all.extend(threads.map(|thread| thread.join().unwrap()));
            all.extend([(); 2].map(|()| outbox.pop().map(|item| *item)));
            let mut all: Vec<_> = all.into_iter().flatten().collect();
            all.sort_unstable();
            assert_eq!(all, [1, 2]);
        });
    }

    /// A writer goes round while a reader takes: the reader gets the items in order, and the writer is
    /// told of those that went.
    #[test]
    fn loom_in_order() {
        explore("outbox: in order", None, 300, || {
            let outbox = Arc::new(Outbox::new(2).unwrap());
            let other = Arc::clone(&outbox);
            let thread = thread::spawn(move || [(); 2].map(|()| other.pop()).to_vec());
            // The writer on the first thread: loom tries a load before the writes that it came after, and
            // not the other way round.
            let gone = [1, 2, 3].map(|item| outbox.push(Box::new(item)));
            let gone: Vec<_> = gone.into_iter().flatten().map(|item| *item).collect();
            let mut read = thread.join().unwrap();
            read.extend([(); 3].map(|()| outbox.pop()));
            let read: Vec<_> = read.into_iter().flatten().map(|item| *item).collect();
            assert!(read.is_sorted() && gone.is_sorted(), "{read:?} {gone:?}");
            assert_eq!((read.len() + gone.len(), gone.len() as u64), (3, outbox.dropped()));
            assert!(gone.len() <= 1 && read.iter().all(|item| !gone.contains(item)));
        });
    }

    /// Two readers take from two: each item once, the older one first.
    #[test]
    fn loom_each_item_is_read_once() {
        explore("outbox: each item once", None, 50, || {
            let outbox = Arc::new(Outbox::new(2).unwrap());
            assert!(outbox.push(1).is_none() && outbox.push(2).is_none());
            let other = Arc::clone(&outbox);
            let thread = thread::spawn(move || other.pop().expect("two for two"));
            let mine = outbox.pop().expect("two for two");
            assert_eq!((mine + thread.join().unwrap(), outbox.pop()), (3, None));
        });
    }
}
