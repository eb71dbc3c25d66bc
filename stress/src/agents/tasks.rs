//! Tasks under load: every one that was submitted ends once, whoever claims it, gives it back, loses it or
//! dies with it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use latchless::{
    AgentType, Claim, ClaimError, Failure, NewTask, Priority, Reclaimed, TaskCounts, TaskGraph,
    TaskId, TaskQueue, TaskQueueConfig, TaskStatus, Tick, WorkerId,
};

use super::ledger::{End, Item, Ledger};
use crate::violation::Violation;

/// Kinds of agents.
pub(super) const TYPES: u8 = 3;
/// Tasks that the queue has room for: few, so that it is full now and then.
const CAPACITY: usize = 512;
/// Tasks of a chain.
const CHAIN: usize = 3;
/// Ticks for which a claim stands.
const LEASE: u64 = 100;
/// Claims that a task survives.
const ATTEMPTS: u16 = 20;

/// What a task says of itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    item: Item,
    only: Option<AgentType>,
    /// What must be done before.
    after: Option<Item>,
}

/// The queue of a round, and what was put into it.
pub(super) struct Tasks {
    queue: TaskQueue<Job>,
    ledger: Ledger,
    /// Of each task whether somebody has begun to complete it: what depends on it may be given out from then on, which
    /// is before the ledger can say that it has ended.
    completing: Box<[AtomicBool]>,
    submitted: Mutex<Vec<(TaskId, Item)>>,
}

/// What one thread has to do with tasks.
#[derive(Default)]
pub(super) struct TaskHand {
    issued: u32,
    claims: Vec<Claim<Job>>,
    submitted: Vec<(TaskId, Item)>,
}

impl TaskHand {
    /// Claims in hand.
    pub(super) fn held(&self) -> usize {
        self.claims.len()
    }
}

impl Tasks {
    pub(super) fn new(threads: u16, operations: u64) -> Result<Self, Violation> {
        let config =
            TaskQueueConfig::new(CAPACITY).agent_types(TYPES).lease(LEASE).max_attempts(ATTEMPTS);
        let queue = TaskQueue::new(config).map_err(|error| Violation::answer("a queue", error))?;
        let of_each = operations * CHAIN as u64;
        let ledger = Ledger::new("task", threads, of_each);
        let completing =
            (0..u64::from(threads) * of_each).map(|_| AtomicBool::new(false)).collect();
        Ok(Self { queue, ledger, completing, submitted: Mutex::default() })
    }

    /// `true`: there was room.
    pub(super) fn submit(&self, thread: u16, hand: &mut TaskHand, other: usize) -> bool {
        let Some(item) = self.ledger.issue(thread, &mut hand.issued) else { return false };
        let only = type_of(other);
        let mut task = NewTask::new(Job { item, only, after: None })
            .priority(Priority::ALL[other % Priority::ALL.len()]);
        if let Some(only) = only {
            task = task.for_type(only);
        }
        let submitted = self.queue.submit(task);
        match &submitted {
            Ok(id) => hand.submitted.push((*id, item)),
            Err(_) => self.ledger.withdraw(item),
        }
        submitted.is_ok()
    }

    /// Forgets what this thread has submitted and the queue has ended by itself.
    pub(super) fn sweep(&self, hand: &mut TaskHand) -> Result<(), Violation> {
        let mut swept = Ok(());
        hand.submitted.retain(|(task, item)| {
            if swept.is_ok() && self.queue.status(*task).is_some_and(is_end_of_the_queue) {
                swept = self.ledger.end(*item, End::Failed).and_then(|()| self.forget(*task));
                return false;
            }
            // Those that are gone were forgotten by who ended them.
            self.queue.status(*task).is_some()
        });
        swept
    }

    fn forget(&self, task: TaskId) -> Result<(), Violation> {
        self.queue.forget(task).map_err(|error| Violation::answer("a task's end", error))
    }

    /// A chain of tasks: all of them, or none. `true`: there was room.
    pub(super) fn submit_chain(&self, thread: u16, hand: &mut TaskHand) -> bool {
        let items: Option<Vec<_>> =
            (0..CHAIN).map(|_| self.ledger.issue(thread, &mut hand.issued)).collect();
        let Some(items) = items else { return false };
        let mut graph = TaskGraph::new();
        for (place, item) in items.iter().enumerate() {
            let before = place.checked_sub(1);
            let job = Job { item: *item, only: None, after: before.map(|before| items[before]) };
            let before = before.map(|before| before.to_string());
            graph.add(place.to_string(), NewTask::new(job), before);
        }
        let submitted = self.queue.submit_graph(graph);
        if let Ok(ids) = &submitted {
            hand.submitted.extend(ids.iter().copied().zip(items));
        } else {
            for item in items {
                self.ledger.withdraw(item);
            }
        }
        submitted.is_ok()
    }

    /// `true`: there was one.
    pub(super) fn claim(
        &self,
        worker: u16,
        hand: &mut TaskHand,
        other: usize,
        now: Tick,
        may_be_lost: bool,
    ) -> Result<bool, Violation> {
        let mine = AgentType((other % usize::from(TYPES)) as u8);
        let Some(claim) = self.queue.claim(WorkerId(worker), mine, now) else { return Ok(false) };
        let Job { item, only, after } = *claim.payload();
        if only.is_some_and(|only| only != mine) {
            return Err(self.ledger.violation("given to an agent of another type", item));
        }
        // Where claims are taken back, it may have been, and the task ended by another, since.
        if !may_be_lost && self.ledger.ended(item).is_some() {
            return Err(self.ledger.violation("given out after its end", item));
        }
        if let Some(after) = after {
            if self.ledger.ended(after) == Some(End::Failed) {
                let what = "given out although what it depends on failed";
                return Err(self.ledger.violation(what, item));
            }
            // Relaxed: whoever completed it wrote this before, and the queue hands that on with the task.
            if !self.completing[after.index()].load(Ordering::Relaxed) {
                let what = "given out before what it depends on was completed";
                return Err(self.ledger.violation(what, item));
            }
        }
        hand.claims.push(claim);
        Ok(true)
    }

    /// Ends a claim of this thread. `may_be_lost`: somebody may have taken it back.
    pub(super) fn end(
        &self,
        hand: &mut TaskHand,
        pick: usize,
        how: End,
        may_be_lost: bool,
    ) -> Result<(), Violation> {
        let Some(claim) = take(&mut hand.claims, pick) else { return Ok(()) };
        let item = claim.payload().item;
        let ended = self.queue.start(&claim).and_then(|()| match how {
            End::Done => {
                self.completing[item.index()].store(true, Ordering::Relaxed);
                self.queue.complete(&claim)
            }
            End::Failed => self.queue.fail(&claim),
        });
        match ended {
            Ok(()) => {
                self.ledger.end(item, how)?;
                self.forget(claim.task())
            }
            Err(ClaimError::Lost { .. }) if may_be_lost => Ok(()),
            // The claim that was taken back was of the last attempt, after which the task ends by itself.
            Err(ClaimError::NotAStep { now, .. }) if may_be_lost && is_end_of_the_queue(now) => {
                Ok(())
            }
            Err(error) => Err(Violation::answer("a claim that stands", error)),
        }
    }

    pub(super) fn give_back(
        &self,
        hand: &mut TaskHand,
        pick: usize,
        may_be_lost: bool,
    ) -> Result<(), Violation> {
        let Some(claim) = take(&mut hand.claims, pick) else { return Ok(()) };
        match self.queue.give_back(&claim) {
            Err(error) if !may_be_lost => Err(Violation::answer("a claim that stands", error)),
            _ => Ok(()),
        }
    }

    /// A claim may be lost, and its lease over: that it is refused then is right.
    pub(super) fn renew(&self, hand: &TaskHand, pick: usize, now: Tick) {
        let chosen = pick.checked_rem(hand.claims.len()).map(|at| &hand.claims[at]);
        let _ = chosen.map(|claim| self.queue.renew(claim, now));
    }

    pub(super) fn reclaim_worker(&self, worker: u16) -> usize {
        self.queue.reclaim_worker(WorkerId(worker)).len()
    }

    pub(super) fn reclaim_expired(&self, now: Tick) -> usize {
        self.queue.reclaim_expired(now).len()
    }

    /// Completes a task that somebody else may have, which nobody may: to see that it is seen.
    pub(super) fn steal(&self, hand: &TaskHand) -> Result<(), Violation> {
        hand.claims.last().map_or(Ok(()), |claim| self.ledger.end(claim.payload().item, End::Done))
    }

    /// What a thread leaves at the end of a round: its claims are given back.
    pub(super) fn leave(&self, hand: &mut TaskHand) {
        for claim in hand.claims.drain(..) {
            // It may be lost.
            let _ = self.queue.give_back(&claim);
        }
        let mut submitted = self.submitted.lock().unwrap_or_else(PoisonError::into_inner);
        submitted.append(&mut hand.submitted);
    }

    /// Nobody runs: what is left is done here, and then everything must have ended once.
    pub(super) fn settle(&self, worker: u16, now: Tick) -> Result<(), Violation> {
        let mut hand = TaskHand::default();
        let nobody = WorkerId(worker);
        for kind in 0..usize::from(TYPES) {
            while self.claim(worker, &mut hand, kind, now, false)? {
                self.end(&mut hand, 0, End::Done, false)?;
            }
        }
        let left: Vec<Reclaimed> = self.queue.reclaim_worker(nobody);
        Violation::count("claims that nobody has", 0_u64, left.len() as u64)?;
        let submitted = self.submitted.lock().unwrap_or_else(PoisonError::into_inner);
        for (task, item) in submitted.iter().copied() {
            match (self.queue.status(task), self.ledger.ended(item)) {
                // Forgotten by who ended it.
                (None, Some(_)) => {}
                (Some(status), None) if is_end_of_the_queue(status) => {
                    self.ledger.end(item, End::Failed)?;
                    self.forget(task)?;
                }
                (status, ended) => {
                    return Err(Violation::answer("a task and its mark", (status, ended)));
                }
            }
        }
        self.ledger.check()?;
        let counts = self.queue.counts();
        if counts == TaskCounts::default() {
            Ok(())
        } else {
            Err(Violation::answer("a queue that should be empty", counts))
        }
    }

    /// Tasks that are not over, about.
    pub(super) fn in_queue(&self) -> u64 {
        let counts = self.queue.counts();
        (counts.waiting + counts.pending + counts.assigned + counts.in_progress) as u64
    }

    pub(super) fn capacity(&self) -> u64 {
        self.queue.capacity() as u64
    }
}

/// An end that nobody's claim brought about.
fn is_end_of_the_queue(status: TaskStatus) -> bool {
    let TaskStatus::Failed(failure) = status else { return false };
    matches!(failure, Failure::AttemptsUsedUp { .. } | Failure::DependencyFailed { .. })
}

/// Of four, one is for everybody.
fn type_of(other: usize) -> Option<AgentType> {
    let kind = (other >> 8) as u8 % (TYPES + 1);
    (kind < TYPES).then_some(AgentType(kind))
}

fn take<T>(items: &mut Vec<T>, pick: usize) -> Option<T> {
    let at = pick.checked_rem(items.len())?;
    Some(items.swap_remove(at))
}
