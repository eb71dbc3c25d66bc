//! A run over time: what the plots of the report are drawn from. However long the run is, it takes the same
//! memory, all of it from the beginning on: a growth of its own would hide another one. When there are too many
//! samples, each two become one.

use std::array;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::resources::Resources;
use crate::fault::Fault;
use crate::part::{Fill, Kind};
use crate::tally::Counts;

/// Samples that are kept at most: as many as a plot shows.
const MOST: usize = 300;
/// Timed operations of a part at most.
const TIMED: usize = 5;

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
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct PartSample {
    #[serde(skip)]
    kind: Kind,
    pub(crate) operations: u64,
    pub(crate) used: u64,
    pub(crate) total: u64,
    /// In the order of the part's timed operations; none where it has no more of them.
    #[serde(serialize_with = "those_there")]
    times: [Option<Percentiles>; TIMED],
}

impl PartSample {
    pub(crate) fn new(kind: Kind, counts: &Counts, fill: Fill) -> Self {
        debug_assert!(counts.times.len() <= TIMED, "{kind}: TIMED is too small");
        let times = array::from_fn(|timed| counts.times.get(timed).map(Percentiles::of));
        Self { kind, operations: counts.operations(), used: fill.used, total: fill.total, times }
    }

    /// Of the part's timed operation of this number.
    pub(crate) fn times(&self, timed: usize) -> Option<Percentiles> {
        self.times.get(timed).copied().flatten()
    }

    fn and(&self, later: &Self) -> Self {
        let time = |timed: usize| Some(self.times[timed]?.and(later.times[timed]?));
        let operations = self.operations + later.operations;
        Self { operations, times: array::from_fn(time), ..*later }
    }
}

/// The whole process in a stretch of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Sample {
    /// When it ended, in seconds from the beginning of the run.
    pub(crate) at: f64,
    /// How long it was, in seconds.
    pub(crate) seconds: f64,
    /// Those that run.
    #[serde(serialize_with = "by_name")]
    pub(crate) parts: [Option<PartSample>; Kind::ALL.len()],
    /// At its end.
    pub(crate) resources: Resources,
    /// Threads that were frozen within.
    pub(crate) freezes: u64,
    /// What else went wrong on purpose within.
    pub(crate) faults: Faults,
}

impl Sample {
    /// What it says of a part.
    pub(crate) fn part(&self, kind: Kind) -> Option<&PartSample> {
        self.parts.iter().flatten().find(|part| part.kind == kind)
    }

    fn and(&self, later: &Self) -> Self {
        let part = |place: usize| Some(self.parts[place]?.and(&later.parts[place]?));
        Self {
            seconds: self.seconds + later.seconds,
            parts: array::from_fn(part),
            freezes: self.freezes + later.freezes,
            faults: self.faults.and(later.faults),
            ..*later
        }
    }
}

/// How often each fault came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Faults([u64; Fault::ALL.len()]);

impl Faults {
    /// Of all parts.
    pub(crate) fn of<'a>(parts: &(impl Iterator<Item = &'a Counts> + Clone)) -> Self {
        let count = |fault: Fault| parts.clone().map(|part| part.of(fault.counted_as())).sum();
        Self(Fault::ALL.map(count))
    }

    pub(crate) fn count(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    fn and(&self, later: Self) -> Self {
        Self(array::from_fn(|fault| self.0[fault] + later.0[fault]))
    }
}

/// By their names; those that never came are not there.
impl Serialize for Faults {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let came = Fault::ALL.into_iter().filter(|fault| self.count(*fault) > 0);
        serializer.collect_map(came.map(|fault| (fault.name(), self.count(fault))))
    }
}

fn those_there<S: Serializer>(
    times: &[Option<Percentiles>; TIMED],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(times.iter().flatten())
}

fn by_name<S: Serializer>(
    parts: &[Option<PartSample>; Kind::ALL.len()],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(parts.iter().flatten().map(|part| (part.kind.name(), part)))
}

/// The samples of a run.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    /// All that there will ever be, so that their memory is the process's from the beginning on.
    room: Box<[Sample]>,
    /// Those that came.
    count: usize,
    /// Time between two of them.
    every: Duration,
}

impl Default for Series {
    fn default() -> Self {
        let room = vec![Sample::default(); MOST].into_boxed_slice();
        Self { room, count: 0, every: Duration::from_millis(500) }
    }
}

impl Series {
    pub(crate) fn every(&self) -> Duration {
        self.every
    }

    pub(crate) fn push(&mut self, sample: &Sample) {
        self.room[self.count] = *sample;
        self.count += 1;
        if self.count == MOST {
            self.count /= 2;
            for one in 0..self.count {
                self.room[one] = self.room[2 * one].and(&self.room[2 * one + 1]);
            }
            self.every *= 2;
        }
    }

    pub(crate) fn samples(&self) -> &[Sample] {
        &self.room[..self.count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: f64, resident: u64) -> Sample {
        let time = Percentiles { count: 1, p50: at as u64, p99: 1, p99_9: 1, max: at as u64 };
        let times = [Some(time), None, None, None, None];
        let part = PartSample { kind: Kind::Pool, operations: 2, used: 1, total: 2, times };
        let mut faults = Faults::default();
        let (fault, count) = if at < 100.0 { (Fault::Kill, 3) } else { (Fault::Panic, 1) };
        faults.0[fault as usize] = count;
        Sample {
            at,
            seconds: 1.0,
            parts: [None, Some(part), None, None],
            resources: Resources { resident, ..Resources::default() },
            freezes: 1,
            faults,
        }
    }

    #[test]
    fn a_long_run_takes_no_more_samples_than_a_short_one_and_loses_nothing() {
        let mut series = Series::default();
        let (all, every) = (10 * MOST as u64, series.every());
        (0..all).for_each(|second| series.push(&sample(second as f64, 0)));
        assert!(series.samples().len() < MOST && series.every() >= 8 * every);
        let pool = || series.samples().iter().filter_map(|sample| sample.part(Kind::Pool));
        let operations: u64 = pool().map(|pool| pool.operations).sum();
        let freezes: u64 = series.samples().iter().map(|sample| sample.freezes).sum();
        assert_eq!((operations, freezes), (2 * all, all));
        let faults = |fault| -> u64 {
            series.samples().iter().map(|sample| sample.faults.count(fault)).sum()
        };
        assert_eq!((faults(Fault::Kill), faults(Fault::Panic)), (300, all - 100));
        let max = pool().filter_map(|pool| pool.times(0)).map(|times| times.max).max();
        assert_eq!(max, Some(all - 1), "tails survive");
    }
    #[test]
    fn a_report_names_parts_and_faults_and_lists_what_is_there() {
        let json = serde_json::to_value(sample(1.0, 7)).unwrap();
        assert_eq!(json["faults"], serde_json::json!({ "kill": 3 }));
        assert_eq!(json["parts"]["pool"]["times"].as_array().map(Vec::len), Some(1));
        assert_eq!(json["parts"]["agents"], serde_json::Value::Null);
    }
}
