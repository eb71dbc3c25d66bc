//! Who may come in: how many requests are inside, whether anybody drains, whether the engine is closed.
//!
//! All three live in one word, so that "the engine is idle and nobody can have come in" is one load and
//! "come in unless somebody drains" is one CAS. Two words would need a store-load fence on both sides.

use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use atomic_waker::AtomicWaker;

use super::wake::thread_waker;

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
        let mut word = self.word.load(Ordering::Acquire);
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
            if word & REQUESTS >= u64::from(self.limit) {
                return Err(Refused::Full);
            }
            // AcqRel: what the request that left before us gave back is seen by us.
            match self.word.compare_exchange_weak(
                word,
                word + REQUEST,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Ok(()),
                Err(now) => word = now,
            }
        }
    }

    /// Goes out. A drain that sees the count without this request also sees all that it gave back. `true`
    /// for the last one out of a retired gate.
    pub(crate) fn leave(&self) -> bool {
        let before = self.word.fetch_sub(REQUEST, Ordering::AcqRel);
        debug_assert!(before & REQUESTS > 0, "a request left twice");
        let last = before & REQUESTS == REQUEST;
        if last && before & !(CLOSED | RETIRED | REQUESTS) != 0 {
            self.idle.wake();
        }
        last && before & RETIRED != 0
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
        (self.word.load(Ordering::Acquire) & REQUESTS) as u32
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
                self.0.fetch_sub(DRAIN, Ordering::AcqRel);
            }
        }

        self.word.fetch_add(DRAIN, Ordering::AcqRel);
        let _draining = Draining(&self.word);
        // A timeout too long for the clock is none.
        let deadline = Instant::now().checked_add(timeout);
        let waker: Waker = thread_waker();
        loop {
            // Register, then look: a request that leaves after the look finds the waker.
            self.idle.register(&waker);
            if self.inside() == 0 {
                return true;
            }
            let left =
                deadline.map_or(self.look_again, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return false;
            }
            thread::park_timeout(left.min(self.look_again));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

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
