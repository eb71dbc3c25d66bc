//! The bell that wakes a sleeping lane.
//!
//! Not `Thread::unpark`, and not an `AtomicWaker`: in both, the first of several callers takes the duty
//! to wake, and the others rely on it. If that one is frozen between taking the duty and doing it, the
//! lane sleeps on although others rang. Here everybody who finds the lane asleep wakes it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a sleep with an end lasts before it looks for rings.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Rung by any thread, answered by the one that drives the lane.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    /// Counts the rings. It may wrap: what matters is that it differs from what the lane saw, and
    /// four billion rings between a look and the sleep that follows it do not happen.
    rings: AtomicU32,
    asleep: AtomicBool,
}

/// The rings that a lane had heard before it looked for work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard(u32);

impl Bell {
    /// Tells the lane that there is something to do. Wait-free; one system call when the lane sleeps,
    /// none otherwise.
    pub(crate) fn ring(&self) {
        // Both SeqCst, as in `sleep`: either the lane's second look sees this ring, or we see the lane
        // asleep. With anything weaker both could miss.
        self.rings.fetch_add(1, Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) {
            atomic_wait::wake_all(&raw const self.rings);
        }
    }

    /// To be taken before looking for work.
    pub(crate) fn heard(&self) -> Heard {
        // Acquire: the work that was there before the ring is found by the look that follows.
        Heard(self.rings.load(Ordering::Acquire))
    }

    /// Sleeps until there was a ring after `heard`. Only the thread that drives the lane calls it.
    pub(crate) fn sleep(&self, heard: Heard) {
        self.asleep.store(true, Ordering::SeqCst);
        while self.rings.load(Ordering::SeqCst) == heard.0 {
            // Returns at once when the count has moved since the line above.
            atomic_wait::wait(&self.rings, heard.0);
        }
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Sleeps until there was a ring after `heard`, or until `end`, and hears a ring a millisecond late at
    /// worst. It is for a lane whose requests all wait for their readers while one has a deadline; a
    /// futex with a time would do better, and the portable one has none.
    pub(crate) fn sleep_until(&self, heard: Heard, end: Instant) {
        while self.heard().0 == heard.0 {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(LOOK_AGAIN));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn a_ring_before_the_sleep_is_not_lost() {
        let bell = Bell::default();
        let heard = bell.heard();
        bell.ring();
        bell.sleep(heard);
    }

    #[test]
    fn a_sleep_with_an_end_ends_by_a_ring_or_by_itself() {
        let bell = Bell::default();
        let heard = bell.heard();
        bell.sleep_until(heard, Instant::now());
        bell.ring();
        bell.sleep_until(heard, Instant::now() + Duration::from_hours(24));
    }

    #[test]
    fn every_ring_is_answered() {
        const ROUNDS: u32 = 2_000;
        let bell = Arc::new(Bell::default());
        let work = Arc::new(AtomicU32::new(0));
        let lane = thread::spawn({
            let (bell, work) = (Arc::clone(&bell), Arc::clone(&work));
            move || {
                let mut done = 0;
                while done < 2 * ROUNDS {
                    let heard = bell.heard();
                    match work.swap(0, Ordering::AcqRel) {
                        0 => bell.sleep(heard),
                        found => done += found,
                    }
                }
            }
        });
        let ringers: Vec<_> = (0..2)
            .map(|_| {
                let (bell, work) = (Arc::clone(&bell), Arc::clone(&work));
                thread::spawn(move || {
                    for _ in 0..ROUNDS {
                        work.fetch_add(1, Ordering::AcqRel);
                        bell.ring();
                    }
                })
            })
            .collect();
        for ringer in ringers {
            ringer.join().unwrap();
        }
        lane.join().unwrap();
    }
}
