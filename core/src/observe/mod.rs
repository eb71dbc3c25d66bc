//! What a running core tells about itself: numbers that a host looks at, not numbers that are sent.
//!
//! # Pulled, never pushed
//!
//! An operation of the hot path writes nothing for whoever may be looking. What it counts it counts for its
//! own sake, on the branch that was lost anyway ([`StripeCounters`](crate::StripeCounters)), and the rest
//! is in the words that it works on: how many blocks are free *is* the permits. So a host that wants to
//! know takes a snapshot when it wants to, once a second or once a scrape, and that one reads. A
//! recorder that is called by each operation instead would add a look-up, a shared line and foreign code to
//! something that takes 10 ns; it would also make a recorder that waits everybody's wait.
//!
//! # Three ways to read
//!
//! - a **snapshot** is a plain struct with public fields, for hosts that have a display of their own:
//!   [`BlockPool::snapshot`], [`TaskQueue::snapshot`], …;
//! - [`Observe`] says of each snapshot which [`Metric`]s it has, with names, units and meanings, and
//!   [`samples`] gives their values one by one: for hosts that write a format of their own;
//! - with the feature `metrics`, `describe` and `export` of this module hand them to the recorder that the
//!   host installed with the crate [`metrics`](https://docs.rs/metrics), Prometheus' or any other.
//!
//! # Names
//!
//! Those of [Prometheus](https://prometheus.io/docs/practices/naming/): `latchless_`, the part, what is
//! counted, its unit, and `_total` for what only grows. Times are in seconds, but for counters of time, which
//! are in nanoseconds: a counter of the facade is a whole number. A latency is a histogram in Prometheus'
//! own form, a counter for each bound with the label `le`: it can be added up over pools and processes, and
//! `histogram_quantile` reads it. `docs/observability.md` lists all of them.
//!
//! ```
//! use latchless::observe::{Value, samples};
//! use latchless::{BlockPool, LayerId, ModelSpec, PoolConfig};
//!
//! let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(4, 8, 128, 16)?))?;
//! let agent = pool.open_account()?;
//! let _lease = pool.allocate(agent, LayerId(0), 15)?;
//!
//! let snapshot = pool.snapshot();
//! assert_eq!((snapshot.usage.used, snapshot.counters.refusals), (15, 0));
//! let mut used = None;
//! samples(&snapshot, |sample| {
//!     if sample.name == "latchless_pool_blocks_used" {
//!         used = Some(sample.value);
//!     }
//! });
//! assert_eq!(used, Some(Value::Gauge(15.0)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`BlockPool::snapshot`]: crate::BlockPool::snapshot
//! [`TaskQueue::snapshot`]: crate::TaskQueue::snapshot

mod agents;
#[cfg(feature = "metrics")]
mod facade;
mod pool;
mod tasks;

use std::time::Duration;

pub use self::agents::{OutboxSnapshot, SpawnSnapshot};
#[cfg(feature = "metrics")]
pub use self::facade::{describe, export};
pub use self::pool::{PoolLatencies, PoolSnapshot};
pub use self::tasks::TaskQueueSnapshot;

use crate::pool::Latencies;

/// What a metric's numbers are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unit {
    /// Things: blocks, requests, retries.
    Count,
    /// Seconds.
    Seconds,
    /// Nanoseconds, of counters of time.
    Nanoseconds,
    /// Bytes.
    Bytes,
}

/// How a metric's numbers behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Grows as long as what it is of lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counters `…_bucket`, one for each bound `le` in seconds, and `…_count`.
    Histogram,
}

/// One metric: what a table of metrics has a row for, and a recorder is told once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Metric {
    /// Its name, the same in every version 0.x.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// What it counts in.
    pub unit: Unit,
    /// What it means.
    pub meaning: &'static str,
    /// The label that tells its parts from each other, and this part's: `("reason", "length")`.
    pub label: Option<(&'static str, &'static str)>,
}

/// A number of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// Of a counter, or of one bucket of a histogram.
    Counter(u64),
    /// Of a gauge.
    Gauge(f64),
}

/// A metric's number, as it was when the snapshot was taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample<'a> {
    /// The metric's name; of a histogram with `_bucket` or `_count`.
    pub name: &'a str,
    /// Its label, or a bucket's bound.
    pub label: Option<(&'static str, &'a str)>,
    /// The number.
    pub value: Value,
}

/// A metric and where a snapshot has its number.
#[derive(Debug)]
pub struct Reading<S> {
    metric: Metric,
    read: Read<S>,
}

#[derive(Debug)]
enum Read<S> {
    Counter(fn(&S) -> u64),
    Gauge(fn(&S) -> f64),
    Histogram(fn(&S) -> &Latencies, &'static [Duration]),
}

impl<S> Reading<S> {
    /// A counter.
    pub const fn counter(
        name: &'static str,
        meaning: &'static str,
        read: fn(&S) -> u64,
    ) -> Reading<S> {
        Self::new(name, Kind::Counter, Unit::Count, meaning, Read::Counter(read))
    }

    /// A gauge.
    pub const fn gauge(
        name: &'static str,
        meaning: &'static str,
        read: fn(&S) -> f64,
    ) -> Reading<S> {
        Self::new(name, Kind::Gauge, Unit::Count, meaning, Read::Gauge(read))
    }

    /// A histogram with these bounds, in rising order.
    pub const fn histogram(
        name: &'static str,
        meaning: &'static str,
        bounds: &'static [Duration],
        read: fn(&S) -> &Latencies,
    ) -> Reading<S> {
        Self::new(name, Kind::Histogram, Unit::Seconds, meaning, Read::Histogram(read, bounds))
    }

    const fn new(
        name: &'static str,
        kind: Kind,
        unit: Unit,
        meaning: &'static str,
        read: Read<S>,
    ) -> Self {
        Self { metric: Metric { name, kind, unit, meaning, label: None }, read }
    }

    /// The same in another unit.
    #[must_use]
    pub const fn unit(mut self, unit: Unit) -> Self {
        self.metric.unit = unit;
        self
    }

    /// One part of a metric that has several.
    #[must_use]
    pub const fn label(mut self, key: &'static str, value: &'static str) -> Self {
        self.metric.label = Some((key, value));
        self
    }

    /// The metric.
    pub fn metric(&self) -> &Metric {
        &self.metric
    }

    fn sample(&self, of: &S, each: &mut impl FnMut(Sample<'_>)) {
        let Metric { name, label, .. } = self.metric;
        match self.read {
            Read::Counter(read) => each(Sample { name, label, value: Value::Counter(read(of)) }),
            Read::Gauge(read) => each(Sample { name, label, value: Value::Gauge(read(of)) }),
            Read::Histogram(read, bounds) => {
                let latencies = read(of);
                let (bucket, count) = (format!("{name}_bucket"), format!("{name}_count"));
                let mut of_bound = |bound: &str, count| {
                    let label = Some(("le", bound));
                    each(Sample { name: &bucket, label, value: Value::Counter(count) });
                };
                for bound in bounds {
                    of_bound(&bound.as_secs_f64().to_string(), latencies.at_most(*bound));
                }
                of_bound("+Inf", latencies.count());
                each(Sample { name: &count, label, value: Value::Counter(latencies.count()) });
            }
        }
    }
}

/// A snapshot that knows what its numbers are called.
pub trait Observe: Sized + 'static {
    /// Its metrics, each with where its number is. Parts of one metric follow each other.
    fn readings() -> &'static [Reading<Self>];
}

/// The metrics of a kind of snapshots.
///
/// ```
/// use latchless::observe::{Kind, metrics};
/// use latchless::observe::PoolSnapshot;
///
/// let free = metrics::<PoolSnapshot>().find(|metric| metric.name == "latchless_pool_blocks_free");
/// assert_eq!(free.map(|metric| metric.kind), Some(Kind::Gauge));
/// ```
pub fn metrics<S: Observe>() -> impl Iterator<Item = Metric> {
    S::readings().iter().map(|reading| reading.metric)
}

/// Gives each number of a snapshot to `each`, in the order of its metrics.
pub fn samples<S: Observe>(snapshot: &S, mut each: impl FnMut(Sample<'_>)) {
    for reading in S::readings() {
        reading.sample(snapshot, &mut each);
    }
}

const fn bounds<const N: usize>(nanoseconds: [u64; N]) -> [Duration; N] {
    let mut bounds = [Duration::ZERO; N];
    let mut i = 0;
    while i < N {
        bounds[i] = Duration::from_nanos(nanoseconds[i]);
        i += 1;
    }
    bounds
}

/// Bounds for what takes tens of nanoseconds, and milliseconds when the scheduler comes between.
pub const FAST_BOUNDS: &[Duration] = &bounds([
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 100_000, 1_000_000, 10_000_000,
]);

/// Bounds for what takes milliseconds to minutes: batches, queues, answers.
pub const SLOW_BOUNDS: &[Duration] = &bounds([
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
]);

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;
    use crate::pool::LatencyHistogram;

    struct Waits(Latencies);

    impl Observe for Waits {
        fn readings() -> &'static [Reading<Self>] {
            static READINGS: [Reading<Waits>; 1] =
                [Reading::histogram("waits_seconds", "Waits", FAST_BOUNDS, |waits| &waits.0)];
            &READINGS
        }
    }

    #[test]
    fn a_histogram_counts_from_below_up_to_each_bound() {
        let histogram = LatencyHistogram::new();
        for nanoseconds in [40, 60, 60, 3_000_000, 2_000_000_000] {
            histogram.record(Duration::from_nanos(nanoseconds));
        }
        let mut told = Vec::new();
        samples(&Waits(histogram.snapshot()), |sample| {
            let bound = sample.label.map(|(key, bound)| format!("{key}={bound}"));
            told.push((sample.name.to_owned(), bound.unwrap_or_default(), sample.value));
        });
        let find = |name: &str, bound: &str| {
            let found = told.iter().find(|told| told.0 == name && told.1 == bound);
            found.unwrap_or_else(|| panic!("{name} {bound} in {told:?}")).2
        };
        let bucket = |bound: &str| find("waits_seconds_bucket", bound);
        assert_eq!(bucket("le=0.00000005"), Value::Counter(1));
        assert_eq!(bucket("le=0.0000001"), Value::Counter(3));
        assert_eq!(bucket("le=0.001"), Value::Counter(3));
        assert_eq!(bucket("le=0.01"), Value::Counter(4));
        assert_eq!(bucket("le=+Inf"), Value::Counter(5));
        assert_eq!(find("waits_seconds_count", ""), Value::Counter(5));
        assert_eq!(told.len(), FAST_BOUNDS.len() + 2);
    }

    #[test]
    fn bounds_rise() {
        for bounds in [FAST_BOUNDS, SLOW_BOUNDS] {
            assert!(bounds.is_sorted() && bounds[0] > Duration::ZERO);
        }
    }
}
