//! crossbeam's `ArrayQueue`, one id an entry, and a counter of permits.

use std::hint;
use std::sync::atomic::{AtomicU32, Ordering};

use crossbeam_queue::ArrayQueue;
use crossbeam_utils::CachePadded;

use crate::contender::{Churn, Contender, Exhausted, ReturnError};

/// A queue of free ids. A counter makes a request all or nothing: it is lowered by the whole request
/// first, and each permit stands for an id in the queue.
///
/// The queue is not lock-free: a thread that is preempted between its claim of a slot and the slot's
/// stamp makes the others wait. As bare as [`MutexBare`](crate::baseline::MutexBare) otherwise.
#[derive(Debug)]
pub struct ArrayQueuePlain {
    queue: ArrayQueue<u32>,
    permits: CachePadded<AtomicU32>,
    total: u32,
}

impl Contender for ArrayQueuePlain {
    const NAME: &'static str = "array_queue_plain";
    type Hand<'pool> = Vec<u32>;

    fn new(blocks: u32) -> Self {
        let queue = ArrayQueue::new(blocks as usize);
        for block in 0..blocks {
            queue.push(block).expect("the queue has room for every block");
        }
        Self { queue, permits: CachePadded::new(AtomicU32::new(blocks)), total: blocks }
    }

    fn hand(&self) -> Vec<u32> {
        Vec::with_capacity(self.total as usize)
    }

    #[inline]
    fn take(&self, hand: &mut Vec<u32>, blocks: u32) -> Result<(), Exhausted> {
        // Acquire: what was pushed before a permit was released is there for whoever takes it.
        let lowered = self.permits.fetch_update(Ordering::Acquire, Ordering::Relaxed, |permits| {
            permits.checked_sub(blocks)
        });
        if let Err(available) = lowered {
            let (total, allocated) = (self.total, self.total - available);
            return Err(Exhausted { requested: blocks, available, total, allocated });
        }
        for _ in 0..blocks {
            let block = loop {
                if let Some(block) = self.queue.pop() {
                    break block;
                }
                hint::spin_loop();
            };
            hand.push(block);
        }
        Ok(())
    }

    #[inline]
    fn give_back(&self, hand: &mut Vec<u32>) -> Result<(), ReturnError> {
        let blocks = hand.len() as u32;
        for block in hand.drain(..) {
            self.queue.push(block).map_err(|block| ReturnError { block })?;
        }
        self.permits.fetch_add(blocks, Ordering::Release);
        Ok(())
    }

    fn free(&self) -> u32 {
        self.permits.load(Ordering::Acquire)
    }
}

impl Churn for ArrayQueuePlain {
    /// Nobody is registered and nothing shared here; whoever takes every permit is alone, and gives them
    /// back.
    fn churn(&self, blocks: u32) -> bool {
        let mut hand = Vec::with_capacity(blocks as usize);
        if self.take(&mut hand, blocks).is_ok() {
            self.give_back(&mut hand).expect("the queue has room for every block");
        }
        // Acquire and Release, as in taking and giving back.
        let alone =
            self.permits.compare_exchange(self.total, 0, Ordering::Acquire, Ordering::Relaxed);
        if alone.is_ok() {
            self.permits.fetch_add(self.total, Ordering::Release);
        }
        alone.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::tests::{churns, loses_nothing, takes_all_or_nothing};

    #[test]
    fn is_a_contender() {
        takes_all_or_nothing::<ArrayQueuePlain>();
        loses_nothing::<ArrayQueuePlain>();
        churns::<ArrayQueuePlain>();
    }
}
