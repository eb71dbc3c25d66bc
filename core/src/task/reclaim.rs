//! Claims that nobody will end any more.

use super::contention::Event;
use super::queue::TaskQueue;
use super::settle::AtIt;
use super::word::{Stage, Word};
use super::{TaskId, Tick, WorkerId};
use crate::mutant::mutant;

/// A claim that was taken back.
///
/// ```
/// use latchless::{AgentType, NewTask, Reclaimed, Tick, WorkerId, TaskQueue, TaskQueueConfig};
/// let queue = TaskQueue::new(TaskQueueConfig::new(2))?;
/// let task = queue.submit(NewTask::new("write"))?;
/// let claim = queue.claim(WorkerId(1), AgentType(0), Tick(0)).expect("one is pending");
/// # drop(claim);
/// let taken = queue.reclaim_worker(WorkerId(1));
/// assert_eq!(taken, [Reclaimed { task, worker: WorkerId(1), attempt: 1, used_up: false }]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reclaimed {
    /// The task.
    pub task: TaskId,
    /// Who had it.
    pub worker: WorkerId,
    /// In which attempt.
    pub attempt: u16,
    /// Whether it was the last: the task has failed then, and is pending otherwise.
    pub used_up: bool,
}

impl<T> TaskQueue<T> {
    /// Takes back every claim whose lease was over before `now`. A claimer that was frozen before it could
    /// write its lease has one from now on.
    ///
    /// For any thread, every now and then: takes time proportional to the slots, and waits for nobody.
    pub fn reclaim_expired(&self, now: Tick) -> Vec<Reclaimed> {
        self.reclaim(|slot, word| {
            let still = || self.word(slot) == word;
            mutant("tasks.lease-ignored")
                || self.slots[slot].lease.expire(word, now, self.lease, still)
        })
    }

    /// Takes back every claim of a worker that is known to be dead.
    pub fn reclaim_worker(&self, worker: WorkerId) -> Vec<Reclaimed> {
        self.reclaim(|_, word| word.worker() == worker)
    }

    fn reclaim(&self, is_over: impl Fn(usize, Word) -> bool) -> Vec<Reclaimed> {
        let mut reclaimed = Vec::new();
        for slot in 0..self.slots.len() {
            let mut word = self.word(slot);
            while word.stage().is_claimed() {
                if is_over(slot, word) && self.take_back(slot, word) {
                    let (worker, attempt) = (word.worker(), word.attempt());
                    let used_up = attempt >= self.max_attempts;
                    reclaimed.push(Reclaimed { task: word.id(slot), worker, attempt, used_up });
                    break;
                }
                let now = self.word(slot);
                if now == word || mutant("tasks.started-passed-over") {
                    break;
                }
                // Started, ended, or another one's: look again.
                word = now;
            }
        }
        reclaimed
    }

    /// Ends a claim without a result; false when its word has changed.
    pub(super) fn take_back(&self, slot: usize, word: Word) -> bool {
        let used_up = word.attempt() >= self.max_attempts && !mutant("tasks.attempts-unlimited");
        let next = word.with(if used_up { Stage::Exhausted } else { Stage::Pending });
        let _at_it = AtIt::new(&self.at_it);
        if !self.replace(slot, word, next) {
            self.count(Event::StepRetry);
            return false;
        }
        if used_up {
            self.settle(slot, next);
        } else {
            self.list(slot, next);
        }
        true
    }
}
