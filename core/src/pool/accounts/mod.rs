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
//! A tag has 5 bits. That is enough for words: each new number is followed by a walk, and one that is overtaken
//! by so many others that tags could come round leaves what it has not come to yet to their walks. It is not enough
//! for a thread, which may be frozen for any number of tenures; so what a thread remembers is always the whole
//! number, with the generation above it.
//!
//! An operation that writes owner words (an allocation, a transfer, a lease that regroups) ends with a
//! read-modify-write of the account's word that wants the tenure in which it began
//! ([`charge`](Accounts::charge), [`is_over`](Accounts::is_over)). Either it comes first, and the walk
//! sees all that was written; or the new tenure came first, and the operation takes back what it wrote.
//! No fence is needed, because both change one word.
//!
//! # Limits
//!
//! An agent's quota and reserve (see [`limits`](super::limits)) are words of their own on the same cache
//! line. The account's word only counts how often they were set: 0 says that they never were, and that
//! there is nothing else to look at. A quota is set by changing its word and then this count, so a charge,
//! which reads the count, then the quota, and ends with a CAS of the word that it read, cannot go by a
//! quota that was replaced. The count has 4 bits: a thread would have to be frozen inside a charge for
//! exactly a multiple of 15 settings.

mod word;

pub use self::word::AgentHandle;
pub(super) use self::word::Tenure;

use self::word::{TENURE_BITS, Word};
use super::counters::{Counters, Event};
use super::limits::{NO_QUOTA, Quota, Reserve, ReserveWord};
use super::span::{FreeBits, SPAN_BLOCKS};
use crate::mutant::{mutant, weaker};
use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// One agent's line.
#[derive(Debug)]
#[repr(align(64))]
struct Account {
    word: AtomicU64,
    quota: Quota,
    reserve: Reserve,
    /// Regions of the pool in which the agent has or had blocks.
    regions: AtomicU64,
}

impl Account {
    #[inline]
    fn load(&self) -> Word {
        Word(self.word.load(weaker("accounts.seen-relaxed", Ordering::Acquire)))
    }

    /// What `n` more blocks would exceed, judged by `now`, a word just read. Err when that has changed
    /// meanwhile.
    #[inline]
    fn excess(&self, now: Word, n: u32) -> Result<Option<NotCharged>, Word> {
        if !now.is_limited() {
            // The count has 25 bits and must not run over: an agent can share with itself again and again.
            let fits = u64::from(now.used()) + u64::from(n) <= Word::USED;
            return Ok((!fits)
                .then(|| NotCharged::OverQuota { used: now.used(), quota: Word::USED as u32 }));
        }
        self.excess_of_limits(now, n)
    }

    #[cold]
    fn excess_of_limits(&self, now: Word, n: u32) -> Result<Option<NotCharged>, Word> {
        let quota = self.quota.load().min(Word::USED as u32);
        if n <= quota.saturating_sub(now.used()) {
            return Ok(None);
        }
        // The same word before and after the quota was read: both held at once.
        let again = self.load();
        if again != now && !mutant("accounts.quota-seen-once") {
            return Err(again);
        }
        Ok(Some(NotCharged::OverQuota { used: now.used(), quota }))
    }
}

/// An agent as an allocation finds it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) tenure: Tenure,
    /// Whether it has, or once had, a quota or a reserve.
    pub(super) limited: bool,
}

#[derive(Debug)]
pub(super) struct Accounts {
    slots: Box<[Account]>,
    vacant: Box<[FreeBits]>,
    /// Where the last vacant slot was found: a hint.
    cursor: AtomicUsize,
    /// Whether any agent ever had a reserve: without one nobody walks over the accounts to count them.
    reserved_once: AtomicBool,
    counters: Counters,
}

/// Why a charge was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotCharged {
    /// The agent has left.
    NoSuchAgent,
    /// The agent was freed as a whole since the tenure was read.
    TenureOver,
    /// The agent would have had more than it may.
    OverQuota {
        /// Blocks it had.
        used: u32,
        /// Blocks it may have.
        quota: u32,
    },
}

impl Accounts {
    /// Accounts for `agents` agents, with counters of `stripes` stripes.
    pub(super) fn new(agents: u32, stripes: usize) -> Self {
        Self {
            slots: (0..agents)
                .map(|_| Account {
                    word: AtomicU64::new(0),
                    quota: Quota::new(),
                    reserve: Reserve::new(),
                    regions: AtomicU64::new(0),
                })
                .collect(),
            vacant: (0..agents.div_ceil(SPAN_BLOCKS))
                .map(|i| FreeBits::new((agents - i * SPAN_BLOCKS).min(SPAN_BLOCKS)))
                .collect(),
            cursor: AtomicUsize::new(0),
            reserved_once: AtomicBool::new(false),
            counters: Counters::new(stripes),
        }
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The word of an account that somebody else has changed.
    #[cold]
    fn lost(&self, now: u64) -> Word {
        self.counters.add(Event::AccountRetry);
        Word(now)
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
            let mask = self.vacant[at].claim_up_to(1, || self.counters.add(Event::AccountRetry));
            (mask != 0).then(|| (at, mask.trailing_zeros()))
        })?;
        self.cursor.store(at, Ordering::Relaxed);
        let slot = at as u32 * SPAN_BLOCKS + bit;
        // The bit is ours, so nobody else opens the account.
        let account = &self.slots[slot as usize];
        let generation = account.load().generation();
        if !mutant("accounts.quota-inherited") {
            account.quota.begin(generation);
        }
        // Relaxed: published by the word. What an allocation of the last agent may still add does no harm.
        account.regions.store(0, Ordering::Relaxed);
        account.word.fetch_or(Word::OPEN, Ordering::AcqRel);
        Some(AgentHandle { slot, generation })
    }

    /// Begins a new tenure of an agent and returns it with the blocks of the last one; without blocks that goes on.
    pub(super) fn sweep(&self, agent: AgentHandle) -> Option<(Tenure, u32)> {
        self.end_tenure(agent, Word::swept)
    }

    /// Ends an agent; the same as a [`sweep`](Self::sweep) otherwise. The caller frees its blocks and
    /// then [vacates](Self::vacate) the slot.
    pub(super) fn close(&self, agent: AgentHandle) -> Option<(Tenure, u32)> {
        self.end_tenure(agent, Word::closed)
    }

    fn end_tenure(&self, agent: AgentHandle, next: fn(Word) -> Word) -> Option<(Tenure, u32)> {
        let before = self.change_if(agent, |now| now.is_open_for(agent), next)?;
        Some((Tenure { slot: agent.slot, number: next(before).tenure() }, before.used()))
    }

    /// Makes the slot of a closed agent ready for the next one.
    pub(super) fn vacate(&self, slot: u32) {
        self.vacant[(slot / SPAN_BLOCKS) as usize].free(1 << (slot % SPAN_BLOCKS));
    }

    /// An agent as it is now; `None` for one that is not there.
    #[inline]
    pub(super) fn standing(&self, agent: AgentHandle) -> Option<Standing> {
        let now = self.load(agent)?;
        let tenure = Tenure { slot: agent.slot, number: now.tenure() };
        Some(Standing { tenure, limited: now.is_limited() })
    }

    /// Notes that an agent is going to be charged for blocks in these regions: a bit for each.
    #[inline]
    pub(super) fn mark(&self, slot: u32, regions: u64) {
        let Some(Account { regions: marked, .. }) = self.slots.get(slot as usize) else {
            return; // Another pool's agent: the charge refuses it.
        };
        // Relaxed: the charge that follows publishes what was read or written here, and while an agent is
        // there no bit goes.
        if marked.load(Ordering::Relaxed) & regions != regions
            && !mutant("accounts.regions-unmarked")
        {
            marked.fetch_or(regions, Ordering::Relaxed);
        }
    }

    /// Regions in which blocks may be that a tenure was charged for, asked after its end.
    pub(super) fn regions(&self, slot: u32) -> u64 {
        self.slots[slot as usize].regions.load(Ordering::Relaxed)
    }

    /// Blocks charged to an agent; `None` when it is not there.
    pub(super) fn used(&self, agent: AgentHandle) -> Option<u32> {
        self.load(agent).map(Word::used)
    }

    /// The agent that has this slot now, if any.
    pub(super) fn at(&self, slot: u32) -> Option<AgentHandle> {
        let now = self.slots[slot as usize].load();
        let agent = AgentHandle { slot, generation: now.generation() };
        now.is_open_for(agent).then_some(agent)
    }

    /// Charges `n` blocks, whose owner words are written, to the tenure in which that was begun. Its CAS
    /// is the instant at which they are the agent's, and it never takes the agent over its quota.
    #[inline]
    pub(super) fn charge(
        &self,
        agent: AgentHandle,
        tenure: Tenure,
        n: u32,
    ) -> Result<(), NotCharged> {
        let account = self.slots.get(agent.slot as usize).ok_or(NotCharged::NoSuchAgent)?;
        let mut now = account.load();
        loop {
            if !now.is_open_for(agent) {
                return Err(NotCharged::NoSuchAgent);
            }
            if now.tenure() != tenure.number && !mutant("accounts.charge-any-tenure") {
                return Err(NotCharged::TenureOver);
            }
            match account.excess(now, n) {
                Ok(None) => {}
                Ok(Some(excess)) => return Err(excess),
                Err(other) => {
                    now = other;
                    continue;
                }
            }
            let next = now.0 + u64::from(n);
            // AcqRel: what was written before a charge is seen by whoever ends the tenure after it.
            match account.word.compare_exchange(now.0, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(()),
                Err(other) => now = self.lost(other),
            }
        }
    }

    /// Whether `n` more blocks could be charged to an agent now: asked before anything is taken for it.
    pub(super) fn check_quota(&self, agent: AgentHandle, n: u32) -> Result<(), NotCharged> {
        loop {
            let now = self.load(agent).ok_or(NotCharged::NoSuchAgent)?;
            match self.slots[agent.slot as usize].excess(now, n) {
                Ok(None) => return Ok(()),
                Ok(Some(excess)) => return Err(excess),
                Err(_) => {}
            }
        }
    }

    /// Takes a charge of a tenure back: nothing to do when that is over. True when the agent has limits,
    /// also when its tenure is over: its reserve may be waiting for the permits.
    #[inline]
    pub(super) fn uncharge(&self, tenure: Tenure, n: u32) -> bool {
        let account = &self.slots[tenure.slot as usize];
        let mut now = account.load();
        // The counts are compared for a tenure whose number has come round again: nothing of it is
        // charged any more.
        while (tenure.is(now) || mutant("accounts.uncharge-any-tenure")) && now.used() >= n {
            let next = now.0 - u64::from(n);
            match account.word.compare_exchange(now.0, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(other) => now = self.lost(other),
            }
        }
        now.is_limited()
    }

    /// Whether a tenure has ended, asked after its owner words were changed.
    pub(super) fn is_over(&self, tenure: Tenure) -> bool {
        // A read-modify-write that changes nothing: see "Tenures" above.
        let word = &self.slots[tenure.slot as usize].word;
        let now = if mutant("accounts.end-looked-at") {
            word.load(Ordering::Relaxed)
        } else {
            word.fetch_or(0, Ordering::AcqRel)
        };
        !tenure.is(Word(now))
    }

    /// The tenure that a slot is in, whoever has it; of a slot that there is not, one that nothing is of.
    #[inline]
    pub(super) fn tenure(&self, slot: u32) -> Tenure {
        let number = self.slots.get(slot as usize).map_or(0, |account| account.load().tenure());
        Tenure { slot, number }
    }

    /// Whether the walk that follows the begin of this tenure may still judge words by their tags: at
    /// most a quarter of the tags have been used since.
    pub(super) fn can_judge(&self, tenure: Tenure) -> bool {
        let now = self.slots[tenure.slot as usize].load().tenure();
        now.wrapping_sub(tenure.number) % (1 << TENURE_BITS) < Tenure::TAGS / 4
    }

    /// Sets the most blocks that an agent may have; false when it is not there.
    pub(super) fn set_quota(&self, agent: AgentHandle, blocks: u32) -> bool {
        self.load(agent).is_some()
            && self.slots[agent.slot as usize].quota.set(agent.generation, blocks)
            && (mutant("accounts.quota-unannounced") || self.announce_limits(agent))
    }

    /// Says that an agent's limits were set; false when it is not there.
    pub(super) fn announce_limits(&self, agent: AgentHandle) -> bool {
        self.change_if(agent, |now| now.is_open_for(agent), Word::limited).is_some()
    }

    /// The most blocks that an agent may have, [`NO_QUOTA`] for any number; `None` for an agent that is
    /// not there.
    pub(super) fn quota(&self, agent: AgentHandle) -> Option<u32> {
        let quota = self.slots.get(agent.slot as usize)?.quota.load();
        // After the quota: what was read is this agent's.
        self.load(agent).map(|now| if now.is_limited() { quota } else { NO_QUOTA })
    }

    /// Whether blocks of this slot's agent may be missing in a reserve.
    pub(super) fn is_limited(&self, slot: u32) -> bool {
        self.slots[slot as usize].load().is_limited()
    }

    /// The reserve of a slot, whoever has it.
    pub(super) fn reserve(&self, slot: u32) -> &Reserve {
        &self.slots[slot as usize].reserve
    }

    /// What an agent's reserve has; `None` for an agent that is not there. A change from this word
    /// succeeds only while the agent's reserve is what it was, and so before
    /// [`dissolve_reserve`](Self::dissolve_reserve).
    pub(super) fn reserve_of(&self, agent: AgentHandle) -> Option<ReserveWord> {
        let reserve = self.slots.get(agent.slot as usize)?.reserve.load();
        // After the reserve, which is dissolved after the account is closed: if what was read came after
        // that, the account is seen closed.
        self.load(agent).map(|_| reserve)
    }

    /// Ends the reserve of a closed account and returns the permits that were in it.
    pub(super) fn dissolve_reserve(&self, slot: u32) -> u32 {
        // Also when there is none: the new stamp stops whoever is about to set one.
        self.reserve(slot).update(|now| now.with(0, 0)).free()
    }

    /// Makes [`reserved`](Self::reserved) count from now on.
    pub(super) fn expect_reserves(&self) {
        // Relaxed: published with the first reserve; whoever does not see that misses it either way.
        self.reserved_once.store(true, Ordering::Relaxed);
    }

    /// Slots and their permits in reserve, of those that have any; read one after another.
    pub(super) fn reserved(&self) -> impl Iterator<Item = (u32, u32)> {
        let slots = if self.reserved_once.load(Ordering::Relaxed) { self.slots() } else { 0 };
        let reserved = (0..slots).map(|slot| (slot, self.reserve(slot).load().free()));
        reserved.filter(|(_, free)| *free > 0)
    }

    #[inline]
    fn load(&self, agent: AgentHandle) -> Option<Word> {
        let now = self.slots.get(agent.slot as usize)?.load();
        now.is_open_for(agent).then_some(now)
    }

    /// Changes the word while `condition` holds and returns what it was.
    fn change_if(
        &self,
        agent: AgentHandle,
        condition: impl Fn(Word) -> bool,
        next: impl Fn(Word) -> Word,
    ) -> Option<Word> {
        let word = &self.slots.get(agent.slot as usize)?.word;
        let mut now = Word(word.load(Ordering::Acquire));
        while condition(now) {
            match word.compare_exchange(now.0, next(now).0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(now),
                Err(other) => now = self.lost(other),
            }
        }
        None
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;

    /// Another thread charges the account between the look and the swap of a change, twice.
    #[test]
    fn who_was_overtaken_is_counted() {
        let accounts = Accounts::new(1, 2);
        let agent = accounts.open().unwrap();
        let tenure = accounts.standing(agent).unwrap().tenure;
        let retries = || (0..2).map(|i| accounts.counters.load(i, Event::AccountRetry)).sum();
        assert_eq!(accounts.charge(agent, tenure, 1).map(|()| retries()), Ok(0_u64));
        let charged_meanwhile = |now: Word| {
            if now.used() < 3 {
                accounts.charge(agent, tenure, 1).unwrap();
            }
            true
        };
        assert!(accounts.change_if(agent, charged_meanwhile, Word::limited).is_some());
        assert_eq!((retries(), accounts.used(agent)), (2, Some(3)));
    }

    #[test]
    fn a_handle_ends_with_its_account() {
        let accounts = Accounts::new(1, 1);
        let first = accounts.open().unwrap();
        let tenure = accounts.standing(first).unwrap().tenure;
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
        let of_second = accounts.standing(second).unwrap().tenure;
        accounts.charge(second, of_second, 5).unwrap();
        accounts.uncharge(tenure, 3);
        assert_eq!(accounts.used(second), Some(5), "the first agent's blocks are not the second's");
    }

    #[test]
    fn every_slot_is_given_once() {
        let accounts = Accounts::new(130, 1);
        let mut slots: Vec<_> =
            std::iter::from_fn(|| accounts.open()).map(|agent| agent.slot).collect();
        slots.sort_unstable();
        assert_eq!(slots, (0..130).collect::<Vec<_>>());
    }

    #[test]
    fn a_sweep_ends_the_tenure_and_its_charges() {
        let accounts = Accounts::new(1, 1);
        let agent = accounts.open().unwrap();
        let first = accounts.standing(agent).unwrap().tenure;
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
        let accounts = Accounts::new(1, 1);
        let agent = accounts.open().unwrap();
        let first = accounts.standing(agent).unwrap().tenure;
        for _ in 0..1 << TENURE_BITS {
            let tenure = accounts.standing(agent).unwrap().tenure;
            accounts.charge(agent, tenure, 1).unwrap();
            assert!(accounts.sweep(agent).is_some());
        }
        assert!(!accounts.is_over(first));
        assert_eq!(accounts.used(agent), Some(0));
        accounts.uncharge(first, 7);
        assert_eq!(accounts.used(agent), Some(0), "nothing is charged in a number that came again");
        let old = Tenure::of(0, 8_191);
        assert!(first.is_after(old.tag()) && !old.is_after(first.tag()));
    }
    #[test]
    fn the_charge_keeps_to_the_quota() {
        let accounts = Accounts::new(1, 1);
        let agent = accounts.open().unwrap();
        let tenure = accounts.standing(agent).unwrap().tenure;
        assert_eq!((accounts.quota(agent), accounts.is_limited(0)), (Some(NO_QUOTA), false));
        assert!(accounts.set_quota(agent, 5));
        assert_eq!(accounts.charge(agent, tenure, 3), Ok(()));
        let over = Err(NotCharged::OverQuota { used: 3, quota: 5 });
        assert_eq!(accounts.check_quota(agent, 3), over);
        assert_eq!(accounts.charge(agent, tenure, 3), over);
        assert_eq!(accounts.charge(agent, tenure, 2), Ok(()));
        assert!(accounts.set_quota(agent, 1));
        let over = Err(NotCharged::OverQuota { used: 5, quota: 1 });
        assert_eq!(accounts.charge(agent, tenure, 1), over);
        assert!(accounts.set_quota(agent, NO_QUOTA));
        assert_eq!(accounts.charge(agent, tenure, 1), Ok(()));
        accounts.close(agent).unwrap();
        accounts.vacate(0);
        let next = accounts.open().unwrap();
        assert!(!accounts.set_quota(agent, 0), "an agent that left limits the next one");
        assert_eq!((accounts.quota(next), accounts.is_limited(0)), (Some(NO_QUOTA), false));
    }

    /// Found by reading: shared blocks count for each holder, so that an agent which shares with itself
    /// can be charged more than the pool has, and the count once ran over into its neighbour.
    #[test]
    fn the_count_of_blocks_does_not_run_over() {
        let accounts = Accounts::new(1, 1);
        let agent = accounts.open().unwrap();
        let tenure = accounts.standing(agent).unwrap().tenure;
        let most = Word::USED as u32;
        assert_eq!(accounts.charge(agent, tenure, most), Ok(()));
        let over = Err(NotCharged::OverQuota { used: most, quota: most });
        assert_eq!(accounts.charge(agent, tenure, 1), over);
        assert_eq!(accounts.used(agent), Some(most));
    }

    #[test]
    fn settings_of_limits_are_counted_and_never_back_to_none() {
        let accounts = Accounts::new(1, 1);
        let agent = accounts.open().unwrap();
        let mut last = accounts.slots[0].load();
        for _ in 0..100 {
            assert!(accounts.announce_limits(agent));
            let now = accounts.slots[0].load();
            assert!(now.is_limited() && now != last);
            assert_eq!((now.used(), now.tenure(), now.generation()), (0, 0, 0));
            last = now;
        }
    }
}
