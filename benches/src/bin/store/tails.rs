//! How long single claims took.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Latencies of one side, from all its threads and rounds.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Histogram<u64>);

/// How many there are, and their percentiles in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Tail {
    pub(crate) claims: u64,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) p999_ns: u64,
    pub(crate) max_ns: u64,
}

impl Default for Latencies {
    /// None yet.
    fn default() -> Self {
        // Up to a minute, which is longer than a claim may wait, to three digits.
        let longest = Duration::from_mins(1).as_nanos() as u64;
        Self(Histogram::new_with_bounds(1, longest, 3).expect("bounds that a histogram can have"))
    }
}

impl Latencies {
    pub(crate) fn record(&mut self, took: Duration) {
        self.0.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn add(&mut self, others: &Self) {
        self.0 += &others.0;
    }

    pub(crate) fn tail(&self) -> Tail {
        let [p50_ns, p99_ns, p999_ns] =
            [0.5, 0.99, 0.999].map(|quantile| self.0.value_at_quantile(quantile));
        Tail { claims: self.0.len(), p50_ns, p99_ns, p999_ns, max_ns: self.0.max() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_all_that_was_added() {
        let (mut all, mut other) = (Latencies::default(), Latencies::default());
        (1..=999).for_each(|time| all.record(Duration::from_nanos(time)));
        other.record(Duration::from_millis(3));
        all.add(&other);
        let Tail { claims, p50_ns, p99_ns, p999_ns, max_ns } = all.tail();
        assert_eq!((claims, p50_ns, p99_ns, p999_ns), (1_000, 500, 990, 999));
        assert!((2_990_000..3_010_000).contains(&max_ns), "{max_ns}");
    }
}
