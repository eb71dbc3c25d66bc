//! What a pool refuses, and why. Each refusal leaves everything as it was.

use std::time::Duration;

use thiserror::Error;

use crate::id::{BlockId, LayerId};

/// No blocks were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AllocateError {
    /// Fewer blocks were free than asked for, at one instant during the call. While somebody waits for
    /// blocks, all that nobody has are promised to those who wait and are not free for others.
    #[error(
        "{requested} blocks asked for, {available} of {total} free ({allocated} allocated); free some, \
         ask for fewer or try again later"
    )]
    Exhausted {
        /// Blocks asked for.
        requested: u32,
        /// Blocks that were free to this agent: those of the pool and those of its own
        /// [reserve](crate::BlockPool::set_reserve).
        available: u32,
        /// Blocks of the pool.
        total: u32,
        /// Blocks that were not free to this agent: in use, or reserved for another one. What is missing
        /// to the total was promised to callers who wait.
        allocated: u32,
    },
    /// The agent would have had more blocks than it may, at one instant during the call.
    #[error(
        "{requested} blocks asked for, the agent has {used} and may have {quota}; free some of its \
         blocks, ask for fewer or raise its quota"
    )]
    QuotaExceeded {
        /// Blocks asked for.
        requested: u32,
        /// Blocks that the agent had; a shared one counts for each time that it holds it.
        used: u32,
        /// Blocks that it may have.
        quota: u32,
    },
    /// A request for nothing.
    #[error("0 blocks asked for; ask for at least one")]
    NoBlocks,
    /// A layer that the model does not have.
    #[error("layer {layer} asked for, the model has {layers}; count from 0")]
    UnknownLayer {
        /// The layer asked for.
        layer: LayerId,
        /// Layers of the model.
        layers: u16,
    },
    /// A handle whose agent has left, or that is of another pool.
    #[error("the agent of this handle is not registered any more; register it again")]
    UnknownAgent,
}

/// A caller was ready to wait, and got no blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WaitError {
    /// Refused for a reason that waiting does not help.
    #[error(transparent)]
    Refused(#[from] AllocateError),
    /// More than the pool has.
    #[error("{requested} blocks asked for, the pool has {total}; ask for fewer, or make it bigger")]
    NeverFits {
        /// Blocks asked for.
        requested: u32,
        /// Blocks of the pool.
        total: u32,
    },
    /// The time was over before the blocks could be had. The place in the queue is given up.
    #[error("{requested} blocks could not be had within {timeout:?}; free some or wait longer")]
    TimedOut {
        /// Blocks asked for.
        requested: u32,
        /// How long the caller was ready to wait.
        timeout: Duration,
    },
    /// Every place in the queue is taken.
    #[error(
        "{max_waiters} callers wait already; try again later, or make the pool with more places \
         (PoolConfig::max_waiters)"
    )]
    TooManyWaiters {
        /// Callers that the pool has places for.
        max_waiters: u32,
    },
}

/// A list of handles was not freed, or not leased: none of them.
///
/// ```
/// use latchless::{BlockPool, LayerId, ModelSpec, PoolConfig, HandleError};
/// # let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(2, 8, 128, 16)?))?;
/// # let agent = pool.open_account()?;
/// let handles = pool.allocate(agent, LayerId(0), 2)?.into_handles();
/// pool.free(agent, &handles)?;
/// let refused = pool.free(agent, &handles).unwrap_err();
/// assert_eq!(refused, HandleError::AlreadyFree { block: handles[0].block() });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HandleError {
    /// A handle that this pool never gave out.
    #[error("block {block} was never given out under this handle; nothing was changed")]
    UnknownBlock {
        /// The block named.
        block: BlockId,
    },
    /// The handle has been used up before, or is just being.
    #[error("block {block} has been freed or leased already; nothing was changed")]
    AlreadyFree {
        /// The block named.
        block: BlockId,
    },
    /// The block has been given out again since.
    #[error(
        "the handle of block {block} is stale: the block was given out again; nothing was changed"
    )]
    Stale {
        /// The block named.
        block: BlockId,
    },
    /// The block belongs to another agent.
    #[error("block {block} belongs to another agent; nothing was changed")]
    NotOwner {
        /// The block named.
        block: BlockId,
    },
}

/// The geometry was not replaced.
///
/// ```
/// use latchless::{BlockPool, LayerId, ModelSpec, PoolConfig, ReconfigureError};
/// # let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(2, 8, 128, 16)?))?;
/// # let agent = pool.open_account()?;
/// let lease = pool.allocate(agent, LayerId(0), 5)?;
/// let spec = ModelSpec::new(4, 8, 128, 16)?;
/// assert_eq!(pool.reconfigure(&spec), Err(ReconfigureError { outstanding: 5 }));
/// drop(lease);
/// assert_eq!(pool.reconfigure(&spec), Ok(()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "{outstanding} blocks are out or promised to callers who wait; free them (or force-clear the pool) before \
     reconfiguring"
)]
pub struct ReconfigureError {
    /// Blocks that are not free; when all are, those that callers who wait are going to get. One at the least.
    pub outstanding: u32,
}

/// Every account is taken.
///
/// ```
/// use latchless::{BlockPool, ModelSpec, PoolConfig, TooManyAgents};
/// let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(2, 8, 128, 16)?).max_agents(1))?;
/// pool.open_account()?;
/// assert_eq!(pool.open_account(), Err(TooManyAgents { max_agents: 1 }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("all {max_agents} agents are registered; unregister one, or make the pool for more")]
pub struct TooManyAgents {
    /// Agents that the pool was made for.
    pub max_agents: u32,
}

/// A lease was not split.
///
/// ```
/// use latchless::{BlockPool, LayerId, ModelSpec, PoolConfig, SplitError};
/// # let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(2, 8, 128, 16)?))?;
/// # let agent = pool.open_account()?;
/// let mut lease = pool.allocate(agent, LayerId(0), 5)?;
/// assert_eq!(lease.split_off(6).unwrap_err(), SplitError { asked: 6, len: 5 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{asked} blocks cannot be split off a lease of {len}; choose 1 to {len}")]
pub struct SplitError {
    /// Blocks asked for.
    pub asked: u32,
    /// Blocks of the lease.
    pub len: u32,
}

/// Two leases were not merged; the other one is given back here.
///
/// ```
/// use latchless::{BlockPool, LayerId, ModelSpec, PoolConfig, MergeError};
/// # let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(2, 8, 128, 16)?))?;
/// # let agent = pool.open_account()?;
/// let mut one = pool.allocate(agent, LayerId(0), 5)?;
/// let other = pool.allocate(agent, LayerId(1), 5)?;
/// let MergeError(other) = one.merge(other).unwrap_err();
/// assert_eq!((one.len(), other.len()), (5, 5), "of two layers: both are as they were");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Error)]
#[error(
    "leases of different pools, agents or layers, or from before and after their agent was freed, \
     cannot be merged; keep both, or transfer one first"
)]
pub struct MergeError<L>(pub L);

/// A lease was not transferred or shared; it is as it was.
///
/// ```
/// use latchless::{BlockPool, LayerId, ModelSpec, PoolConfig, TransferError};
/// # let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(2, 8, 128, 16)?))?;
/// # let agent = pool.open_account()?;
/// let mut lease = pool.allocate(agent, LayerId(0), 5)?;
/// let other = pool.open_account()?;
/// pool.set_quota(other, Some(4))?;
/// let refused = lease.transfer(other).unwrap_err();
/// assert_eq!(refused, TransferError::QuotaExceeded { requested: 5, used: 0, quota: 4 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The agent that should have got the blocks has left, or is of another pool.
    #[error("the other agent is not registered any more; the lease is as it was")]
    UnknownAgent,
    /// The agent that should have got the blocks would have had more than it may.
    #[error(
        "{requested} blocks for an agent that has {used} and may have {quota}; the lease is as it was: \
         split it, or raise that agent's quota"
    )]
    QuotaExceeded {
        /// Blocks of the lease.
        requested: u32,
        /// Blocks that the agent had.
        used: u32,
        /// Blocks that it may have.
        quota: u32,
    },
    /// Blocks that came out of the giver's reserve would have left it, and too few were free to take
    /// their place there.
    #[error(
        "{needed} blocks of the giver's reserve would have to be replaced, {available} are free; the \
         lease is as it was: free some blocks, or lower the giver's reserve"
    )]
    ReserveUncovered {
        /// Blocks that the reserve would have been short of.
        needed: u32,
        /// Blocks that were free in the pool.
        available: u32,
    },
}

/// An agent's reserve was not set; it is as it was.
///
/// ```
/// use latchless::{BlockPool, ModelSpec, PoolConfig, ReserveError};
/// # let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(2, 8, 128, 16)?))?;
/// # let agent = pool.open_account()?;
/// let refused = pool.set_reserve(agent, 21).unwrap_err();
/// assert_eq!(refused, ReserveError::Exhausted { requested: 21, missing: 21, available: 20 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReserveError {
    /// Fewer blocks were free than the reserve would have to grow by, at one instant during the call.
    #[error(
        "a reserve of {requested} blocks needs {missing} more and {available} are free; reserve less, \
         or try again when blocks have been freed"
    )]
    Exhausted {
        /// The reserve asked for.
        requested: u32,
        /// Blocks that it would have to grow by.
        missing: u32,
        /// Blocks that were free in the pool, and in nobody's reserve.
        available: u32,
    },
    /// The agent has left, or is of another pool.
    #[error("the agent of this handle is not registered any more; register it again")]
    UnknownAgent,
}

/// The agent of a handle has left, or is of another pool.
///
/// ```
/// use latchless::{BlockPool, ModelSpec, NoSuchAgent, PoolConfig};
/// # let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(2, 8, 128, 16)?))?;
/// # let agent = pool.open_account()?;
/// pool.close_account(agent);
/// assert_eq!(pool.set_quota(agent, None), Err(NoSuchAgent));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the agent of this handle is not registered any more; register it again")]
pub struct NoSuchAgent;
