//! What the threads count, put together for the status lines and the report.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use latchless_freezing::times_frozen;

/// Longest time that the histogram tells apart, in nanoseconds: a minute.
const LONGEST_NS: u64 = 60_000_000_000;

/// What a part counts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    /// What threads decide to do.
    pub(crate) actions: &'static [&'static str],
    /// What came of it.
    pub(crate) outcomes: &'static [&'static str],
    /// The outcome without which a run has shown nothing.
    pub(crate) needed: usize,
    /// Operations that are timed.
    pub(crate) timed: &'static [&'static str],
}

/// Counts of one thread, or of all threads of a part.
#[derive(Debug, Clone)]
pub(crate) struct Counts {
    pub(crate) columns: &'static Columns,
    /// Decisions carried out, by action.
    pub(crate) actions: Box<[u64]>,
    pub(crate) outcomes: Box<[u64]>,
    /// Nanoseconds of the timed operations in which their own thread was not frozen.
    pub(crate) times: Box<[Histogram<u64>]>,
}

impl Counts {
    pub(crate) fn new(columns: &'static Columns) -> Self {
        // Two digits: a per cent, in few enough buckets to be added up all the time.
        let times =
            || Histogram::new_with_bounds(1, LONGEST_NS, 2).expect("the bounds are in order");
        Self {
            columns,
            actions: columns.actions.iter().map(|_| 0).collect(),
            outcomes: columns.outcomes.iter().map(|_| 0).collect(),
            times: columns.timed.iter().map(|_| times()).collect(),
        }
    }

    pub(crate) fn operations(&self) -> u64 {
        self.actions.iter().sum()
    }

    /// How often what has one of these names was decided or came.
    pub(crate) fn of(&self, names: &[&str]) -> u64 {
        let columns = self.columns;
        let actions = columns.actions.iter().zip(&self.actions);
        let all = actions.chain(columns.outcomes.iter().zip(&self.outcomes));
        all.filter(|(name, _)| names.contains(name)).map(|(_, count)| count).sum()
    }

    /// Whether what was to be shown has happened at all.
    pub(crate) fn shows_something(&self) -> bool {
        self.outcomes[self.columns.needed] > 0
    }

    /// Nothing for an operation in which the thread was frozen.
    pub(crate) fn record(&mut self, timed: usize, time: Option<Duration>) {
        let Some(time) = time else { return };
        let time = u64::try_from(time.as_nanos()).unwrap_or(LONGEST_NS);
        self.times[timed].saturating_record(time.max(1));
    }

    /// What has come since `before`, which is an earlier count of the same.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let minus = |now: &[u64], before: &[u64]| {
            now.iter().zip(before).map(|(now, before)| now.saturating_sub(*before)).collect()
        };
        let mut times = self.times.clone();
        for (now, before) in times.iter_mut().zip(&before.times) {
            // Of the same part, later: there is nothing that it lacks.
            let _ = now.subtract(before);
        }
        Self {
            columns: self.columns,
            actions: minus(&self.actions, &before.actions),
            outcomes: minus(&self.outcomes, &before.outcomes),
            times,
        }
    }

    fn add(&mut self, other: &Self) {
        let plus = |mine: &mut [u64], theirs: &[u64]| {
            mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine += theirs);
        };
        plus(&mut self.actions, &other.actions);
        plus(&mut self.outcomes, &other.outcomes);
        for (mine, theirs) in self.times.iter_mut().zip(&other.times) {
            mine.add(theirs).expect("the bounds are the same");
        }
    }

    fn clear(&mut self) {
        self.actions.fill(0);
        self.outcomes.fill(0);
        self.times.iter_mut().for_each(Histogram::reset);
    }
}

/// Carries out an operation, and says how long it took; not when the thread was frozen meanwhile, which says
/// nothing of the operation.
pub(crate) fn unfrozen<R>(operation: impl FnOnce() -> R) -> (R, Option<Duration>) {
    let frozen = times_frozen();
    let begun = Instant::now();
    let result = operation();
    let time = begun.elapsed();
    (result, (times_frozen() == frozen).then_some(time))
}

/// Counts of all threads of a part, of the whole run.
#[derive(Debug)]
pub(crate) struct Tally(Mutex<Counts>);

impl Tally {
    pub(crate) fn new(columns: &'static Columns) -> Self {
        Self(Mutex::new(Counts::new(columns)))
    }

    /// Adds a thread's counts, and begins them anew; later, when somebody else is at it: whoever is frozen
    /// in here must not stop the others.
    pub(crate) fn offer(&self, counts: &mut Counts) {
        match self.0.try_lock() {
            Ok(mut all) => Self::add(&mut all, counts),
            Err(TryLockError::Poisoned(poisoned)) => Self::add(&mut poisoned.into_inner(), counts),
            Err(TryLockError::WouldBlock) => {}
        }
    }

    /// The same, at all events: for the end of a round.
    pub(crate) fn collect(&self, counts: &mut Counts) {
        Self::add(&mut self.lock(), counts);
    }

    /// The counts so far.
    pub(crate) fn snapshot(&self) -> Counts {
        self.lock().clone()
    }

    fn add(all: &mut Counts, counts: &mut Counts) {
        all.add(counts);
        counts.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static COLUMNS: Columns =
        Columns { actions: &["dig", "fill"], outcomes: &["hole"], needed: 0, timed: &["dig"] };

    #[test]
    fn counts_are_moved_into_the_tally() {
        let tally = Tally::new(&COLUMNS);
        for _ in 0..2 {
            let mut counts = Counts::new(&COLUMNS);
            counts.actions[1] = 3;
            counts.outcomes[0] = 1;
            counts.record(0, Some(Duration::from_micros(5)));
            counts.record(0, Some(Duration::from_hours(1)));
            tally.offer(&mut counts);
            assert_eq!((counts.operations(), counts.times[0].len()), (0, 0));
        }
        let all = tally.snapshot();
        assert_eq!((all.operations(), all.outcomes[0], all.times[0].len()), (6, 2, 4));
        assert!(all.times[0].max() >= LONGEST_NS, "what is off the scale counts as the longest");
        assert!(all.shows_something());
        assert_eq!((all.of(&["fill", "hole"]), all.of(&["dig"])), (8, 0));
    }

    #[test]
    fn who_is_at_the_tally_does_not_stop_an_offer() {
        let tally = Tally::new(&COLUMNS);
        let mut counts = Counts::new(&COLUMNS);
        counts.actions[0] = 1;
        let held = tally.lock();
        tally.offer(&mut counts);
        assert_eq!(counts.operations(), 1, "kept for the next time");
        drop(held);
        tally.offer(&mut counts);
        assert_eq!((counts.operations(), tally.snapshot().operations()), (0, 1));
    }

    #[test]
    fn a_difference_is_of_the_time_between() {
        let mut before = Counts::new(&COLUMNS);
        before.actions[0] = 100;
        before.record(0, Some(Duration::from_secs(1)));
        let mut now = before.clone();
        now.actions[0] = 300;
        now.outcomes[0] = 4;
        now.record(0, Some(Duration::from_micros(1)));
        let since = now.since(&before);
        assert_eq!((since.operations(), since.outcomes[0]), (200, 4));
        assert!(since.times[0].max() < 2_000, "the second of before is not told again");
    }
}
