//! Leases give back: blocks that free themselves when they are dropped, also while unwinding.

use std::fmt;
use std::mem;
use std::ops::Deref;
use std::sync::Arc;

use smallvec::SmallVec;

use super::BlockPool;
use super::accounts::{AgentHandle, Tenure};
use super::error::{MergeError, SplitError, TransferError};
use super::handles::BlockHandle;
use super::owners::{Hold, Run};
use super::span::{SPAN_BLOCKS, blocks_of};
use crate::id::{BlockId, LayerId};
use crate::sync::thread_index;

/// Runs that a lease holds without a heap allocation: a request that is put together from more pieces
/// takes one.
const INLINE_RUNS: usize = 8;

/// A lease for as long as the pool is borrowed.
pub type BlockLease<'pool> = Lease<&'pool BlockPool>;

/// A lease that keeps its pool alive, for requests that outlive the stack they came from.
pub type OwnedLease = Lease<Arc<BlockPool>>;

/// Blocks of one agent, freed when this is dropped.
///
/// A lease is the only way to its blocks: it is not `Clone`, and every operation that needs them takes
/// it. It holds runs of blocks rather than ids, so that it costs per span, not per block.
///
/// When its agent is freed as a whole ([`BlockPool::free_agent`]) or the pool is cleared, a lease is
/// *inert*: it still tells what it was given, and drops without freeing anything.
///
/// ```
/// use latchless::{BlockPool, LayerId, ModelSpec, PoolConfig, OwnedLease};
/// # let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(2, 8, 128, 16)?))?;
/// # let agent = pool.open_account()?;
/// let mut lease = pool.allocate(agent, LayerId(0), 5)?;
/// let part = lease.split_off(2)?;
/// drop(part);
/// assert_eq!((lease.len(), pool.usage().used), (3, 3));
///
/// // One that keeps its pool alive can go to another thread.
/// # drop(lease);
/// # let pool = std::sync::Arc::new(BlockPool::new(PoolConfig::new(20, ModelSpec::new(2, 8, 128, 16)?))?);
/// # let agent = pool.open_account()?;
/// let lease: OwnedLease = pool.allocate_owned(agent, LayerId(0), 5)?;
/// std::thread::spawn(move || drop(lease)).join().unwrap();
/// assert_eq!(pool.usage().used, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping a lease frees its blocks"]
pub struct Lease<P: Deref<Target = BlockPool>> {
    pool: P,
    pub(super) raw: RawLease,
}

/// A lease without its pool.
#[derive(Debug)]
pub(super) struct RawLease {
    pub(super) agent: AgentHandle,
    pub(super) layer: Option<LayerId>,
    /// The agent's tenure that the blocks are charged to.
    pub(super) tenure: Tenure,
    pub(super) runs: Runs,
    pub(super) len: u32,
}

pub(super) type Runs = SmallVec<[Run; INLINE_RUNS]>;

impl RawLease {
    /// A lease of nothing yet.
    pub(super) fn empty(agent: AgentHandle, layer: Option<LayerId>) -> Self {
        Self { agent, layer, tenure: Tenure::none(agent), runs: Runs::new(), len: 0 }
    }

    /// Forgets the runs, which have been given back.
    #[cold]
    pub(super) fn clear(&mut self) {
        self.runs.clear();
        self.len = 0;
    }

    fn empty_like(&self) -> Self {
        Self { runs: Runs::new(), len: 0, ..*self }
    }

    fn push(&mut self, run: Run) {
        self.len += run.len();
        self.runs.push(run);
    }
}

impl<P: Deref<Target = BlockPool>> Lease<P> {
    pub(super) fn new(pool: P, raw: RawLease) -> Self {
        Self { pool, raw }
    }

    /// The lease, with an empty one left here.
    pub(super) fn take(&mut self) -> Self
    where
        P: Clone,
    {
        let empty = Self { pool: self.pool.clone(), raw: self.raw.empty_like() };
        mem::replace(self, empty)
    }

    /// Number of blocks.
    #[allow(clippy::len_without_is_empty)] // A lease of nothing exists only after its blocks moved away.
    pub fn len(&self) -> u32 {
        self.raw.len
    }

    /// The agent that owns them.
    pub fn agent(&self) -> AgentHandle {
        self.raw.agent
    }

    /// The layer they were allocated for; `None` for a sequence's blocks of all layers.
    pub fn layer(&self) -> Option<LayerId> {
        self.raw.layer
    }

    /// The pool they come from.
    pub fn pool(&self) -> &BlockPool {
        &self.pool
    }

    /// The blocks, in no particular order but always the same one.
    pub fn blocks(&self) -> impl Iterator<Item = BlockId> {
        self.raw.runs.iter().flat_map(Run::blocks).map(BlockId)
    }

    /// Splits `blocks` blocks off into a lease of their own.
    ///
    /// # Errors
    /// [`SplitError`] for 0 blocks, or more than the lease has.
    ///
    /// ```
    /// # use latchless::{BlockPool, LayerId, ModelSpec, PoolConfig};
    /// # let pool = BlockPool::new(PoolConfig::new(100, ModelSpec::new(4, 8, 128, 16)?))?;
    /// let agent = pool.open_account()?;
    /// let mut lease = pool.allocate(agent, LayerId(0), 10)?;
    /// drop(lease.split_off(4)?);
    /// assert_eq!((lease.len(), pool.usage().used), (6, 6));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn split_off(&mut self, blocks: u32) -> Result<Self, SplitError>
    where
        P: Clone,
    {
        let len = self.raw.len;
        if !(1..=len).contains(&blocks) {
            return Err(SplitError { asked: blocks, len });
        }
        let mut off = Self { pool: self.pool.clone(), raw: self.raw.empty_like() };
        while off.raw.len < blocks {
            let Some(run) = self.raw.runs.pop() else {
                break;
            };
            self.raw.len -= run.len();
            let missing = blocks - off.raw.len;
            if run.len() <= missing {
                off.raw.push(run);
            } else {
                self.divide(run, run.len() - missing, &mut off.raw);
            }
        }
        Ok(off)
    }

    /// Divides a run: its lowest `keep` blocks stay here, the others go to `off`.
    fn divide(&mut self, mut run: Run, mut keep: u32, off: &mut RawLease) {
        if run.spans() > 1 {
            let whole = keep / SPAN_BLOCKS;
            if whole > 0 {
                let [mine, rest] = self.cut(run, whole);
                self.raw.push(mine);
                run = rest;
                keep -= mine.len();
            }
            if keep == 0 {
                off.push(run);
                return;
            }
            if run.spans() > 1 {
                let [cut_through, rest] = self.cut(run, 1);
                off.push(rest);
                run = cut_through;
            }
        }
        let low = blocks_of(0, run.mask()).take(keep as usize).fold(0, |low, bit| low | 1 << bit);
        if run.hold() == Hold::Shared {
            let [mine, other] = run.divide(low);
            self.raw.push(mine);
            off.push(other);
            return;
        }
        let tenure = self.raw.tenure;
        let owners = &self.pool.blocks.spans[run.span()].owners;
        let here = owners.regroup(&run, tenure, low, |is_low, piece| {
            if is_low {
                self.raw.push(piece);
            } else {
                off.push(piece);
            }
        });
        if !here {
            // Inert. The two leases still have to tell and to sum up to what was given.
            let [mine, other] = run.divide(low);
            self.raw.push(mine);
            off.push(owners.over(other));
        } else if self.pool.accounts.is_over(tenure) {
            // The agent was freed while the run was on the move and could not be: do it now.
            self.pool.release_runs(tenure, &self.raw.runs);
            self.pool.release_runs(tenure, &off.runs);
        }
    }

    /// Cuts a range: `keep` spans and the others.
    fn cut(&self, run: Run, keep: u32) -> [Run; 2] {
        let spans = &self.pool.blocks.spans;
        let (owners, other) =
            (&spans[run.span()].owners, &spans[run.span() + keep as usize].owners);
        match owners.cut(&run, self.raw.tenure, keep, other) {
            Ok(runs) => {
                if self.pool.accounts.is_over(self.raw.tenure) {
                    // The agent was freed while the range was on the move and could not be: do it now.
                    self.pool.release_runs(self.raw.tenure, &runs);
                }
                runs
            }
            Err(inert) => inert,
        }
    }

    /// Cuts every range that is held alone into its spans.
    fn cut_ranges(&mut self) {
        let mut i = 0;
        while let Some(run) = self.raw.runs.get(i).copied() {
            if run.spans() > 1 {
                let [first, rest] = self.cut(run, 1);
                self.raw.runs[i] = first;
                self.raw.runs.insert(i + 1, rest);
            }
            i += 1;
        }
    }

    /// Puts the blocks of `other` into this lease.
    ///
    /// # Errors
    /// [`MergeError`] with `other` when it is of another pool, agent or layer, or when the agent was
    /// freed as a whole between the two; this lease is unchanged then.
    #[expect(clippy::result_large_err, reason = "the error gives the lease back")]
    pub fn merge(&mut self, mut other: Self) -> Result<(), MergeError<Self>> {
        let mergeable = std::ptr::eq::<BlockPool>(&raw const *self.pool, &raw const *other.pool)
            && self.raw.agent == other.raw.agent
            && self.raw.tenure == other.raw.tenure
            && self.raw.layer == other.raw.layer;
        if !mergeable {
            return Err(MergeError(other));
        }
        self.raw.len += mem::take(&mut other.raw.len);
        self.raw.runs.extend(other.raw.runs.drain(..));
        Ok(())
    }

    /// Makes `to` the owner.
    ///
    /// # Errors
    /// [`TransferError`] with the lease unchanged when `to` is not registered any more, when its quota has
    /// no room for the blocks, or when they are missing in the [reserve](BlockPool::set_reserve) of the
    /// old owner and too few are free to make up for them.
    pub fn transfer(&mut self, to: AgentHandle) -> Result<(), TransferError> {
        let (pool, raw) = (&self.pool, &mut self.raw);
        if raw.agent == to {
            return Ok(());
        }
        // The charge comes first: it is the instant, and nothing is written yet when it is refused.
        let (giver, from, asked) = (raw.agent, raw.tenure, raw.len);
        let (tenure, covered) = pool.charge_receiver(raw, to)?;
        // What is inert is no more the new owner's than the old one's.
        raw.runs.retain(|run| {
            run.hold() == Hold::Shared
                || pool.blocks.spans[run.span()].owners.transfer(run, from, tenure)
        });
        raw.len = raw.runs.iter().map(Run::len).sum();
        raw.agent = to;
        raw.tenure = tenure;
        pool.accounts.uncharge(from, raw.len);
        pool.accounts.uncharge(tenure, asked - raw.len);
        if covered > 0 {
            pool.refund(giver.slot(), covered, thread_index());
        }
        if pool.accounts.is_over(tenure) {
            // `to` was freed as a whole before all was passed on: the rest goes the same way.
            pool.release_runs(tenure, &raw.runs);
        }
        Ok(())
    }

    /// Gives another agent a lease on the same blocks: a common prefix, for instance. The blocks are
    /// freed when the last holder's lease is dropped, and count for each holder's use.
    ///
    /// Shared blocks are freed through their leases only: [`BlockPool::free_agent`] leaves them to those.
    ///
    /// # Errors
    /// [`TransferError`] with the lease unchanged when `with` is not registered any more, when its quota
    /// has no room for the blocks, or when they are missing in the [reserve](BlockPool::set_reserve) of
    /// this lease's agent and too few are free to make up for them.
    pub fn share(&mut self, with: AgentHandle) -> Result<Self, TransferError>
    where
        P: Clone,
    {
        let (tenure, covered) = self.pool.charge_receiver(&self.raw, with)?;
        self.cut_ranges();
        let mut theirs = RawLease { agent: with, tenure, ..self.raw.empty_like() };
        for run in &mut self.raw.runs {
            let owners = &self.pool.blocks.spans[run.span()].owners;
            match run.hold() {
                Hold::Shared => theirs.push(owners.share_again(run)),
                Hold::Sole => {
                    if let Some(shared) = owners.share(run, self.raw.tenure) {
                        *run = shared;
                        theirs.push(shared);
                    }
                }
            }
        }
        // What was inert is not shared.
        let inert = self.raw.len - theirs.len;
        if inert > 0 {
            self.pool.accounts.uncharge(tenure, inert);
        }
        if covered > 0 {
            self.pool.refund(self.raw.agent.slot(), covered, thread_index());
        }
        Ok(Self { pool: self.pool.clone(), raw: theirs })
    }

    /// Ends the lease without freeing: its blocks stay the agent's, each under a handle, until they are
    /// [freed by handle](BlockPool::free), [leased again](BlockPool::lease_from_handles) or freed with the
    /// agent. Blocks that are shared or inert are left out, and given back. The handles are in the order of
    /// blocks.
    pub fn into_handles(mut self) -> Vec<BlockHandle> {
        self.cut_ranges();
        let tenure = self.raw.tenure;
        let mut handles = Vec::with_capacity(self.raw.len as usize);
        let mut rest = self.raw.empty_like();
        for run in mem::take(&mut self.raw.runs) {
            let (first, before) = (run.span_first(), handles.len());
            if run.hold() == Hold::Sole {
                handles.resize(before + run.len() as usize, BlockHandle::default());
                let owners = &self.pool.blocks.spans[run.span()].owners;
                if owners.break_up(&run, tenure, &mut handles[before..], |bit, generation| {
                    BlockHandle::new(BlockId(first + bit), generation)
                }) {
                    continue;
                }
            }
            handles.truncate(before);
            rest.push(run);
        }
        self.raw = rest;
        handles.sort_unstable_by_key(|handle| handle.block());
        if self.pool.accounts.is_over(tenure) {
            self.pool.free_over(tenure, &handles);
        }
        handles
    }
}

impl<P: Deref<Target = BlockPool>> Drop for Lease<P> {
    fn drop(&mut self) {
        self.pool.give_back(&self.raw);
    }
}

impl<P: Deref<Target = BlockPool>> fmt::Debug for Lease<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("agent", &self.raw.agent)
            .field("layer", &self.raw.layer)
            .field("blocks", &self.raw.len)
            .finish_non_exhaustive()
    }
}
