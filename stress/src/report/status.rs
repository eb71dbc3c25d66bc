//! Status lines: what came since the last ones.

use std::fmt;
use std::time::{Duration, Instant};

use super::text::{grouped, mebibytes, time};
use crate::part::{Fill, Kind};
use crate::tally::Counts;
use crate::watch::Difference;
use crate::watch::resources::Resources;
use crate::watch::series::Percentiles;

/// A line for each part.
#[derive(Debug)]
pub(crate) struct Status {
    elapsed: Duration,
    lines: Vec<Line>,
    frozen: u64,
    resources: Resources,
}

#[derive(Debug)]
struct Line {
    part: Kind,
    per_second: f64,
    fill: Fill,
    /// The first timed operation.
    timed: Option<(&'static str, Percentiles)>,
}

impl Line {
    fn new(part: Kind, counts: &Counts, time: Duration, fill: Fill) -> Self {
        let per_second = counts.operations() as f64 / time.as_secs_f64().max(1e-9);
        let times = counts.times.first().map(Percentiles::of);
        let timed = counts.columns.timed.first().copied().zip(times);
        Self { part, per_second, fill, timed }
    }
}

impl Status {
    pub(crate) fn new(begun: Instant, since: &Difference, fills: &[Fill]) -> Self {
        let parts = since.parts.iter().zip(fills);
        Self {
            elapsed: begun.elapsed(),
            lines: parts
                .map(|((part, counts), fill)| Line::new(*part, counts, since.time, *fill))
                .collect(),
            frozen: since.frozen,
            resources: Resources::now(),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elapsed = humantime::format_duration(Duration::from_secs(self.elapsed.as_secs()));
        let elapsed = elapsed.to_string();
        for Line { part, per_second, fill: Fill { used, total, .. }, timed } in &self.lines {
            let per_second = grouped(*per_second as u64);
            write!(f, "[{elapsed:>7}] {part:<7} {per_second:>10} op/s | {used:>5} of {total:<5}")?;
            if let Some((name, times)) = timed {
                let [p50, p99, p99_9, max] =
                    [times.p50, times.p99, times.p99_9, times.max].map(time);
                write!(f, " | {name}: p50 {p50}, p99 {p99}, p99.9 {p99_9}, max {max}")?;
            }
            writeln!(f)?;
        }
        let Resources { resident, descriptors, threads } = self.resources;
        write!(
            f,
            "[{elapsed:>7}] process {} | {descriptors} descriptors | {threads} threads | {} frozen",
            mebibytes(resident),
            grouped(self.frozen),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Columns;

    static COLUMNS: Columns =
        Columns { actions: &["dig"], outcomes: &["hole"], needed: 0, timed: &["dig"] };

    #[test]
    fn a_status_is_of_the_interval() {
        let mut counts = Counts::new(&COLUMNS);
        counts.actions[0] = 200;
        counts.record(0, Some(Duration::from_micros(1)));
        let since = Difference {
            time: Duration::from_secs(2),
            parts: vec![(Kind::Pool, counts)],
            frozen: 3,
        };
        let fill = Fill { used: 6, total: 10, in_flight: 0 };
        let text = Status::new(Instant::now(), &since, &[fill]).to_string();
        assert!(text.contains("100 op/s") && text.contains("6 of 10"), "{text}");
        assert!(text.contains("dig: p50 1.0 us") && text.contains("3 frozen"), "{text}");
    }
}
