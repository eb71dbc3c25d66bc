//! The worst latencies: what a thread that is preempted or stopped does to the others.
//!
//! - [`inversion`]: threads of the lowest priority use the pool, busy threads keep them off the cores, and
//!   a thread that matters needs blocks every now and then;
//! - [`freeze`]: a random thread is stopped for long at a random instruction, again and again.
//!
//! Under plain load the maximum is the measuring thread's own preemption, and says nothing about the
//! pool. In these two only the algorithm differs. Nothing is subtracted from a latency; what is left out
//! is said where it is.

pub mod freeze;
pub mod inversion;

use std::hint::black_box;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::Churn;

/// Blocks of every request.
pub const REQUEST: u32 = 8;

/// Latencies above this count as this.
const LONGEST: Duration = Duration::from_mins(1);

/// What one thread saw, or several together. One operation is a pair of take and give back.
#[derive(Debug, Clone)]
pub struct Latencies {
    nanoseconds: Histogram<u64>,
    /// Operations that were refused for want of blocks: only a new geometry takes them all.
    pub refused: u64,
    /// Operations that are not counted, because their own thread was frozen within.
    pub frozen_within: u64,
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What was done to the threads.
    pub scenario: &'static str,
    /// The pool.
    pub backend: &'static str,
    /// The median.
    pub p50_ns: u64,
    /// 99 of 100 are not longer.
    pub p99_ns: u64,
    /// 999 of 1,000 are not longer.
    pub p999_ns: u64,
    /// 90 of 100 are not longer.
    pub p90_ns: u64,
    /// All but one in 10,000 are not longer.
    pub p9999_ns: u64,
    /// All but one in 100,000 are not longer; the longest, where there are fewer.
    pub p99999_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// Operations measured.
    pub operations: u64,
    /// Operations of 20 ms and more.
    pub over_20_ms: u64,
    /// Operations among them that were refused.
    pub refused: u64,
    /// Operations left out because their own thread was frozen within.
    pub frozen_within: u64,
    /// Times that agents came and left, and a new geometry was tried.
    pub churn_rounds: u64,
    /// Times that a new geometry was put in force.
    pub reconfigured: u64,
    /// The longest of the rounds whose own thread was neither starved nor frozen.
    pub churn_max_ns: u64,
}

/// What threads did beside requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Churned {
    /// Rounds.
    pub rounds: u64,
    /// Rounds in which the geometry was replaced.
    pub reconfigured: u64,
    /// The longest round that counts.
    pub longest: Duration,
}

impl Churned {
    /// Lets a contender do one round, which does not count as the longest if `was_stopped` says so
    /// afterwards.
    fn round<C: Churn>(&mut self, pool: &C, was_stopped: impl FnOnce() -> bool) {
        let begun = Instant::now();
        let reconfigured = pool.churn(REQUEST);
        let time = begun.elapsed();
        self.rounds += 1;
        self.reconfigured += u64::from(reconfigured);
        if !was_stopped() {
            self.longest = self.longest.max(time);
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            rounds: self.rounds + other.rounds,
            reconfigured: self.reconfigured + other.reconfigured,
            longest: self.longest.max(other.longest),
        }
    }
}

/// Blocks of a request that goes on all the time, so that a new geometry is tried and refused: else the
/// thread that has just replaced it could be the one that is stopped, with all blocks in its hands, and
/// the others would be refused instead of measured.
fn hold<C: Churn>(pool: &C) -> C::Hand<'_> {
    let mut hand = pool.hand();
    pool.take(&mut hand, REQUEST).expect("a fresh pool has room");
    hand
}

impl Default for Latencies {
    fn default() -> Self {
        // From 1 ns on, to three digits, all memory at once: recording allocates nothing.
        let nanoseconds = Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, 3)
            .expect("bounds that a histogram can have");
        Self { nanoseconds, refused: 0, frozen_within: 0 }
    }
}

impl Latencies {
    /// Does one operation and records how long it took, unless `was_frozen` says afterwards that it is
    /// not to count.
    #[inline]
    fn operation<'pool, C: Churn>(
        &mut self,
        pool: &'pool C,
        hand: &mut C::Hand<'pool>,
        was_frozen: impl FnOnce() -> bool,
    ) {
        let begun = Instant::now();
        let taken = pool.take(hand, black_box(REQUEST));
        if taken.is_ok() {
            black_box(&mut *hand);
            pool.give_back(hand).expect("a hand has what it took");
        }
        let time = begun.elapsed();
        if was_frozen() {
            self.frozen_within += 1;
            return;
        }
        self.refused += u64::from(taken.is_err());
        self.nanoseconds.saturating_record(time.as_nanos() as u64);
    }

    /// Does something and records how long it took.
    #[inline]
    fn time(&mut self, work: impl FnOnce()) {
        let begun = Instant::now();
        work();
        self.nanoseconds.saturating_record(begun.elapsed().as_nanos() as u64);
    }

    fn plus(mut self, other: &Self) -> Self {
        self.nanoseconds += &other.nanoseconds;
        self.refused += other.refused;
        self.frozen_within += other.frozen_within;
        self
    }

    /// The table's row.
    pub fn row(&self, scenario: &'static str, backend: &'static str, churned: Churned) -> Row {
        let histogram = &self.nanoseconds;
        let long = Duration::from_millis(20).as_nanos() as u64;
        let operations = histogram.len();
        Row {
            scenario,
            backend,
            p50_ns: histogram.value_at_quantile(0.5),
            p99_ns: histogram.value_at_quantile(0.99),
            p999_ns: histogram.value_at_quantile(0.999),
            p90_ns: histogram.value_at_quantile(0.9),
            p9999_ns: histogram.value_at_quantile(0.9999),
            p99999_ns: histogram.value_at_quantile(0.99999),
            max_ns: histogram.max(),
            operations,
            over_20_ms: histogram.count_between(long, u64::MAX),
            refused: self.refused,
            frozen_within: self.frozen_within,
            churn_rounds: churned.rounds,
            reconfigured: churned.reconfigured,
            churn_max_ns: churned.longest.as_nanos() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Contender;
    use crate::baseline::MutexOwner;

    #[test]
    fn what_is_frozen_within_is_left_out_and_refusals_count() {
        let pool = MutexOwner::new(10);
        let (mut hand, mut other) = (pool.hand(), pool.hand());
        let mut latencies = Latencies::default();
        latencies.operation(&pool, &mut hand, || false);
        latencies.operation(&pool, &mut hand, || true);
        pool.take(&mut other, 5).unwrap();
        latencies.operation(&pool, &mut hand, || false);
        let row = latencies.plus(&Latencies::default()).row("s", "b", Churned::default());
        assert_eq!((row.operations, row.frozen_within, row.refused), (2, 1, 1));
        assert_eq!(pool.free(), 5);
    }

    #[test]
    fn the_longest_round_is_of_threads_that_ran() {
        let pool = MutexOwner::new(10);
        let mut churned = Churned::default();
        churned.round(&pool, || true);
        assert_eq!(churned, Churned { rounds: 1, reconfigured: 1, longest: Duration::ZERO });
        churned.round(&pool, || false);
        assert!(churned.longest > Duration::ZERO);
        let row = Latencies::default().row("s", "b", churned.plus(churned));
        assert_eq!((row.churn_rounds, row.reconfigured), (4, 4));
        assert!(row.churn_max_ns > 0);
    }

    #[test]
    fn percentiles_are_of_what_was_recorded() {
        let mut latencies = Latencies::default();
        for time in 1..=1_000 {
            latencies.nanoseconds.record(time).unwrap();
        }
        latencies.nanoseconds.record(30_000_000).unwrap();
        let row = latencies.row("s", "b", Churned::default());
        assert_eq!((row.p50_ns, row.p99_ns, row.p999_ns), (501, 991, 1_000));
        assert_eq!((row.p90_ns, row.p99999_ns), (901, row.max_ns));
        assert!((29_900_000..30_100_000).contains(&row.max_ns), "{row:?}");
        assert_eq!((row.operations, row.over_20_ms), (1_001, 1));
    }
}
