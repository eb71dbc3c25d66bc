//! The bell that wakes a sleeping lane.
//!
//! Not `Thread::unpark`, and not an `AtomicWaker`: in both, the first of several callers takes the duty
//! to wake, and the others rely on it. If that one is frozen between taking the duty and doing it, the
//! lane sleeps on although others rang. Here everybody who finds the lane asleep wakes it.
//!
//! How often it was rung and whether the lane sleeps are one word. A ring adds to it and sees in the same
//! step whether the lane sleeps; the lane falls asleep by a CAS, which fails when there was a ring since it
//! looked for work. With two words each side would write one and read the other, and both could miss.

use std::time::Instant;

use crate::sync::{Futex, Ordering, mutant, weaker};

/// Bit 0: the lane sleeps, or is about to. The bits above count the rings.
const ASLEEP: u32 = 1;
const RING: u32 = 2;

/// Rung by any thread, answered by the one that drives the lane.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    /// The count may wrap: what matters is that it differs from what the lane saw, and two billion rings
    /// between a look and the sleep that follows it do not happen.
    state: Futex,
}

/// The rings that a lane had heard before it looked for work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard(u32);

impl Bell {
    /// Tells the lane that there is something to do. Wait-free; one system call when the lane sleeps,
    /// none otherwise.
    pub(crate) fn ring(&self) {
        if self.count_ring() {
            self.state.wake_all();
        }
    }

    /// Counts a ring; `true` when the lane sleeps, and has to be woken by everybody who sees that.
    fn count_ring(&self) -> bool {
        // Release: what there is to do is found by the lane that has heard the ring. What the lane itself
        // does to the word are read-modify-writes, so they hide no ring from it.
        let before =
            self.state.word.fetch_add(RING, weaker("bell.ring-relaxed", Ordering::Release));
        if mutant("bell.first-wakes") {
            return self.state.word.fetch_and(!ASLEEP, Ordering::Relaxed) & ASLEEP != 0;
        }
        before & ASLEEP != 0
    }

    /// To be taken before looking for work.
    pub(crate) fn heard(&self) -> Heard {
        // Acquire: the work that was there before the ring is found by the look that follows.
        Heard(self.state.word.load(weaker("bell.heard-relaxed", Ordering::Acquire)))
    }

    /// Sleeps until there was a ring after `heard`. Only the thread that drives the lane calls it.
    pub(crate) fn sleep(&self, heard: Heard) {
        self.sleep_to(heard, None);
    }

    /// Sleeps until there was a ring after `heard`, or until `end`. It is for a lane whose requests all wait
    /// for their readers or the disk, while somebody's time runs out.
    pub(crate) fn sleep_until(&self, heard: Heard, end: Instant) {
        self.sleep_to(heard, Some(end));
    }

    fn sleep_to(&self, Heard(heard): Heard, end: Option<Instant>) {
        let word = &self.state.word;
        // Relaxed, here and below: work is looked for behind `heard` only.
        let fall_asleep = |heard| {
            if mutant("bell.sleeps-unlooked") {
                return Ok(word.fetch_or(ASLEEP, Ordering::Relaxed));
            }
            word.compare_exchange(heard, heard | ASLEEP, Ordering::Relaxed, Ordering::Relaxed)
        };
        // Refused when there was a ring meanwhile.
        let Ok(awake) = fall_asleep(heard) else { return };
        let asleep = awake | ASLEEP;
        while word.load(Ordering::Relaxed) == asleep {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                break;
            }
            // Returns at once when the word has changed since the line above.
            self.state.wait(asleep, left);
        }
        word.fetch_and(!ASLEEP, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;
    use std::thread;
    use std::time::Duration;

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

#[cfg(all(test, latchless_loom))]
mod loom_models {
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU32;
    use loom::thread;

    use super::*;
    use crate::sync::explore;

    /// Sleeps between looks until all of `wanted` is there: a ring that is lost is a deadlock.
    fn drive(bell: &Bell, work: &AtomicU32, wanted: u32) {
        loop {
            let heard = bell.heard();
            // Relaxed: the bell is to bring it along.
            if work.load(Ordering::Relaxed) & wanted == wanted {
                return;
            }
            bell.sleep(heard);
        }
    }

    /// Two threads ring: the lane finds the work of both, whether it looks, falls asleep or sleeps.
    #[test]
    fn loom_every_ring_is_answered() {
        explore("bell: two rings", Some(3), 500, || {
            let (bell, work) = (Arc::new(Bell::default()), Arc::new(AtomicU32::new(0)));
            let ringers = [1, 2].map(|bit| {
                let (bell, work) = (Arc::clone(&bell), Arc::clone(&work));
                thread::spawn(move || {
                    work.fetch_or(bit, Ordering::Relaxed);
                    bell.ring();
                })
            });
            drive(&bell, &work, 3);
            for ringer in ringers {
                ringer.join().unwrap();
            }
        });
    }

    /// A thread is frozen between its ring and the wake that should follow: the ring of another one wakes the
    /// lane.
    #[test]
    fn loom_a_frozen_ringer_keeps_no_duty() {
        explore("bell: a frozen ringer", Some(2), 100, || {
            let (bell, work) = (Arc::new(Bell::default()), Arc::new(AtomicU32::new(0)));
            let frozen = Arc::clone(&bell);
            let frozen = thread::spawn(move || {
                frozen.count_ring();
            });
            let rings = thread::spawn({
                let (bell, work) = (Arc::clone(&bell), Arc::clone(&work));
                move || {
                    work.fetch_or(1, Ordering::Relaxed);
                    bell.ring();
                }
            });
            drive(&bell, &work, 1);
            frozen.join().unwrap();
            rings.join().unwrap();
        });
    }
}
