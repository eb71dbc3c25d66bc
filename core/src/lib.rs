//! Latchless: the lock-free core that lets many agents share one inference engine.
//!
//! Any thread of a host may allocate or free KV-cache blocks while an engine steps, and **a thread that
//! is frozen, preempted or killed at any instruction never delays another one**.
//!
//! - [`BlockPool`] hands out KV-cache blocks, all or nothing, and tells whose they are;
//! - [`Directory`] knows agents by name;
//! - [`BlockTables`] show which blocks each agent's layers lie in, replaced whole;
//! - [`StateMachine`] is what an agent is doing: four states, five edges, one word;
//! - [`SpawnSlots`] limit how many agents run; an [`Outbox`] keeps what one of them puts out;
//! - [`PlanContext`] keeps the changes of a plan, in changesets;
//! - [`TaskQueue`] holds tasks that agents claim, each by one agent at a time;
//! - [`ModelSpec`] is the geometry of a model's KV cache, [`LiveModel`] the one in force;
//! - [`AdaptiveLimit`] is a time limit that follows what is measured;
//! - [`Inbox`] takes requests from many threads to one that must not be held up;
//! - [`observe`] is what all of them show of themselves, by name and unit.
//!
//! The crate does no I/O, starts no threads and calls no foreign code.
//!
//! ```
//! use latchless::{BlockPool, LayerId, ModelSpec, PoolConfig};
//!
//! // SmolLM2-135M: 30 layers, 3 KV heads of 64; blocks of 32 tokens.
//! let pool = BlockPool::new(PoolConfig::new(7_680, ModelSpec::new(30, 3, 64, 32)?))?;
//! let agent = pool.open_account()?;
//!
//! // What a sequence of 500 tokens takes in all layers: 16 blocks in each, or an error and nothing.
//! let sequence = pool.allocate_sequence(agent, 500)?;
//! assert_eq!((sequence.len(), pool.usage().used), (480, 480));
//! drop(sequence);
//! assert_eq!(pool.usage().used, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code)]

mod adaptive;
mod agent;
mod contention;
mod foreign;
mod id;
mod inbox;
mod model;
mod mutant;
pub mod observe;
mod plan;
mod pool;
pub mod prelude;
mod slots;
mod sync;
mod task;
mod tick;

pub use self::adaptive::{AdaptiveLimit, AdaptiveLimitError, LimitEstimate};
pub use self::agent::{
    AgentBlocks, AgentBlocksError, AgentState, AllSlotsTaken, BlockRun, BlockTables, Directory,
    DirectoryContention, LayerBlocks, NotReplaced, Outbox, OutboxCapacity, OutboxContention,
    Overtaken, RegisterError, SpawnContention, SpawnLimit, SpawnSlot, SpawnSlotId, SpawnSlots,
    StateMachine, StateSnapshot, TableAccess, TablePins, TooManyAccesses, TransitionError,
    TransitionRefused,
};
pub use self::id::{AgentId, AgentIdError, BlockId, LayerId, RequestId};
pub use self::inbox::{Drained, Inbox, InboxFull};
pub use self::model::{Attention, KvBits, LiveModel, ModelGeneration, ModelSpec, SpecError};
pub use self::plan::{
    ChangesetId, PlanContention, PlanContext, RecordError, SealError, SealedChangeset,
    TooManyChangesets,
};
pub use self::pool::{
    AgentHandle, AgentLimits, AllocateError, Allocation, BlockHandle, BlockLease, BlockPool,
    Census, Cleared, HandleError, Latencies, LatencyHistogram, Lease, MergeError, NoSuchAgent,
    OwnedLease, PoolConfig, PoolConfigError, PoolCounters, PoolUsage, ReconfigureError,
    ReserveError, SplitError, StripeCounters, Timed, TimedLease, TooManyAgents, TransferError,
    WaitError, Waiting,
};
pub use self::task::{
    AgentType, Claim, ClaimError, Failure, ForgetError, GraphError, GraphRefusal, GraphRefused,
    NewTask, Priority, Reclaimed, SubmitError, TaskAge, TaskContention, TaskCounts, TaskGraph,
    TaskId, TaskQueue, TaskQueueConfig, TaskQueueConfigError, TaskStatus, WorkerId,
};
pub use self::tick::Tick;

/// What the other crates of this workspace have in common with this one, so that their models and mutants
/// are run as this one's are. No part of the interface: it changes without notice.
#[doc(hidden)]
pub mod workspace {
    pub use crate::foreign::contain;
    pub use crate::mutant::{mutant, weaker};
    #[cfg(latchless_loom)]
    pub use crate::sync::explore::explore;
    pub use crate::sync::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};
}

/// The README's example runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
