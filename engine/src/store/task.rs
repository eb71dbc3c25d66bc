//! Tasks: what is to be done, who does it, and until when.

use std::fmt;
use std::time::Duration;

/// Of the tasks that can be claimed, the one with the highest priority goes first, and of equals the oldest.
/// The priorities are those of the core's queue in memory.
pub use latchless::Priority;

/// A type that every agent has: a task of it is for anybody.
pub const ANY_AGENT: &str = "any";

macro_rules! id {
    ($(#[$doc:meta] $name:ident),*) => {$(
        #[$doc]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    )*};
}
id!(
    /// A plan in a store.
    PlanId,
    /// A task in a store.
    TaskId,
    /// A changeset in a store.
    ChangesetId
);

/// Where a task is: pending, assigned, in progress, and then completed or failed. A claim that is taken
/// back makes it pending again. A task that waits for one that failed is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TaskStatus {
    /// Nobody has it.
    Pending,
    /// An agent has claimed it.
    Assigned,
    /// The agent works at it.
    InProgress,
    /// Done, for good.
    Completed,
    /// Given up, for good.
    Failed,
    /// What it depends on has failed: it never runs.
    Skipped,
}

impl TaskStatus {
    pub(super) const ALL: [Self; 6] = [
        Self::Pending,
        Self::Assigned,
        Self::InProgress,
        Self::Completed,
        Self::Failed,
        Self::Skipped,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Assigned => "assigned",
            Self::InProgress => "in progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    /// Whether nothing can follow.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Skipped)
    }
}

impl fmt::Display for TaskStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A task of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTask {
    /// Its name in the plan.
    pub key: String,
    /// What is to be done.
    pub description: String,
    /// What kind of agent may do it; [`ANY_AGENT`] unless chosen.
    pub agent_type: String,
    /// What goes first.
    pub priority: Priority,
    /// Keys of tasks that must be completed before.
    pub depends_on: Vec<String>,
}

impl NewTask {
    /// A task for anybody, of normal priority, that depends on nothing.
    pub fn new(key: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            description: description.into(),
            agent_type: ANY_AGENT.into(),
            priority: Priority::Normal,
            depends_on: Vec::new(),
        }
    }

    /// The same for agents of one type.
    #[must_use]
    pub fn for_type(mut self, agent_type: impl Into<String>) -> Self {
        self.agent_type = agent_type.into();
        self
    }

    /// The same with this priority.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// The same, once `key` is completed.
    #[must_use]
    pub fn after(mut self, key: impl Into<String>) -> Self {
        self.depends_on.push(key.into());
        self
    }
}

/// The right to work at a task, until the lease ends.
///
/// `attempt` is the fencing token (Kleppmann, *How to do distributed locking*): each claim of a task has a
/// higher one, and a result of an older one is refused. Whoever writes to something else on behalf of the
/// task passes it on. A claim that was made [`Relaxed`](super::Durability::Relaxed) and was lost in a crash
/// leaves its number to the next one: claim [`Durable`](super::Durability::Durable) where others check it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The task.
    pub task: TaskId,
    /// Its plan.
    pub plan: PlanId,
    /// Its name in the plan.
    pub key: String,
    /// What is to be done.
    pub description: String,
    /// Whose claim it is.
    pub agent: String,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// When the lease ends, by the store's clock.
    pub lease_until_ms: u64,
    /// How long the task has waited since it was submitted; `None` of one that an older version has stored.
    pub waited: Option<Duration>,
    /// Tells this claim from one with the same number that was never committed.
    pub(super) nonce: i64,
}

/// A task as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// The task.
    pub id: TaskId,
    /// Its plan.
    pub plan: PlanId,
    /// Its name in the plan.
    pub key: String,
    /// What is to be done.
    pub description: String,
    /// What kind of agent may do it.
    pub agent_type: String,
    /// Where it is.
    pub status: TaskStatus,
    /// Claims so far.
    pub attempt: u32,
    /// Who has it, or had it last.
    pub agent: Option<String>,
    /// The result, or why it failed or was skipped.
    pub outcome: Option<String>,
    /// Tasks that it still waits for.
    pub waiting: u32,
}
