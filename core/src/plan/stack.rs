//! A stack that many push to until one seals it, and gets everything (after R. K. Treiber, *Systems
//! programming: coping with parallelism*, 1986).
//!
//! Nothing is popped one by one, so there is no ABA and nothing to reclaim later: until the seal the nodes
//! are reached by nobody, and with it they are the sealer's.
#![allow(unsafe_code)]

use std::ptr;

use crate::sync::{AtomicPtr, Ordering, pause};

struct Node<T> {
    item: T,
    older: *mut Node<T>,
}

/// What the head of a sealed stack is: an address that no node can have.
fn sealed<T>() -> *mut Node<T> {
    ptr::without_provenance_mut(1)
}

/// 8 bytes, and a node for each item.
pub(super) struct SealableStack<T>(AtomicPtr<Node<T>>);

// SAFETY: the stack owns its items and only moves them from one thread to another; no reference to an
// item is given out through `&SealableStack`.
unsafe impl<T: Send> Sync for SealableStack<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for SealableStack<T> {}

impl<T> SealableStack<T> {
    pub(super) fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// Puts an item in; gives it back when the stack is sealed.
    pub(super) fn push(&self, item: T) -> Result<(), T> {
        let node = Box::into_raw(Box::new(Node { item, older: ptr::null_mut() }));
        // Acquire: who finds the stack sealed sees what the sealer saw, a newer changeset above all.
        let mut head = self.0.load(Ordering::Acquire);
        loop {
            if head == sealed() {
                // SAFETY: it came from a box just now, and nobody else has seen it.
                let node = unsafe { Box::from_raw(node) };
                return Err(node.item);
            }
            // SAFETY: `node` came from a box and is ours until the swap below publishes it.
            unsafe { (*node).older = head };
            // Release: the item and the link are there for the sealer. Those below it, too: each push is
            // a read-modify-write of the one before.
            let swap = self.0.compare_exchange(head, node, Ordering::Release, Ordering::Relaxed);
            if swap.is_ok() {
                return Ok(());
            }
            // Of fixed length: another one's push gets through meanwhile, and perhaps its next.
            pause();
            head = self.0.load(Ordering::Acquire);
        }
    }

    /// Seals the stack and takes everything; `None` when it was sealed before.
    pub(super) fn seal(&self) -> Option<Items<T>> {
        // Acquire: pairs with each push. Release: who finds the stack sealed comes after it.
        let head = self.0.swap(sealed(), Ordering::AcqRel);
        if head == sealed() {
            return None;
        }
        let mut items = Items { oldest: ptr::null_mut(), len: 0 };
        let mut node = head;
        while !node.is_null() {
            // SAFETY: the swap made the whole chain ours, and each node came from a box.
            let this = unsafe { &mut *node };
            let older = std::mem::replace(&mut this.older, items.oldest);
            items.oldest = node;
            items.len += 1;
            node = older;
        }
        Some(items)
    }

    /// Whether the stack is sealed.
    pub(super) fn is_sealed(&self) -> bool {
        self.0.load(Ordering::Acquire) == sealed()
    }
}

impl<T> Drop for SealableStack<T> {
    fn drop(&mut self) {
        drop(self.seal());
    }
}

/// What was in a stack, in the order in which it was pushed. Each node's link leads to the next younger
/// one here.
pub(super) struct Items<T> {
    oldest: *mut Node<T>,
    len: usize,
}

// SAFETY: it owns its chain of nodes alone.
unsafe impl<T: Send> Send for Items<T> {}
// SAFETY: a shared reference gives access to nothing but the length.
unsafe impl<T: Sync> Sync for Items<T> {}

impl<T> Iterator for Items<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if self.oldest.is_null() {
            return None;
        }
        // SAFETY: the node came from a box, the chain is ours, and we leave it right here.
        let node = unsafe { Box::from_raw(self.oldest) };
        self.oldest = node.older;
        self.len -= 1;
        Some(node.item)
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
    use std::sync::Arc;

    use super::*;

    #[test]
    fn everything_comes_out_in_order_and_once() {
        let stack = SealableStack::new();
        for i in 0..3 {
            stack.push(i).unwrap();
        }
        let items = stack.seal().unwrap();
        assert_eq!((items.size_hint(), stack.is_sealed()), ((3, Some(3)), true));
        assert_eq!(items.collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(stack.push(3), Err(3));
        assert!(stack.seal().is_none());
    }

    #[test]
    fn what_nobody_takes_is_dropped() {
        let item = Arc::new(());
        let [taken, left] = [(); 2].map(|()| SealableStack::new());
        for _ in 0..3 {
            taken.push(Arc::clone(&item)).unwrap();
            left.push(Arc::clone(&item)).unwrap();
        }
        let mut items = taken.seal().unwrap();
        assert!(items.next().is_some());
        drop((items, taken, left));
        assert_eq!(Arc::strong_count(&item), 1);
    }
}
