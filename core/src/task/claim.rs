//! What an agent does with a task that it has claimed.

use std::fmt;

use super::contention::Event;
use super::error::ClaimError;
use super::queue::{Record, TaskQueue};
use super::record::RecordRef;
use super::settle::AtIt;
use super::word::{Stage, Word};
use super::{TaskId, Tick, WorkerId};
use crate::mutant::mutant;

/// A task in an agent's hands, by attempt: a plain value, which can be kept, sent and copied. It is
/// worth something as long as the task's word says so.
///
/// ```
/// use latchless::{AgentType, Claim, NewTask, Tick, WorkerId, TaskQueue, TaskQueueConfig};
/// let queue = TaskQueue::new(TaskQueueConfig::new(2))?;
/// let task = queue.submit(NewTask::new("write"))?;
/// let claim: Claim<_> = queue.claim(WorkerId(1), AgentType(0), Tick(0)).expect("one is pending");
/// assert_eq!((claim.task(), *claim.payload(), claim.attempt()), (task, "write", 1));
/// queue.start(&claim)?;
/// queue.complete(&claim)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Claim<T> {
    pub(super) task: TaskId,
    /// The task's word as the claim made it.
    pub(super) word: Word,
    pub(super) record: RecordRef<Record<T>>,
}

impl<T> Claim<T> {
    /// The task.
    pub fn task(&self) -> TaskId {
        self.task
    }

    /// Who claimed it.
    pub fn worker(&self) -> WorkerId {
        self.word.worker()
    }

    /// Which attempt at the task this is, from 1 on: a fencing token, for whatever the agent writes
    /// elsewhere.
    pub fn attempt(&self) -> u16 {
        self.word.attempt()
    }

    /// What the task is.
    pub fn payload(&self) -> &T {
        &self.record.payload
    }
}

impl<T> Clone for Claim<T> {
    fn clone(&self) -> Self {
        Self { task: self.task, word: self.word, record: self.record.clone() }
    }
}

impl<T> fmt::Debug for Claim<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("task", &self.task)
            .field("worker", &self.worker())
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}

impl<T> TaskQueue<T> {
    /// Assigned → in progress.
    ///
    /// # Errors
    /// [`ClaimError`] when the claim is over, or the task is not assigned.
    pub fn start(&self, claim: &Claim<T>) -> Result<(), ClaimError> {
        self.step(claim, Stage::Assigned, Stage::InProgress, "in progress")
    }

    /// In progress → completed. Tasks that depended on nothing else are claimable when this returns.
    ///
    /// # Errors
    /// [`ClaimError`] when the claim is over, or the task is not in progress.
    pub fn complete(&self, claim: &Claim<T>) -> Result<(), ClaimError> {
        self.end(claim, Stage::Completed, "completed")
    }

    /// In progress → failed. Tasks that depend on it, however indirectly, have failed when this returns.
    ///
    /// # Errors
    /// [`ClaimError`] when the claim is over, or the task is not in progress.
    pub fn fail(&self, claim: &Claim<T>) -> Result<(), ClaimError> {
        self.end(claim, Stage::Failed, "failed")
    }

    fn end(&self, claim: &Claim<T>, to: Stage, wanted: &'static str) -> Result<(), ClaimError> {
        let Some(member) = &claim.record.member else {
            return self.step(claim, Stage::InProgress, to, wanted);
        };
        let _at_it = AtIt::new(&self.at_it);
        self.step(claim, Stage::InProgress, to, wanted)?;
        self.settle_member(&member.group, member.place, to == Stage::Completed);
        Ok(())
    }

    /// Assigned or in progress → pending: for an agent that cannot go on. The attempt counts.
    ///
    /// # Errors
    /// [`ClaimError`] when the claim is over.
    pub fn give_back(&self, claim: &Claim<T>) -> Result<(), ClaimError> {
        loop {
            let word = self.standing(claim)?;
            if !word.stage().is_claimed() {
                return Err(self.not_a_step(claim, word, "pending"));
            }
            if self.take_back(claim.task.slot(), word) {
                return Ok(());
            }
        }
    }

    /// Lets the claim stand for another lease from `now` on.
    ///
    /// # Errors
    /// [`ClaimError`] when the claim or its lease is over.
    pub fn renew(&self, claim: &Claim<T>, now: Tick) -> Result<(), ClaimError> {
        let slot = claim.task.slot();
        let stands = || self.standing(claim).ok().filter(|word| word.stage().is_claimed());
        if self.slots.get(slot).is_some_and(|slot| slot.lease.renew(now, self.lease, stands)) {
            return Ok(());
        }
        match self.standing(claim) {
            Ok(word) if !word.stage().is_claimed() => Err(self.not_a_step(claim, word, "renewed")),
            _ => Err(self.lost(claim)),
        }
    }

    fn step(
        &self,
        claim: &Claim<T>,
        from: Stage,
        to: Stage,
        wanted: &'static str,
    ) -> Result<(), ClaimError> {
        loop {
            let word = self.standing(claim)?;
            if word.stage() != from {
                return Err(self.not_a_step(claim, word, wanted));
            }
            if self.replace(claim.task.slot(), word, word.with(to)) {
                return Ok(());
            }
            self.count(Event::StepRetry);
        }
    }

    /// The task's word, if it is of this claim's attempt, in whatever stage that is.
    fn standing(&self, claim: &Claim<T>) -> Result<Word, ClaimError> {
        let slot = claim.task.slot();
        let word = self.slots.get(slot).map(|_| self.word(slot));
        // The word of an attempt has the attempt's generation, worker and number until the next one; only
        // one that is pending again is nobody's.
        word.filter(|word| {
            (word.with(Stage::Assigned) == claim.word || mutant("tasks.any-attempt"))
                && word.stage() != Stage::Pending
        })
        .ok_or_else(|| self.lost(claim))
    }

    fn lost(&self, claim: &Claim<T>) -> ClaimError {
        let (task, attempt) = (claim.task, claim.attempt());
        ClaimError::Lost { task, attempt, now: self.status(task) }
    }

    fn not_a_step(&self, claim: &Claim<T>, word: Word, wanted: &'static str) -> ClaimError {
        match self.status_of(claim.task.slot(), word) {
            Some(now) => ClaimError::NotAStep { task: claim.task, now, wanted },
            None => self.lost(claim),
        }
    }
}
