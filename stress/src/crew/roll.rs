//! The roll: which threads are at work, and whether each of them gets on.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use latchless_freezing::{Enlisted, Victim};

use crate::part::Kind;

/// The number of the thread that checks a part when those of a round have ended.
const CHECKER: u16 = u16::MAX;

/// A thread at work.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Tells it from all threads that were, and will be.
    number: u64,
    pub(crate) part: Kind,
    pub(crate) round: u64,
    pub(crate) thread: u16,
    beats: AtomicU64,
    victim: Option<Victim>,
}

impl Entry {
    /// Stops the thread where it is, for `time`. `false`: it is not there any more.
    pub(crate) fn strike(&self, time: Duration) -> std::io::Result<bool> {
        self.victim.map_or(Ok(false), |victim| victim.strike(time))
    }

    /// Its number among those of a round; none for who checks.
    pub(crate) fn worker(&self) -> Option<u16> {
        (self.thread != CHECKER).then_some(self.thread)
    }

    fn is_frozen(&self) -> bool {
        self.victim.is_some_and(Victim::is_frozen)
    }
}

/// All threads that are at work.
#[derive(Debug, Default)]
pub(crate) struct Roll {
    entries: Mutex<Vec<Arc<Entry>>>,
    entered: AtomicU64,
}

impl Roll {
    /// Enters the calling thread, until what it gets is dropped.
    pub(crate) fn enter(&self, part: Kind, round: u64, thread: u16) -> Present<'_> {
        let enlisted = Enlisted::this_thread();
        let entry = Arc::new(Entry {
            number: self.entered.fetch_add(1, Ordering::Relaxed),
            part,
            round,
            thread,
            beats: AtomicU64::new(0),
            victim: enlisted.as_ref().map(Enlisted::victim),
        });
        self.entries().push(Arc::clone(&entry));
        Present { roll: self, entry, _enlisted: enlisted }
    }

    /// Enters the calling thread as the one that checks.
    pub(crate) fn enter_checker(&self, part: Kind, round: u64) -> Present<'_> {
        self.enter(part, round, CHECKER)
    }

    pub(crate) fn everybody(&self) -> Vec<Arc<Entry>> {
        self.entries().clone()
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The calling thread is on the roll.
#[derive(Debug)]
pub(crate) struct Present<'a> {
    roll: &'a Roll,
    entry: Arc<Entry>,
    _enlisted: Option<Enlisted>,
}

impl Present<'_> {
    /// The thread gets on.
    pub(crate) fn beat(&self) {
        // Only this thread writes. Relaxed: nothing is read by it but the number itself.
        let beats = self.entry.beats.load(Ordering::Relaxed);
        self.entry.beats.store(beats + 1, Ordering::Relaxed);
    }
}

impl Deref for Present<'_> {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.entry
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.roll.entries().retain(|entry| entry.number != self.entry.number);
    }
}

/// Time between two visits of a watchdog from which on it was kept from them: the process was stopped, or had no core.
const AWAY: Duration = Duration::from_secs(2);

/// Looks at the roll again and again, and finds who does not get on.
#[derive(Debug, Default)]
pub(crate) struct Watchdog {
    /// Beats of each thread, and when they were last other ones.
    last: HashMap<u64, (u64, Instant)>,
    visited: Option<Instant>,
}

impl Watchdog {
    /// A thread that has done nothing for `patience`, and could have: neither the time in which it is frozen counts, nor
    /// what passed while the watchdog itself was kept from its visits.
    pub(crate) fn stalled(
        &mut self,
        roll: &Roll,
        now: Instant,
        patience: Duration,
    ) -> Option<Arc<Entry>> {
        let everybody = roll.everybody();
        let before = std::mem::take(&mut self.last);
        let away = self.visited.replace(now).map(|last| now.saturating_duration_since(last));
        let away = away.filter(|away| *away > AWAY).unwrap_or_default();
        for entry in &everybody {
            let beats = entry.beats.load(Ordering::Relaxed);
            let since = match before.get(&entry.number) {
                Some((last, since)) if *last == beats && !entry.is_frozen() => *since + away,
                _ => now,
            };
            self.last.insert(entry.number, (beats, since));
        }
        let stalled = |entry: &&Arc<Entry>| {
            let (_, since) = self.last[&entry.number];
            now.saturating_duration_since(since) >= patience
        };
        everybody.iter().find(stalled).map(Arc::clone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_frozen_has_not_stalled() {
        let roll = Roll::default();
        let mut dog = Watchdog::default();
        let (patience, begun) = (Duration::from_secs(1), Instant::now());
        let late = begun + AWAY;
        let present = roll.enter(Kind::Pool, 0, 0);
        std::thread::scope(|scope| {
            let watching = scope.spawn(|| {
                let everybody = roll.everybody();
                let entry = &everybody[0];
                assert!(dog.stalled(&roll, begun, patience).is_none());
                assert!(entry.strike(Duration::from_millis(500)).unwrap());
                while !entry.is_frozen() {
                    std::thread::yield_now();
                }
                assert!(dog.stalled(&roll, late, patience).is_none());
                while entry.is_frozen() {
                    std::thread::yield_now();
                }
                assert!(dog.stalled(&roll, late, patience).is_none(), "it could not get on");
                assert!(dog.stalled(&roll, late + patience, patience).is_some());
            });
            watching.join().unwrap();
        });
        drop(present);
    }

    #[test]
    fn who_does_not_get_on_is_found_and_nobody_else() {
        let roll = Roll::default();
        let mut dog = Watchdog::default();
        let patience = Duration::from_secs(2);
        let begun = Instant::now();
        let still = roll.enter(Kind::Pool, 3, 1);
        let busy = std::thread::scope(|scope| {
            let busy = scope.spawn(|| {
                let busy = roll.enter(Kind::Pool, 3, 2);
                assert!(dog.stalled(&roll, begun, patience).is_none());
                busy.beat();
                let stalled = dog.stalled(&roll, begun + patience, patience).unwrap();
                assert_eq!((stalled.part, stalled.round, stalled.thread), (Kind::Pool, 3, 1));
                busy.number
            });
            busy.join().unwrap()
        });
        assert!(roll.everybody().iter().all(|entry| entry.number != busy));
        still.beat();
        assert!(dog.stalled(&roll, begun + 2 * patience, patience).is_none());
    }

    #[test]
    fn a_process_that_was_stopped_has_not_stalled() {
        let (roll, mut dog) = (Roll::default(), Watchdog::default());
        let (patience, begun) = (Duration::from_mins(1), Instant::now());
        let _still = roll.enter(Kind::Pool, 0, 0);
        assert!(dog.stalled(&roll, begun, patience).is_none());
        let again = begun + Duration::from_hours(1);
        assert!(dog.stalled(&roll, again, patience).is_none());
        let second = Duration::from_secs(1);
        assert!((1..60).all(|n| dog.stalled(&roll, again + second * n, patience).is_none()));
        assert!(dog.stalled(&roll, again + patience, patience).is_some());
    }
}
