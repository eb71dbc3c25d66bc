//! The block pool: who may have how many KV-cache blocks, which ones, and whose they are.
//!
//! Four layers, each in its own file, each with its own argument:
//!
//! - [`permits`] decide **how many**: an exact striped semaphore;
//! - [`span`]s decide **which**: bits, claimed by CAS, found by [`placement`] with the [`free_list`];
//! - [`owners`] decide **whose**: one word per block, charged to [`accounts`], within their [`limits`];
//! - [`lease`]s give back, and [`handle`]s name blocks where a lease cannot be held.

mod accounts;
mod allocation;
mod census;
mod config;
mod counters;
mod error;
mod exchange;
mod free_list;
mod handles;
mod histogram;
mod home;
mod lease;
mod limits;
#[cfg(all(test, latchless_loom))]
mod loom_models;
mod owners;
mod permits;
mod placement;
mod span;
mod sweep;
mod timed;

use std::sync::Arc;

pub use self::accounts::AgentHandle;
pub use self::allocation::{Allocation, Waiting};
pub use self::census::{Census, PoolUsage};
pub use self::config::{PoolConfig, PoolConfigError};
pub use self::counters::{PoolCounters, StripeCounters};
pub use self::error::{
    AllocateError, HandleError, MergeError, NoSuchAgent, ReconfigureError, ReserveError,
    SplitError, TooManyAgents, TransferError, WaitError,
};
pub use self::handles::BlockHandle;
pub use self::histogram::{Latencies, LatencyHistogram};
pub use self::lease::{BlockLease, Lease, OwnedLease};
pub use self::limits::AgentLimits;
pub use self::sweep::Cleared;
pub use self::timed::{Timed, TimedLease};

use self::accounts::Accounts;
use self::lease::RawLease;
use self::permits::{Permits, Refused};
use self::placement::Blocks;
use crate::id::LayerId;
use crate::model::{LiveModel, ModelGeneration, ModelSpec};
use crate::sync::{AtomicU32, Ordering, thread_index};

/// A pool of KV-cache blocks that many agents share.
///
/// - An allocation gets all its blocks or none, and never waits. A refusal is exact: at some instant
///   during the call fewer blocks were free.
/// - A thread that is frozen or killed at any instruction delays nobody. It keeps what it was just
///   handling: blocks that are claimed and not yet recorded, or taken out of their owner's word and not
///   yet freed. They show in the [`census`](Self::census) as *in flight*.
/// - Allocating and freeing takes no lock, makes no system call, and allocates no memory while a request
///   is put together from at most 8 runs.
///
/// ```
/// use latchless::{AllocateError, BlockPool, LayerId, ModelSpec, PoolConfig};
///
/// let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(4, 8, 128, 16)?))?;
/// let agent = pool.open_account()?;
/// let lease = pool.allocate(agent, LayerId(0), 15)?;
/// assert_eq!(
///     pool.allocate(agent, LayerId(0), 10).unwrap_err(),
///     AllocateError::Exhausted { requested: 10, available: 5, total: 20, allocated: 15 },
/// );
/// drop(lease);
/// assert_eq!(pool.usage().free, 20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct BlockPool {
    permits: Permits,
    blocks: Blocks,
    accounts: Accounts,
    live: LiveModel,
    /// Layers of the live model, for the hot path.
    layers: AtomicU32,
}

impl BlockPool {
    /// A pool with all blocks free.
    ///
    /// # Errors
    /// [`PoolConfigError`] when it cannot be made as asked.
    pub fn new(config: PoolConfig) -> Result<Self, PoolConfigError> {
        config.validate()?;
        let PoolConfig { blocks, spec, max_agents, stripes, max_waiters } = config;
        let stripes = stripes.next_power_of_two();
        Ok(Self {
            permits: Permits::new(blocks, stripes, max_waiters),
            blocks: Blocks::new(blocks, stripes),
            accounts: Accounts::new(max_agents, stripes),
            layers: AtomicU32::new(spec.layers().into()),
            live: LiveModel::new(spec),
        })
    }

    /// Registers an agent. Hosts that know their agents by name do this through a
    /// [`Directory`](crate::Directory).
    ///
    /// # Errors
    /// [`TooManyAgents`] when every account is taken.
    pub fn open_account(&self) -> Result<AgentHandle, TooManyAgents> {
        self.accounts.open().ok_or(TooManyAgents { max_agents: self.accounts.slots() })
    }

    /// Agents that can be registered at once.
    pub fn max_agents(&self) -> u32 {
        self.accounts.slots()
    }

    /// Whether the agent of this handle has its account still.
    pub fn has_account(&self, agent: AgentHandle) -> bool {
        self.accounts.used(agent).is_some()
    }

    /// Blocks that an agent has; 0 for one that has left.
    pub fn used_by(&self, agent: AgentHandle) -> u32 {
        self.accounts.used(agent).unwrap_or(0)
    }

    /// Takes `blocks` blocks of a layer for an agent: all of them, or none and an error.
    ///
    /// # Errors
    /// [`AllocateError`]; the pool is unchanged then.
    #[inline]
    pub fn allocate(
        &self,
        agent: AgentHandle,
        layer: LayerId,
        blocks: u32,
    ) -> Result<BlockLease<'_>, AllocateError> {
        let mut lease = Lease::new(self, RawLease::empty(agent, Some(layer)));
        self.take_of_layer(&mut lease.raw, layer, blocks)?;
        Ok(lease)
    }

    /// The same with a lease that keeps the pool alive.
    ///
    /// # Errors
    /// [`AllocateError`]; the pool is unchanged then.
    pub fn allocate_owned(
        self: &Arc<Self>,
        agent: AgentHandle,
        layer: LayerId,
        blocks: u32,
    ) -> Result<OwnedLease, AllocateError> {
        let mut lease = Lease::new(Arc::clone(self), RawLease::empty(agent, Some(layer)));
        self.take_of_layer(&mut lease.raw, layer, blocks)?;
        Ok(lease)
    }

    /// Takes what a sequence of `tokens` tokens needs in all layers together: all of it, or none and an
    /// error.
    ///
    /// # Errors
    /// [`AllocateError`]; the pool is unchanged then.
    pub fn allocate_sequence(
        &self,
        agent: AgentHandle,
        tokens: u32,
    ) -> Result<BlockLease<'_>, AllocateError> {
        let mut lease = Lease::new(self, RawLease::empty(agent, None));
        self.take_of_sequence(&mut lease.raw, tokens)?;
        Ok(lease)
    }

    /// The same with a lease that keeps the pool alive.
    ///
    /// # Errors
    /// [`AllocateError`]; the pool is unchanged then.
    pub fn allocate_sequence_owned(
        self: &Arc<Self>,
        agent: AgentHandle,
        tokens: u32,
    ) -> Result<OwnedLease, AllocateError> {
        let mut lease = Lease::new(Arc::clone(self), RawLease::empty(agent, None));
        self.take_of_sequence(&mut lease.raw, tokens)?;
        Ok(lease)
    }

    /// The geometry in force and its number.
    pub fn model(&self) -> Arc<ModelGeneration> {
        self.live.load()
    }

    /// Sequences of `tokens` tokens that would fit into what is free now and reserved for nobody.
    pub fn max_batch_size(&self, tokens: u32) -> u64 {
        let usage = self.usage();
        self.model().spec.max_batch_size(usage.free - usage.reserved, tokens)
    }

    /// Replaces the geometry, when no block is out. An allocation that races with it is refused for the
    /// moment that it takes, also one from a reserve, or comes first and refuses it.
    /// A thread that is frozen in here has every block in its hands: nobody waits for it, but allocations are
    /// refused until it goes on.
    ///
    /// # Errors
    /// [`ReconfigureError`] with the number of blocks that are out; nothing is changed then.
    pub fn reconfigure(&self, spec: &ModelSpec) -> Result<(), ReconfigureError> {
        let home = thread_index();
        let (outside, reserves) = self.acquire_all(home)?;
        // Relaxed: published by the release of the permits, and read only with a permit in hand where it
        // matters.
        self.layers.store(spec.layers().into(), Ordering::Relaxed);
        self.live.publish(spec);
        if reserves.is_empty() {
            self.permits.release_all();
        } else {
            self.refund_all(&reserves, home);
            self.permits.release(outside, home);
        }
        Ok(())
    }

    /// Takes every permit, the pool's and then those in reserve: whoever has them is alone with the pool,
    /// for as long as nobody else has to wait. The reserves are touched only when nothing else is out.
    fn acquire_all(&self, home: usize) -> Result<(u32, Vec<(u32, u32)>), ReconfigureError> {
        let reserved = || self.accounts.reserved().map(|(_, free)| free).sum::<u32>();
        loop {
            let in_reserve = reserved();
            let outside = self.permits.total().saturating_sub(in_reserve);
            match self.permits.acquire(outside, home) {
                Ok(()) => match self.empty_reserves(outside, home) {
                    Ok(reserves) => return Ok((outside, reserves)),
                    Err(outstanding) => {
                        self.permits.release(outside, home);
                        return Err(ReconfigureError { outstanding });
                    }
                },
                // If the reserves have changed, what is missing may be there.
                Err(Refused { available, promised }) if reserved() == in_reserve => {
                    // None, or fewer than none where a reserve has changed twice meanwhile, are out when somebody
                    // waits for more than there is: then what was promised stands in the way.
                    let out = outside.saturating_sub(available + promised);
                    let outstanding = if out > 0 { out } else { promised.max(1) };
                    return Err(ReconfigureError { outstanding });
                }
                Err(_) => {}
            }
        }
    }
}
