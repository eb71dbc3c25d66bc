//! How a run goes: what came since the last status, and what came in all. As lines it is for files and
//! pipes; the live view draws it.

use std::fmt;
use std::time::{Duration, Instant};

use super::text::{grouped, mebibytes, time};
use crate::part::{Cell, Fill, Kind};
use crate::tally::Counts;
use crate::watch::resources::Resources;
use crate::watch::series::Percentiles;

/// All of it.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    pub(crate) elapsed: Duration,
    pub(crate) parts: Vec<PartStatus>,
    /// Threads that were frozen since the last one, and in all.
    pub(crate) frozen: u64,
    pub(crate) frozen_in_all: u64,
    pub(crate) resources: Resources,
    /// Bytes an hour, once that can be told.
    pub(crate) growth: Option<f64>,
}

/// A part.
#[derive(Debug, Clone)]
pub(crate) struct PartStatus {
    pub(crate) part: Kind,
    /// Of the round that has begun last.
    pub(crate) phase: &'static str,
    pub(crate) round: u64,
    pub(crate) per_second: f64,
    pub(crate) fill: Fill,
    /// Of each timed operation, since the last status.
    pub(crate) times: Vec<(&'static str, Percentiles)>,
    /// What came in all.
    pub(crate) outcomes: Vec<(&'static str, u64)>,
    pub(crate) gauges: Vec<(&'static str, u64)>,
    pub(crate) map: Vec<Cell>,
}

/// Where a part is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stand {
    pub(crate) phase: &'static str,
    pub(crate) round: u64,
    pub(crate) fill: Fill,
    pub(crate) gauges: Vec<(&'static str, u64)>,
    pub(crate) map: Vec<Cell>,
}

impl PartStatus {
    /// Of what came since the last one, in `time`, and in all.
    pub(crate) fn new(
        part: Kind,
        since: &Counts,
        in_all: &Counts,
        time: Duration,
        stand: Stand,
    ) -> Self {
        let Stand { phase, round, fill, gauges, map } = stand;
        let columns = since.columns;
        Self {
            part,
            phase,
            round,
            per_second: since.operations() as f64 / time.as_secs_f64().max(1e-9),
            fill,
            times: columns
                .timed
                .iter()
                .copied()
                .zip(since.times.iter().map(Percentiles::of))
                .collect(),
            outcomes: columns
                .outcomes
                .iter()
                .copied()
                .zip(in_all.outcomes.iter().copied())
                .collect(),
            gauges,
            map,
        }
    }
}

impl Status {
    pub(crate) fn new(
        begun: Instant,
        parts: Vec<PartStatus>,
        [frozen, frozen_in_all]: [u64; 2],
        growth: Option<f64>,
    ) -> Self {
        let (elapsed, resources) = (begun.elapsed(), Resources::now());
        Self { elapsed, parts, frozen, frozen_in_all, resources, growth }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elapsed = humantime::format_duration(Duration::from_secs(self.elapsed.as_secs()));
        let elapsed = elapsed.to_string();
        for status in &self.parts {
            let PartStatus { part, fill: Fill { used, total, .. }, .. } = status;
            let per_second = grouped(status.per_second as u64);
            write!(f, "[{elapsed:>7}] {part:<7} {per_second:>10} op/s | {used:>5} of {total:<5}")?;
            if let Some((name, times)) = status.times.first() {
                let [p50, p99, p99_9, max] =
                    [times.p50, times.p99, times.p99_9, times.max].map(time);
                write!(f, " | {name}: p50 {p50}, p99 {p99}, p99.9 {p99_9}, max {max}")?;
            }
            writeln!(f)?;
        }
        let Resources { resident, in_use, descriptors, threads, .. } = self.resources;
        write!(
            f,
            "[{elapsed:>7}] process {}, {} in use | {descriptors} descriptors | {threads} threads | {} frozen",
            mebibytes(resident),
            mebibytes(in_use),
            grouped(self.frozen),
        )
    }
}

/// A status for tests.
#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::tally::Columns;

    static COLUMNS: Columns =
        Columns { actions: &["dig"], outcomes: &["hole"], needed: 0, timed: &["dig"] };

    pub(crate) fn status() -> Status {
        let mut counts = Counts::new(&COLUMNS);
        counts.actions[0] = 200;
        counts.outcomes[0] = 70;
        counts.record(0, Some(Duration::from_micros(1)));
        let fill = Fill { used: 6, total: 10, in_flight: 0 };
        let map =
            (0..500).map(|i| Cell { held: i % 9, shared: i % 5, common: i % 3, of: 16 }).collect();
        let gauges = vec![("agents", 3)];
        let stand = Stand { phase: "near exhaustion", round: 12, fill, gauges, map };
        let part =
            |kind, stand| PartStatus::new(kind, &counts, &counts, Duration::from_secs(2), stand);
        let empty = Stand { map: Vec::new(), ..stand.clone() };
        let parts = vec![
            part(Kind::Pool, stand),
            part(Kind::Agents, empty.clone()),
            part(Kind::Engine, empty),
        ];
        Status::new(Instant::now(), parts, [3, 44], Some(1e6))
    }

    #[test]
    fn a_status_is_of_the_interval() {
        let text = status().to_string();
        assert!(text.contains("100 op/s") && text.contains("6 of 10"), "{text}");
        assert!(text.contains("dig: p50 1.0 us") && text.contains("3 frozen"), "{text}");
    }
}
