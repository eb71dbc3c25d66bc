//! The task queue: who has which task, so that none is done twice and none is forgotten.

pub mod claim;
pub mod look;

use std::ffi::c_void;

use latchless::{
    AgentType, NewTask, Priority, SubmitError, TaskId, TaskQueue, TaskQueueConfig, TaskStatus, Tick,
};

use crate::arguments::{self, Options, init, list, out};
use crate::call::call;
use crate::handles::{latchless_task, latchless_tasks};
use crate::seal::Key;
use crate::status::{Failure, latchless_status};

pub use self::claim::Claim;

/// The payload of a task: bytes of the host's, copied.
pub(crate) type Payload = Box<[u8]>;

/// The longest payload.
pub const LATCHLESS_PAYLOAD_BYTES: usize = 1_000_000;

/// What is behind a `latchless_tasks`.
pub struct Tasks {
    pub(crate) queue: std::sync::Arc<TaskQueue<Payload>>,
    /// What the numbers of its tasks are sealed with.
    pub(crate) key: Key,
}

impl Tasks {
    pub(crate) fn seal(&self, task: TaskId) -> latchless_task {
        seal(self.key, task)
    }

    pub(crate) fn open(&self, task: latchless_task) -> TaskId {
        TaskId::from_bits(self.key.apply(task.bits))
    }
}

pub(crate) fn seal(key: Key, task: TaskId) -> latchless_task {
    latchless_task { bits: key.apply(task.to_bits()) }
}

/// When nothing else is to be done.
pub const LATCHLESS_PRIORITY_LOW: u32 = 0;
/// As a rule.
pub const LATCHLESS_PRIORITY_NORMAL: u32 = 1;
/// Before the others.
pub const LATCHLESS_PRIORITY_HIGH: u32 = 2;
/// First of all. For tasks only.
pub const LATCHLESS_PRIORITY_CRITICAL: u32 = 3;

/// An agent type that stands for any.
pub const LATCHLESS_ANY_TYPE: u32 = u32::MAX;

/// What a queue is made for.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct latchless_tasks_options {
    /// Set by latchless_tasks_options_init().
    pub size: usize,
    /// Tasks at a time, over ones that are not forgotten included: 1 to 1,048,576; 1,024 unless set.
    pub capacity: u32,
    /// Types of agents, 1 to 62; 1 unless set.
    pub agent_types: u32,
    /// Claims of one task until it counts as failed, 1 to 4,095; 3 unless set.
    pub max_attempts: u32,
    /// 0.
    pub unused: u32,
    /// Ticks of the host's clock for which a claim stands; 60,000 unless set.
    pub lease_ticks: u64,
}

// SAFETY: it begins with its size, and all else are numbers and pointers.
unsafe impl Options for latchless_tasks_options {
    const NAME: &'static str = "options";
    const FIRST: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        size: size_of::<Self>(),
        capacity: 1_024,
        agent_types: 1,
        max_attempts: 3,
        unused: 0,
        lease_ticks: 60_000,
    };
}

pub(crate) fn priority(priority: u32) -> Result<Priority, Failure> {
    Priority::ALL.get(priority as usize).copied().ok_or(Failure::Value {
        what: "the priority",
        value: priority.into(),
        allowed: "one of LATCHLESS_PRIORITY_...",
    })
}

/// `None` for any.
pub(crate) fn agent_type(agent_type: u32) -> Result<Option<AgentType>, Failure> {
    if agent_type == LATCHLESS_ANY_TYPE {
        return Ok(None);
    }
    let allowed = "less than the queue's types, or LATCHLESS_ANY_TYPE";
    let too_large =
        |_| Failure::Value { what: "the agent type", value: agent_type.into(), allowed };
    Ok(Some(AgentType(u8::try_from(agent_type).map_err(too_large)?)))
}

/// Initialises the options with their defaults. `size` is `sizeof *options`.
///
/// Threads: any. Real-time: yes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_tasks_options_init(
    options: *mut latchless_tasks_options,
    size: usize,
) -> latchless_status {
    // SAFETY: the caller's promise.
    call(|| unsafe { init(options, size) })
}

/// Makes an empty queue. `options` may be NULL for the defaults.
///
/// Owner: the caller, who ends it with latchless_tasks_destroy(). Threads: any. Real-time: no, it allocates
/// about 100 bytes a slot. Errors: INVALID_ARGUMENT for a number out of its range.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_tasks_create(
    options: *const latchless_tasks_options,
    tasks: *mut latchless_tasks,
) -> latchless_status {
    call(|| {
        // SAFETY: the caller's promise.
        let options = unsafe { arguments::options(options) }?;
        // SAFETY: the caller's promise.
        let tasks = unsafe { out(tasks, "tasks") }?;
        let config = TaskQueueConfig::new(options.capacity as usize)
            .agent_types(u8::try_from(options.agent_types).unwrap_or(u8::MAX))
            .max_attempts(u16::try_from(options.max_attempts).unwrap_or(u16::MAX))
            .lease(options.lease_ticks);
        let queue = std::sync::Arc::new(TaskQueue::new(config)?);
        tasks.write(latchless_tasks::of(Tasks { queue, key: Key::new() })?);
        Ok(())
    })
}

/// Ends a queue: its handle and its tasks are refused from now on. Claims keep what they need until they are
/// released.
///
/// Threads: any, also while others use it. Real-time: no, it frees.
#[unsafe(no_mangle)]
pub extern "C" fn latchless_tasks_destroy(tasks: latchless_tasks) -> latchless_status {
    call(|| tasks.close())
}

/// Submits a task, which is claimable when this returns. `payload` is copied: `bytes` of it, up to
/// `LATCHLESS_PAYLOAD_BYTES`, and it may be NULL for none. `agent_type` says who may claim it, or
/// `LATCHLESS_ANY_TYPE`. `task`, which may be NULL, gets its number.
///
/// Threads: any. Real-time: no, it allocates. Errors: QUEUE_FULL, UNKNOWN_TYPE, INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_tasks_submit(
    tasks: latchless_tasks,
    priority: u32,
    agent_type: u32,
    payload: *const c_void,
    bytes: usize,
    task: *mut latchless_task,
) -> latchless_status {
    call(|| {
        let tasks = tasks.get()?;
        if bytes > LATCHLESS_PAYLOAD_BYTES {
            let (what, value) = ("the payload's length", bytes as u64);
            return Err(Failure::Value { what, value, allowed: "at most 1000000 bytes" });
        }
        // SAFETY: the caller's promise.
        let payload = unsafe { list(payload.cast::<u8>(), bytes, "payload") }?;
        let mut new = NewTask::new(Payload::from(payload)).priority(self::priority(priority)?);
        if let Some(agent_type) = self::agent_type(agent_type)? {
            new = new.for_type(agent_type);
        }
        let id = tasks.queue.submit(new).map_err(|error| match error {
            SubmitError::Full { capacity, .. } => Failure::QueueFull { capacity },
            SubmitError::UnknownType { agent_type, types, .. } => {
                Failure::UnknownType { agent_type: agent_type.0, types }
            }
        })?;
        // SAFETY: the caller's promise.
        unsafe { crate::pool::write_if_wanted(task, tasks.seal(id), "task") }
    })
}

/// For its dependencies.
pub const LATCHLESS_TASK_WAITING: u32 = 0;
/// For an agent.
pub const LATCHLESS_TASK_PENDING: u32 = 1;
/// An agent has claimed it.
pub const LATCHLESS_TASK_ASSIGNED: u32 = 2;
/// Its agent works on it.
pub const LATCHLESS_TASK_IN_PROGRESS: u32 = 3;
/// Done.
pub const LATCHLESS_TASK_COMPLETED: u32 = 4;
/// Not done, and it will not be.
pub const LATCHLESS_TASK_FAILED: u32 = 5;

pub(crate) fn stage(status: TaskStatus) -> u32 {
    match status {
        TaskStatus::Waiting => LATCHLESS_TASK_WAITING,
        TaskStatus::Pending => LATCHLESS_TASK_PENDING,
        TaskStatus::Assigned { .. } => LATCHLESS_TASK_ASSIGNED,
        TaskStatus::InProgress { .. } => LATCHLESS_TASK_IN_PROGRESS,
        TaskStatus::Completed => LATCHLESS_TASK_COMPLETED,
        TaskStatus::Failed(_) => LATCHLESS_TASK_FAILED,
    }
}

pub(crate) fn tick(now: u64) -> Tick {
    Tick(now)
}
