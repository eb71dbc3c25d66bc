//! Accounts: which agents there are, and how many blocks each one has.
//!
//! A slot's word holds its generation, its tenure, whether it is open, and the blocks charged to it. One
//! CAS checks the handle and charges, so a handle of an agent that has left is refused without a race.
//!
//! # Tenures
//!
//! Freeing an agent as a whole is one step: a CAS that begins a new *tenure* of the account, with no
//! blocks. Whatever was charged in an earlier tenure is dead from that instant on; walking over the owner
//! words to free it comes after, and cannot take the agent's new blocks for old ones, because owner words
//! carry the tag of their tenure. Closing an account is the same, with the agent's generation ended too:
//! the slot's next agent begins with a tenure of its own.
//!
//! An operation that writes owner words (an allocation, a transfer, a lease that regroups) ends with a
//! read-modify-write of the account's word that wants the tenure in which it began
//! ([`charge`](Accounts::charge), [`is_over`](Accounts::is_over)). Either it comes first, and the walk
//! sees all that was written; or the new tenure came first, and the operation takes back what it wrote.
//! No fence is needed, because both change one word.

use super::span::{FreeBits, SPAN_BLOCKS};
use crate::sync::{AtomicU64, AtomicUsize, Ordering};

/// An agent's slot in a pool and the generation in which it got it. `Copy`, for hot paths; a handle of
/// an agent that has left is refused by every operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AgentHandle {
    slot: u32,
    generation: u32,
}

impl AgentHandle {
    pub(super) fn slot(self) -> u32 {
        self.slot
    }
}

/// An agent between two [`free_agent`](super::BlockPool::free_agent): its slot and the number of them so
/// far, modulo 8,192.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tenure {
    slot: u32,
    number: u32,
}

impl Tenure {
    /// Bits of a tenure's number that an owner word has room for.
    pub(super) const TAG_BITS: u32 = 5;
    const TAGS: u32 = 1 << Self::TAG_BITS;

    #[inline]
    pub(super) fn slot(self) -> u32 {
        self.slot
    }

    /// What an owner word keeps of the number.
    #[inline]
    pub(super) fn tag(self) -> u32 {
        self.number % Self::TAGS
    }

    /// Whether a tag is of an earlier tenure than this, as long as no more than half the tags have been
    /// used since.
    pub(super) fn is_after(self, tag: u32) -> bool {
        (1..Self::TAGS / 2).contains(&(self.tag().wrapping_sub(tag) % Self::TAGS))
    }

    #[cfg(all(test, not(latchless_loom)))]
    pub(super) fn of(slot: u32, number: u32) -> Self {
        Self { slot, number }
    }
}

const USED_BITS: u32 = 25;
const TENURE_BITS: u32 = 13;
const GENERATION_BITS: u32 = 25;
const _: () = assert!(USED_BITS + 1 + TENURE_BITS + GENERATION_BITS == 64);

/// `generation (25) | tenure (13) | open (1) | blocks (25)`.
#[derive(Clone, Copy)]
struct Word(u64);

impl Word {
    const USED: u64 = (1 << USED_BITS) - 1;
    const OPEN: u64 = 1 << USED_BITS;
    const ONE_TENURE: u64 = Self::OPEN << 1;
    const TENURE: u64 = ((1 << TENURE_BITS) - 1) * Self::ONE_TENURE;
    const ONE_GENERATION: u64 = 1 << (64 - GENERATION_BITS);

    fn used(self) -> u32 {
        (self.0 & Self::USED) as u32
    }

    fn tenure(self) -> u32 {
        ((self.0 & Self::TENURE) / Self::ONE_TENURE) as u32
    }

    fn generation(self) -> u32 {
        (self.0 / Self::ONE_GENERATION) as u32
    }

    fn is_open_for(self, agent: AgentHandle) -> bool {
        self.0 & Self::OPEN != 0 && self.generation() == agent.generation
    }

    /// The next tenure, without blocks.
    fn swept(self) -> Self {
        let next = (self.0 & Self::TENURE).wrapping_add(Self::ONE_TENURE) & Self::TENURE;
        Self(self.0 & !Self::TENURE & !Self::USED | next)
    }

    /// Vacant, for the next generation and in the next tenure.
    fn closed(self) -> Self {
        Self((self.swept().0 & !Self::OPEN).wrapping_add(Self::ONE_GENERATION))
    }
}

/// One agent's line.
#[derive(Debug)]
#[repr(align(64))]
struct Account(AtomicU64);

#[derive(Debug)]
pub(super) struct Accounts {
    slots: Box<[Account]>,
    vacant: Box<[FreeBits]>,
    /// Where the last vacant slot was found: a hint.
    cursor: AtomicUsize,
}

/// Why a charge was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotCharged {
    /// The agent has left.
    NoSuchAgent,
    /// The agent was freed as a whole since the tenure was read.
    TenureOver,
}

impl Accounts {
    pub(super) fn new(agents: u32) -> Self {
        Self {
            slots: (0..agents).map(|_| Account(AtomicU64::new(0))).collect(),
            vacant: (0..agents.div_ceil(SPAN_BLOCKS))
                .map(|i| FreeBits::new((agents - i * SPAN_BLOCKS).min(SPAN_BLOCKS)))
                .collect(),
            cursor: AtomicUsize::new(0),
        }
    }

    pub(super) fn slots(&self) -> u32 {
        self.slots.len() as u32
    }

    /// An account for a new agent; `None` when all are taken.
    pub(super) fn open(&self) -> Option<AgentHandle> {
        // Relaxed: a hint.
        let from = self.cursor.load(Ordering::Relaxed);
        let words = self.vacant.len();
        let (at, bit) = (0..words).map(|i| (from + i) % words).find_map(|at| {
            let mask = self.vacant[at].claim_up_to(1);
            (mask != 0).then(|| (at, mask.trailing_zeros()))
        })?;
        self.cursor.store(at, Ordering::Relaxed);
        let slot = at as u32 * SPAN_BLOCKS + bit;
        // The bit is ours, so nobody else opens the account.
        let vacant = Word(self.slots[slot as usize].0.fetch_or(Word::OPEN, Ordering::AcqRel));
        Some(AgentHandle { slot, generation: vacant.generation() })
    }

    /// Begins a new tenure of an agent and returns it with the blocks of the last one.
    pub(super) fn sweep(&self, agent: AgentHandle) -> Option<(Tenure, u32)> {
        self.end_tenure(agent, Word::swept)
    }

    /// Ends an agent; the same as a [`sweep`](Self::sweep) otherwise. The caller frees its blocks and
    /// then [vacates](Self::vacate) the slot.
    pub(super) fn close(&self, agent: AgentHandle) -> Option<(Tenure, u32)> {
        self.end_tenure(agent, Word::closed)
    }

    fn end_tenure(&self, agent: AgentHandle, next: fn(Word) -> Word) -> Option<(Tenure, u32)> {
        let before = self.change_if(agent, |now| now.is_open_for(agent), next).ok()?;
        Some((Tenure { slot: agent.slot, number: next(before).tenure() }, before.used()))
    }

    /// Makes the slot of a closed agent ready for the next one.
    pub(super) fn vacate(&self, slot: u32) {
        self.vacant[(slot / SPAN_BLOCKS) as usize].free(1 << (slot % SPAN_BLOCKS));
    }

    /// The tenure of an agent now; `None` for an agent that is not there.
    #[inline]
    pub(super) fn tenure(&self, agent: AgentHandle) -> Option<Tenure> {
        let now = self.load(agent)?;
        Some(Tenure { slot: agent.slot, number: now.tenure() })
    }

    /// Blocks charged to an agent; `None` when it is not there.
    pub(super) fn used(&self, agent: AgentHandle) -> Option<u32> {
        self.load(agent).map(Word::used)
    }

    /// The agent that has this slot now, if any.
    pub(super) fn at(&self, slot: u32) -> Option<AgentHandle> {
        let now = Word(self.slots[slot as usize].0.load(Ordering::Acquire));
        let agent = AgentHandle { slot, generation: now.generation() };
        now.is_open_for(agent).then_some(agent)
    }

    /// Charges `n` blocks, whose owner words are written, to the tenure in which that was begun.
    #[inline]
    pub(super) fn charge(
        &self,
        agent: AgentHandle,
        tenure: Tenure,
        n: u32,
    ) -> Result<(), NotCharged> {
        let condition = |now: Word| now.is_open_for(agent) && now.tenure() == tenure.number;
        match self.change_if(agent, condition, |now| Word(now.0 + u64::from(n))) {
            Ok(_) => Ok(()),
            Err(Some(now)) if now.is_open_for(agent) => Err(NotCharged::TenureOver),
            Err(_) => Err(NotCharged::NoSuchAgent),
        }
    }

    /// Takes a charge of a tenure back: nothing to do when that is over.
    #[inline]
    pub(super) fn uncharge(&self, tenure: Tenure, n: u32) {
        self.uncharge_if(tenure.slot, n, |now| now.tenure() == tenure.number);
    }

    /// The same for blocks of which only the [tag](Tenure::tag) is known.
    pub(super) fn uncharge_tag(&self, slot: u32, tag: u32, n: u32) {
        self.uncharge_if(slot, n, |now| now.tenure() % Tenure::TAGS == tag);
    }

    #[inline]
    fn uncharge_if(&self, slot: u32, n: u32, same_tenure: impl Fn(Word) -> bool) {
        let word = &self.slots[slot as usize].0;
        let mut now = Word(word.load(Ordering::Acquire));
        // The counts are compared for a tenure whose number has come round again: nothing of it is
        // charged any more.
        while same_tenure(now) && now.used() >= n {
            let next = now.0 - u64::from(n);
            match word.compare_exchange(now.0, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(other) => now = Word(other),
            }
        }
    }

    /// Whether a tenure has ended, asked after its owner words were changed.
    pub(super) fn is_over(&self, tenure: Tenure) -> bool {
        // A read-modify-write that changes nothing: see "Tenures" above.
        let word = &self.slots[tenure.slot as usize].0;
        Word(word.fetch_or(0, Ordering::AcqRel)).tenure() != tenure.number
    }

    /// Whether the walk that follows the begin of this tenure may still judge words by their tags: at
    /// most a quarter of the tags have been used since.
    pub(super) fn can_judge(&self, tenure: Tenure) -> bool {
        let now = Word(self.slots[tenure.slot as usize].0.load(Ordering::Acquire)).tenure();
        now.wrapping_sub(tenure.number) % (1 << TENURE_BITS) < Tenure::TAGS / 4
    }

    #[inline]
    fn load(&self, agent: AgentHandle) -> Option<Word> {
        let now = Word(self.slots.get(agent.slot as usize)?.0.load(Ordering::Acquire));
        now.is_open_for(agent).then_some(now)
    }

    /// Changes the word while `condition` holds and returns what it was; else what it is.
    #[inline]
    fn change_if(
        &self,
        agent: AgentHandle,
        condition: impl Fn(Word) -> bool,
        next: impl Fn(Word) -> Word,
    ) -> Result<Word, Option<Word>> {
        let word = &self.slots.get(agent.slot as usize).ok_or(None)?.0;
        let mut now = Word(word.load(Ordering::Acquire));
        while condition(now) {
            // AcqRel: what was written before a charge is seen by whoever ends the tenure after it.
            match word.compare_exchange(now.0, next(now).0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(now),
                Err(other) => now = Word(other),
            }
        }
        Err(Some(now))
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_handle_ends_with_its_account() {
        let accounts = Accounts::new(1);
        let first = accounts.open().unwrap();
        let tenure = accounts.tenure(first).unwrap();
        assert_eq!(accounts.open(), None);
        accounts.charge(first, tenure, 3).unwrap();
        assert_eq!(accounts.close(first).map(|(_, had)| had), Some(3));
        assert_eq!(accounts.open(), None, "closed, and not yet vacated");
        accounts.vacate(first.slot);
        let second = accounts.open().unwrap();
        assert_eq!(second.slot, first.slot);
        assert_ne!(second, first);
        assert_eq!(accounts.charge(first, tenure, 1), Err(NotCharged::NoSuchAgent));
        assert_eq!(accounts.close(first), None);
        assert_eq!((accounts.used(first), accounts.used(second)), (None, Some(0)));
        accounts.uncharge(tenure, 3);
        assert_eq!(accounts.used(second), Some(0), "the first agent's blocks are not the second's");
    }

    #[test]
    fn every_slot_is_given_once() {
        let accounts = Accounts::new(130);
        let mut slots: Vec<_> =
            std::iter::from_fn(|| accounts.open()).map(|agent| agent.slot).collect();
        slots.sort_unstable();
        assert_eq!(slots, (0..130).collect::<Vec<_>>());
    }

    #[test]
    fn a_sweep_ends_the_tenure_and_its_charges() {
        let accounts = Accounts::new(1);
        let agent = accounts.open().unwrap();
        let first = accounts.tenure(agent).unwrap();
        accounts.charge(agent, first, 7).unwrap();
        let (second, had) = accounts.sweep(agent).unwrap();
        assert_eq!((had, accounts.used(agent)), (7, Some(0)));
        assert!(accounts.is_over(first) && !accounts.is_over(second));
        assert!(second.is_after(first.tag()) && !second.is_after(second.tag()));
        assert_eq!(accounts.charge(agent, first, 1), Err(NotCharged::TenureOver));
        accounts.charge(agent, second, 2).unwrap();
        accounts.uncharge(first, 7);
        assert_eq!(accounts.used(agent), Some(2), "an old charge is not the new tenure's");
    }

    #[test]
    fn tenures_wrap_without_touching_their_neighbours() {
        let accounts = Accounts::new(1);
        let agent = accounts.open().unwrap();
        let first = accounts.tenure(agent).unwrap();
        for _ in 0..1 << TENURE_BITS {
            assert!(accounts.sweep(agent).is_some());
        }
        assert!(!accounts.is_over(first));
        assert_eq!(accounts.used(agent), Some(0));
        accounts.uncharge(first, 7);
        assert_eq!(accounts.used(agent), Some(0), "nothing is charged in a number that came again");
        let old = Tenure::of(0, 8_191);
        assert!(first.is_after(old.tag()) && !old.is_after(first.tag()));
    }
}
