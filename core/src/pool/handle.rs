//! Handles: blocks by number, for owners who cannot hold a lease.

use std::borrow::Cow;
use std::mem;
use std::sync::Arc;

use super::BlockPool;
use super::accounts::{AgentHandle, NotCharged, Tenure};
use super::error::{AllocateError, HandleError};
use super::lease::{BlockLease, Lease, OwnedLease, RawLease};
use super::limits::not_allocated;
use super::owners::{HALF_BLOCKS, Kind, MAX_RANGE, Word};
use super::placement::Claim;
use super::span::SPAN_BLOCKS;
use crate::id::{BlockId, LayerId};
use crate::sync::thread_index;

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

    fn span(self) -> usize {
        (self.block.0 / SPAN_BLOCKS) as usize
    }

    fn bit(self) -> u32 {
        self.block.0 % SPAN_BLOCKS
    }

    fn mask(self) -> u64 {
        1 << self.bit()
    }

    fn half_span(self) -> u32 {
        self.block.0 / HALF_BLOCKS
    }
}

/// The same handles in the order of blocks.
fn in_order(handles: &[BlockHandle]) -> Cow<'_, [BlockHandle]> {
    let mut handles = Cow::Borrowed(handles);
    if !handles.is_sorted_by_key(|handle| handle.block) {
        handles.to_mut().sort_unstable_by_key(|handle| handle.block);
    }
    handles
}

fn by_half_span(handles: &[BlockHandle]) -> impl Iterator<Item = &[BlockHandle]> {
    handles.chunk_by(|a, b| a.half_span() == b.half_span())
}

/// Of handles of one span, each of another block.
fn mask_of(handles: &[BlockHandle]) -> u64 {
    handles.iter().fold(0, |mask, handle| mask | handle.mask())
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
        let (mut regions, mut rest) = (0, &mut *handles);
        self.blocks.claim(blocks, home, |Claim { span, spans, mask }| {
            regions |= self.blocks.regions(span, spans);
            for span in span..span + spans as usize {
                let (here, others) = mem::take(&mut rest).split_at_mut(mask.count_ones() as usize);
                rest = others;
                let first = span as u32 * SPAN_BLOCKS;
                let mut highest_first = here.iter_mut().rev();
                self.blocks.spans[span].owners.hand_out(mask, tenure, |bit, generation| {
                    if let Some(handle) = highest_first.next() {
                        *handle = BlockHandle::new(BlockId(first + bit), generation);
                    }
                });
            }
        });
        handles.sort_unstable_by_key(|handle| handle.block);
        self.accounts.mark(tenure.slot(), regions);
        match self.accounts.charge(agent, tenure, blocks) {
            Ok(()) => Ok(true),
            Err(refused) => {
                for half in by_half_span(handles) {
                    self.free_handles(agent.slot(), half, |_| true);
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
        self.claim_handles(handles, |handle, word| self.check_owner(agent, handle, word))?;
        let home = thread_index();
        // Blocks of one tenure are uncharged together, and all of an agent's are of one as a rule.
        let (mut tag, mut of_tag, mut limited) = (0, 0, false);
        for of_span in handles.chunk_by(|a, b| a.span() == b.span()) {
            let mask = mask_of(of_span);
            self.blocks.spans[of_span[0].span()].owners.end_handed(mask, |word| {
                if word.tag() != tag {
                    limited |= self.uncharge_tag(agent, tag, of_tag);
                    (tag, of_tag) = (word.tag(), 0);
                }
                of_tag += 1;
            });
            self.blocks.free(of_span[0].span(), mask, home);
        }
        limited |= self.uncharge_tag(agent, tag, of_tag);
        let freed = handles.len() as u32;
        if limited {
            self.refund(agent.slot(), freed, home);
        } else if freed > 0 {
            self.permits.release(freed, home);
        }
        Ok(freed)
    }

    fn uncharge_tag(&self, agent: AgentHandle, tag: u32, blocks: u32) -> bool {
        blocks > 0 && self.accounts.uncharge_tag(agent.slot(), tag, blocks)
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
        // Without an agent no word is its, and the first handle tells so.
        let standing = self.accounts.standing(raw.agent);
        let tenure = standing.map_or(Tenure::none(raw.agent), |standing| standing.tenure);
        self.claim_handles(handles, |handle, word| {
            self.check_owner(raw.agent, handle, word)?;
            let current = standing.is_some() && word.tag() == tenure.tag();
            current.then_some(()).ok_or(HandleError::Stale { block: handle.block })
        })?;
        for of_span in handles.chunk_by(|a, b| a.span() == b.span()) {
            let (span, mask) = (of_span[0].span(), mask_of(of_span));
            let owners = &self.blocks.spans[span].owners;
            owners.end_handed(mask, |_| {});
            let first = span as u32 * SPAN_BLOCKS;
            owners.record(first, mask, 1, tenure, |run| raw.runs.push(run));
        }
        raw.tenure = tenure;
        raw.len = handles.len() as u32;
        if !handles.is_empty() && self.accounts.is_over(tenure) {
            // The agent was freed as a whole meanwhile, except for what was in our hands.
            self.release_runs(tenure, &raw.runs);
        }
        Ok(())
    }

    /// Claims the blocks of handles in the order of blocks, if `check` has nothing against any: all, or with
    /// an error none.
    fn claim_handles(
        &self,
        handles: &[BlockHandle],
        check: impl Fn(BlockHandle, Word) -> Result<(), HandleError>,
    ) -> Result<(), HandleError> {
        let mut claimed = 0;
        for half in by_half_span(handles) {
            if let Err(error) = self.claim_half(half, &check) {
                self.put_back(&handles[..claimed]);
                return Err(error);
            }
            claimed += half.len();
        }
        Ok(())
    }

    /// The same with handles of one half of a span: one CAS.
    fn claim_half(
        &self,
        handles: &[BlockHandle],
        check: impl Fn(BlockHandle, Word) -> Result<(), HandleError>,
    ) -> Result<(), HandleError> {
        let first = handles[0];
        let Some(span) = self.blocks.spans.get(first.span()) else {
            return Err(HandleError::UnknownBlock { block: first.block });
        };
        let mut seen = span.owners.handed(first.bit());
        loop {
            let mut mask = 0;
            for handle in handles {
                check(*handle, span.owners.load(handle.bit()))?;
                if seen.blocks() & !mask & handle.mask() == 0 {
                    // It is twice in the list, or just being freed.
                    return Err(HandleError::AlreadyFree { block: handle.block });
                }
                mask |= handle.mask();
            }
            match span.owners.claim_handed(seen, mask) {
                Ok(()) => return Ok(()),
                Err(now) => seen = now,
            }
        }
    }

    /// Undoes [`claim_handles`](Self::claim_handles).
    #[cold]
    fn put_back(&self, handles: &[BlockHandle]) {
        for half in by_half_span(handles) {
            let owners = &self.blocks.spans[half[0].span()].owners;
            let slot = owners.load(half[0].bit()).value();
            owners.put_back(mask_of(half));
            self.free_over(slot, half);
        }
    }

    /// Frees those handles of an agent that are of a tenure which is over: it was freed as a whole while
    /// they were not to be found.
    #[cold]
    pub(super) fn free_over(&self, slot: u32, handles: &[BlockHandle]) {
        let now = self.accounts.tag_now(slot);
        for half in by_half_span(handles) {
            self.free_handles(slot, half, |word| word.tag() != now);
        }
    }

    /// Frees handles of a half span that are not charged, as far as `which` says so and nobody else has.
    #[cold]
    fn free_handles(&self, slot: u32, handles: &[BlockHandle], which: impl Fn(Word) -> bool) {
        let owners = &self.blocks.spans[handles[0].span()].owners;
        let mut seen = owners.handed(handles[0].bit());
        let mask = loop {
            let theirs = |handle: &&BlockHandle| {
                let word = owners.load(handle.bit());
                is_of(word, slot, **handle) && which(word)
            };
            let mask = handles.iter().filter(theirs).fold(0, |mask, handle| mask | handle.mask());
            match owners.claim_handed(seen, mask & seen.blocks()) {
                Ok(()) => break mask & seen.blocks(),
                Err(now) => seen = now,
            }
        };
        if mask == 0 {
            return;
        }
        let home = thread_index();
        owners.end_handed(mask, |_| {});
        self.blocks.free(handles[0].span(), mask, home);
        self.refund(slot, mask.count_ones(), home);
    }

    /// Whether a word, just read, is an agent's block in the life that the handle means; what is wrong if
    /// not.
    #[inline]
    fn check_owner(
        &self,
        agent: AgentHandle,
        handle: BlockHandle,
        word: Word,
    ) -> Result<(), HandleError> {
        if is_of(word, agent.slot(), handle) {
            Ok(())
        } else {
            Err(self.why_not_of(agent, handle, word))
        }
    }

    #[cold]
    fn why_not_of(&self, agent: AgentHandle, handle: BlockHandle, word: Word) -> HandleError {
        let block = handle.block;
        let span = &self.blocks.spans[handle.span()];
        let is_free = !span.owners.is_covered(handle.bit()) && !self.is_in_range(handle.span());
        let lives_ago = word.generation().wrapping_sub(handle.generation);
        match word.kind() {
            _ if block.0 >= self.permits.total() => HandleError::UnknownBlock { block },
            // Not yet: a generation that this block has not reached.
            _ if lives_ago > u32::MAX / 2 => HandleError::UnknownBlock { block },
            _ if lives_ago > 0 && is_free => HandleError::AlreadyFree { block },
            _ if lives_ago > 0 => HandleError::Stale { block },
            Kind::Handed if word.value() != agent.slot() => HandleError::NotOwner { block },
            // The block lives in this generation, but in a lease: it has no handle.
            _ => HandleError::UnknownBlock { block },
        }
    }

    /// Whether a whole span belongs to a range that begins in an earlier one.
    fn is_in_range(&self, span: usize) -> bool {
        (1..MAX_RANGE as usize)
            .take_while(|back| *back <= span)
            .any(|back| self.blocks.spans[span - back].owners.range() > back as u32)
    }
}

/// Whether a word says that a slot's agent has the block out under this handle.
#[inline]
fn is_of(word: Word, slot: u32, handle: BlockHandle) -> bool {
    word.kind() == Kind::Handed && word.value() == slot && word.generation() == handle.generation
}
