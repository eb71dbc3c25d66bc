//! The queue: submitting, claiming, forgetting.

use std::fmt;
use std::sync::Arc;

use crossbeam_utils::CachePadded;

use super::claim::Claim;
use super::config::TaskQueueConfig;
use super::contention::{EVENTS, Event, UNKNOWN};
use super::error::{ForgetError, GraphRefusal, GraphRefused, SubmitError, TaskQueueConfigError};
use super::graph::{Edges, TaskGraph};
use super::group::Group;
use super::lanes::Lanes;
use super::lease::Lease;
use super::record::{RecordCell, RecordRef};
use super::settle::AtIt;
use super::word::{Stage, Word, lane_of};
use super::{
    AgentType, Failure, NewTask, Priority, TaskCounts, TaskId, TaskStatus, Tick, WorkerId,
};
use crate::contention::Tally;
use crate::mutant::{mutant, weaker};
use crate::slots::{FreeSlots, start_of};
use crate::sync::{AtomicU32, AtomicU64, AtomicUsize, Ordering, default_stripes, thread_index};

/// A task's payload, and its place among those that it was submitted with.
#[derive(Debug)]
pub(super) struct Record<T> {
    pub(super) payload: T,
    pub(super) member: Option<Member>,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) group: Arc<Group>,
    pub(super) place: u32,
}

/// A line of its own: what is claimed next to it is another agent's.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Slot<T> {
    pub(super) word: AtomicU64,
    pub(super) lease: Lease,
    record: RecordCell<Record<T>>,
    /// The tick at which the task was submitted, or [`UNKNOWN`]. std's: a number to look at.
    pub(super) since: std::sync::atomic::AtomicU64,
}

/// Tasks that agents claim by priority and type, each by one agent at a time, and without ever waiting
/// for each other.
///
/// - A claim is one compare-and-swap on the task's word. No task is claimed by two.
/// - Higher priorities go first. Among equal ones each thread goes round: no task is passed over more
///   often than there are slots.
/// - A claim stands for a lease, by a clock that the host gives. When it is over the task can be
///   [taken back](Self::reclaim_expired), and the next attempt has the next number. What the last one
///   reports after that is refused: the attempt is a *fencing token*.
/// - A task that is over stays until it is [forgotten](Self::forget).
///
/// ```
/// use latchless::{AgentType, NewTask, Priority, TaskQueue, TaskQueueConfig, TaskStatus, Tick, WorkerId};
///
/// let queue = TaskQueue::new(TaskQueueConfig::new(1_000).agent_types(2))?;
/// let (coder, writer) = (AgentType(0), AgentType(1));
/// let docs = queue.submit(NewTask::new("write the docs").for_type(writer))?;
/// let fix = queue.submit(NewTask::new("fix the bug").priority(Priority::High))?;
///
/// let me = WorkerId(7);
/// let claim = queue.claim(me, coder, Tick(0)).expect("there is one for any type");
/// assert_eq!((claim.task(), *claim.payload()), (fix, "fix the bug"));
/// assert!(queue.claim(me, coder, Tick(0)).is_none(), "the other is for writers");
///
/// queue.start(&claim)?;
/// queue.complete(&claim)?;
/// assert_eq!(queue.status(fix), Some(TaskStatus::Completed));
/// queue.forget(fix)?;
/// assert_eq!((queue.status(fix), queue.status(docs)), (None, Some(TaskStatus::Pending)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TaskQueue<T> {
    pub(super) slots: Box<[Slot<T>]>,
    pub(super) free: FreeSlots,
    pub(super) lanes: Lanes,
    /// Where each thread goes on in each lane.
    cursors: Box<[AtomicU32]>,
    cursors_a_stripe: usize,
    /// Threads that have changed a word, and are not through with what follows.
    pub(super) at_it: CachePadded<AtomicUsize>,
    pub(super) types: u8,
    pub(super) max_attempts: u16,
    pub(super) lease: u64,
    pub(super) met: Tally<EVENTS>,
}

impl<T> fmt::Debug for TaskQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskQueue")
            .field("capacity", &self.slots.len())
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

impl<T> TaskQueue<T> {
    /// An empty queue.
    ///
    /// # Errors
    /// [`TaskQueueConfigError`].
    pub fn new(config: TaskQueueConfig) -> Result<Self, TaskQueueConfigError> {
        let TaskQueueConfig { capacity, types, max_attempts, lease } = config.check()?;
        let lanes = Priority::ALL.len() * (usize::from(types) + 1);
        let stripes = default_stripes();
        // Rows of whole lines, and one between them; a model has no lines.
        let line = if cfg!(latchless_loom) { 0 } else { 32 };
        let cursors_a_stripe = lanes.next_multiple_of(line.max(1)) + line;
        let cursor = |i: usize| start_of(i / cursors_a_stripe, stripes, capacity) as u32;
        Ok(Self {
            slots: (0..capacity)
                .map(|_| Slot {
                    word: AtomicU64::new(Word::VACANT.0),
                    lease: Lease::new(),
                    record: RecordCell::new(),
                    since: UNKNOWN.into(),
                })
                .collect(),
            free: FreeSlots::new(capacity),
            lanes: Lanes::new(lanes, capacity),
            cursors: (0..stripes * cursors_a_stripe).map(|i| AtomicU32::new(cursor(i))).collect(),
            cursors_a_stripe,
            at_it: CachePadded::new(AtomicUsize::new(0)),
            types,
            max_attempts,
            lease,
            met: Tally::new(),
        })
    }

    /// Tasks that the queue was made for.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Submits a task that depends on nothing. It is claimable when this returns.
    ///
    /// Lock-free, and without allocation unless claims of earlier tasks in the same slot are still kept.
    ///
    /// # Errors
    /// [`SubmitError`] with the task, when there is no slot or no such type.
    pub fn submit(&self, task: NewTask<T>) -> Result<TaskId, SubmitError<T>> {
        if let Some(agent_type) = self.unknown_type(&task) {
            return Err(SubmitError::UnknownType { agent_type, types: self.types, task });
        }
        let Some(slot) = self.free.claim() else {
            return Err(SubmitError::Full { capacity: self.capacity(), task });
        };
        let word = self.write(slot, task, None);
        self.publish(slot, word);
        Ok(word.id(slot))
    }

    /// Submits a graph: all of its tasks, or none. Those that depend on nothing are claimable when this
    /// returns, the others when what they depend on is completed. Returns ids in the order of the
    /// [names](TaskGraph::names).
    ///
    /// # Errors
    /// [`GraphRefused`] with the graph, when it cannot be carried out or there are too few slots.
    pub fn submit_graph(&self, graph: TaskGraph<T>) -> Result<Vec<TaskId>, GraphRefused<T>> {
        match self.prepare(&graph) {
            Ok((edges, slots)) => Ok(self.write_graph(graph, edges, &slots)),
            Err(refusal) => Err(GraphRefused { graph, refusal }),
        }
    }

    /// The graph's dependencies, and a slot for each task.
    fn prepare(&self, graph: &TaskGraph<T>) -> Result<(Edges, Vec<usize>), GraphRefusal> {
        let edges = graph.edges()?;
        for entry in &graph.tasks {
            if let Some(agent_type) = self.unknown_type(&entry.task) {
                let (task, types) = (entry.name.clone(), self.types);
                return Err(GraphRefusal::UnknownType { task, agent_type, types });
            }
        }
        let (tasks, capacity) = (graph.len(), self.capacity());
        let mut slots = Vec::new();
        if tasks <= capacity {
            slots.extend((0..tasks).map_while(|_| self.free.claim()));
        }
        if slots.len() < tasks {
            for slot in slots {
                self.free.free(slot);
            }
            return Err(GraphRefusal::Full { tasks, used: self.free.used(), capacity });
        }
        Ok((edges, slots))
    }

    fn write_graph(&self, graph: TaskGraph<T>, edges: Edges, slots: &[usize]) -> Vec<TaskId> {
        let ids: Vec<_> = slots.iter().map(|slot| self.word(*slot).id(*slot)).collect();
        let group = Arc::new(Group::new(ids.clone().into(), edges));
        let mut ready = Vec::new();
        for (place, entry) in graph.tasks.into_iter().enumerate() {
            let place = place as u32;
            let waits = group.has_dependencies(place) && !mutant("tasks.dependency-ignored");
            let member = Member { group: Arc::clone(&group), place };
            let slot = slots[place as usize];
            let word = self.write(slot, entry.task, Some(member));
            if waits {
                self.publish(slot, word.with(Stage::Waiting));
            } else {
                ready.push((slot, word));
            }
        }
        // Last: when the first of these can end, all that depend on it wait already.
        for (slot, word) in ready {
            self.publish(slot, word);
        }
        ids
    }

    fn unknown_type(&self, task: &NewTask<T>) -> Option<AgentType> {
        task.agent_type.filter(|agent_type| agent_type.0 >= self.types)
    }

    /// Writes the record of a task into a slot that is the caller's. Returns the word to publish.
    fn write(&self, slot: usize, task: NewTask<T>, member: Option<Member>) -> Word {
        let NewTask { payload, priority, agent_type, submitted } = task;
        // Relaxed: published with the word.
        let since = submitted.map_or(UNKNOWN, |tick| tick.0.min(UNKNOWN - 1));
        self.slots[slot].since.store(since, Ordering::Relaxed);
        let word = self.word(slot).task(Stage::Pending, priority, agent_type);
        self.slots[slot].record.fill(word.generation(), Record { payload, member });
        word
    }

    /// Makes the task in a slot that is the caller's the queue's.
    fn publish(&self, slot: usize, word: Word) {
        // Release: whoever finds the task finds its record.
        self.slots[slot].word.store(word.0, Ordering::Release);
        if word.stage() == Stage::Pending {
            self.list(slot, word);
        }
    }

    /// Claims the first task for an agent of a type: of the highest priority that has one, for that type
    /// or for any. `None` when there is none; a task that is claimable during the whole call is found.
    ///
    /// Lock-free, without allocation. While somebody is on the way between a task's end and the tasks that
    /// waited for it, a call that would return `None` takes time proportional to the slots.
    #[inline]
    pub fn claim(&self, worker: WorkerId, agent_type: AgentType, now: Tick) -> Option<Claim<T>> {
        let agent_type = (agent_type.0 < self.types).then_some(agent_type);
        // Before looking: who is not at it any more has listed everything.
        let at_it = self.at_it.load(Ordering::Acquire) > 0;
        let claim = self.claim_listed(worker, agent_type, now);
        if claim.is_some() || !at_it || mutant("tasks.half-way-unnoticed") {
            return claim;
        }
        self.settle_all();
        self.claim_listed(worker, agent_type, now)
    }

    fn claim_listed(
        &self,
        worker: WorkerId,
        agent_type: Option<AgentType>,
        now: Tick,
    ) -> Option<Claim<T>> {
        Priority::ALL.into_iter().rev().find_map(|priority| {
            let of = |kind| lane_of(priority, kind, self.types);
            let own = agent_type.and_then(|_| self.claim_in(of(agent_type), worker, now));
            own.or_else(|| self.claim_in(of(None), worker, now))
        })
    }

    fn claim_in(&self, lane: usize, worker: WorkerId, now: Tick) -> Option<Claim<T>> {
        let stripes = self.cursors.len() / self.cursors_a_stripe;
        let stripe = thread_index() & (stripes - 1);
        let cursor = &self.cursors[stripe * self.cursors_a_stripe + lane];
        // Relaxed: a hint.
        let at = cursor.load(Ordering::Relaxed) as usize;
        for (from, end) in [(at, self.slots.len()), (0, at)] {
            let mut from = from;
            while let Some(slot) = self.lanes.next(lane, from, end) {
                from = slot + 1;
                if let Some(claim) = self.claim_slot(lane, slot, worker, now) {
                    cursor.store(from as u32, Ordering::Relaxed);
                    return Some(claim);
                }
            }
        }
        None
    }

    /// Claims the task in a slot that was found in a lane, and takes it off.
    #[inline]
    fn claim_slot(
        &self,
        lane: usize,
        slot: usize,
        worker: WorkerId,
        now: Tick,
    ) -> Option<Claim<T>> {
        let is_claimable = |word: Word| {
            word.stage() == Stage::Pending
                && (word.lane(self.types) == lane || mutant("tasks.any-lane"))
        };
        let word = self.word(slot);
        let mut claim = None;
        // The record first: the swap shows that the task was the same all the time.
        if is_claimable(word)
            && let Some(record) = self.record(slot, word.generation())
        {
            let lease = self.slots[slot].lease.load();
            let mine = word.claimed_by(worker);
            if self.replace(slot, word, mine) || mutant("tasks.claimed-twice") {
                self.slots[slot].lease.begin(lease, mine, now, self.lease);
                claim = Some(Claim { task: mine.id(slot), word: mine, record });
            } else {
                self.count(Event::ClaimRetry);
            }
        }
        let lost = || self.count(Event::LaneRetry);
        self.lanes.unlist(lane, slot, || is_claimable(self.word(slot)), lost);
        claim
    }

    /// Where a task is; `None` when there is none of this id, or not any more.
    pub fn status(&self, task: TaskId) -> Option<TaskStatus> {
        let slot = task.slot();
        let acquire = weaker("tasks.status-relaxed", Ordering::Acquire);
        let word = Word(self.slots.get(slot)?.word.load(acquire));
        (word.id(slot) == task).then(|| self.status_of(slot, word)).flatten()
    }

    pub(super) fn status_of(&self, slot: usize, word: Word) -> Option<TaskStatus> {
        let (worker, attempt) = (word.worker(), word.attempt());
        Some(match word.stage() {
            Stage::Vacant => return None,
            Stage::Waiting => TaskStatus::Waiting,
            Stage::Pending => TaskStatus::Pending,
            Stage::Assigned => TaskStatus::Assigned { worker, attempt },
            Stage::InProgress => TaskStatus::InProgress { worker, attempt },
            Stage::Completed => TaskStatus::Completed,
            Stage::Failed => TaskStatus::Failed(Failure::Reported { worker, attempt }),
            Stage::Exhausted => TaskStatus::Failed(Failure::AttemptsUsedUp { attempts: attempt }),
            Stage::Skipped => {
                let record = self.record(slot, word.generation())?;
                let member = record.member.as_ref()?;
                let dependency = member.group.failed_dependency(member.place)?;
                TaskStatus::Failed(Failure::DependencyFailed { dependency })
            }
        })
    }

    /// Takes a task that is over out of the queue, so that its slot can be used again. Tasks that depend
    /// on it know how it ended.
    ///
    /// # Errors
    /// [`ForgetError`] when it is unknown or not over. Of two who forget one task, one does.
    pub fn forget(&self, task: TaskId) -> Result<(), ForgetError> {
        let slot = task.slot();
        let word = self.slots.get(slot).map_or(Word::VACANT, |_| self.word(slot));
        let now = if word.id(slot) == task { self.status_of(slot, word) } else { None };
        let Some(now) = now else { return Err(ForgetError::Unknown { task }) };
        if !word.stage().is_over() {
            return Err(ForgetError::NotOver { task, now });
        }
        // Whoever ended it may not have come to that yet, and cannot do it when the record is gone.
        if let Some(record) = self.record(slot, word.generation())
            && let Some(member) = &record.member
            && !mutant("tasks.forgotten-unsettled")
        {
            let _at_it = AtIt::new(&self.at_it);
            let completed = word.stage() == Stage::Completed;
            self.settle_member(&member.group, member.place, completed);
        }
        // Nothing follows the end but this, so a swap that fails was somebody else's.
        if !self.replace(slot, word, word.vacated()) {
            self.count(Event::StepRetry);
            return Err(ForgetError::Unknown { task });
        }
        // The slot is ours until it is freed. Who comes late looks for a generation that is gone.
        let record = self.slots[slot].record.close();
        let freed = self.free.free(slot);
        debug_assert!(freed, "a slot was freed twice");
        // The host's code last.
        drop(record);
        Ok(())
    }

    /// How many tasks are where. Takes time proportional to the slots.
    pub fn counts(&self) -> TaskCounts {
        let mut counts = TaskCounts::default();
        for slot in 0..self.slots.len() {
            match self.word(slot).stage() {
                Stage::Vacant => {}
                Stage::Waiting => counts.waiting += 1,
                Stage::Pending => counts.pending += 1,
                Stage::Assigned => counts.assigned += 1,
                Stage::InProgress => counts.in_progress += 1,
                Stage::Completed => counts.completed += 1,
                Stage::Failed | Stage::Exhausted | Stage::Skipped => counts.failed += 1,
            }
        }
        counts
    }

    #[inline]
    pub(super) fn word(&self, slot: usize) -> Word {
        // Acquire: pairs with every change of the word.
        Word(self.slots[slot].word.load(Ordering::Acquire))
    }

    /// One step of a task.
    #[inline]
    pub(super) fn replace(&self, slot: usize, word: Word, next: Word) -> bool {
        // AcqRel: what was done for the task before this step comes before what is done after it.
        let acq_rel = weaker("tasks.step-relaxed", Ordering::AcqRel);
        let word_now = &self.slots[slot].word;
        word_now.compare_exchange(word.0, next.0, acq_rel, Ordering::Relaxed).is_ok()
    }

    #[inline]
    pub(super) fn record(&self, slot: usize, generation: u32) -> Option<RecordRef<Record<T>>> {
        self.slots[slot].record.get(generation)
    }
}
