//! A run over time: what the plots of the report are drawn from. However long the run is, it takes the same
//! memory: when there are too many samples, each two become one.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::resources::Resources;
use crate::fault::Fault;
use crate::part::Fill;
use crate::tally::Counts;

/// Samples that are kept at most: as many as a plot shows, and few enough that the run's own growth does not
/// hide another one.
const MOST: usize = 300;

/// Percentiles of a timed operation, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) count: u64,
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) p99_9: u64,
    pub(crate) max: u64,
}

impl Percentiles {
    pub(crate) fn of(times: &hdrhistogram::Histogram<u64>) -> Self {
        let at = |quantile| times.value_at_quantile(quantile);
        let (p50, p99, p99_9) = (at(0.5), at(0.99), at(0.999));
        Self { count: times.len(), p50, p99, p99_9, max: times.max() }
    }

    /// Of both: the tails are the worse ones, the median is the mean of the two, by their counts.
    fn and(self, other: Self) -> Self {
        let count = self.count + other.count;
        let weighted = |a: u64, b: u64| {
            (u128::from(a) * u128::from(self.count) + u128::from(b) * u128::from(other.count))
                .checked_div(count.into())
                .unwrap_or_default() as u64
        };
        Self {
            count,
            p50: weighted(self.p50, other.p50),
            p99: self.p99.max(other.p99),
            p99_9: self.p99_9.max(other.p99_9),
            max: self.max.max(other.max),
        }
    }
}

/// A part in a stretch of time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct PartSample {
    pub(crate) operations: u64,
    pub(crate) used: u64,
    pub(crate) total: u64,
    /// In the order of the part's timed operations.
    pub(crate) times: Vec<Percentiles>,
}

impl PartSample {
    pub(crate) fn new(counts: &Counts, fill: Fill) -> Self {
        Self {
            operations: counts.operations(),
            used: fill.used,
            total: fill.total,
            times: counts.times.iter().map(Percentiles::of).collect(),
        }
    }

    fn and(&self, later: &Self) -> Self {
        let times = self.times.iter().zip(&later.times).map(|(a, b)| a.and(*b)).collect();
        let operations = self.operations + later.operations;
        Self { operations, used: later.used, total: later.total, times }
    }
}

/// The whole process in a stretch of time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Sample {
    /// When it ended, in seconds from the beginning of the run.
    pub(crate) at: f64,
    /// How long it was, in seconds.
    pub(crate) seconds: f64,
    pub(crate) parts: BTreeMap<&'static str, PartSample>,
    /// At its end.
    pub(crate) resources: Resources,
    /// Threads that were frozen within.
    pub(crate) freezes: u64,
    /// What else went wrong on purpose within, by the names of the faults; those that never came are not there.
    pub(crate) faults: BTreeMap<&'static str, u64>,
}

/// Faults by their names, of all parts.
pub(crate) fn faults<'a>(
    parts: &(impl Iterator<Item = &'a Counts> + Clone),
) -> BTreeMap<&'static str, u64> {
    let count =
        |fault: Fault| parts.clone().map(|counts| counts.of(fault.counted_as())).sum::<u64>();
    let all = Fault::ALL.into_iter().map(|fault| (fault.name(), count(fault)));
    all.filter(|(_, count)| *count > 0).collect()
}

impl Sample {
    fn and(&self, later: &Self) -> Self {
        let parts = self.parts.iter().filter_map(|(part, sample)| {
            later.parts.get(part).map(|later| (*part, sample.and(later)))
        });
        let mut faults = self.faults.clone();
        for (fault, count) in &later.faults {
            *faults.entry(fault).or_default() += count;
        }
        Self {
            at: later.at,
            seconds: self.seconds + later.seconds,
            parts: parts.collect(),
            resources: later.resources,
            freezes: self.freezes + later.freezes,
            faults,
        }
    }
}

/// The samples of a run.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    samples: Vec<Sample>,
    /// Time between two of them.
    every: Duration,
}

impl Default for Series {
    fn default() -> Self {
        Self { samples: Vec::new(), every: Duration::from_millis(500) }
    }
}

impl Series {
    pub(crate) fn every(&self) -> Duration {
        self.every
    }

    pub(crate) fn push(&mut self, sample: Sample) {
        self.samples.push(sample);
        if self.samples.len() >= MOST {
            self.samples = self.samples.chunks_exact(2).map(|two| two[0].and(&two[1])).collect();
            self.every *= 2;
        }
    }

    pub(crate) fn samples(&self) -> &[Sample] {
        &self.samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: f64, resident: u64) -> Sample {
        let times =
            vec![Percentiles { count: 1, p50: at as u64, p99: 1, p99_9: 1, max: at as u64 }];
        let part = PartSample { operations: 2, used: 1, total: 2, times };
        Sample {
            at,
            seconds: 1.0,
            parts: BTreeMap::from([("pool", part)]),
            resources: Resources { resident, ..Resources::default() },
            freezes: 1,
            faults: BTreeMap::from([if at < 100.0 { ("kill", 3) } else { ("panic", 1) }]),
        }
    }

    #[test]
    fn a_long_run_takes_no_more_samples_than_a_short_one_and_loses_nothing() {
        let mut series = Series::default();
        let (all, every) = (10 * MOST as u64, series.every());
        (0..all).for_each(|second| series.push(sample(second as f64, 0)));
        assert!(series.samples().len() < MOST && series.every() >= 8 * every);
        let operations: u64 = series.samples().iter().map(|s| s.parts["pool"].operations).sum();
        let freezes: u64 = series.samples().iter().map(|sample| sample.freezes).sum();
        assert_eq!((operations, freezes), (2 * all, all));
        let faults = |name| -> u64 {
            series.samples().iter().filter_map(|sample| sample.faults.get(name)).sum()
        };
        assert_eq!((faults("kill"), faults("panic")), (300, all - 100));
        let max = series.samples().iter().map(|s| s.parts["pool"].times[0].max).max();
        assert_eq!(max, Some(all - 1), "tails survive");
    }
}
