//! Claiming what is out under handles: the first phase of a free, which can still be undone.

use smallvec::SmallVec;

use super::super::BlockPool;
use super::super::accounts::{AgentHandle, Tenure};
use super::super::error::HandleError;
use super::super::owners::{Kind, MAX_RANGE, Seen, Word};
use super::BlockHandle;
use super::list::{Half, halves};
use crate::mutant::mutant;
use crate::sync::thread_index;

/// Which tenures claimed blocks may be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// The one that was read before.
    This,
    /// That, or one that is over.
    ThisOrEarlier,
}

impl BlockPool {
    /// Claims the blocks of an agent's handles, which are in order: all, or with an error none. Its slot was in
    /// `tenure` before.
    #[inline]
    pub(super) fn claim_handles(
        &self,
        agent: AgentHandle,
        handles: &[BlockHandle],
        tenure: Tenure,
        of: Of,
    ) -> Result<(), HandleError> {
        let tag = (of == Of::This).then(|| tenure.tag());
        let mut claimed = 0;
        for half in halves(handles) {
            if let Err(error) = self.claim_half(agent, half, tag) {
                if !mutant("handles.refused-in-part") {
                    self.put_back(&handles[..claimed], tenure);
                }
                return Err(error);
            }
            claimed += half.handles.len();
        }
        Ok(())
    }

    /// The same with the handles of one half of a span: one CAS.
    #[inline]
    fn claim_half(
        &self,
        agent: AgentHandle,
        half: Half<'_>,
        tag: Option<u32>,
    ) -> Result<(), HandleError> {
        let Some(span) = self.blocks.spans.get(half.span()) else {
            return Err(HandleError::UnknownBlock { block: half.handles[0].block });
        };
        let mut seen = span.owners.handed(half.first_bit());
        loop {
            let good = |handle: &BlockHandle| {
                let word = span.owners.load(handle.bit());
                let theirs = Word::handed(agent.slot(), handle.generation);
                match tag {
                    None => word.untagged() == theirs,
                    Some(tag) => word == theirs.tagged(tag),
                }
            };
            // Every one is looked at: there is as good as never a bad one.
            let good = half.handles.iter().fold(true, |all, handle| all & good(handle));
            let each_once = half.mask.count_ones() as usize == half.handles.len();
            if !good || !each_once || half.mask & !seen.blocks() != 0 {
                return Err(self.first_bad(agent, half, tag, seen));
            }
            match span.owners.claim_handed(seen, half.mask) {
                Ok(()) => return Ok(()),
                Err(now) => seen = now,
            }
        }
    }

    /// What is wrong with these handles, of which one or another was not good a moment ago.
    #[cold]
    fn first_bad(
        &self,
        agent: AgentHandle,
        half: Half<'_>,
        tag: Option<u32>,
        seen: Seen,
    ) -> HandleError {
        let owners = &self.blocks.spans[half.span()].owners;
        let mut out = seen.blocks();
        let mut in_order: SmallVec<[BlockHandle; 64]> = half.handles.into();
        in_order.sort_unstable_by_key(|handle| handle.block);
        for handle in &in_order {
            let (block, word) = (handle.block, owners.load(handle.bit()));
            if !is_of(word, agent.slot(), *handle) {
                return self.why_not_of(agent, *handle, word);
            }
            if tag.is_some_and(|tag| word.tag() != tag) {
                return HandleError::Stale { block };
            }
            if out & handle.mask() == 0 {
                // It is twice in the list, or just being freed.
                return HandleError::AlreadyFree { block };
            }
            out &= !handle.mask();
        }
        // What was wrong was another thread's doing and is undone already.
        HandleError::AlreadyFree { block: in_order[0].block }
    }

    /// Undoes [`claim_handles`](Self::claim_handles).
    #[cold]
    pub(super) fn put_back(&self, handles: &[BlockHandle], tenure: Tenure) {
        for half in halves(handles) {
            self.blocks.spans[half.span()].owners.put_back(half.mask);
            if !mutant("handles.put-back-unwatched") {
                self.free_over(tenure, half.handles);
            }
        }
    }

    /// Frees those handles of `tenure`, or of earlier ones, that are of one which is over: the agent was freed as
    /// a whole while they were not to be found.
    #[cold]
    pub(in super::super) fn free_over(&self, tenure: Tenure, handles: &[BlockHandle]) {
        let over = self.accounts.is_over(tenure);
        for half in halves(handles) {
            self.free_half(tenure.slot(), half, |word| over || word.tag() != tenure.tag());
        }
    }

    /// Frees handles of a half span that are not charged, as far as `which` says so and nobody else has.
    #[cold]
    pub(super) fn free_half(&self, slot: u32, half: Half<'_>, which: impl Fn(Word) -> bool) {
        let owners = &self.blocks.spans[half.span()].owners;
        let mut seen = owners.handed(half.first_bit());
        let mask = loop {
            let theirs = |handle: &&BlockHandle| {
                let word = owners.load(handle.bit());
                is_of(word, slot, **handle) && which(word)
            };
            let theirs = half.handles.iter().filter(theirs);
            let mask = seen.blocks() & theirs.fold(0, |mask, handle| mask | handle.mask());
            if mask == 0 {
                return;
            }
            match owners.claim_handed(seen, mask) {
                Ok(()) => break mask,
                Err(now) => seen = now,
            }
        };
        let home = thread_index();
        owners.end_handed(mask, |_| ());
        self.blocks.free(half.span(), mask, home);
        self.refund(slot, mask.count_ones(), home);
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
    word.untagged() == Word::handed(slot, handle.generation)
}
