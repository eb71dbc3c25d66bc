//! The block pool: who may have how many KV-cache blocks, which ones, and whose they are.
//!
//! Four layers, each in its own file, each with its own argument:
//!
//! - [`permits`] decide **how many**: an exact striped semaphore;
//! - [`span`]s decide **which**: bits, claimed by CAS, found by [`placement`] with the [`free_list`];
//! - [`owners`] decide **whose**: one word per block, charged to [`accounts`], within their [`limits`];
//! - [`lease`]s give back, and [`handle`]s name blocks where a lease cannot be held.
//!
//! # Order of steps
//!
//! Taking: permits, then bits, then owner words, then the agent's charge, which is the instant at which
//! the blocks are the agent's. Giving back: owner words, whose CAS decides who frees, then bits, then the
//! charge, then permits. So a permit is never out without its bit, and a bit never without its word.

mod accounts;
mod allocation;
mod census;
mod config;
mod error;
mod free_list;
mod handle;
mod lease;
mod limits;
#[cfg(all(test, latchless_loom))]
mod loom_models;
mod owners;
mod permits;
mod placement;
mod span;
mod sweep;

use std::sync::Arc;

pub use self::accounts::AgentHandle;
pub use self::allocation::Allocation;
pub use self::census::{Census, PoolUsage};
pub use self::config::{PoolConfig, PoolConfigError};
pub use self::error::{
    AllocateError, FreeError, MergeError, NoSuchAgent, ReconfigureError, ReserveError, SplitError,
    TooManyAgents, TransferError, WaitError,
};
pub use self::handle::BlockHandle;
pub use self::lease::{BlockLease, Lease, OwnedLease};
pub use self::limits::AgentLimits;
pub use self::sweep::Cleared;

use self::accounts::{Accounts, NotCharged, Standing, Tenure};
use self::lease::{RawLease, Runs};
use self::limits::not_allocated;
use self::owners::{Hold, Run};
use self::permits::{Permits, Refused};
use self::placement::{Blocks, Claim};
use self::span::SPAN_BLOCKS;
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
            accounts: Accounts::new(max_agents),
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
        Ok(Lease::new(self, self.take_of_layer(agent, layer, blocks)?))
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
        Ok(Lease::new(Arc::clone(self), self.take_of_layer(agent, layer, blocks)?))
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
        Ok(Lease::new(self, self.take_of_sequence(agent, tokens)?))
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
        Ok(Lease::new(Arc::clone(self), self.take_of_sequence(agent, tokens)?))
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
                    let outstanding = outside - available - promised;
                    return Err(ReconfigureError { outstanding });
                }
                Err(_) => {}
            }
        }
    }

    fn take_of_layer(
        &self,
        agent: AgentHandle,
        layer: LayerId,
        blocks: u32,
    ) -> Result<RawLease, AllocateError> {
        self.check_layer(layer)?;
        self.take(agent, Some(layer), blocks, || self.check_layer(layer))
    }

    #[inline]
    fn check_layer(&self, layer: LayerId) -> Result<(), AllocateError> {
        // Relaxed: see `reconfigure`.
        let layers = self.layers.load(Ordering::Relaxed);
        if u32::from(layer.0) < layers {
            Ok(())
        } else {
            Err(AllocateError::UnknownLayer { layer, layers: layers as u16 })
        }
    }

    fn take_of_sequence(&self, agent: AgentHandle, tokens: u32) -> Result<RawLease, AllocateError> {
        loop {
            let model = self.model();
            let blocks = u32::try_from(model.spec.blocks_for(tokens)).unwrap_or(u32::MAX);
            let raw = self.take(agent, None, blocks, || Ok(()))?;
            // With blocks in hand the geometry stays: was it still the same when we got them?
            if self.model().number == model.number {
                return Ok(raw);
            }
            drop(Lease::new(self, raw));
        }
    }

    /// Takes blocks, checking `check` again once nobody can reconfigure any more.
    #[inline]
    fn take(
        &self,
        agent: AgentHandle,
        layer: Option<LayerId>,
        blocks: u32,
        check: impl Fn() -> Result<(), AllocateError>,
    ) -> Result<RawLease, AllocateError> {
        if blocks == 0 {
            return Err(AllocateError::NoBlocks);
        }
        let home = thread_index();
        loop {
            let Standing { tenure, limited } =
                self.accounts.standing(agent).ok_or(AllocateError::UnknownAgent)?;
            if limited {
                self.acquire_limited(agent, blocks, home)?;
            } else {
                self.permits
                    .acquire(blocks, home)
                    .map_err(|refused| self.exhausted(blocks, refused))?;
            }
            if let Err(error) = check() {
                self.refund(agent.slot(), blocks, home);
                return Err(error);
            }
            if let Some(raw) = self.take_permitted(agent, layer, blocks, tenure, home)? {
                return Ok(raw);
            }
        }
    }

    /// The rest of taking, with permits in hand: it cannot be refused for want of blocks. `None` when
    /// the agent was freed as a whole since its tenure was read; the permits are given back then, and the
    /// next attempt can be refused for want of them, while the other thread frees its blocks.
    #[inline]
    fn take_permitted(
        &self,
        agent: AgentHandle,
        layer: Option<LayerId>,
        blocks: u32,
        tenure: Tenure,
        home: usize,
    ) -> Result<Option<RawLease>, AllocateError> {
        let mut runs = Runs::new();
        let mut regions = 0;
        self.blocks.claim(blocks, home, |Claim { span, spans, mask }| {
            regions |= self.blocks.regions(span, spans);
            let first = span as u32 * SPAN_BLOCKS;
            let owners = &self.blocks.spans[span].owners;
            owners.record(first, mask, spans, tenure, |run| runs.push(run));
        });
        self.accounts.mark(tenure.slot(), regions);
        match self.accounts.charge(agent, tenure, blocks) {
            Ok(()) => Ok(Some(RawLease { agent, layer, tenure, runs, len: blocks })),
            // The agent was freed or has left since we read its tenure, or another thread took what was
            // left of its quota: not with these blocks.
            Err(refused) => {
                self.release_runs(tenure, &runs);
                match refused {
                    NotCharged::TenureOver => Ok(None),
                    refused => Err(not_allocated(refused, blocks)),
                }
            }
        }
    }

    #[cold]
    fn exhausted(&self, requested: u32, refused: Refused) -> AllocateError {
        let (total, Refused { available, promised }) = (self.permits.total(), refused);
        let allocated = total - available - promised;
        AllocateError::Exhausted { requested, available, total, allocated }
    }

    /// Charges blocks to whatever tenure an agent is in.
    fn charge_now(&self, agent: AgentHandle, blocks: u32) -> Result<Tenure, NotCharged> {
        loop {
            let standing = self.accounts.standing(agent).ok_or(NotCharged::NoSuchAgent)?;
            match self.accounts.charge(agent, standing.tenure, blocks) {
                Ok(()) => return Ok(standing.tenure),
                Err(NotCharged::TenureOver) => {}
                Err(refused) => return Err(refused),
            }
        }
    }

    /// Frees what a lease still has.
    #[inline]
    fn give_back(&self, raw: &RawLease) {
        let home = thread_index();
        let (mut freed, mut uncharged) = (0, 0);
        for run in &raw.runs {
            let owners = &self.blocks.spans[run.span()].owners;
            match run.hold() {
                Hold::Sole => {
                    if owners.release(run, raw.tenure) {
                        self.blocks.free_run(run, home);
                        uncharged += run.len();
                        freed += run.len();
                    }
                }
                Hold::Shared => {
                    uncharged += run.len();
                    let mask = owners.release_shared(run);
                    if mask != 0 {
                        self.blocks.free(run.span(), mask);
                        freed += mask.count_ones();
                    }
                }
            }
        }
        let limited = uncharged > 0 && self.accounts.uncharge(raw.tenure, uncharged);
        if freed > 0 {
            if limited {
                self.refund(raw.tenure.slot(), freed, home);
            } else {
                self.permits.release(freed, home);
            }
        }
    }

    /// Frees runs that are not charged, because their tenure is over or a charge was refused, as far as
    /// nobody else has.
    #[cold]
    fn release_runs(&self, tenure: Tenure, runs: &[Run]) {
        let home = thread_index();
        let mut freed = 0;
        for run in runs.iter().filter(|run| run.hold() == Hold::Sole) {
            let span = &self.blocks.spans[run.span()];
            if span.owners.release(run, tenure) {
                self.blocks.free_run(run, home);
                freed += run.len();
            }
        }
        if freed > 0 {
            self.refund(tenure.slot(), freed, home);
        }
    }
}
