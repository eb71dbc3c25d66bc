//! What can be refused, and what to do then.

use thiserror::Error;

use super::graph::{GraphError, TaskGraph};
use super::{AgentType, NewTask, TaskId, TaskQueueConfig, TaskStatus};

/// A queue that cannot be made.
///
/// ```
/// use latchless::{TaskQueue, TaskQueueConfig, TaskQueueConfigError};
/// let refused: TaskQueueConfigError = TaskQueue::<()>::new(TaskQueueConfig::new(0)).unwrap_err();
/// assert!(refused.to_string().contains("0 tasks"), "{refused}");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TaskQueueConfigError {
    /// Too small or too large.
    #[error("a queue for {capacity} tasks; choose 1 to {}", TaskQueueConfig::MAX_CAPACITY)]
    Capacity {
        /// What was asked for.
        capacity: usize,
    },
    /// Too few or too many types.
    #[error("{types} agent types; choose 1 to 62")]
    AgentTypes {
        /// What was asked for.
        types: u8,
    },
    /// Too few or too many attempts.
    #[error("{max_attempts} attempts a task; choose 1 to 4095")]
    Attempts {
        /// What was asked for.
        max_attempts: u16,
    },
    /// Too short or too long.
    #[error("a lease of {ticks} ticks; choose 1 to 2^40 - 3")]
    Lease {
        /// What was asked for.
        ticks: u64,
    },
}

/// A task was not submitted; it is given back here.
///
/// ```
/// use latchless::{NewTask, SubmitError, TaskQueue, TaskQueueConfig};
/// let queue = TaskQueue::new(TaskQueueConfig::new(1))?;
/// queue.submit(NewTask::new("first"))?;
/// let refused = queue.submit(NewTask::new("second")).unwrap_err();
/// let SubmitError::Full { task, .. } = refused else { unreachable!() };
/// assert_eq!(*task.payload(), "second", "it is given back");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SubmitError<T> {
    /// There is no slot.
    #[error("all {capacity} slots have tasks; forget some that are over, or make the queue larger")]
    Full {
        /// Tasks that the queue was made for.
        capacity: usize,
        /// The task.
        task: NewTask<T>,
    },
    /// There is no such type.
    #[error("agent type {} of {types}; make the queue for more, or leave the type open", .agent_type.0)]
    UnknownType {
        /// The type.
        agent_type: AgentType,
        /// Types that the queue was made for.
        types: u8,
        /// The task.
        task: NewTask<T>,
    },
}

impl<T> SubmitError<T> {
    /// The task.
    pub fn into_task(self) -> NewTask<T> {
        match self {
            Self::Full { task, .. } | Self::UnknownType { task, .. } => task,
        }
    }
}

/// A graph was not submitted, not in part either; it is given back here.
///
/// ```
/// use latchless::{GraphRefused, NewTask, TaskGraph, TaskQueue, TaskQueueConfig};
/// let queue = TaskQueue::new(TaskQueueConfig::new(2))?;
/// let mut graph = TaskGraph::new();
/// graph.add("write", NewTask::new(1), ["read"]);
/// let GraphRefused { graph, refusal } = queue.submit_graph(graph).unwrap_err();
/// assert!(refusal.to_string().contains("read") && graph.len() == 1, "it is given back");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{refusal}")]
pub struct GraphRefused<T> {
    /// The graph.
    pub graph: TaskGraph<T>,
    /// Why.
    pub refusal: GraphRefusal,
}

/// Why a graph was not submitted.
///
/// ```
/// use latchless::{GraphRefusal, NewTask, TaskGraph, TaskQueue, TaskQueueConfig};
/// let queue = TaskQueue::new(TaskQueueConfig::new(1))?;
/// let mut graph = TaskGraph::new();
/// graph.add("read", NewTask::new(1), [""; 0]);
/// graph.add("write", NewTask::new(2), ["read"]);
/// let refusal = queue.submit_graph(graph).unwrap_err().refusal;
/// assert_eq!(refusal, GraphRefusal::Full { tasks: 2, used: 0, capacity: 1 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GraphRefusal {
    /// It cannot be carried out by anybody.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// There are too few slots.
    #[error(
        "{tasks} tasks, and {used} of {capacity} slots are in use; forget tasks that are over, or make the \
         queue larger"
    )]
    Full {
        /// Tasks of the graph.
        tasks: usize,
        /// Slots in use, about.
        used: usize,
        /// Slots.
        capacity: usize,
    },
    /// There is no such type.
    #[error("task {task:?} is for agent type {} of {types}; make the queue for more, or leave it open", .agent_type.0)]
    UnknownType {
        /// The task's name.
        task: String,
        /// The type.
        agent_type: AgentType,
        /// Types that the queue was made for.
        types: u8,
    },
}

/// A claim gives no right to what was asked. The task is as it was.
///
/// ```
/// use latchless::{AgentType, ClaimError, NewTask, Tick, WorkerId, TaskQueue, TaskQueueConfig};
/// let queue = TaskQueue::new(TaskQueueConfig::new(2))?;
/// let task = queue.submit(NewTask::new("write"))?;
/// let claim = queue.claim(WorkerId(1), AgentType(0), Tick(0)).expect("one is pending");
/// queue.reclaim_worker(WorkerId(1));
/// let late = queue.complete(&claim).unwrap_err();
/// assert!(matches!(late, ClaimError::Lost { attempt: 1, .. }), "{late}");
/// # let _ = task;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ClaimError {
    /// The claim ended before: it was given back, or taken back when its lease was over.
    #[error(
        "attempt {attempt} at task {task} is over: the task is {}; drop the result and claim another task",
        Now(*.now)
    )]
    Lost {
        /// The task.
        task: TaskId,
        /// The claim's attempt.
        attempt: u16,
        /// How the task is now; `None` when it was forgotten.
        now: Option<TaskStatus>,
    },
    /// The claim stands, and the task is not where that step begins.
    #[error(
        "task {task} is {now}, and cannot become {wanted} from there; it goes from assigned to in progress \
         to completed or failed"
    )]
    NotAStep {
        /// The task.
        task: TaskId,
        /// How it is.
        now: TaskStatus,
        /// What was asked for.
        wanted: &'static str,
    },
}

struct Now(Option<TaskStatus>);

impl std::fmt::Display for Now {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(status) => status.fmt(f),
            None => f.write_str("forgotten"),
        }
    }
}

/// A task was not forgotten.
///
/// ```
/// use latchless::{ForgetError, NewTask, TaskQueue, TaskQueueConfig};
/// let queue = TaskQueue::new(TaskQueueConfig::new(2))?;
/// let task = queue.submit(NewTask::new("write"))?;
/// let refused = queue.forget(task).unwrap_err();
/// assert!(matches!(refused, ForgetError::NotOver { .. }), "it is pending");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ForgetError {
    /// There is no such task, or not any more.
    #[error("task {task} is not in the queue; it was forgotten before, or is of another queue")]
    Unknown {
        /// The id.
        task: TaskId,
    },
    /// It is not over.
    #[error("task {task} is {now}; forget it when it is completed or failed")]
    NotOver {
        /// The task.
        task: TaskId,
        /// How it is.
        now: TaskStatus,
    },
}
