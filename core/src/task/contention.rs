//! How often threads came into each other's way at a queue, and how old its tasks are.

use super::queue::TaskQueue;
use super::word::Stage;
use super::{TaskId, Tick};
use crate::sync::Ordering;

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    ClaimRetry,
    StepRetry,
    LaneRetry,
    Walk,
}

pub(super) const EVENTS: usize = Event::Walk as usize + 1;

/// When a task was submitted of which nobody has said it.
pub(super) const UNKNOWN: u64 = u64::MAX;

/// How often threads came into each other's way at a queue, since it was made: see
/// [`TaskQueue::contention`].
///
/// ```
/// use latchless::{NewTask, TaskContention, TaskQueue, TaskQueueConfig};
/// let queue = TaskQueue::new(TaskQueueConfig::new(2))?;
/// let task = queue.submit(NewTask::new("write"))?;
/// # let _ = task;
/// assert_eq!(queue.contention(), TaskContention::default(), "nobody else was there");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TaskContention {
    /// Tasks that a claimer found and another one claimed first.
    pub claim_retries: u64,
    /// Other steps of a task that another thread's came before.
    pub step_retries: u64,
    /// Changes of the lanes' bitmaps that another thread's came before, and that were tried again.
    pub lane_retries: u64,
    /// Slots that another submitter took first.
    pub slot_retries: u64,
    /// Walks over all slots by claimers that found nothing while a task's end was still to take effect.
    pub walks: u64,
}

/// How long a task has waited for an agent.
///
/// ```
/// use latchless::{NewTask, TaskAge, Tick, TaskQueue, TaskQueueConfig};
/// let queue = TaskQueue::new(TaskQueueConfig::new(2))?;
/// let task = queue.submit(NewTask::new("write").submitted_at(Tick(3)))?;
/// assert_eq!(queue.oldest_pending(Tick(10)), Some(TaskAge { task, ticks: 7 }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskAge {
    /// The task.
    pub task: TaskId,
    /// Ticks of the host's clock since it was submitted.
    pub ticks: u64,
}

impl<T> TaskQueue<T> {
    /// Counts what another thread came before.
    pub(super) fn count(&self, event: Event) {
        self.met.count(event as usize);
    }

    /// How often threads came into each other's way. Wait-free: counters that are read one after another.
    pub fn contention(&self) -> TaskContention {
        let met = |event: Event| self.met.sum(event as usize);
        TaskContention {
            claim_retries: met(Event::ClaimRetry),
            step_retries: met(Event::StepRetry),
            lane_retries: met(Event::LaneRetry),
            slot_retries: self.free.retries(),
            walks: met(Event::Walk),
        }
    }

    /// Of the pending tasks that were [submitted with a time](super::NewTask::submitted_at), the one that was
    /// submitted first. A task that came back from an agent counts from its submission on, too. Wait-free:
    /// takes time proportional to the slots.
    ///
    /// ```
    /// use latchless::{AgentType, NewTask, TaskQueue, TaskQueueConfig, Tick, WorkerId};
    ///
    /// let queue = TaskQueue::new(TaskQueueConfig::new(10))?;
    /// let first = queue.submit(NewTask::new("first").submitted_at(Tick(100)))?;
    /// queue.submit(NewTask::new("second").submitted_at(Tick(130)))?;
    /// let oldest = queue.oldest_pending(Tick(150)).expect("two are pending");
    /// assert_eq!((oldest.task, oldest.ticks), (first, 50));
    ///
    /// queue.claim(WorkerId(0), AgentType(0), Tick(150));
    /// assert_eq!(queue.oldest_pending(Tick(150)).map(|age| age.ticks), Some(20));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn oldest_pending(&self, now: Tick) -> Option<TaskAge> {
        let pending = |slot: usize| {
            let word = self.word(slot);
            if word.stage() != Stage::Pending {
                return None;
            }
            let since = self.slots[slot].since.load(Ordering::Relaxed);
            // The same task before and after: what was read between is this one's.
            let is_its_own = self.word(slot).id(slot) == word.id(slot) && since != UNKNOWN;
            is_its_own.then(|| (since, word.id(slot)))
        };
        let (since, task) = (0..self.slots.len()).filter_map(pending).min()?;
        Some(TaskAge { task, ticks: now.0.saturating_sub(since) })
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::super::settle::AtIt;
    use super::super::{AgentType, NewTask, TaskQueueConfig, WorkerId};
    use super::*;

    const WORKER: WorkerId = WorkerId(0);

    #[test]
    fn what_a_thread_meets_is_counted() {
        let queue = TaskQueue::new(TaskQueueConfig::new(4)).unwrap();
        let id = queue.submit(NewTask::new(())).unwrap();
        let claim = queue.claim(WORKER, AgentType(0), Tick(0)).unwrap();
        let seen = queue.word(id.slot());
        queue.start(&claim).unwrap();
        assert_eq!(queue.contention(), TaskContention::default());

        assert!(!queue.take_back(id.slot(), seen), "it was started meanwhile");
        let met = TaskContention { step_retries: 1, ..TaskContention::default() };
        assert_eq!(queue.contention(), met);
        let frozen = AtIt::new(&queue.at_it);
        assert!(queue.claim(WORKER, AgentType(0), Tick(0)).is_none());
        drop(frozen);
        assert!(queue.claim(WORKER, AgentType(0), Tick(0)).is_none());
        assert_eq!(queue.contention(), TaskContention { walks: 1, ..met });
    }

    #[test]
    fn only_pending_tasks_with_a_time_grow_old() {
        let queue = TaskQueue::new(TaskQueueConfig::new(4)).unwrap();
        queue.submit(NewTask::new("nobody said when")).unwrap();
        assert_eq!(queue.oldest_pending(Tick(9)), None);
        let task = queue.submit(NewTask::new("at 5").submitted_at(Tick(5))).unwrap();
        assert_eq!(queue.oldest_pending(Tick(9)), Some(TaskAge { task, ticks: 4 }));
        assert_eq!(queue.oldest_pending(Tick(0)).unwrap().ticks, 0, "a clock that went back");
        let claims = [(); 2].map(|()| queue.claim(WORKER, AgentType(0), Tick(9)).unwrap());
        assert_eq!(queue.oldest_pending(Tick(9)), None, "all are with agents");
        for claim in &claims {
            queue.give_back(claim).unwrap();
        }
        assert_eq!(queue.oldest_pending(Tick(20)), Some(TaskAge { task, ticks: 15 }));
        let late = Tick(u64::MAX);
        let task = TaskQueue::new(TaskQueueConfig::new(1)).unwrap();
        task.submit(NewTask::new(()).submitted_at(late)).unwrap();
        assert_eq!(task.oldest_pending(late).unwrap().ticks, 1, "the end of time");
    }
}
