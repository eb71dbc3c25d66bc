//! How many agents run: a slot is reserved before anything is started, and given back once.
//!
//! There are as many slots as agents may run, so the limit cannot be exceeded, not for a moment: there is
//! nothing to count and to compare. A slot's word has its generation and the agent's last sign of life.
//! A reservation ends by one compare-and-swap on that word, whoever does it: the agent's own guard when
//! it is dropped, a cleaner that knows it dead, or a cleaner that finds no sign of life. The one whose
//! swap succeeds frees the slot; the others find another generation.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::contention::Tally;
use crate::mutant::mutant;
use crate::slots::FreeSlots;
use crate::sync::{AtomicU64, Ordering};
use crate::tick::{TICK_BITS, Tick};

const TICKS: u64 = (1 << TICK_BITS) - 1;

const RESERVED: u64 = 1 << TICK_BITS;
const GENERATION_SHIFT: u32 = TICK_BITS + 1;

/// `generation (23) | reserved (1) | last sign of life (40)`.
///
/// Whether the slot is reserved is said here and not by the free slots' bits: a cleaner that looked at both
/// could see the word of before a reservation and the bit of after it, and end what has just begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Word(u64);

impl Word {
    fn generation(self) -> u32 {
        (self.0 >> GENERATION_SHIFT) as u32
    }

    fn is_reserved(self) -> bool {
        self.0 & RESERVED != 0
    }

    fn reserved(self) -> Self {
        Self(self.0 | RESERVED)
    }

    fn seen(self) -> Tick {
        Tick(self.0 & TICKS)
    }

    fn seen_at(self, now: Tick) -> Self {
        Self(self.0 & !TICKS | now.0.min(TICKS))
    }

    fn ended(self) -> Self {
        let next = u64::from(!mutant("spawner.no-generation"));
        Self((self.0 >> GENERATION_SHIFT).wrapping_add(next) << GENERATION_SHIFT)
    }
}

#[derive(Debug)]
struct Slots {
    free: FreeSlots,
    words: Box<[AtomicU64]>,
    /// Steps of a reservation that another thread's came before.
    met: Tally<1>,
}

/// How often threads came into each other's way at a spawner's slots, since they were made: see
/// [`SpawnSlots::contention`].
///
/// ```
/// use latchless::{SpawnContention, SpawnSlots, Tick};
/// let slots = SpawnSlots::new(2)?;
/// let _agent = slots.reserve(Tick(0))?;
/// assert_eq!(slots.contention(), SpawnContention::default(), "nobody else was there");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SpawnContention {
    /// Slots that another reservation took first, before one was found.
    pub reserve_retries: u64,
    /// Signs of life and ends that another one of the same agent came before.
    pub step_retries: u64,
}

/// The slots of a spawner: cheap to clone, and all clones are the same slots.
///
/// Every operation is lock-free. Reserving and giving back do not allocate.
///
/// ```
/// use latchless::{SpawnSlots, Tick};
///
/// let slots = SpawnSlots::new(2)?;
/// let first = slots.reserve(Tick(0))?;
/// let second = slots.reserve(Tick(0))?;
/// assert!(slots.reserve(Tick(0)).is_err());
///
/// drop(first); // also when a panic unwinds
/// assert_eq!(slots.running(), 1);
///
/// // The second agent shows no sign of life for 1,000 ticks.
/// assert_eq!(slots.clean_up_silent(Tick(1_001), 1_000), [second.id()]);
/// assert!(!second.is_current());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct SpawnSlots(Arc<Slots>);

/// A limit that cannot be.
///
/// ```
/// use latchless::{SpawnLimit, SpawnSlots};
/// assert_eq!(SpawnSlots::new(0).unwrap_err(), SpawnLimit { limit: 0 });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a limit of {limit} agents; choose 1 to {}", SpawnLimit::MAX)]
pub struct SpawnLimit {
    /// What was asked for.
    pub limit: usize,
}

impl SpawnLimit {
    /// The highest limit.
    pub const MAX: usize = 1 << 16;
}

/// As many agents run as may.
///
/// ```
/// use latchless::{AllSlotsTaken, SpawnSlots, Tick};
/// let slots = SpawnSlots::new(1)?;
/// let _agent = slots.reserve(Tick(0))?;
/// assert_eq!(slots.reserve(Tick(0)).unwrap_err(), AllSlotsTaken { limit: 1 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("all {limit} agents run; spawn again when one of them has ended, or raise the limit")]
pub struct AllSlotsTaken {
    /// The limit.
    pub limit: usize,
}

/// A reservation, by slot and generation: a plain value.
///
/// ```
/// use latchless::{SpawnSlotId, SpawnSlots, Tick};
///
/// let slots = SpawnSlots::new(1)?;
/// let agent = slots.reserve(Tick(0))?;
/// let id: SpawnSlotId = agent.id();
/// // Its process is known to be dead.
/// assert!(slots.clean_up(id) && !agent.is_current());
/// assert_ne!(slots.reserve(Tick(0))?.id(), id, "the same slot, another agent");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpawnSlotId {
    index: u16,
    generation: u32,
}

impl SpawnSlotId {
    /// The slot, `0 .. limit`: no two running agents have the same.
    pub fn index(self) -> u16 {
        self.index
    }
}

impl fmt::Display for SpawnSlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

impl SpawnSlots {
    /// Slots for at most `limit` agents at a time.
    ///
    /// # Errors
    /// [`SpawnLimit`] when that is 0, or more than [`SpawnLimit::MAX`].
    pub fn new(limit: usize) -> Result<Self, SpawnLimit> {
        if !(1..=SpawnLimit::MAX).contains(&limit) {
            return Err(SpawnLimit { limit });
        }
        let words = (0..limit).map(|_| AtomicU64::new(0)).collect();
        Ok(Self(Arc::new(Slots { free: FreeSlots::new(limit), words, met: Tally::new() })))
    }

    /// Reserves a slot for an agent that is to be started. It is alive at `now`.
    ///
    /// # Errors
    /// [`AllSlotsTaken`]: never while a slot is free during the whole call.
    pub fn reserve(&self, now: Tick) -> Result<SpawnSlot, AllSlotsTaken> {
        let limit = self.limit();
        let index = self.0.free.claim().ok_or(AllSlotsTaken { limit })?;
        let word = Word(self.0.words[index].load(Ordering::Acquire)).reserved().seen_at(now);
        // A store: nobody changes the word of a slot that is not reserved.
        self.0.words[index].store(word.0, Ordering::Release);
        let id = SpawnSlotId { index: index as u16, generation: word.generation() };
        Ok(SpawnSlot { slots: self.clone(), id })
    }

    /// The most agents that may run.
    pub fn limit(&self) -> usize {
        self.0.words.len()
    }

    /// Agents that run or are being started, about: the words are read one after another.
    pub fn running(&self) -> usize {
        self.0.free.used()
    }

    /// Whether a reservation stands.
    pub fn is_current(&self, id: SpawnSlotId) -> bool {
        self.word(id).is_some()
    }

    /// Ends the reservation of an agent that is known to be dead, whose guard may never be dropped. Of
    /// several who do, one is told that it did.
    pub fn clean_up(&self, id: SpawnSlotId) -> bool {
        loop {
            let Some(word) = self.word(id) else { return false };
            if self.end(id, word) {
                return true;
            }
        }
    }

    /// Ends the reservations of all agents that gave no sign of life in the last `ticks` ticks before
    /// `now`, and returns them. An agent that gives one meanwhile stays.
    pub fn clean_up_silent(&self, now: Tick, ticks: u64) -> Vec<SpawnSlotId> {
        let silent = |index: usize| {
            // The word first: if its agent ends after this, the swap fails.
            let word = Word(self.0.words[index].load(Ordering::Acquire));
            let id = SpawnSlotId { index: index as u16, generation: word.generation() };
            let is_silent = now.0.saturating_sub(word.seen().0) > ticks;
            let is_reserved = word.is_reserved() || mutant("spawner.reserved-unlooked");
            (is_reserved && is_silent && self.end(id, word)).then_some(id)
        };
        (0..self.limit()).filter_map(silent).collect()
    }

    /// How often threads came into each other's way. Wait-free: counters that are read one after another.
    pub fn contention(&self) -> SpawnContention {
        let (reserve_retries, step_retries) = (self.0.free.retries(), self.0.met.sum(0));
        SpawnContention { reserve_retries, step_retries }
    }

    fn word(&self, id: SpawnSlotId) -> Option<Word> {
        let index = usize::from(id.index);
        let word = Word(self.0.words.get(index)?.load(Ordering::Acquire));
        (word.generation() == id.generation && word.is_reserved()).then_some(word)
    }

    /// One attempt to end a reservation.
    fn end(&self, id: SpawnSlotId, word: Word) -> bool {
        let index = usize::from(id.index);
        if mutant("spawner.freed-before-ended") {
            self.0.free.free(index);
        }
        // AcqRel: what was done for the agent comes before what is done for the slot's next one.
        let ended = self.0.words[index]
            .compare_exchange(word.0, word.ended().0, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok();
        if !ended {
            self.0.met.count(0);
        }
        // After the word: the slot's next owner must find the next generation.
        (ended || mutant("spawner.freed-twice")) && self.0.free.free(index)
    }
}

/// An agent's slot, from before it is started until this is dropped.
///
/// ```
/// use latchless::{SpawnSlot, SpawnSlots, Tick};
///
/// let slots = SpawnSlots::new(1)?;
/// let agent: SpawnSlot = slots.reserve(Tick(0))?;
/// assert!(agent.beat(Tick(5)), "a sign of life");
/// assert!(slots.clean_up_silent(Tick(9), 5).is_empty());
/// drop(agent);
/// assert_eq!(slots.running(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "the slot is given back when this is dropped"]
pub struct SpawnSlot {
    slots: SpawnSlots,
    id: SpawnSlotId,
}

impl SpawnSlot {
    /// The reservation.
    pub fn id(&self) -> SpawnSlotId {
        self.id
    }

    /// The slot, `0 .. limit`: no two running agents have the same.
    pub fn index(&self) -> u16 {
        self.id.index
    }

    /// Whether the reservation stands: not if a cleaner has ended it.
    pub fn is_current(&self) -> bool {
        self.slots.is_current(self.id)
    }

    /// Gives a sign of life; false when the reservation has ended. One that is older than the last one
    /// changes nothing.
    pub fn beat(&self, now: Tick) -> bool {
        loop {
            let Some(word) = self.slots.word(self.id) else { return false };
            if now <= word.seen() {
                return true;
            }
            let cell = &self.slots.0.words[usize::from(self.id.index)];
            let next = word.seen_at(now);
            let swap = cell.compare_exchange(word.0, next.0, Ordering::AcqRel, Ordering::Relaxed);
            if swap.is_ok() || next == word || mutant("spawner.beat-unnoticed") {
                return true;
            }
            self.slots.0.met.count(0);
        }
    }
}

impl Drop for SpawnSlot {
    fn drop(&mut self) {
        // Refused when a cleaner was faster.
        self.slots.clean_up(self.id);
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::AtomicUsize;
    use std::sync::{Barrier, Mutex};
    use std::thread;

    use super::*;

    const NOW: Tick = Tick(0);

    #[test]
    fn slots_are_given_back_once_whoever_does_it() {
        let slots = SpawnSlots::new(2).unwrap();
        let [first, second] = [(); 2].map(|()| slots.reserve(NOW).unwrap());
        assert_ne!(first.index(), second.index());
        assert_eq!(slots.reserve(NOW).unwrap_err(), AllSlotsTaken { limit: 2 });
        assert!(slots.clean_up(first.id()) && !slots.clean_up(first.id()));
        assert!(!first.is_current() && second.is_current());
        let third = slots.reserve(NOW).unwrap();
        assert_eq!(third.index(), first.index());
        drop(first);
        assert!(third.is_current(), "the first one's end is not the third one's");
        drop((second, third));
        assert_eq!(slots.running(), 0);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _slot = slots.reserve(NOW);
            std::panic::resume_unwind(Box::new("an agent failed"));
        }));
        assert!(panicked.is_err());
        assert_eq!(slots.running(), 0);
    }

    #[test]
    fn silent_agents_are_cleaned_up() {
        let slots = SpawnSlots::new(3).unwrap();
        let [silent, alive] = [(); 2].map(|()| slots.reserve(Tick(100)).unwrap());
        assert!(alive.beat(Tick(150)) && alive.beat(Tick(120)));
        assert_eq!(slots.clean_up_silent(Tick(150), 50), []);
        assert_eq!(slots.clean_up_silent(Tick(151), 50), [silent.id()]);
        assert_eq!((silent.beat(Tick(151)), alive.is_current(), slots.running()), (false, true, 1));
        assert!(alive.beat(Tick(u64::MAX)) && alive.beat(Tick(u64::MAX)), "the end of time");
    }

    #[test]
    fn a_cleaner_that_comes_late_is_counted() {
        let slots = SpawnSlots::new(1).unwrap();
        let agent = slots.reserve(NOW).unwrap();
        let seen = slots.word(agent.id()).unwrap();
        assert!(agent.beat(Tick(5)));
        assert_eq!(slots.contention(), SpawnContention::default());
        assert!(!slots.end(agent.id(), seen), "it gave a sign of life meanwhile");
        assert_eq!(slots.contention(), SpawnContention { step_retries: 1, reserve_retries: 0 });
    }

    #[test]
    fn a_limit_must_be_possible() {
        for limit in [0, SpawnLimit::MAX + 1] {
            assert_eq!(SpawnSlots::new(limit).unwrap_err(), SpawnLimit { limit });
        }
        let slots = SpawnSlots::new(SpawnLimit::MAX).unwrap();
        assert_eq!((slots.limit(), slots.running()), (SpawnLimit::MAX, 0));
    }

    #[test]
    fn case_32_five_slots_ten_spawns_and_two_cleaners() {
        const ROUNDS: usize = 500;
        let slots = SpawnSlots::new(5).unwrap();
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (dead, barrier) = (Mutex::new(Vec::new()), Barrier::new(12));
        let done = &AtomicUsize::new(0);
        let (slots, running, most, dead, barrier) = (&slots, &running, &most, &dead, &barrier);
        let refused: usize = thread::scope(|scope| {
            let spawners: Vec<_> = (0..10)
                .map(|i| {
                    scope.spawn(move || {
                        barrier.wait();
                        let mut refused = 0;
                        for round in 0..ROUNDS {
                            let Ok(slot) = slots.reserve(NOW) else {
                                refused += 1;
                                continue;
                            };
                            let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                            most.fetch_max(now, Ordering::SeqCst);
                            thread::yield_now();
                            running.fetch_sub(1, Ordering::SeqCst);
                            if (round + i) % 3 == 0 {
                                // It dies: a cleaner ends it before its guard is dropped.
                                dead.lock().unwrap().push(slot);
                            }
                        }
                        refused
                    })
                })
                .collect();
            for _ in 0..2 {
                scope.spawn(move || {
                    barrier.wait();
                    while done.load(Ordering::Acquire) == 0 {
                        let found = dead.lock().unwrap().pop();
                        assert!(found.is_none_or(|slot| slots.clean_up(slot.id())));
                        thread::yield_now();
                    }
                });
            }
            let refused = spawners.into_iter().map(|thread| thread.join().unwrap()).sum();
            done.store(1, Ordering::Release);
            refused
        });
        for slot in dead.lock().unwrap().drain(..) {
            assert!(slots.clean_up(slot.id()));
        }
        assert!(most.load(Ordering::SeqCst) <= 5, "above the limit");
        assert!(refused < 10 * ROUNDS);
        assert_eq!(slots.running(), 0);
    }
}

#[cfg(all(test, latchless_loom))]
mod loom_models {
    use loom::sync::Arc as LoomArc;
    use loom::sync::atomic::AtomicUsize;
    use loom::thread;

    use super::*;
    use crate::sync::explore::explore;

    const NOW: Tick = Tick(0);

    /// An agent ends while a cleaner ends it too, and another is spawned: never two with one slot, and the
    /// slot is free in the end.
    #[test]
    fn loom_ended_once() {
        explore("spawner: ended once", None, 100, || {
            let slots = SpawnSlots::new(1).unwrap();
            let running = LoomArc::new(AtomicUsize::new(1));
            let first = slots.reserve(NOW).unwrap();
            let id = first.id();
            let (theirs, others) = (slots.clone(), LoomArc::clone(&running));
            let cleaner = thread::spawn(move || {
                // It is dead: so it is not running any more.
                others.fetch_sub(1, Ordering::AcqRel);
                theirs.clean_up(id)
            });
            let (theirs, others) = (slots.clone(), LoomArc::clone(&running));
            let spawner = thread::spawn(move || {
                theirs.reserve(NOW).is_ok_and(|slot| {
                    assert_eq!(others.fetch_add(1, Ordering::AcqRel), 0, "above the limit");
                    let current = slot.is_current();
                    others.fetch_sub(1, Ordering::AcqRel);
                    current
                })
            });
            let cleaned = cleaner.join().unwrap();
            drop(first);
            spawner.join().unwrap();
            assert!(cleaned, "nobody else ended it before");
            assert_eq!(slots.running(), 0);
            drop(slots.reserve(NOW).expect("it is free"));
        });
    }

    /// A slot is reserved while a cleaner looks for silent agents: what it saw of the slot before is not taken
    /// for a sign that the new agent is dead.
    #[test]
    fn loom_a_new_agent_is_not_cleaned_up() {
        explore("spawner: a new agent", None, 5, || {
            let slots = SpawnSlots::new(1).unwrap();
            let other = slots.clone();
            let cleaner = thread::spawn(move || other.clean_up_silent(Tick(100), 10));
            let agent = slots.reserve(Tick(100)).unwrap();
            assert_eq!(cleaner.join().unwrap(), []);
            assert!(agent.is_current() && slots.running() == 1);
        });
    }

    /// A sign of life races with a cleaner that finds none: the agent stays, or is told that it does not.
    #[test]
    fn loom_a_sign_of_life_counts() {
        explore("spawner: a sign of life", None, 5, || {
            let slots = SpawnSlots::new(1).unwrap();
            let agent = slots.reserve(NOW).unwrap();
            let other = slots.clone();
            let cleaner = thread::spawn(move || other.clean_up_silent(Tick(11), 10).len());
            let alive = agent.beat(Tick(5));
            let cleaned = cleaner.join().unwrap();
            assert_eq!((alive, cleaned), (agent.is_current(), usize::from(!alive)));
        });
    }

    /// The guard is dropped and a cleaner comes at the same time, and the slot is reserved anew: the late
    /// one of the two does not end the new reservation.
    #[test]
    fn loom_a_late_cleaner_ends_nobody_else() {
        explore("spawner: a late cleaner", None, 20, || {
            let slots = SpawnSlots::new(1).unwrap();
            let first = slots.reserve(NOW).unwrap();
            let (other, id) = (slots.clone(), first.id());
            let cleaner = thread::spawn(move || other.clean_up(id));
            drop(first);
            match slots.reserve(NOW) {
                Ok(second) => {
                    cleaner.join().unwrap();
                    assert!(second.is_current(), "ended by the first one's cleaner");
                    assert!(slots.reserve(NOW).is_err(), "its slot was freed under it");
                }
                // The cleaner has ended it, and is about to free the slot.
                Err(AllSlotsTaken { limit: 1 }) => assert!(cleaner.join().unwrap()),
                Err(error) => panic!("{error}"),
            }
        });
    }
}
