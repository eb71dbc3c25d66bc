//! What the threads count, put together for the status lines and the report.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::phases::Action;

/// Longest time that the histogram tells apart, in nanoseconds: a minute.
const LONGEST_NS: u64 = 60_000_000_000;

/// Counts of one thread, or of all.
#[derive(Debug, Clone)]
pub(crate) struct Counts {
    /// Decisions carried out, by action.
    pub(crate) actions: [u64; Action::COUNT],
    /// Allocations that got their blocks.
    pub(crate) granted: u64,
    /// Allocations that were refused because the pool had too few blocks.
    pub(crate) refused: u64,
    /// Blocks that were given out.
    pub(crate) blocks: u64,
    /// Nanoseconds of a pair of allocate and free.
    pub(crate) pairs: Histogram<u64>,
}

impl Counts {
    pub(crate) fn new() -> Self {
        // Two digits: a per cent, in few enough buckets to be added up all the time.
        let pairs = Histogram::new_with_bounds(1, LONGEST_NS, 2).expect("the bounds are in order");
        Self { actions: [0; Action::COUNT], granted: 0, refused: 0, blocks: 0, pairs }
    }

    pub(crate) fn operations(&self) -> u64 {
        self.actions.iter().sum()
    }

    pub(crate) fn record_pair(&mut self, time: Duration) {
        self.pairs.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(LONGEST_NS).max(1));
    }

    fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.actions.iter_mut().zip(other.actions) {
            *mine += theirs;
        }
        self.granted += other.granted;
        self.refused += other.refused;
        self.blocks += other.blocks;
        self.pairs.add(&other.pairs).expect("the bounds are the same");
    }

    fn clear(&mut self) {
        self.actions = [0; Action::COUNT];
        (self.granted, self.refused, self.blocks) = (0, 0, 0);
        self.pairs.reset();
    }
}

/// Counts of all threads, of the whole run.
#[derive(Debug)]
pub(crate) struct Tally(Mutex<Counts>);

impl Tally {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Counts::new()))
    }

    /// Adds a thread's counts, and begins them anew.
    pub(crate) fn collect(&self, counts: &mut Counts) {
        self.lock().add(counts);
        counts.clear();
    }

    /// The counts so far.
    pub(crate) fn snapshot(&self) -> Counts {
        self.lock().clone()
    }

    /// The operations so far.
    pub(crate) fn operations(&self) -> u64 {
        self.lock().operations()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_moved_into_the_tally() {
        let tally = Tally::new();
        for _ in 0..2 {
            let mut counts = Counts::new();
            counts.actions[Action::Free as usize] = 3;
            counts.refused = 1;
            counts.record_pair(Duration::from_micros(5));
            counts.record_pair(Duration::from_hours(1));
            tally.collect(&mut counts);
            assert_eq!((counts.operations(), counts.pairs.len()), (0, 0));
        }
        let all = tally.snapshot();
        assert_eq!((all.operations(), all.refused, all.pairs.len()), (6, 2, 4));
        assert!(all.pairs.max() >= LONGEST_NS, "what is off the scale counts as the longest");
    }
}
