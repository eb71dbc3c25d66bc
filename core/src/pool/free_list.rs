//! The free list: an [`ArrayQueue`](crossbeam_queue::ArrayQueue) of spans that have free blocks, behind
//! a try-gate.
//!
//! It spreads threads over different spans and finds a span with free blocks in O(1) when the pool is
//! nearly full (what Linux's SLUB allocator calls the partial list). It is an **index, not the truth**:
//! the truth is in the spans' bits, and a span that is not listed is found by a scan.
//!
//! That freedom is what makes it safe to use here. `ArrayQueue` is not lock-free: a thread that is
//! preempted between its CAS and its slot's stamp makes every later user of that slot spin. So nobody
//! may be inside together with somebody else. A thread that finds the gate shut does without the list;
//! one that is frozen inside takes the list away from everybody, and delays nobody.

use crossbeam_utils::CachePadded;

use self::queue::SpanQueue;
use crate::id::BlockId;
use crate::mutant::{mutant, weaker};
use crate::sync::{AtomicBool, Ordering};

#[derive(Debug)]
pub(super) struct FreeList {
    inside: CachePadded<AtomicBool>,
    queue: SpanQueue,
}

impl FreeList {
    /// An empty list that can hold `spans` spans.
    pub(super) fn new(spans: usize) -> Self {
        Self { inside: CachePadded::new(AtomicBool::new(false)), queue: SpanQueue::new(spans) }
    }

    /// The first block of a listed span; `None` when the list is empty or somebody is inside.
    pub(super) fn try_pop(&self) -> Option<BlockId> {
        self.try_enter()?.pop()
    }

    /// Lists the span that begins with `first`; false when somebody is inside or there is no room.
    pub(super) fn try_push(&self, first: BlockId) -> bool {
        self.try_enter().is_some_and(|inside| inside.push(first))
    }

    /// Whoever gets this is alone with the queue until it is dropped.
    fn try_enter(&self) -> Option<Inside<'_>> {
        // The load keeps the line shared while somebody is inside. Acquire pairs with the Release of
        // the last one to leave: the queue is as he left it.
        let entered = !self.inside.load(Ordering::Relaxed)
            && self
                .inside
                .compare_exchange(
                    false,
                    true,
                    weaker("free-list.enter-relaxed", Ordering::Acquire),
                    Ordering::Relaxed,
                )
                .is_ok();
        // Not `then_some`: an `Inside` that is made and dropped opens the gate.
        if entered || mutant("free-list.gate-open") { Some(Inside(self)) } else { None }
    }
}

struct Inside<'a>(&'a FreeList);

impl Inside<'_> {
    fn pop(&self) -> Option<BlockId> {
        self.0.queue.pop()
    }

    fn push(&self, first: BlockId) -> bool {
        self.0.queue.push(first)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.store(false, weaker("free-list.leave-relaxed", Ordering::Release));
    }
}

#[cfg(not(latchless_loom))]
mod queue {
    use crossbeam_queue::ArrayQueue;

    use crate::id::BlockId;

    #[derive(Debug)]
    pub(super) struct SpanQueue(ArrayQueue<BlockId>);

    impl SpanQueue {
        pub(super) fn new(spans: usize) -> Self {
            Self(ArrayQueue::new(spans))
        }

        pub(super) fn push(&self, first: BlockId) -> bool {
            self.0.push(first).is_ok()
        }

        pub(super) fn pop(&self) -> Option<BlockId> {
            self.0.pop()
        }
    }
}

/// loom cannot see into `ArrayQueue`. Its stand-in is a queue with no synchronisation at all, in a
/// cell that loom watches: a model in which two threads are inside together fails.
#[cfg(latchless_loom)]
#[allow(unsafe_code)]
mod queue {
    use std::collections::VecDeque;

    use loom::cell::UnsafeCell;

    use crate::id::BlockId;

    #[derive(Debug)]
    pub(super) struct SpanQueue {
        spans: UnsafeCell<VecDeque<BlockId>>,
        capacity: usize,
    }

    // SAFETY: only ever used behind the gate, by one thread at a time; loom checks that it is so.
    unsafe impl Sync for SpanQueue {}

    impl SpanQueue {
        pub(super) fn new(capacity: usize) -> Self {
            Self { spans: UnsafeCell::new(VecDeque::new()), capacity }
        }

        pub(super) fn push(&self, first: BlockId) -> bool {
            self.spans.with_mut(|spans| {
                // SAFETY: the gate lets one thread in at a time, and loom fails the model otherwise.
                let spans = unsafe { &mut *spans };
                let room = spans.len() < self.capacity;
                if room {
                    spans.push_back(first);
                }
                room
            })
        }

        pub(super) fn pop(&self) -> Option<BlockId> {
            self.spans.with_mut(|spans| {
                // SAFETY: as in `push`.
                let spans = unsafe { &mut *spans };
                spans.pop_front()
            })
        }
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;

    #[test]
    fn lists_in_order_and_refuses_when_full() {
        let list = FreeList::new(2);
        assert!(list.try_push(BlockId(64)));
        assert!(list.try_push(BlockId(0)));
        assert!(!list.try_push(BlockId(128)));
        assert_eq!(list.try_pop(), Some(BlockId(64)));
        assert_eq!(list.try_pop(), Some(BlockId(0)));
        assert_eq!(list.try_pop(), None);
    }

    #[test]
    fn somebody_inside_delays_nobody() {
        let list = FreeList::new(2);
        let frozen = list.try_enter().unwrap();
        frozen.push(BlockId(0));
        assert!(!list.try_push(BlockId(64)));
        assert_eq!(list.try_pop(), None);
        drop(frozen);
        assert_eq!(list.try_pop(), Some(BlockId(0)));
    }
}

#[cfg(all(test, latchless_loom))]
mod loom_models {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;
    use crate::sync::explore::explore;

    /// Two threads push and pop: never two inside (loom watches the cell), nothing listed twice, and
    /// what was pushed is popped or still there.
    #[test]
    fn loom_one_inside_at_a_time() {
        explore("free list: one inside at a time", None, 100, || {
            let list = Arc::new(FreeList::new(1));
            let work = |first: u32| {
                let list = Arc::clone(&list);
                move || {
                    let pushed = u32::from(list.try_push(BlockId(first)));
                    (pushed, u32::from(list.try_pop().is_some()))
                }
            };
            let thread = thread::spawn(work(0));
            let mine = work(4)();
            let theirs = thread.join().unwrap();
            let (pushed, popped) = (mine.0 + theirs.0, mine.1 + theirs.1);
            let rest = std::iter::from_fn(|| list.queue.pop()).count() as u32;
            assert_eq!(pushed, popped + rest);
        });
    }
}
