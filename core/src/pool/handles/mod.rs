//! Handles: blocks by number, for owners who cannot hold a lease.

mod claims;
mod list;

use std::mem;
use std::sync::Arc;

use smallvec::SmallVec;

use self::claims::Of;
use self::list::{halves, in_order};
use super::BlockPool;
use super::accounts::{AgentHandle, NotCharged, Tenure};
use super::error::{AllocateError, HandleError};
use super::lease::{BlockLease, Lease, OwnedLease, RawLease};
use super::limits::not_allocated;
use super::owners::Word;
use super::placement::Claim;
use super::span::SPAN_BLOCKS;
use crate::id::{BlockId, LayerId};
use crate::mutant::mutant;
use crate::sync::thread_index;

/// Claims that are put in order before their handles are written; from more the handles are sorted.
const SORTED_CLAIMS: usize = 16;

/// A block and the life of it that is meant: 8 bytes, `Copy`, good across a C boundary. It comes from
/// [`BlockPool::allocate_handles`] or [`Lease::into_handles`](super::Lease::into_handles); the default one
/// is of no block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockHandle {
    block: BlockId,
    generation: u32,
}

impl Default for BlockHandle {
    fn default() -> Self {
        Self { block: BlockId(u32::MAX), generation: 0 }
    }
}

impl BlockHandle {
    pub(super) fn new(block: BlockId, generation: u32) -> Self {
        Self { block, generation }
    }

    /// The block.
    pub fn block(self) -> BlockId {
        self.block
    }

    /// The handle as a number.
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.block.0)
    }

    /// The handle of a number; one that was made up is refused where it is used.
    pub fn from_bits(bits: u64) -> Self {
        Self { block: BlockId(bits as u32), generation: (bits >> 32) as u32 }
    }
}

impl BlockPool {
    /// Takes as many blocks of a layer as `handles` has room for, and writes the handle of each, in the
    /// order of blocks: all of them, or none and an error. It needs no memory but the caller's.
    ///
    /// # Errors
    /// [`AllocateError`]; the pool is unchanged then, and `handles` tells nothing.
    ///
    /// ```
    /// use latchless::{BlockHandle, BlockPool, LayerId, ModelSpec, PoolConfig};
    ///
    /// let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(4, 8, 128, 16)?))?;
    /// let agent = pool.open_account()?;
    /// let mut handles = [BlockHandle::default(); 5];
    /// pool.allocate_handles(agent, LayerId(0), &mut handles)?;
    /// assert_eq!(pool.free(agent, &handles[..2])?, 2);
    /// let lease = pool.lease_from_handles(agent, Some(LayerId(0)), &handles[2..])?;
    /// assert_eq!((lease.len(), pool.usage().used), (3, 3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn allocate_handles(
        &self,
        agent: AgentHandle,
        layer: LayerId,
        handles: &mut [BlockHandle],
    ) -> Result<(), AllocateError> {
        // More than any pool has, where it does not fit.
        let blocks = u32::try_from(handles.len()).unwrap_or(u32::MAX);
        let check = || self.check_layer(layer);
        check()?;
        let home = thread_index();
        loop {
            let tenure = self.acquire(agent, blocks, home, check)?;
            if self.hand_out_permitted(agent, tenure, handles, home)? {
                return Ok(());
            }
        }
    }

    /// The handles' counterpart of [`take_permitted`](Self::take_permitted).
    fn hand_out_permitted(
        &self,
        agent: AgentHandle,
        tenure: Tenure,
        handles: &mut [BlockHandle],
        home: usize,
    ) -> Result<bool, AllocateError> {
        let blocks = handles.len() as u32;
        // In the order of blocks, as far as few claims make up the request: so it is as a rule.
        let mut regions = 0;
        let mut claims: SmallVec<[Claim; SORTED_CLAIMS]> = SmallVec::new();
        let mut rest = &mut *handles;
        let mut hand_out = |Claim { span, spans, mask }: Claim| {
            for span in span..span + spans as usize {
                let (here, others) = mem::take(&mut rest).split_at_mut(mask.count_ones() as usize);
                rest = others;
                let first = span as u32 * SPAN_BLOCKS;
                self.blocks.spans[span].owners.hand_out(mask, tenure, here, |bit, generation| {
                    BlockHandle::new(BlockId(first + bit), generation)
                });
            }
        };
        let mut many = false;
        self.blocks.claim(blocks, home, |claim| {
            regions |= self.blocks.regions(claim.span, claim.spans);
            if claims.len() < SORTED_CLAIMS {
                claims.push(claim);
            } else {
                many = true;
                hand_out(claim);
            }
        });
        claims.sort_unstable_by_key(|claim| claim.span);
        // What others freed meanwhile in a span that was claimed from already.
        claims.dedup_by(|again, claim| {
            let same = again.span == claim.span;
            claim.mask |= if same { again.mask } else { 0 };
            same
        });
        claims.into_iter().for_each(hand_out);
        if many {
            handles.sort_unstable_by_key(|handle| handle.block);
        }
        self.accounts.mark(tenure.slot(), regions);
        match self.accounts.charge(agent, tenure, blocks) {
            Ok(()) => Ok(true),
            Err(refused) => {
                for half in halves(handles) {
                    self.free_half(agent.slot(), half, |_| true);
                }
                match refused {
                    NotCharged::TenureOver => Ok(false),
                    refused => Err(not_allocated(refused, blocks)),
                }
            }
        }
    }

    /// Frees blocks by their handles: all of them, or with an error none. Returns how many. Handles in the
    /// order of blocks need no memory.
    ///
    /// The blocks are first claimed, and freed only when all are. Of two threads that free the same handle
    /// at once, one is told [`HandleError::AlreadyFree`]; when the other then fails for another handle of
    /// its list, it gives the block back unfreed, and the caller that was refused may try again.
    ///
    /// # Errors
    /// [`HandleError`], about the first bad handle in the order of blocks; nothing is freed then.
    pub fn free(&self, agent: AgentHandle, handles: &[BlockHandle]) -> Result<u32, HandleError> {
        let handles = &*in_order(handles);
        // Before the claims: no block that these handles are of is of a later tenure.
        let tenure = self.accounts.tenure(agent.slot());
        if self.claim_handles(agent, handles, tenure, Of::This).is_ok() {
            self.free_claimed(handles, tenure, Of::This);
        } else {
            // One is bad, or the agent was freed as a whole and the blocks are still there.
            self.claim_handles(agent, handles, tenure, Of::ThisOrEarlier)?;
            self.free_claimed(handles, tenure, Of::ThisOrEarlier);
        }
        Ok(handles.len() as u32)
    }

    /// Frees what was claimed. As long ago as may be: only what `tenure` is charged for counts, and only if that
    /// has not ended since.
    #[inline]
    fn free_claimed(&self, handles: &[BlockHandle], tenure: Tenure, of: Of) {
        let freed = handles.len() as u32;
        if freed == 0 {
            return;
        }
        let home = thread_index();
        let charged = match of {
            Of::This => {
                self.end_claimed(handles, home, |_| ());
                freed
            }
            Of::ThisOrEarlier => {
                let mut charged = 0;
                self.end_claimed(handles, home, |word| {
                    charged += u32::from(word.tag() == tenure.tag());
                });
                charged
            }
        };
        if self.accounts.uncharge(tenure, charged) {
            self.refund(tenure.slot(), freed, home);
        } else {
            self.permits.release(freed, home);
        }
    }

    /// Ends the lives of claimed blocks and frees their bits.
    #[inline]
    fn end_claimed(&self, handles: &[BlockHandle], home: usize, mut ended: impl FnMut(Word)) {
        for half in halves(handles) {
            self.blocks.spans[half.span()].owners.end_handed(half.mask, &mut ended);
            self.blocks.free(half.span(), half.mask, home);
        }
    }

    /// Makes a lease of the blocks of these handles, which are used up: all of them, or with an error none.
    /// The other way round is [`Lease::into_handles`]. The caller says which layer the blocks are of, as it
    /// knows from their allocation; `None` for a sequence's of all layers.
    ///
    /// # Errors
    /// [`HandleError`], about the first bad handle in the order of blocks; nothing is changed then. Handles
    /// from before the agent was [freed as a whole](Self::free_agent) are stale.
    pub fn lease_from_handles(
        &self,
        agent: AgentHandle,
        layer: Option<LayerId>,
        handles: &[BlockHandle],
    ) -> Result<BlockLease<'_>, HandleError> {
        let mut lease = Lease::new(self, RawLease::empty(agent, layer));
        self.lease_handles(&mut lease.raw, handles)?;
        Ok(lease)
    }

    /// The same with a lease that keeps the pool alive.
    ///
    /// # Errors
    /// [`HandleError`], about the first bad handle in the order of blocks; nothing is changed then.
    pub fn lease_from_handles_owned(
        self: &Arc<Self>,
        agent: AgentHandle,
        layer: Option<LayerId>,
        handles: &[BlockHandle],
    ) -> Result<OwnedLease, HandleError> {
        let mut lease = Lease::new(Arc::clone(self), RawLease::empty(agent, layer));
        self.lease_handles(&mut lease.raw, handles)?;
        Ok(lease)
    }

    fn lease_handles(
        &self,
        raw: &mut RawLease,
        handles: &[BlockHandle],
    ) -> Result<(), HandleError> {
        let handles = &*in_order(handles);
        // Those of an agent that has left are of an earlier tenure than its slot's, whoever has that.
        let standing = self.accounts.standing(raw.agent);
        let tenure = standing.map_or(Tenure::none(raw.agent), |standing| standing.tenure);
        self.claim_handles(raw.agent, handles, tenure, Of::This)?;
        let mut halves = halves(handles).peekable();
        while let Some(half) = halves.next() {
            // One run for both halves of a span.
            let other = halves.next_if(|other| other.span() == half.span());
            let mask = half.mask | other.map_or(0, |other| other.mask);
            let owners = &self.blocks.spans[half.span()].owners;
            owners.end_handed(mask, |_| ());
            let first = half.span() as u32 * SPAN_BLOCKS;
            owners.record(first, mask, 1, tenure, |run| raw.runs.push(run));
        }
        raw.tenure = tenure;
        raw.len = handles.len() as u32;
        let looked_after = !handles.is_empty() && !mutant("handles.leased-unwatched");
        if looked_after && self.accounts.is_over(tenure) {
            // The agent was freed as a whole meanwhile, except for what was in our hands.
            self.release_runs(tenure, &raw.runs);
        }
        Ok(())
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;
    use crate::model::ModelSpec;
    use crate::pool::PoolConfig;

    const LAYER: LayerId = LayerId(0);

    /// A pool with an agent that has 26 blocks out under handles.
    fn handed_out() -> (BlockPool, AgentHandle, Vec<BlockHandle>) {
        let model = ModelSpec::new(2, 8, 128, 16).unwrap();
        let pool = BlockPool::new(PoolConfig::new(100, model)).unwrap();
        let agent = pool.open_account().unwrap();
        let mut handles = vec![BlockHandle::default(); 26];
        pool.allocate_handles(agent, LAYER, &mut handles).unwrap();
        (pool, agent, handles)
    }

    /// Frees the agent as a whole as often as there are tags: its tenure's tag is the same afterwards.
    fn once_round(pool: &BlockPool, agent: AgentHandle) {
        let before = pool.accounts.tenure(agent.slot());
        for _ in 0..1 << Tenure::TAG_BITS {
            pool.allocate(agent, LAYER, 1).unwrap().into_handles();
            pool.free_agent(agent);
        }
        let after = pool.accounts.tenure(agent.slot());
        assert!(after != before && after.tag() == before.tag());
    }

    /// A thread was frozen between its claim and the account. Found by the stress run, once in some thousand
    /// freezes: it took 26 blocks from the charge of whatever tenure had the same tag then.
    #[test]
    fn a_free_that_is_overtaken_by_sweeps_takes_nothing_from_a_later_tenure() {
        for of in [Of::This, Of::ThisOrEarlier] {
            let (pool, agent, handles) = handed_out();
            let tenure = pool.accounts.tenure(agent.slot());
            pool.claim_handles(agent, &handles, tenure, of).unwrap();
            once_round(&pool, agent);
            let lease = pool.allocate(agent, LAYER, 40).unwrap();
            pool.free_claimed(&handles, tenure, of);
            assert_eq!((pool.used_by(agent), pool.usage().used), (40, 40));
            drop(lease);
            assert_eq!((pool.used_by(agent), pool.usage().used), (0, 0));
        }
    }

    /// The same where one block of the list cannot be freed, so that the others are put back: the sweeps could
    /// not find them, and they are charged to nobody.
    #[test]
    fn what_is_put_back_after_sweeps_is_freed() {
        let (pool, agent, handles) = handed_out();
        let tenure = pool.accounts.tenure(agent.slot());
        pool.claim_handles(agent, &handles, tenure, Of::This).unwrap();
        once_round(&pool, agent);
        pool.put_back(&handles, tenure);
        assert_eq!((pool.used_by(agent), pool.usage().used), (0, 0));
    }
}
