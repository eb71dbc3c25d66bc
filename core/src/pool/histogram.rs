//! A histogram of latencies that many threads record into: a fixed array of atomics.
//!
//! The buckets are [HdrHistogram](https://github.com/HdrHistogram/HdrHistogram)'s: each power of two is
//! divided into equally many parts. With 32 parts a value is known to one part in 32, whatever its size,
//! and 1,920 buckets (15 KiB) hold everything from 1 ns to 584 years. Recording is one or two relaxed adds.

use std::fmt;
use std::time::Duration;

// Not `crate::sync`'s: nothing is decided by a histogram, and a model would explore every order.
use std::sync::atomic::{AtomicU64, Ordering};

/// Parts of a power of two, as a power of two.
const PART_BITS: u32 = 5;
const PARTS: u64 = 1 << PART_BITS;
const BUCKETS: usize = ((64 - PART_BITS + 1) << PART_BITS) as usize;

/// The bucket of a value.
fn bucket_of(value: u64) -> usize {
    // Below 32 each value has a bucket of its own.
    let shift = (value | PARTS).ilog2() - PART_BITS;
    let index = (u64::from(shift) << PART_BITS) + (value >> shift);
    index as usize
}

/// The greatest value of a bucket.
fn greatest_in(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket >> PART_BITS).saturating_sub(1);
    let part = bucket - (shift << PART_BITS);
    (part << shift) + ((1 << shift) - 1)
}

/// Latencies, in nanoseconds, recorded by any number of threads.
///
/// ```
/// use std::time::Duration;
/// use latchless::LatencyHistogram;
///
/// let histogram = LatencyHistogram::new();
/// for nanoseconds in 1..=1_000 {
///     histogram.record(Duration::from_nanos(nanoseconds));
/// }
/// let latencies = histogram.snapshot();
/// assert_eq!((latencies.count(), latencies.max()), (1_000, Duration::from_nanos(1_000)));
/// // To one part in 32, and never below the true value.
/// assert!((500..516).contains(&latencies.p50().as_nanos()));
/// ```
pub struct LatencyHistogram {
    counts: Box<[AtomicU64]>,
    max: AtomicU64,
}

impl LatencyHistogram {
    /// An empty histogram.
    pub fn new() -> Self {
        let counts = (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Self { counts, max: AtomicU64::new(0) }
    }

    /// Records a latency; one of more than 584 years as 584 years.
    pub fn record(&self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        // The load spares the write, and with it the line, to all but the few that are greater.
        if nanoseconds > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(nanoseconds, Ordering::Relaxed);
        }
        // Release: who counts this sees its maximum.
        self.counts[bucket_of(nanoseconds)].fetch_add(1, Ordering::Release);
    }

    /// What was recorded so far. Buckets are read one after another while recording goes on.
    pub fn snapshot(&self) -> Latencies {
        let counts: Box<[u64]> =
            self.counts.iter().map(|count| count.load(Ordering::Acquire)).collect();
        let count = counts.iter().sum();
        Latencies { counts, count, max: self.max.load(Ordering::Relaxed) }
    }
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for LatencyHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshot().fmt(f)
    }
}

/// A snapshot of a [`LatencyHistogram`].
///
/// ```
/// use std::time::Duration;
/// use latchless::{Latencies, LatencyHistogram};
///
/// let histogram = LatencyHistogram::new();
/// [1, 2, 300].map(|nanoseconds| histogram.record(Duration::from_nanos(nanoseconds)));
/// let latencies: Latencies = histogram.snapshot();
/// assert_eq!((latencies.p50(), latencies.max()), (Duration::from_nanos(2), Duration::from_nanos(300)));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Latencies {
    counts: Box<[u64]>,
    count: u64,
    max: u64,
}

impl Latencies {
    /// Number of latencies recorded.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The greatest one, exactly; zero when there is none.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// The least latency that at least this share (0 to 1) of all do not exceed: at most one part in 32
    /// too great, and never too small. Zero when there is none.
    pub fn at(&self, share: f64) -> Duration {
        // A share that is no number counts as 0.
        let rank = ((share * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut below = 0;
        let bucket = self.counts.iter().position(|count| {
            below += count;
            below >= rank
        });
        Duration::from_nanos(bucket.map_or(0, |bucket| greatest_in(bucket).min(self.max)))
    }

    /// How many are no longer than `bound`, as far as buckets tell: one within one part in 32 below the
    /// bound may count as longer.
    pub fn at_most(&self, bound: Duration) -> u64 {
        let bound = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        let within = |bucket: usize| greatest_in(bucket).min(self.max) <= bound;
        self.counts
            .iter()
            .enumerate()
            .take_while(|(bucket, _)| within(*bucket))
            .map(|(_, n)| n)
            .sum()
    }

    /// The median.
    pub fn p50(&self) -> Duration {
        self.at(0.5)
    }

    /// What 99 % do not exceed.
    pub fn p99(&self) -> Duration {
        self.at(0.99)
    }

    /// What 99.9 % do not exceed.
    pub fn p999(&self) -> Duration {
        self.at(0.999)
    }
}

impl fmt::Debug for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latencies")
            .field("count", &self.count)
            .field("p50", &self.p50())
            .field("p99", &self.p99())
            .field("p999", &self.p999())
            .field("max", &self.max())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_and_are_narrow() {
        for value in (0..5_000).chain((5..64).flat_map(|bit| {
            let power = 1_u64 << bit;
            [power - 1, power, power + 1, power + power / 3, power + (power - 1)]
        })) {
            let bucket = bucket_of(value);
            let greatest = greatest_in(bucket);
            assert!(greatest >= value && greatest - value <= value / PARTS, "{value}");
            assert_eq!(bucket_of(greatest), bucket, "{value}");
            if let Some(next) = greatest.checked_add(1) {
                assert_eq!(bucket_of(next), bucket + 1, "{value}");
            }
        }
        assert_eq!((bucket_of(u64::MAX), greatest_in(BUCKETS - 1)), (BUCKETS - 1, u64::MAX));
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_values() {
        let histogram = LatencyHistogram::new();
        assert_eq!(
            (histogram.snapshot().count(), histogram.snapshot().p999()),
            (0, Duration::ZERO)
        );
        let mut values: Vec<u64> =
            (0..10_000_u64).map(|i| (i * 2_654_435_761 % 1_000_003).pow(2) / 1_000).collect();
        for value in &values {
            histogram.record(Duration::from_nanos(*value));
        }
        values.sort_unstable();
        let latencies = histogram.snapshot();
        for share in [0.0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0, f64::NAN] {
            let rank = ((share * 10_000.0).ceil() as usize).max(1);
            let exact = values[rank - 1];
            let told = latencies.at(share).as_nanos() as u64;
            assert!(told >= exact && told - exact <= exact / PARTS, "{share}: {told} for {exact}");
        }
        assert_eq!(latencies.max().as_nanos() as u64, values[9_999]);
        assert_eq!(latencies.at(1.0), latencies.max());
    }

    #[test]
    fn those_within_a_bound_are_never_too_many() {
        let histogram = LatencyHistogram::new();
        (1..=10_000).for_each(|nanoseconds| histogram.record(Duration::from_nanos(nanoseconds)));
        let latencies = histogram.snapshot();
        for bound in [0, 1, 31, 32, 1_000, 5_555, 9_999, 10_000, 20_000, u64::MAX] {
            let (told, exact) = (latencies.at_most(Duration::from_nanos(bound)), bound.min(10_000));
            assert!(told <= exact && exact - told <= exact / PARTS, "{bound}: {told} for {exact}");
        }
        assert_eq!(latencies.at_most(latencies.max()), 10_000);
        assert_eq!(LatencyHistogram::new().snapshot().at_most(Duration::MAX), 0);
    }

    #[test]
    fn what_does_not_fit_counts_as_the_greatest() {
        let histogram = LatencyHistogram::new();
        histogram.record(Duration::MAX);
        histogram.record(Duration::ZERO);
        let latencies = histogram.snapshot();
        assert_eq!((latencies.count(), latencies.p50()), (2, Duration::ZERO));
        assert_eq!(latencies.max(), Duration::from_nanos(u64::MAX));
    }

    #[test]
    fn threads_record_together() {
        let histogram = LatencyHistogram::new();
        std::thread::scope(|scope| {
            for i in 0..4_u64 {
                let histogram = &histogram;
                scope.spawn(move || {
                    for n in 0..10_000 {
                        histogram.record(Duration::from_nanos(n * 4 + i));
                        if n % 1_000 == 0 {
                            let seen = histogram.snapshot();
                            assert!(seen.count() > n && seen.max() >= seen.p999());
                        }
                    }
                });
            }
        });
        let latencies = histogram.snapshot();
        assert_eq!((latencies.count(), latencies.max()), (40_000, Duration::from_nanos(39_999)));
    }
}
