//! The words of an account: who an agent is, which of its tenures it is in, and what it has.

use crate::mutant::mutant;

/// An agent's slot in a pool and the generation in which it got it. `Copy`, for hot paths; a handle of
/// an agent that has left is refused by every operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AgentHandle {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

impl AgentHandle {
    /// Its slot, below the pool's [`max_agents`](crate::BlockPool::max_agents): an index for what a host
    /// keeps beside each agent. Another agent may get it when this one has left.
    pub fn slot(self) -> u32 {
        self.slot
    }

    /// The handle as a number, good across a C boundary.
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    /// The handle of a number; one that was made up is refused where it is used.
    pub fn from_bits(bits: u64) -> Self {
        Self { slot: bits as u32, generation: (bits >> 32) as u32 }
    }

    /// Whether this is the agent `other`, or has its slot after it. Generations wrap: the other half of
    /// them counts as earlier.
    pub(crate) fn is_or_follows(self, other: Self) -> bool {
        let ahead = self.generation.wrapping_sub(other.generation) % (1 << GENERATION_BITS);
        self.slot == other.slot && ahead < 1 << (GENERATION_BITS - 1)
    }
}

/// An agent between two [`free_agent`](crate::BlockPool::free_agent) that took something from it: its slot, and
/// beside its generation (19 bits of it) the number of them so far, modulo 8,192.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) struct Tenure {
    pub(super) slot: u32,
    pub(super) number: u32,
}

impl Tenure {
    /// Bits of a tenure's number that an owner word has room for.
    pub(in crate::pool) const TAG_BITS: u32 = 5;
    pub(super) const TAGS: u32 = 1 << Self::TAG_BITS;

    /// Of a lease that has no blocks.
    #[inline]
    pub(in crate::pool) fn none(agent: AgentHandle) -> Self {
        Self { slot: agent.slot, number: 0 }
    }

    /// Whether it is the one that an account's word is in.
    #[inline]
    pub(super) fn is(self, now: Word) -> bool {
        now.tenure() == self.number
            || mutant("accounts.tenure-by-tag") && now.tenure() % Self::TAGS == self.tag()
    }

    #[inline]
    pub(in crate::pool) fn slot(self) -> u32 {
        self.slot
    }

    /// What an owner word keeps of the number. It tells tenures apart that words can be of at one time, and no
    /// more: another one with the same tag may have begun since a word, or a tag, was read.
    #[inline]
    pub(in crate::pool) fn tag(self) -> u32 {
        self.number % Self::TAGS
    }

    /// Whether a tag is of an earlier tenure than this, as long as no more than half the tags have been
    /// used since.
    pub(in crate::pool) fn is_after(self, tag: u32) -> bool {
        (1..Self::TAGS / 2).contains(&(self.tag().wrapping_sub(tag) % Self::TAGS))
    }

    #[cfg(all(test, not(latchless_loom)))]
    pub(in crate::pool) fn of(slot: u32, number: u32) -> Self {
        Self { slot, number }
    }
}

const USED_BITS: u32 = 25;
const LIMITS_BITS: u32 = 4;
pub(super) const TENURE_BITS: u32 = 13;
const GENERATION_BITS: u32 = 21;
const _: () = assert!(USED_BITS + 1 + LIMITS_BITS + TENURE_BITS + GENERATION_BITS == 64);

/// `generation (21) | tenure (13) | limits (4) | open (1) | blocks (25)`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

impl Word {
    pub(super) const USED: u64 = (1 << USED_BITS) - 1;
    pub(super) const OPEN: u64 = 1 << USED_BITS;
    const ONE_LIMIT: u64 = Self::OPEN << 1;
    const LIMITS: u64 = ((1 << LIMITS_BITS) - 1) * Self::ONE_LIMIT;
    const ONE_TENURE: u64 = Self::ONE_LIMIT << LIMITS_BITS;
    const TENURE: u64 = ((1 << TENURE_BITS) - 1) * Self::ONE_TENURE;
    const ONE_GENERATION: u64 = 1 << (64 - GENERATION_BITS);

    pub(super) fn used(self) -> u32 {
        (self.0 & Self::USED) as u32
    }

    /// The [number](Tenure) of the tenure, with the generation above it.
    pub(super) fn tenure(self) -> u32 {
        (self.0 / Self::ONE_TENURE) as u32
    }

    pub(super) fn generation(self) -> u32 {
        (self.0 / Self::ONE_GENERATION) as u32
    }

    pub(super) fn is_open_for(self, agent: AgentHandle) -> bool {
        self.0 & Self::OPEN != 0
            && (self.generation() == agent.generation || mutant("accounts.any-generation"))
    }

    /// Whether the agent's limits were ever set.
    #[inline]
    pub(super) fn is_limited(self) -> bool {
        self.0 & Self::LIMITS != 0
    }

    /// The limits were set once more: 1 to 15, and round again.
    pub(super) fn limited(self) -> Self {
        let most = self.0 & Self::LIMITS == Self::LIMITS;
        let count = if most { 0 } else { self.0 & Self::LIMITS };
        Self(self.0 & !Self::LIMITS | (count + Self::ONE_LIMIT))
    }

    /// The next tenure, without blocks. One without blocks already goes on: a number for which nobody walks over
    /// the owner words would age what a walk that is under way has not come to yet.
    pub(super) fn swept(self) -> Self {
        if self.used() == 0 && !mutant("accounts.empty-tenures-end") {
            return self;
        }
        let next = (self.0 & Self::TENURE).wrapping_add(Self::ONE_TENURE) & Self::TENURE;
        Self(self.0 & !Self::TENURE & !Self::USED | next)
    }

    /// Vacant and [swept](Self::swept), for the next generation, without limits.
    pub(super) fn closed(self) -> Self {
        let vacant = self.swept().0 & !Self::OPEN & !Self::LIMITS;
        Self(vacant.wrapping_add(Self::ONE_GENERATION))
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_handle_goes_through_a_number() {
        let agent = AgentHandle { slot: 7, generation: 9 };
        assert_eq!(AgentHandle::from_bits(agent.to_bits()), agent);
        assert_eq!(agent.to_bits(), 9 << 32 | 7);
    }

    #[test]
    fn agents_of_a_slot_follow_each_other() {
        let of = |slot, generation| AgentHandle { slot, generation };
        let last = (1 << GENERATION_BITS) - 1;
        assert!(of(3, 5).is_or_follows(of(3, 5)) && of(3, 6).is_or_follows(of(3, 5)));
        assert!(!of(3, 5).is_or_follows(of(3, 6)) && !of(4, 6).is_or_follows(of(3, 5)));
        assert!(of(3, 0).is_or_follows(of(3, last)) && !of(3, last).is_or_follows(of(3, 0)));
    }
}
