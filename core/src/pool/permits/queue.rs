//! The seats of those who wait for permits: who they are, what they want and whom to wake.
//!
//! A seat is a word in a slot: the registration's number, its state and the permits it wants. Everything
//! that decides is one CAS on that word or on the centre's; see [`super`] for the protocol between them.
//! A slot is taken by a bit, filled by its owner alone and emptied by its owner alone, so a waiter who is
//! never seen again costs its slot and nothing else. The order of waiting is that of the numbers, not of
//! the slots: leaving from the middle of the queue frees a slot at once.

use std::task::Waker;
use std::time::{Duration, Instant};

use crate::foreign::contain;
use crate::mutant::mutant;
use crate::pool::span::{FULL, FreeBits, SPAN_BLOCKS, blocks_of};
use crate::sync::{AtomicU64, Ordering, WakerCell};
// Not `crate::sync`'s: times to look at, by which nothing is decided.
use std::sync::atomic::AtomicU64 as Plain;

use super::word::COUNT_BITS;

const STATE_BITS: u32 = 2;
const NUMBER_SHIFT: u32 = COUNT_BITS + STATE_BITS;
const NUMBER_BITS: u32 = 64 - NUMBER_SHIFT;
const NUMBER_MASK: u64 = (1 << NUMBER_BITS) - 1;

/// `number (37) | state (2) | permits wanted (25)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seat(u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Empty,
    Waiting,
    Granted,
    Left,
}

impl Seat {
    pub(super) fn waiting(number: u64, wants: u32) -> Self {
        Self((number & NUMBER_MASK) << NUMBER_SHIFT | u64::from(wants)).with(State::Waiting)
    }

    pub(super) fn wants(self) -> u32 {
        (self.0 & ((1 << COUNT_BITS) - 1)) as u32
    }

    pub(super) fn state(self) -> State {
        match (self.0 >> COUNT_BITS) & ((1 << STATE_BITS) - 1) {
            0 => State::Empty,
            1 => State::Waiting,
            2 => State::Granted,
            _ => State::Left,
        }
    }

    pub(super) fn number(self) -> u64 {
        self.0 >> NUMBER_SHIFT
    }

    fn with(self, state: State) -> Self {
        let states = ((1 << STATE_BITS) - 1) << COUNT_BITS;
        Self(self.0 & !states | (state as u64) << COUNT_BITS)
    }

    /// Numbers wrap: the half of them that is behind is older.
    fn is_older_than(self, other: Self) -> bool {
        let behind = other.number().wrapping_sub(self.number()) & NUMBER_MASK;
        (1..1 << (NUMBER_BITS - 1)).contains(&behind)
    }
}

/// A caller's place in the queue, from [joining](Queue::sit) until it is given up.
#[derive(Debug)]
pub(in crate::pool) struct Place {
    pub(super) slot: usize,
    /// The seat as it was when it was taken: waiting.
    pub(super) seat: Seat,
}

/// Every place is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) struct QueueFull;

#[derive(Debug)]
struct Slot {
    seat: AtomicU64,
    /// When the seat was taken, in nanoseconds of the queue's life.
    since: Plain,
    waker: WakerCell,
}

#[derive(Debug)]
pub(super) struct Queue {
    slots: Box<[Slot]>,
    vacant: Box<[FreeBits]>,
    /// The number of the next registration.
    next: AtomicU64,
    /// The oldest seat when that was last looked for, as `number | slot`: see [`Queue::remember`].
    head: AtomicU64,
    began: Instant,
    /// The longest that anybody waited who has left, in nanoseconds.
    longest: Plain,
}

const SLOT_SHIFT: u32 = 12;
const _: () = assert!(SLOT_SHIFT + NUMBER_BITS <= 64);
const _: () = assert!(super::word::MAX_WAITERS < 1 << SLOT_SHIFT);

impl Queue {
    /// `places` is at most [`MAX_WAITERS`](super::word::MAX_WAITERS): the pool's configuration has
    /// checked it.
    pub(super) fn new(places: u32) -> Self {
        Self {
            slots: (0..places)
                .map(|_| Slot {
                    seat: AtomicU64::new(0),
                    since: Plain::new(0),
                    waker: WakerCell::empty(),
                })
                .collect(),
            vacant: (0..places.div_ceil(SPAN_BLOCKS))
                .map(|i| FreeBits::new((places - i * SPAN_BLOCKS).min(SPAN_BLOCKS)))
                .collect(),
            next: AtomicU64::new(0),
            head: AtomicU64::new(0),
            began: Instant::now(),
            longest: Plain::new(0),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(super) fn places(&self) -> u32 {
        self.slots.len() as u32
    }

    pub(super) fn taken(&self) -> u32 {
        let vacant: u32 = self.vacant.iter().map(|bits| bits.load().count_ones()).sum();
        self.places() - vacant
    }

    /// Takes a seat behind everybody who has one. `lost` is called for each that another thread takes first.
    pub(super) fn sit(
        &self,
        wants: u32,
        waker: &Waker,
        lost: impl Fn(),
    ) -> Result<Place, QueueFull> {
        // Foreign code first: if it panics, no seat has been taken.
        let waker = waker.clone();
        let slot = (0..self.vacant.len())
            .find_map(|at| {
                let mask = self.vacant[at].claim_up_to(1, &lost);
                (mask != 0).then(|| at * SPAN_BLOCKS as usize + mask.trailing_zeros() as usize)
            })
            .ok_or(QueueFull)?;
        // Relaxed: whoever registers after another's registration has ended reads a later value, because
        // all changes of one word are in one order that agrees with happens-before.
        let seat = Seat::waiting(self.next.fetch_add(1, Ordering::Relaxed), wants);
        self.slots[slot].waker.replace(Some(waker));
        self.slots[slot].since.store(self.now(), Ordering::Relaxed);
        // Release: whoever sees the seat sees the waker.
        self.slots[slot].seat.store(seat.0, Ordering::Release);
        Ok(Place { slot, seat })
    }

    /// Gives a seat up whose state is final and that the centre does not name. Returns how long it was
    /// taken.
    pub(super) fn vacate(&self, place: &Place) -> Duration {
        let slot = &self.slots[place.slot];
        let waited = self.now().saturating_sub(slot.since.load(Ordering::Relaxed));
        self.longest.fetch_max(waited, Ordering::Relaxed);
        let waker = slot.waker.replace(None);
        slot.seat.store(0, Ordering::Release);
        self.vacant[place.slot / SPAN_BLOCKS as usize].free(1 << (place.slot as u32 % SPAN_BLOCKS));
        // Foreign code last.
        drop(waker);
        Duration::from_nanos(waited)
    }

    /// The longest that anybody waited who has left.
    pub(super) fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest.load(Ordering::Relaxed))
    }

    /// How long the one has waited that has waited longest; `None` when nobody waits.
    pub(super) fn age(&self) -> Option<Duration> {
        let waiting = |slot: usize| {
            let seat = self.load(slot);
            let since = self.slots[slot].since.load(Ordering::Relaxed);
            // The same seat before and after: what was read between is this one's.
            (seat.state() == State::Waiting && self.load(slot) == seat).then_some(since)
        };
        let oldest = self.taken_slots().filter_map(waiting).min()?;
        Some(Duration::from_nanos(self.now().saturating_sub(oldest)))
    }

    pub(super) fn load(&self, slot: usize) -> Seat {
        Seat(self.slots[slot].seat.load(Ordering::Acquire))
    }

    fn taken_slots(&self) -> impl Iterator<Item = usize> {
        self.vacant.iter().enumerate().flat_map(|(i, bits)| {
            let first = i as u32 * SPAN_BLOCKS;
            let exist = FULL >> (SPAN_BLOCKS - (self.places() - first).min(SPAN_BLOCKS));
            blocks_of(first, exist & !bits.load()).map(|slot| slot as usize)
        })
    }

    /// Wakes everybody who has a seat.
    pub(super) fn wake_all(&self) {
        for slot in self.taken_slots() {
            self.wake(slot);
        }
    }

    /// Wakes whoever sits in a slot; a waker that has just been replaced, or that belongs to the slot's
    /// next owner, is woken for nothing.
    pub(super) fn wake(&self, slot: usize) {
        let Some(waker) = self.slots[slot].waker.get() else { return };
        // Foreign code on the thread of somebody who gives permits back, who may be unwinding; and if it has
        // just been replaced, this is where it is dropped.
        contain(|| waker.wake_by_ref());
        contain(move || drop(waker));
    }

    /// Replaces the waker, if it would wake another task. A grant that comes later wakes the new one.
    pub(super) fn set_waker(&self, place: &Place, waker: &Waker) {
        let slot = &self.slots[place.slot];
        if slot.waker.get().is_some_and(|now| now.will_wake(waker)) {
            return;
        }
        let replaced = slot.waker.replace(Some(waker.clone()));
        // A read-modify-write that changes nothing: the CAS of a grant reads it or is read by it, so the
        // granter sees the new waker, or we see the grant when we look next.
        if !mutant("queue.waker-unannounced") {
            slot.seat.fetch_or(0, Ordering::AcqRel);
        }
        drop(replaced);
    }

    /// Waiting → granted. The caller has taken the permits out of the centre for this very seat.
    pub(super) fn grant(&self, slot: usize, seat: Seat) {
        self.decide(slot, seat, State::Granted);
    }

    /// Waiting → left; `false` when the seat has been granted its permits.
    pub(super) fn leave(&self, place: &Place) -> bool {
        self.decide(place.slot, place.seat, State::Left)
    }

    fn decide(&self, slot: usize, seat: Seat, state: State) -> bool {
        let to = seat.with(state);
        // AcqRel: passes on what was released with the permits, and the waker that was set before.
        self.slots[slot]
            .seat
            .compare_exchange(seat.0, to.0, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// The seat that has waited longest, with its slot. Looks at every seat that is taken, unless the
    /// one that is [remembered](Self::remember) still waits.
    pub(super) fn oldest(&self) -> Option<(usize, Seat)> {
        // Relaxed: the seat itself tells whether the hint is still right.
        let head = self.head.load(Ordering::Relaxed);
        let slot = (head & ((1 << SLOT_SHIFT) - 1)) as usize;
        let seat = self.load(slot);
        if seat.state() == State::Waiting && seat.number() == head >> SLOT_SHIFT {
            return Some((slot, seat));
        }
        self.taken_slots()
            .map(|slot| (slot, self.load(slot)))
            .filter(|(_, seat)| seat.state() == State::Waiting)
            .reduce(|oldest, other| {
                if other.1.is_older_than(oldest.1) && !mutant("queue.order-of-slots") {
                    other
                } else {
                    oldest
                }
            })
    }

    /// Remembers the oldest seat, so that each release looks at one seat and not at all of them.
    ///
    /// The caller has seen that the centre did not change while it looked for it. So nobody who joined
    /// the queue before that is older, and whoever joined later is behind: for as long as this seat
    /// waits it is the oldest, whenever the hint is written.
    pub(super) fn remember(&self, slot: usize, seat: Seat) {
        let head = seat.number() << SLOT_SHIFT | slot as u64;
        if self.head.load(Ordering::Relaxed) != head {
            self.head.store(head, Ordering::Relaxed);
        }
    }
}
