//! Who may come in: how many requests are inside, whether anybody drains, whether the engine is closed.
//!
//! All three live in one word, so that "the engine is idle and nobody can have come in" is one load and
//! "come in unless somebody drains" is one CAS. Two words would need a store-load fence on both sides.

use std::task::Waker;
use std::time::{Duration, Instant};

use super::wake::thread_waker;
use crate::sync::{AtomicU64, AtomicWaker, Ordering, mutant, park_timeout, weaker};

/// Bits 0..32 count requests inside, 32..62 count drains, bit 62 says retired, bit 63 closed.
const REQUEST: u64 = 1;
const REQUESTS: u64 = 0xFFFF_FFFF;
const DRAIN: u64 = 1 << 32;
const RETIRED: u64 = 1 << 62;
const CLOSED: u64 = 1 << 63;

/// The longest a drain sleeps before it looks again. The request that leaves last wakes it at once; this
/// bounds what a thread that is frozen between leaving and waking, or a second drain that took over the
/// only waker, can cost.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Why a request may not come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// As many as may be inside are inside.
    Full,
    /// Somebody drains.
    Draining,
    /// Another one has taken its place.
    Retired,
    /// The engine was shut down, or the lane is gone.
    Closed,
}

#[derive(Debug)]
pub(crate) struct Gate {
    word: AtomicU64,
    limit: u32,
    idle: AtomicWaker,
    look_again: Duration,
}

impl Gate {
    pub(crate) fn new(limit: u32) -> Self {
        Self { word: AtomicU64::new(0), limit, idle: AtomicWaker::new(), look_again: LOOK_AGAIN }
    }

    /// Comes in; every success is followed by one [`leave`](Self::leave).
    pub(crate) fn enter(&self) -> Result<(), Refused> {
        // Acquire, here and where the CAS is lost: who is refused because another gate has taken this one's
        // place finds that one.
        let mut word = self.word.load(weaker("gate.enter-relaxed", Ordering::Acquire));
        loop {
            // First: there is somebody else to go to, also when the lane behind this gate is gone.
            if word & RETIRED != 0 {
                return Err(Refused::Retired);
            }
            if word & CLOSED != 0 {
                return Err(Refused::Closed);
            }
            if word >= DRAIN {
                return Err(Refused::Draining);
            }
            if word & REQUESTS >= u64::from(self.limit) && !mutant("gate.limit-ignored") {
                return Err(Refused::Full);
            }
            // AcqRel: what the request that left before us gave back is seen by us.
            match self.word.compare_exchange_weak(
                word,
                word + REQUEST,
                weaker("gate.enter-relaxed", Ordering::AcqRel),
                weaker("gate.enter-relaxed", Ordering::Acquire),
            ) {
                Ok(_) => return Ok(()),
                Err(now) => word = now,
            }
        }
    }

    /// Goes out. A drain that sees the count without this request also sees all that it gave back. `true`
    /// for the last one out of a retired gate.
    pub(crate) fn leave(&self) -> bool {
        // AcqRel: what the others gave back goes on through us to whoever sees all of us out.
        let before = self.word.fetch_sub(REQUEST, weaker("gate.leave-relaxed", Ordering::AcqRel));
        debug_assert!(before & REQUESTS > 0, "a request left twice");
        let last = before & REQUESTS == REQUEST;
        if last && before & !(CLOSED | RETIRED | REQUESTS) != 0 && !mutant("gate.last-out-silent") {
            self.idle.wake();
        }
        last && before & RETIRED != 0 && !mutant("gate.deserted-unsaid")
    }

    /// Lets nobody in any more, because another gate has taken its place; those inside go on.
    pub(crate) fn retire(&self) {
        self.word.fetch_or(RETIRED, Ordering::AcqRel);
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.word.load(Ordering::Acquire) & RETIRED != 0
    }

    /// Whether it was retired and all are out: nobody will be inside again.
    pub(crate) fn is_deserted(&self) -> bool {
        let word = self.word.load(Ordering::Acquire);
        word & RETIRED != 0 && word & REQUESTS == 0
    }

    /// Requests inside, those in the middle of a submit included.
    pub(crate) fn inside(&self) -> u32 {
        // Relaxed: a number. What those who left gave back is acquired where a drain ends.
        (self.word.load(Ordering::Relaxed) & REQUESTS) as u32
    }

    /// Lets nobody in any more. `true` for the first who closes.
    pub(crate) fn close(&self) -> bool {
        self.word.fetch_or(CLOSED, Ordering::AcqRel) & CLOSED == 0
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.word.load(Ordering::Acquire) & CLOSED != 0
    }

    /// Lets nobody in until all are out or `timeout` is over. `true` when all are out.
    pub(crate) fn drain(&self, timeout: Duration) -> bool {
        /// Ends the drain also when the waiting thread unwinds.
        struct Draining<'a>(&'a AtomicU64);
        impl Drop for Draining<'_> {
            fn drop(&mut self) {
                // Acquire: what everybody gave back who has left by now is seen behind the drain.
                self.0.fetch_sub(DRAIN, weaker("gate.drained-relaxed", Ordering::Acquire));
            }
        }

        // Relaxed: the word alone keeps others out.
        self.word.fetch_add(DRAIN, Ordering::Relaxed);
        let _draining = Draining(&self.word);
        // A timeout too long for the clock is none.
        let deadline = Instant::now().checked_add(timeout);
        let waker: Waker = thread_waker();
        loop {
            // Register, then look: a request that leaves after the look finds the waker.
            if mutant("gate.drain-looks-first") && self.inside() != 0 {
                self.idle.register(&waker);
                park_timeout(self.look_again);
                continue;
            }
            self.idle.register(&waker);
            if self.inside() == 0 {
                return true;
            }
            let left =
                deadline.map_or(self.look_again, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return false;
            }
            park_timeout(left.min(self.look_again));
        }
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn never_more_inside_than_the_limit() {
        let gate = Gate::new(2);
        assert_eq!((gate.enter(), gate.enter()), (Ok(()), Ok(())));
        assert_eq!(gate.enter(), Err(Refused::Full));
        gate.leave();
        assert_eq!(gate.enter(), Ok(()));
        assert_eq!(gate.inside(), 2);
    }

    #[test]
    fn a_retired_gate_lets_out_and_not_in() {
        let gate = Gate::new(2);
        gate.enter().unwrap();
        gate.retire();
        assert_eq!(gate.enter(), Err(Refused::Retired));
        assert!(!gate.is_deserted());
        assert!(gate.leave() && gate.is_deserted());
        gate.close();
        assert_eq!(gate.enter(), Err(Refused::Retired));
    }

    #[test]
    fn closed_stays_closed_and_says_who_was_first() {
        let gate = Gate::new(2);
        gate.enter().unwrap();
        assert!(gate.close());
        assert!(!gate.close());
        assert_eq!(gate.enter(), Err(Refused::Closed));
        gate.leave();
        assert_eq!(gate.inside(), 0);
        assert!(gate.drain(Duration::ZERO), "a closed gate can be drained");
    }

    #[test]
    fn a_drain_that_runs_out_opens_the_gate_again() {
        let gate = Gate::new(2);
        gate.enter().unwrap();
        assert!(!gate.drain(Duration::ZERO));
        assert_eq!(gate.enter(), Ok(()));
    }

    /// Without looking again: only the wake of the last one out can end this test.
    #[test]
    fn the_last_one_out_wakes_the_drain() {
        let gate = Arc::new(Gate { look_again: Duration::MAX, ..Gate::new(8) });
        for _ in 0..100 {
            gate.enter().unwrap();
            let drain = thread::spawn({
                let gate = Arc::clone(&gate);
                move || gate.drain(Duration::MAX)
            });
            while gate.word.load(Ordering::Acquire) < DRAIN {
                thread::yield_now();
            }
            gate.leave();
            assert!(drain.join().unwrap());
        }
    }

    #[test]
    fn several_drains_all_end() {
        let gate = Arc::new(Gate::new(8));
        gate.enter().unwrap();
        let drains: Vec<_> = (0..2)
            .map(|_| {
                let gate = Arc::clone(&gate);
                thread::spawn(move || gate.drain(Duration::MAX))
            })
            .collect();
        while gate.word.load(Ordering::Acquire) < 2 * DRAIN {
            thread::yield_now();
        }
        assert_eq!(gate.enter(), Err(Refused::Draining));
        gate.leave();
        for drain in drains {
            assert!(drain.join().unwrap());
        }
        assert_eq!(gate.enter(), Ok(()));
    }
}

#[cfg(all(test, latchless_loom))]
mod loom_models {
    use loom::cell::Cell;
    use loom::sync::Arc;
    use loom::thread;

    use super::*;
    use crate::sync::explore;

    /// A gate for one, and what whoever is inside may change.
    type Guarded = Arc<(Gate, Cell<u32>)>;

    fn for_one() -> Guarded {
        Arc::new((Gate::new(1), Cell::new(0)))
    }

    /// Comes in if it may, changes what is guarded and goes; says how often it was in.
    fn visit((gate, guarded): &(Gate, Cell<u32>)) -> u32 {
        if gate.enter().is_err() {
            return 0;
        }
        guarded.set(guarded.get() + 1);
        gate.leave();
        1
    }

    /// Room for one and three that come: never two inside, and each finds what the one before gave back.
    #[test]
    fn loom_one_after_the_other() {
        explore("gate: one after the other", Some(3), 200, || {
            let guarded = for_one();
            let others = [(), ()].map(|()| {
                let guarded = Arc::clone(&guarded);
                thread::spawn(move || visit(&guarded))
            });
            let mut visits = visit(&guarded);
            for other in others {
                visits += other.join().unwrap();
            }
            assert!(visits >= 1);
            assert_eq!((guarded.1.get(), guarded.0.inside()), (visits, 0));
        });
    }

    /// A drain ends when the last of two is out, which wakes it, and finds what both gave back.
    #[test]
    fn loom_a_drain_sees_all_out() {
        explore("gate: a drain", Some(3), 200, || {
            let gate = Arc::new((Gate::new(2), Cell::new(0), Cell::new(0)));
            gate.0.enter().unwrap();
            gate.0.enter().unwrap();
            let first = Arc::clone(&gate);
            let first = thread::spawn(move || {
                first.1.set(1);
                first.0.leave();
            });
            let second = Arc::clone(&gate);
            let second = thread::spawn(move || {
                second.2.set(1);
                second.0.leave();
            });
            assert!(gate.0.drain(Duration::MAX));
            assert_eq!((gate.1.get(), gate.2.get()), (1, 1));
            first.join().unwrap();
            second.join().unwrap();
            assert_eq!(gate.0.enter(), Ok(()));
        });
    }

    /// Somebody comes while somebody drains: in before it, and then out before the drain is over, or refused,
    /// or in behind it.
    #[test]
    fn loom_nobody_is_inside_when_a_drain_is_over() {
        explore("gate: come while drained", Some(3), 50, || {
            let guarded = for_one();
            let other = Arc::clone(&guarded);
            let other = thread::spawn(move || visit(&other));
            // No time to wait: it is over at once, or was for nothing.
            if guarded.0.drain(Duration::MAX) {
                let visits = visit(&guarded);
                let others = other.join().unwrap();
                assert_eq!(guarded.1.get(), visits + others);
            }
        });
    }
}
