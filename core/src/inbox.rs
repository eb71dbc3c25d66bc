//! An inbox of many producers and one consumer: a stack that is taken whole by one swap.
//!
//! Nearly every channel lets a sender that is frozen between two steps hold up the receiver, or the
//! other way round. Here a push is one CAS on the head (a Treiber stack) and taking is one swap: whoever
//! is frozen before it has not pushed yet, whoever is frozen after it is not needed any more. Nothing is
//! popped one by one, so there is no ABA and nothing to reclaim later: the consumer owns what it took.

use std::fmt;
use std::ptr;

use thiserror::Error;

use crate::mutant::{mutant, weaker};
use crate::sync::{AtomicPtr, AtomicUsize, Ordering};

struct Node<T> {
    item: T,
    next: *mut Node<T>,
}

/// A bounded inbox of many producers and one consumer, which no frozen producer can hold up: a Treiber
/// stack that is taken whole by one swap.
///
/// Pushing allocates one node; taking frees it. Items come out in the order in which they were pushed.
///
/// ```
/// use latchless::Inbox;
/// let inbox = Inbox::with_capacity(2);
/// inbox.push("a")?;
/// inbox.push("b")?;
/// assert_eq!(inbox.push("c").unwrap_err().0, "c");
/// assert_eq!(inbox.take_all().collect::<Vec<_>>(), ["a", "b"]);
/// # Ok::<(), latchless::InboxFull<&str>>(())
/// ```
pub struct Inbox<T> {
    head: AtomicPtr<Node<T>>,
    /// Items in the stack or about to be.
    len: AtomicUsize,
    capacity: usize,
}

/// The inbox is full; the item is given back here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the inbox is full; wait for its consumer to take what is there")]
pub struct InboxFull<T>(pub T);

#[allow(unsafe_code)]
// SAFETY: the inbox owns its items and only moves them from one thread to another; no reference to an
// item is given out through `&Inbox`.
unsafe impl<T: Send> Send for Inbox<T> {}

#[allow(unsafe_code)]
// SAFETY: as above.
unsafe impl<T: Send> Sync for Inbox<T> {}

impl<T> Inbox<T> {
    /// An empty inbox for at most `capacity` items.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { head: AtomicPtr::new(ptr::null_mut()), len: AtomicUsize::new(0), capacity }
    }

    /// Puts an item in. Never waits: a CAS that is lost was lost to another push, or to the consumer.
    ///
    /// # Errors
    /// [`InboxFull`] with the item when `capacity` items are waiting.
    pub fn push(&self, item: T) -> Result<(), InboxFull<T>> {
        // Relaxed: the counter only bounds; the items are published by the head.
        if self.len.fetch_add(1, Ordering::Relaxed) >= self.capacity {
            if !mutant("inbox.refused-keeps-place") {
                self.len.fetch_sub(1, Ordering::Relaxed);
            }
            return Err(InboxFull(item));
        }
        let node = Box::into_raw(Box::new(Node { item, next: ptr::null_mut() }));
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            #[allow(unsafe_code)]
            // SAFETY: `node` came from a box and is ours until the CAS below publishes it.
            unsafe {
                (*node).next = head;
            }
            // Release: the item and the link are there for whoever takes the head.
            let success = weaker("inbox.push-relaxed", Ordering::Release);
            match self.head.compare_exchange_weak(head, node, success, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(now) => head = now,
            }
        }
    }

    /// Takes everything that is there, oldest first.
    pub fn take_all(&self) -> Drained<T> {
        // Acquire: pairs with each push. A push onto another's node is a read-modify-write, so the
        // release of the earlier one reaches us too.
        let newest =
            self.head.swap(ptr::null_mut(), weaker("inbox.take-relaxed", Ordering::Acquire));
        let mut oldest = ptr::null_mut();
        let mut node = newest;
        let mut taken = 0;
        while !node.is_null() {
            #[allow(unsafe_code)]
            // SAFETY: the swap made the whole chain ours, and each node came from a box.
            let this = unsafe { &mut *node };
            let older = this.next;
            this.next = oldest;
            oldest = node;
            node = older;
            taken += 1;
        }
        if taken > 0 {
            self.len.fetch_sub(taken, Ordering::Relaxed);
        }
        Drained { oldest }
    }

    /// Whether nothing has been pushed since the last [`take_all`](Self::take_all).
    pub fn is_empty(&self) -> bool {
        // Acquire: who sees an item may act on what its producer did before.
        self.head.load(Ordering::Acquire).is_null()
    }
}

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        drop(self.take_all());
    }
}

impl<T> fmt::Debug for Inbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.len.load(Ordering::Relaxed);
        f.debug_struct("Inbox")
            .field("len", &len)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

/// What [`Inbox::take_all`] took, oldest first. Items that are not asked for are dropped with it.
///
/// ```
/// use latchless::{Drained, Inbox};
///
/// let inbox = Inbox::with_capacity(8);
/// inbox.push("first").unwrap();
/// inbox.push("second").unwrap();
/// let taken: Drained<_> = inbox.take_all();
/// assert_eq!(taken.collect::<Vec<_>>(), ["first", "second"]);
/// ```
pub struct Drained<T> {
    oldest: *mut Node<T>,
}

#[allow(unsafe_code)]
// SAFETY: it owns its chain of nodes alone.
unsafe impl<T: Send> Send for Drained<T> {}

impl<T> Iterator for Drained<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if self.oldest.is_null() {
            return None;
        }
        #[allow(unsafe_code)]
        // SAFETY: the node came from a box, the chain is ours, and we leave it right here.
        let node = unsafe { Box::from_raw(self.oldest) };
        self.oldest = node.next;
        Some(node.item)
    }
}

impl<T> Drop for Drained<T> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

impl<T> fmt::Debug for Drained<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drained").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn comes_out_in_order_and_is_bounded() {
        let inbox = Inbox::with_capacity(3);
        for i in 0..3 {
            inbox.push(i).unwrap();
        }
        assert_eq!(inbox.push(3), Err(InboxFull(3)));
        assert_eq!(inbox.take_all().collect::<Vec<_>>(), [0, 1, 2]);
        assert!(inbox.is_empty());
        for i in 4..7 {
            inbox.push(i).expect("what was taken made room, and what was refused took none");
        }
    }

    #[test]
    fn drops_what_nobody_took() {
        let item = Arc::new(());
        let inbox = Inbox::with_capacity(8);
        for _ in 0..4 {
            inbox.push(Arc::clone(&item)).unwrap();
        }
        let mut some = inbox.take_all();
        assert!(some.next().is_some());
        drop(some);
        inbox.push(Arc::clone(&item)).unwrap();
        drop(inbox);
        assert_eq!(Arc::strong_count(&item), 1);
    }

    #[test]
    fn every_item_arrives_once_from_eight_threads() {
        let inbox = Inbox::with_capacity(usize::MAX);
        let mut got: Vec<u32> = std::thread::scope(|scope| {
            for thread in 0..8 {
                let inbox = &inbox;
                scope.spawn(move || {
                    for i in 0..1_000 {
                        inbox.push(thread * 1_000 + i).unwrap();
                    }
                });
            }
            let mut got = Vec::new();
            while got.len() < 8_000 {
                got.extend(inbox.take_all());
            }
            got
        });
        for thread in 0..8 {
            let of_thread: Vec<_> = got.iter().filter(|item| **item / 1_000 == thread).collect();
            assert!(of_thread.is_sorted(), "one producer's items keep their order");
        }
        got.sort_unstable();
        assert_eq!(got, (0..8_000).collect::<Vec<_>>());
    }
}

#[cfg(all(test, latchless_loom))]
mod loom_models {
    use loom::cell::Cell;
    use loom::sync::Arc;
    use loom::thread;

    use super::*;
    use crate::sync::explore::explore;

    /// Two producers push while the consumer takes: every item arrives once, whole, and one producer's
    /// items keep their order. An item is a cell that loom watches, so that one which is read without
    /// having been published fails the model.
    #[test]
    fn loom_two_producers_and_a_consumer() {
        explore("inbox: two producers, one consumer", None, 500, || {
            let inbox = Arc::new(Inbox::with_capacity(4));
            let push = |items: &'static [u32]| {
                let inbox = Arc::clone(&inbox);
                move || items.iter().for_each(|item| inbox.push(Cell::new(*item)).unwrap())
            };
            let threads = [thread::spawn(push(&[1, 2])), thread::spawn(push(&[3]))];
            let mut got: Vec<_> = inbox.take_all().map(|item| item.get()).collect();
            for thread in threads {
                thread.join().unwrap();
            }
            got.extend(inbox.take_all().map(|item| item.get()));
            let at = |item| got.iter().position(|other| *other == item).expect("an item was lost");
            assert!(at(1) < at(2));
            assert_eq!((got.len(), at(3) < 3), (3, true));
        });
    }

    /// Two producers and room for one: at most one is refused, at least one gets in.
    #[test]
    fn loom_bounded() {
        explore("inbox: bounded", None, 4, || {
            let inbox = Arc::new(Inbox::with_capacity(1));
            let other = Arc::clone(&inbox);
            let thread = thread::spawn(move || other.push(2).is_ok());
            let mine = inbox.push(1).is_ok();
            let theirs = thread.join().unwrap();
            assert!(mine || theirs);
            assert_eq!(inbox.take_all().count(), usize::from(mine) + usize::from(theirs));
        });
    }
}
