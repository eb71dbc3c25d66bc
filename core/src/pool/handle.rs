//! Handles: blocks by number, for owners who cannot hold a lease.

use smallvec::SmallVec;

use super::BlockPool;
use super::accounts::AgentHandle;
use super::error::FreeError;
use super::owners::{Kind, MAX_RANGE, Word};
use super::span::SPAN_BLOCKS;
use crate::id::BlockId;
use crate::sync::thread_index;

/// A block and the life of it that is meant: 8 bytes, `Copy`, good across a C boundary. It comes from
/// [`Lease::into_handles`](super::Lease::into_handles).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockHandle {
    block: BlockId,
    generation: u32,
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
}

impl BlockPool {
    /// Frees blocks by their handles: all of them, or with an error none. Returns how many.
    ///
    /// The blocks are first claimed one by one and freed only when all are claimed. Of two threads that
    /// free the same handle at once, one is told [`FreeError::AlreadyFree`]; when the other then fails
    /// for another handle of its list, it gives the block back unfreed, and the caller that was refused
    /// may try again.
    ///
    /// # Errors
    /// [`FreeError`], about the first bad handle in the order of blocks; nothing is freed then.
    pub fn free(&self, agent: AgentHandle, handles: &[BlockHandle]) -> Result<u32, FreeError> {
        // In the order of blocks, so that two callers with the same blocks collide at the first one.
        let mut handles: SmallVec<[BlockHandle; 64]> = handles.into();
        handles.sort_unstable_by_key(|handle| handle.block);
        let mut claimed: SmallVec<[Word; 64]> = SmallVec::new();
        for handle in &handles {
            match self.claim_handle(agent, *handle) {
                Ok(word) => claimed.push(word),
                Err(error) => {
                    for (handle, word) in handles.iter().zip(claimed) {
                        self.blocks.spans[handle.span()].owners.unclaim(handle.bit(), word);
                    }
                    return Err(error);
                }
            }
        }
        let home = thread_index();
        let (mut freed, mut limited) = (0, false);
        let of_one_span = |a: &(BlockHandle, Word), b: &(BlockHandle, Word)| {
            (a.0.span(), a.1.tag()) == (b.0.span(), b.1.tag())
        };
        let claimed: SmallVec<[_; 64]> = handles.into_iter().zip(claimed).collect();
        for group in claimed.chunk_by(of_one_span) {
            let (span, tag) = (group[0].0.span(), group[0].1.tag());
            let owners = &self.blocks.spans[span].owners;
            // A block is lost only to somebody who frees the whole agent, and counts the block there.
            let mask = group
                .iter()
                .filter(|(handle, word)| owners.revoke(handle.bit(), *word))
                .fold(0, |mask, (handle, _)| mask | 1 << handle.bit());
            if mask != 0 {
                self.blocks.free(span, mask, home);
                limited |= self.accounts.uncharge_tag(agent.slot(), tag, mask.count_ones());
                freed += mask.count_ones();
            }
        }
        if limited {
            self.refund(agent.slot(), freed, home);
        } else if freed > 0 {
            self.permits.release(freed, home);
        }
        Ok(freed)
    }

    /// Frees what can be freed of the handles of an agent that was freed as a whole while they were
    /// made.
    pub(super) fn release_handles(&self, slot: u32, handles: &[BlockHandle]) {
        let home = thread_index();
        for handle in handles {
            let owners = &self.blocks.spans[handle.span()].owners;
            if let Ok(word) = owners.claim(handle.bit(), slot, handle.generation)
                && owners.revoke(handle.bit(), word)
            {
                self.blocks.free(handle.span(), 1 << handle.bit(), home);
                self.refund(slot, 1, home);
            }
        }
    }

    /// Whether a whole span belongs to a range that begins in an earlier one.
    fn is_in_range(&self, span: usize) -> bool {
        (1..MAX_RANGE as usize)
            .take_while(|back| *back <= span)
            .any(|back| self.blocks.spans[span - back].owners.range() > back as u32)
    }

    fn claim_handle(&self, agent: AgentHandle, handle: BlockHandle) -> Result<Word, FreeError> {
        let block = handle.block;
        if block.0 >= self.permits.total() {
            return Err(FreeError::UnknownBlock { block });
        }
        let span = &self.blocks.spans[handle.span()];
        span.owners.claim(handle.bit(), agent.slot(), handle.generation).map_err(|word| {
            let is_free = !span.owners.is_covered(handle.bit()) && !self.is_in_range(handle.span());
            let lives_ago = word.generation().wrapping_sub(handle.generation);
            match word.kind() {
                // Not yet: a generation that this block has not reached.
                _ if lives_ago > u32::MAX / 2 => FreeError::UnknownBlock { block },
                _ if lives_ago > 0 && is_free => FreeError::AlreadyFree { block },
                _ if lives_ago > 0 => FreeError::Stale { block },
                Kind::One | Kind::Claimed if word.value() != agent.slot() => {
                    FreeError::NotOwner { block }
                }
                Kind::Claimed => FreeError::AlreadyFree { block },
                // The block lives in this generation, but in a lease: it has no handle.
                _ => FreeError::UnknownBlock { block },
            }
        })
    }
}
