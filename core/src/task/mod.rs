//! Tasks: who has which, so that none is done twice and none is forgotten.
//!
//! A [`TaskQueue`] is a table of slots of fixed size. Each slot has one word ([`word`]) with the task's
//! generation, stage, priority, type, worker and attempt, and **that word is the truth**: a claim, a step
//! of progress, an end and a claim's return are one compare-and-swap on it each. Everything else is an
//! index or a payload:
//!
//! - [`lanes`]: for each priority and agent type, bits that say where to look;
//! - [`record`]: the task's payload, shared by those who read it, in memory that the slot keeps;
//! - [`lease`]: until when a claim stands, in ticks of a clock that the host gives;
//! - [`graph`] and [`group`]: tasks that depend on each other, checked before they come in, and the
//!   outcomes that decide when one may begin.
//!
//! Who is frozen between his compare-and-swap and the index's update is no obstacle: those who find
//! nothing through the index put it right by the words ([`settle`]).

mod claim;
mod config;
mod contention;
mod error;
mod graph;
mod group;
mod lanes;
mod lease;
mod queue;
mod reclaim;
mod record;
mod settle;
mod word;

#[cfg(all(test, latchless_loom))]
mod loom_models;
#[cfg(all(test, not(latchless_loom)))]
mod tests;

pub use self::claim::Claim;
pub use self::config::TaskQueueConfig;
pub use self::contention::{TaskAge, TaskContention};
pub use self::error::{
    ClaimError, ForgetError, GraphRefusal, GraphRefused, SubmitError, TaskQueueConfigError,
};
pub use self::graph::{GraphError, TaskGraph};
pub use self::queue::TaskQueue;
pub use self::reclaim::Reclaimed;

use std::fmt;

use crate::tick::Tick;

/// A task of one queue: a slot and the generation of its content. The id of a forgotten task finds
/// nothing, until its slot has been used 2^24 times more.
///
/// ```
/// use latchless::{NewTask, TaskId, TaskStatus, TaskQueue, TaskQueueConfig};
/// let queue = TaskQueue::new(TaskQueueConfig::new(2))?;
/// let task: TaskId = queue.submit(NewTask::new("write"))?;
/// assert_eq!(queue.status(task), Some(TaskStatus::Pending));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(u64);

impl TaskId {
    fn new(slot: u32, generation: u32) -> Self {
        Self(u64::from(slot) << 32 | u64::from(generation))
    }

    /// The id as a number, good across a C boundary.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// The id of a number; one that was made up is of no task.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) fn slot(self) -> usize {
        (self.0 >> 32) as usize
    }

    fn generation(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskId({self})")
    }
}

/// Slot and generation, as `12.3`.
impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot(), self.generation())
    }
}

/// Who claims: a number that the host chooses for each of its agents, such as its
/// [spawner slot](crate::SpawnSlot::index).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u16);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A kind of agent, `0 .. types` of the queue's [configuration](TaskQueueConfig::agent_types).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentType(pub u8);

/// Which tasks go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Priority {
    /// When nothing else is to be done.
    Low,
    /// As a rule.
    #[default]
    Normal,
    /// Before the others.
    High,
    /// First of all.
    Critical,
}

impl Priority {
    /// All four, lowest first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Normal, Self::High, Self::Critical];
}

/// A task that is to be submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTask<T> {
    pub(crate) payload: T,
    pub(crate) priority: Priority,
    pub(crate) agent_type: Option<AgentType>,
    pub(crate) submitted: Option<Tick>,
}

impl<T> NewTask<T> {
    /// A task of normal priority that any agent may claim.
    pub fn new(payload: T) -> Self {
        Self { payload, priority: Priority::default(), agent_type: None, submitted: None }
    }

    /// With another priority.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// For agents of one type only.
    #[must_use]
    pub fn for_type(mut self, agent_type: AgentType) -> Self {
        self.agent_type = Some(agent_type);
        self
    }

    /// Submitted at this instant of the host's clock, so that the queue can tell
    /// [how long it has waited](TaskQueue::oldest_pending).
    #[must_use]
    pub fn submitted_at(mut self, now: Tick) -> Self {
        self.submitted = Some(now);
        self
    }

    /// What the task is.
    pub fn payload(&self) -> &T {
        &self.payload
    }
}

/// Where a task is in its life. It moves along
/// `Waiting → Pending → Assigned → InProgress → Completed | Failed` and nowhere else, but for the ways
/// back: a claim that is given back or taken back makes it `Pending`, or `Failed` when its attempts are
/// used up; and a task that waits fails with its dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskStatus {
    /// For its dependencies.
    Waiting,
    /// For an agent.
    Pending,
    /// An agent has claimed it.
    Assigned {
        /// The agent.
        worker: WorkerId,
        /// Which attempt this is, from 1 on.
        attempt: u16,
    },
    /// Its agent works on it.
    InProgress {
        /// The agent.
        worker: WorkerId,
        /// Which attempt this is, from 1 on.
        attempt: u16,
    },
    /// Done.
    Completed,
    /// Not done, and it will not be.
    Failed(Failure),
}

/// Why a task failed.
///
/// ```
/// use latchless::{AgentType, Failure, NewTask, TaskStatus, Tick, WorkerId, TaskQueue, TaskQueueConfig};
/// let queue = TaskQueue::new(TaskQueueConfig::new(2))?;
/// let task = queue.submit(NewTask::new("write"))?;
/// let claim = queue.claim(WorkerId(1), AgentType(0), Tick(0)).expect("one is pending");
/// queue.start(&claim)?;
/// queue.fail(&claim)?;
/// let why = Failure::Reported { worker: WorkerId(1), attempt: 1 };
/// assert_eq!(queue.status(task), Some(TaskStatus::Failed(why)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Its agent said so.
    Reported {
        /// The agent.
        worker: WorkerId,
        /// In which attempt.
        attempt: u16,
    },
    /// So many claims ended without a result.
    AttemptsUsedUp {
        /// Attempts.
        attempts: u16,
    },
    /// It never ran: a task that it depends on failed.
    DependencyFailed {
        /// That task.
        dependency: TaskId,
    },
}

impl fmt::Display for TaskStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => f.write_str("waiting"),
            Self::Pending => f.write_str("pending"),
            Self::Assigned { worker, attempt } => {
                write!(f, "assigned to worker {worker} (attempt {attempt})")
            }
            Self::InProgress { worker, attempt } => {
                write!(f, "in progress at worker {worker} (attempt {attempt})")
            }
            Self::Completed => f.write_str("completed"),
            Self::Failed(failure) => write!(f, "failed: {failure}"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reported { worker, attempt } => {
                write!(f, "worker {worker} reported it in attempt {attempt}")
            }
            Self::AttemptsUsedUp { attempts } => {
                write!(f, "{attempts} attempts ended without a result")
            }
            Self::DependencyFailed { dependency } => {
                write!(f, "it depends on task {dependency}, which failed")
            }
        }
    }
}

/// How many tasks are where, the words read one after another.
///
/// ```
/// use latchless::{NewTask, TaskCounts, TaskQueue, TaskQueueConfig};
/// let queue = TaskQueue::new(TaskQueueConfig::new(2))?;
/// let task = queue.submit(NewTask::new("write"))?;
/// # let _ = task;
/// assert_eq!(queue.counts(), TaskCounts { pending: 1, ..TaskCounts::default() });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TaskCounts {
    /// Wait for dependencies.
    pub waiting: usize,
    /// Wait for an agent.
    pub pending: usize,
    /// Claimed and not begun.
    pub assigned: usize,
    /// Begun.
    pub in_progress: usize,
    /// Done.
    pub completed: usize,
    /// Failed, for whatever reason.
    pub failed: usize,
}
