//! What a run tells: a line now and then, a summary at the end, and the same as JSON.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use hdrhistogram::Histogram;
use latchless::PoolUsage;
use serde::Serialize;

use crate::phases::{Action, Phase};
use crate::run::{Ending, Outcome, Plan, round_operations};
use crate::tally::Counts;

/// Times of a pair of allocate and free, in nanoseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Percentiles {
    p50: u64,
    p99: u64,
    p99_9: u64,
    max: u64,
}

impl Percentiles {
    fn of(times: &Histogram<u64>) -> Self {
        let at = |quantile| times.value_at_quantile(quantile);
        Self { p50: at(0.5), p99: at(0.99), p99_9: at(0.999), max: times.max() }
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, p99_9, max] = [self.p50, self.p99, self.p99_9, self.max].map(time);
        write!(f, "p50 {p50}, p99 {p99}, p99.9 {p99_9}, max {max}")
    }
}

/// A status line: the time since the last one.
#[derive(Debug)]
pub(crate) struct Status {
    elapsed: Duration,
    per_second: f64,
    refused_per_second: f64,
    usage: PoolUsage,
    pairs: Percentiles,
}

impl Status {
    pub(crate) fn between(
        elapsed: Duration,
        interval: Duration,
        last: &Counts,
        now: &Counts,
        usage: PoolUsage,
    ) -> Self {
        let rate = |last: u64, now: u64| (now - last) as f64 / interval.as_secs_f64();
        let mut pairs = now.pairs.clone();
        if pairs.subtract(&last.pairs).is_err() {
            // Not a later count of the same run: all of it, then.
            pairs = now.pairs.clone();
        }
        Self {
            elapsed,
            per_second: rate(last.operations(), now.operations()),
            refused_per_second: rate(last.refused, now.refused),
            usage,
            pairs: Percentiles::of(&pairs),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PoolUsage { total, used, .. } = self.usage;
        write!(
            f,
            "[{:>6}] {:>9} op/s | {:>8} refused/s | {used:>6} of {total} used | allocate + free {}",
            humantime::format_duration(Duration::from_secs(self.elapsed.as_secs())).to_string(),
            grouped(self.per_second as u64),
            grouped(self.refused_per_second as u64),
            self.pairs,
        )
    }
}

/// What a run was and what came out of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    version: &'static str,
    /// `held`, `broken`, `idle` or `interrupted`.
    outcome: &'static str,
    violation: Option<String>,
    /// The thread and the phase in which it was seen.
    violation_thread: Option<u16>,
    violation_phase: Option<&'static str>,
    /// Runs the same decisions again, up to where this run ended.
    repeat: String,
    seed: u64,
    threads: u16,
    blocks: u32,
    first_round: u64,
    rounds: u64,
    wall_s: f64,
    operations: u64,
    operations_per_second: f64,
    actions: serde_json::Map<String, serde_json::Value>,
    granted: u64,
    refused: u64,
    blocks_given_out: u64,
    pair_ns: Percentiles,
    snapshots: u64,
    most_used: u32,
    most_in_flight: u32,
}

impl Report {
    pub(crate) fn new(plan: &Plan, outcome: &Outcome) -> Self {
        let Outcome { ending, rounds, wall, counts, seen } = outcome;
        let broken = match ending {
            Ending::Broken(broken) => Some(broken),
            Ending::Held | Ending::Idle | Ending::Interrupted => None,
        };
        let actions = Action::names().map(str::to_owned);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            outcome: match ending {
                Ending::Held => "held",
                Ending::Idle => "idle",
                Ending::Interrupted => "interrupted",
                Ending::Broken(_) => "broken",
            },
            violation: broken.map(|broken| broken.violation.to_string()),
            violation_thread: broken.and_then(|broken| broken.thread),
            violation_phase: broken.map(|broken| Phase::of_round(broken.round).name()),
            repeat: repeat(plan, broken.map(|broken| broken.round), *rounds),
            seed: plan.seed,
            threads: plan.threads,
            blocks: plan.blocks,
            first_round: plan.first_round,
            rounds: *rounds,
            wall_s: wall.as_secs_f64(),
            operations: counts.operations(),
            operations_per_second: counts.operations() as f64 / wall.as_secs_f64().max(1e-9),
            actions: actions.zip(counts.actions.map(Into::into)).collect(),
            granted: counts.granted,
            refused: counts.refused,
            blocks_given_out: counts.blocks,
            pair_ns: Percentiles::of(&counts.pairs),
            snapshots: seen.snapshots,
            most_used: seen.most_used,
            most_in_flight: seen.most_in_flight,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.violation, self.violation_thread, self.violation_phase) {
            (Some(violation), thread, phase) => {
                writeln!(f, "BROKEN: {violation}")?;
                let round = self.first_round + self.rounds.saturating_sub(1);
                write!(f, "in round {round} ({})", phase.unwrap_or_default())?;
                match thread {
                    Some(thread) => writeln!(f, ", seen by thread {thread}")?,
                    None => writeln!(f, ", seen by the check or the watcher")?,
                }
            }
            (None, ..) if self.outcome == "interrupted" => {
                writeln!(f, "interrupted: all invariants held until then")?;
            }
            (None, ..) if self.outcome == "idle" => {
                writeln!(
                    f,
                    "idle: nobody had a block, so nothing was shown; run longer, or with more --blocks"
                )?;
            }
            _ => writeln!(f, "held: every block was given back, once")?,
        }
        writeln!(
            f,
            "  {} operations in {} round{} and {:.1} s: {} a second",
            grouped(self.operations),
            grouped(self.rounds),
            if self.rounds == 1 { "" } else { "s" },
            self.wall_s,
            grouped(self.operations_per_second as u64),
        )?;
        writeln!(
            f,
            "  {} allocations granted ({} blocks), {} refused",
            grouped(self.granted),
            grouped(self.blocks_given_out),
            grouped(self.refused),
        )?;
        writeln!(f, "  allocate + free: {}", self.pair_ns)?;
        writeln!(
            f,
            "  {} snapshots while running: at most {} of {} blocks used, {} in flight",
            grouped(self.snapshots),
            grouped(self.most_used.into()),
            grouped(self.blocks.into()),
            grouped(self.most_in_flight.into()),
        )?;
        write!(f, "  repeat: {}", self.repeat)
    }
}

/// The command that runs the same decisions again: of the round that broke, or of all.
fn repeat(plan: &Plan, broken_in: Option<u64>, rounds: u64) -> String {
    let Plan { seed, threads, blocks, first_round, plant, .. } = plan;
    let of_rounds = |rounds| rounds * round_operations(*threads) * u64::from(*threads);
    let (from, operations) = match broken_in {
        Some(round) => (round, of_rounds(1)),
        None => (*first_round, plan.operations.unwrap_or_else(|| of_rounds(rounds))),
    };
    let plant = plant.as_ref().and_then(ValueEnum::to_possible_value);
    let plant = plant.map(|plant| format!(" --plant {}", plant.get_name())).unwrap_or_default();
    format!(
        "cargo run --release -p latchless-stress -- run --seed {seed} --threads {threads} --blocks \
         {blocks} --first-round {from} --operations {operations}{plant}"
    )
}

/// A number with its thousands set apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Nanoseconds in the unit that suits them.
fn time(nanoseconds: u64) -> String {
    match nanoseconds as f64 {
        ns if ns < 1e3 => format!("{ns} ns"),
        ns if ns < 1e6 => format!("{:.1} us", ns / 1e3),
        ns if ns < 1e9 => format!("{:.1} ms", ns / 1e6),
        ns => format!("{:.1} s", ns / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(12_345_678), "12,345,678");
        assert_eq!(time(999), "999 ns");
        assert_eq!(time(1_500), "1.5 us");
        assert_eq!(time(2_500_000), "2.5 ms");
        assert_eq!(time(61_000_000_000), "61.0 s");
    }

    #[test]
    fn a_status_is_of_the_interval() {
        let mut last = Counts::new();
        last.actions[0] = 100;
        last.record_pair(Duration::from_secs(1));
        let mut now = last.clone();
        now.actions[0] = 300;
        now.refused = 4;
        now.record_pair(Duration::from_micros(1));
        let usage = PoolUsage { total: 10, free: 4, used: 6, reserved: 0 };
        let second = Duration::from_secs(1);
        let status = Status::between(second, second * 2, &last, &now, usage);
        assert_eq!((status.per_second as u64, status.refused_per_second as u64), (100, 2));
        assert!(status.pairs.max < 2_000, "the second that the last line told is not told again");
        let line = status.to_string();
        assert!(line.contains("100 op/s") && line.contains("6 of 10 used"), "{line}");
    }
}
