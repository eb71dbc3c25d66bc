//! Permits decide **how many** blocks may be taken: an exact, striped counting semaphore.
//!
//! The promise: [`Permits::acquire`]`(n)` succeeds, or at some instant during the call fewer than `n`
//! permits were free. There is no spurious refusal, nobody waits for anybody, and in the steady state a
//! thread touches its own stripe only. Who would rather wait than be refused [joins](Permits::join) a
//! queue and is served in order.
//!
//! # The algorithm
//!
//! Permits lie in **stripes**, one word on a cache line of its own for every core or so, and in one
//! **centre** word. A thread takes from its home stripe and gives back to it, each by one CAS. That is
//! all there is in *spread* mode, and it cannot refuse: a stripe with too few says nothing about the
//! others, and a sum over words that are read one after another is no instant.
//!
//! So a caller who finds no single word with `n` permits **gathers**: it moves the centre to *gathered*
//! mode under a new epoch, closes every stripe (a CAS that keeps the count in the closed word, to be
//! moved) and moves each count to the centre. Anybody can finish anybody's move: the centre has one
//! `moved` bit for each stripe, set by the same CAS that adds the count, so that each count is added
//! once. When all bits are set, every free permit is in the centre, because a stripe opens only in
//! spread mode. One load of the centre then decides: enough, and a CAS takes them; fewer, and the
//! refusal is exact at that load.
//!
//! When the centre is rich again the mode goes back to spread, and stripes reopen one by one as
//! permits are released to them.
//!
//! # Why it is right
//!
//! - *A stripe is never open in a gathered epoch that is complete.* It is closed under the epoch's label
//!   before its `moved` bit is set, and it is reopened only by a CAS on a word labelled `e` by a thread
//!   that read the centre as spread with epoch `e` **before** it read the stripe. If a later gather
//!   began since, the stripe either has the later label already, and the CAS fails, or it will be closed
//!   by that gather, whose bit for it is not set yet.
//! - *No count is lost or moved twice.* Spread follows a gather of the same epoch only with all bits
//!   set, so a word closed under `e` that is seen while the centre is spread in `e` has been moved. A
//!   move is a CAS on a centre word that was read as gathered, of that epoch, with the bit clear; while
//!   that holds, the closed word cannot change.
//! - *A late helper does no harm.* It compares epochs and never gives a stripe an older one.
//! - *Lock-free.* Each failed CAS means another's success, and a gather is at most one close and one
//!   move a stripe, by whoever gets there. It is not wait-free: a thread can lose its CAS again and again.
//!
//! Epochs have 21 bits and wrap: a thread would have to be frozen for exactly a multiple of 2,097,152
//! gathers, between a load and a CAS, and find the very same word again.
//!
//! # Waiting
//!
//! A refusal happens on a centre word that is gathered, with all stripes closed, so from then on every
//! release goes through the centre. A caller who waits takes a [seat](queue) and turns that word, by a
//! CAS, to *queued* mode: the stripes stay closed, and whoever releases sees the mode in the word that
//! its own CAS replaces, and [serves](Permits::serve) the queue. In spread mode there is no queue to ask
//! for, so releases pay nothing for it.
//!
//! Serving: the oldest seat that waits is granted its permits by **one CAS on the centre**, which takes
//! them out of the count and notes the seat's slot (the *grantee*). After that CAS they are nobody else's,
//! and in no thread's hands: bringing them into the seat (waiting → granted, by CAS), waking its owner and
//! removing the note are steps that every thread can do and that everybody who finds the note does
//! before anything else. A thread that is frozen anywhere in here is overtaken at once.
//!
//! - *First in, first out.* Nobody is granted permits while an older seat waits, however few it wants. A
//!   plain [`acquire`](Permits::acquire) does not overtake either: while somebody waits, the free permits
//!   are *promised*, and it is refused. That is exact: at one instant of the call the centre was queued,
//!   a seat was waiting, and it wanted more than there was. When that is not so it serves the queue
//!   first, until it is so or nobody waits. So a caller who waits gets its turn once those before it have
//!   ended and enough has been released, whatever others do.
//! - *A grant goes to a seat that waits, or comes back.* Slots are used again, so a CAS that grants must
//!   fail if the seat has changed since it was read, after the centre was. Each registration has a number,
//!   and each of its steps on the centre (joining, being granted, leaving, giving back what was granted)
//!   writes that number and the kind of step as the word's version: a seat ends only after such a step, so
//!   a word that was read before it does not come back. Leaving makes the seat *left* first: who has read
//!   it as waiting and grants before the leaver's step is found out by the note on a seat that has left,
//!   and the one CAS that removes the note gives the permits back.
//! - *A seat ends after its note.* Its owner empties the slot, and removes the note before. So while the
//!   centre names a slot, the seat in it is the one that was granted.
//! - *No wake-up is lost.* The queue ends (back to gathered or spread mode) by a CAS on a
//!   word that was read before all seats were looked at. Who joins fills its seat first and changes the
//!   word then. If it does that before the CAS, the CAS fails; if after it, it finds the queue ended and
//!   begins a new one. Everybody serves after its own change of the centre or of a seat, who joins by its
//!   first look, so the last to change anything sees all of it. Each later look serves too: when a
//!   releaser is frozen between its release and serving, the next look or the next release makes up for it.
//!
//! Versions have 25 bits, 2 of them the kind of step: a thread would have to be frozen between a load
//! and a CAS for exactly a multiple of 8,388,608 registrations, and find the same count and slot. Numbers
//! of seats have 37 bits and are compared by distance.
//!
//! # Orderings
//!
//! A release publishes what happened before it (the bits of the freed blocks) to the acquire that takes
//! the permits: release CAS with `Release`, acquire CAS with `Acquire`. Every change of a word is a
//! read-modify-write, so release sequences pass through all of them, and an acquirer sees the blocks of
//! everybody who released into that word. Closing and moving is `AcqRel`: it carries those blocks from
//! the stripe to the centre.

mod queue;
mod serve;
mod word;

#[cfg(all(test, latchless_loom))]
mod loom_models;
#[cfg(all(test, latchless_loom))]
mod loom_waiting;
#[cfg(all(test, not(latchless_loom)))]
mod tests;

use crossbeam_utils::CachePadded;

pub(super) use self::queue::{Place, QueueFull};
pub(super) use self::word::{MAX_PERMITS, MAX_STRIPES, MAX_WAITERS};

use self::queue::Queue;
use self::word::{Mode, Word};
use super::counters::{Counters, Event};
use crate::mutant::{mutant, weaker};
use crate::sync::{AtomicU64, Ordering};

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Permits {
    centre: CachePadded<AtomicU64>,
    stripes: Box<[CachePadded<AtomicU64>]>,
    queue: Queue,
    total: u32,
    /// A centre with this many permits goes back to spread mode.
    rich: u32,
    counters: Counters,
}

/// Fewer permits than asked for were free: exactly this many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused {
    /// Permits that were free.
    pub(super) available: u32,
    /// Permits that nobody had and that were promised to callers who wait: not enough for the first.
    pub(super) promised: u32,
}

impl Permits {
    /// `total` permits, all free, spread over `stripes` stripes, and places for `waiters` who wait.
    ///
    /// `total` is at most [`MAX_PERMITS`], `stripes` a power of two up to [`MAX_STRIPES`] and `waiters` in
    /// `1..=MAX_WAITERS`: the pool's configuration has seen to it.
    pub(super) fn new(total: u32, stripes: usize, waiters: u32) -> Self {
        debug_assert!(stripes.is_power_of_two() && stripes <= MAX_STRIPES);
        let share = |i: u32| total / stripes as u32 + u32::from(i < total % stripes as u32);
        Self {
            centre: CachePadded::new(AtomicU64::new(Word::open(0, 0).0)),
            stripes: (0..stripes as u32)
                .map(|i| CachePadded::new(AtomicU64::new(Word::open(0, share(i)).0)))
                .collect(),
            queue: Queue::new(waiters),
            total,
            // Below an eighth a gather would soon follow: requests find no single stripe that has
            // enough. Small totals (and models) stay spread while there is anything to spread.
            rich: (total / 8).max(1),
            counters: Counters::new(stripes),
        }
    }

    /// Takes `n` permits, or says how many there were when there were too few.
    #[inline]
    pub(super) fn acquire(&self, n: u32, home: usize) -> Result<(), Refused> {
        if self.take_from_stripe(self.stripe_of(home), n) {
            return Ok(());
        }
        self.acquire_slow(n, home)
    }

    #[cold]
    fn acquire_slow(&self, n: u32, home: usize) -> Result<(), Refused> {
        loop {
            let centre = Word(self.centre.load(Ordering::Acquire));
            let next = match centre.mode() {
                Mode::Queued if mutant("serve.overtake") && centre.count() >= n => centre.minus(n),
                Mode::Queued => match self.serve() {
                    // Somebody waits for more than there is: the refusal is exact at that instant.
                    Some(promised) => return self.refuse(Refused { available: 0, promised }),
                    None => continue,
                },
                Mode::Gathered
                    if !self.all_moved(centre) && !mutant("permits.refuse-in-half-gather") =>
                {
                    self.finish_gather(centre);
                    continue;
                }
                Mode::Gathered if centre.count() < n => {
                    // Every stripe is closed and moved in this epoch: the refusal is exact at the load.
                    return self.refuse(Refused { available: centre.count(), promised: 0 });
                }
                Mode::Gathered => self.spread_if_rich(centre.minus(n)),
                Mode::Spread if centre.count() >= n => centre.minus(n),
                Mode::Spread => {
                    let stripes = self.stripes.len();
                    let take = |i: &usize| self.take_from_stripe((home + i) % stripes, n);
                    if let Some(i) = (0..stripes).find(take) {
                        if i > 0 {
                            self.counters.add(Event::Steal);
                        }
                        return Ok(());
                    }
                    if mutant("permits.refuse-without-gather") {
                        return self.refuse(Refused { available: self.available(), promised: 0 });
                    }
                    // Nobody alone has n. A lost CAS means that somebody else moved on: look again.
                    self.begin_gather(centre);
                    continue;
                }
            };
            if self.change_centre(centre, next) {
                return Ok(());
            }
        }
    }

    /// Gives `n` permits back. What happened before is visible to whoever takes them.
    #[inline]
    pub(super) fn release(&self, n: u32, home: usize) {
        let stripe = &self.stripes[self.stripe_of(home)];
        let mut word = Word(stripe.load(Ordering::Relaxed));
        while !word.is_closed() {
            match change(
                stripe,
                word,
                word.plus(n),
                weaker("permits.release-relaxed", Ordering::Release),
            ) {
                Ok(()) => return,
                Err(now) => word = self.lost_stripe(now),
            }
        }
        self.release_slow(n, home);
    }

    #[cold]
    fn release_slow(&self, n: u32, home: usize) {
        self.counters.add(Event::SlowRelease);
        let stripe = &self.stripes[self.stripe_of(home)];
        loop {
            // The centre before the stripe: see "why it is right".
            let centre = Word(self.centre.load(Ordering::Acquire));
            let more = centre.plus(n);
            match centre.mode() {
                Mode::Spread => {}
                Mode::Gathered => {
                    let next = if self.all_moved(centre) || mutant("permits.spread-in-half-gather")
                    {
                        self.spread_if_rich(more)
                    } else {
                        more
                    };
                    if self.change_centre(centre, next) {
                        return;
                    }
                    continue;
                }
                Mode::Queued => {
                    if self.change_centre(centre, more) {
                        if mutant("serve.release-walks-away") {
                            return;
                        }
                        self.serve();
                        return;
                    }
                    continue;
                }
            }
            let word = Word(stripe.load(Ordering::Acquire));
            let next = if !word.is_closed() {
                word.plus(n)
            } else if word.epoch() == centre.epoch() || mutant("permits.reopen-any-label") {
                // Its count has been moved: it opens with what comes back now.
                Word::open(centre.epoch(), n)
            } else {
                continue; // The centre has moved on since.
            };
            match change(stripe, word, next, Ordering::Release) {
                Ok(()) => return,
                Err(now) => self.lost_stripe(now),
            };
        }
    }

    /// Gives all permits back, evenly: what [`acquire`](Self::acquire) of the total took.
    pub(super) fn release_all(&self) {
        let stripes = self.stripes.len() as u32;
        for i in 0..stripes {
            let share = self.total / stripes + u32::from(i < self.total % stripes);
            if share > 0 {
                self.release(share, i as usize);
            }
        }
    }

    /// Free permits, as a sum over words that are read one after another: exact when nobody changes
    /// them meanwhile, and never more than the total. Those that are promised to callers who wait count.
    pub(super) fn available(&self) -> u32 {
        let centre = Word(self.centre.load(Ordering::Acquire));
        let in_stripes: u32 = self
            .stripes
            .iter()
            .enumerate()
            .map(|(i, stripe)| {
                let word = Word(stripe.load(Ordering::Acquire));
                // A closed stripe's count is in the centre already, unless its move is under way.
                let moving = centre.mode() == Mode::Gathered && !centre.moved(i);
                if word.is_closed() && !moving { 0 } else { word.count() }
            })
            .sum();
        (centre.count() + in_stripes).min(self.total)
    }

    pub(super) fn total(&self) -> u32 {
        self.total
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// A thread's home: its index modulo the number of stripes, which is a power of two.
    #[inline]
    fn stripe_of(&self, home: usize) -> usize {
        home & (self.stripes.len() - 1)
    }

    #[inline]
    fn take_from_stripe(&self, stripe: usize, n: u32) -> bool {
        let stripe = &self.stripes[stripe];
        let mut word = Word(stripe.load(Ordering::Relaxed));
        while !word.is_closed() && word.count() >= n {
            match change(
                stripe,
                word,
                word.minus(n),
                weaker("permits.acquire-relaxed", Ordering::Acquire),
            ) {
                Ok(()) => return true,
                Err(now) => word = self.lost_stripe(now),
            }
        }
        false
    }

    /// The word of a stripe that somebody else has changed.
    #[cold]
    fn lost_stripe(&self, now: Word) -> Word {
        self.counters.add(Event::StripeRetry);
        now
    }

    /// Sets a spread centre to gathered mode; false when it has changed meanwhile.
    fn begin_gather(&self, centre: Word) -> bool {
        let begun = self.change_centre(centre, centre.gather());
        if begun {
            self.counters.add(Event::Gather);
        }
        begun
    }

    fn refuse(&self, refused: Refused) -> Result<(), Refused> {
        self.counters.add(Event::Refusal);
        Err(refused)
    }

    /// Closes every stripe under `centre`'s epoch and moves its count, as far as others have not.
    fn finish_gather(&self, centre: Word) {
        let epoch = centre.epoch();
        for i in (0..self.stripes.len()).filter(|i| !centre.moved(*i)) {
            let Some(count) = self.close(i, epoch) else {
                return;
            };
            loop {
                let now = Word(self.centre.load(Ordering::Acquire));
                if now.mode() != Mode::Gathered
                    || (now.epoch() != epoch && !mutant("permits.no-epoch-check"))
                {
                    return;
                }
                if now.moved(i) && !mutant("permits.move-twice") {
                    break;
                }
                if self.change_centre(now, now.with_moved(i, count)) {
                    self.counters.add(Event::Move);
                    break;
                }
            }
        }
    }

    /// Closes a stripe under `epoch` and returns the count that is to be moved; `None` when the stripe
    /// is already in a later life, so that the gather must be over.
    fn close(&self, stripe: usize, epoch: u64) -> Option<u32> {
        let stripe = &self.stripes[stripe];
        let mut word = Word(stripe.load(Ordering::Acquire));
        loop {
            if word.epoch() == epoch {
                return word.is_closed().then_some(word.count());
            }
            if word.is_newer_than(epoch) && !mutant("permits.close-goes-back") {
                return None;
            }
            // A word that is closed under an older epoch has been moved then: nothing is left in it.
            let count = if word.is_closed() && !mutant("permits.closed-count-again") {
                0
            } else {
                word.count()
            };
            match change(
                stripe,
                word,
                Word::closed(epoch, count),
                weaker("permits.close-relaxed", Ordering::AcqRel),
            ) {
                Ok(()) => return Some(count),
                Err(now) => word = self.lost_stripe(now),
            }
        }
    }

    fn all_moved(&self, centre: Word) -> bool {
        (0..self.stripes.len()).all(|i| centre.moved(i))
    }

    fn spread_if_rich(&self, centre: Word) -> Word {
        if centre.count() >= self.rich { centre.spread() } else { centre }
    }

    fn change_centre(&self, from: Word, to: Word) -> bool {
        let ordering = weaker("permits.centre-relaxed", Ordering::AcqRel);
        let changed = change(&self.centre, from, to, ordering).is_ok();
        if !changed {
            self.counters.add(Event::Retry);
        }
        changed
    }
}

/// One CAS; the word that was there instead, read with `Acquire`, when it fails.
#[inline]
fn change(at: &AtomicU64, from: Word, to: Word, success: Ordering) -> Result<(), Word> {
    at.compare_exchange(from.0, to.0, success, Ordering::Acquire).map(|_| ()).map_err(Word)
}
