//! What a run tells at its end: a summary for people, and the same as JSON and as a page with plots.

pub(crate) mod folder;
pub(crate) mod page;
pub(crate) mod status;
pub(crate) mod text;

use std::fmt;
use std::time::SystemTime;

use latchless_benches::machine;
use serde::{Serialize, Serializer};

use self::text::{grouped, mebibytes, time};
use crate::part::Kind;
use crate::plan::Plan;
use crate::run::{Ending, Outcome, PartOutcome};
use crate::stop::Broken;
use crate::watch::Growth;
use crate::watch::resources::Resources;
use crate::watch::series::{Percentiles, Sample};
use crate::watch::slope::Unit;

/// What a report says it is of.
pub(crate) const PROGRAM: &str = "latchless-stress";

/// Of the reports that `replay` reads. To be raised with every change of a plan's fields, and of how decisions
/// come from a seed: the same seed must not pass for the same decisions when it makes others.
pub(crate) const FORMAT: u32 = 3;

/// What a run was and what came out of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    program: &'static str,
    format: u32,
    version: &'static str,
    machine: String,
    /// Seconds since 1970 when the report was made.
    made_at: u64,
    /// `held`, `broken`, `idle`, `interrupted` or `failed`.
    outcome: &'static str,
    /// What the machine did not give, if that ended it.
    failure: Option<String>,
    /// What broke, and where.
    violation: Option<ViolationReport>,
    /// Runs the same decisions again: of the round that broke, or of all.
    repeat: String,
    seed: u64,
    /// All that `replay` needs.
    plan: Plan,
    wall_s: f64,
    /// Threads that were frozen.
    freezes: u64,
    parts: Vec<PartReport>,
    /// Looks at all parts while they were at work, each summed up.
    looks: u64,
    most: Resources,
    /// Bytes, descriptors and threads an hour, after the warm-up; none for a run that is too short to tell.
    growth: Growth,
    pub(crate) series: Vec<Sample>,
}

#[derive(Debug, Serialize)]
struct ViolationReport {
    what: String,
    part: Option<&'static str>,
    round: u64,
    phase: Option<&'static str>,
    thread: Option<u16>,
}

#[derive(Debug, Serialize)]
struct PartReport {
    #[serde(rename = "name")]
    kind: Kind,
    threads: u16,
    rounds: u64,
    operations: u64,
    /// How long it ran: it may have ended before the others.
    took_s: f64,
    operations_per_second: f64,
    actions: Named<u64>,
    outcomes: Named<u64>,
    /// As they were in the end, but for those that were 0.
    gauges: Named<u64>,
    /// In nanoseconds.
    times: Named<Percentiles>,
    most_used: u64,
    most_in_flight: u64,
    total: u64,
}

/// Values by name, in their order.
#[derive(Debug)]
struct Named<T>(Vec<(&'static str, T)>);

impl<T> Named<T> {
    fn new(names: &[&'static str], values: impl Iterator<Item = T>) -> Self {
        Self(names.iter().copied().zip(values).collect())
    }
}

impl<T: Serialize> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl Report {
    pub(crate) fn new(plan: &Plan, outcome: &Outcome) -> Self {
        let Outcome { ending, phase, wall, parts, frozen, seen } = outcome;
        let (broken, failure) = match ending {
            Ending::Broken(broken) => (Some(broken), None),
            Ending::Failed(failure) => (None, Some(failure)),
            Ending::Held | Ending::Idle | Ending::Interrupted => (None, None),
        };
        let violation = broken.map(|broken| ViolationReport {
            what: broken.violation.to_string(),
            part: broken.part.map(Kind::name),
            round: broken.round,
            phase: *phase,
            thread: broken.thread,
        });
        let part = |(part, most): (&PartOutcome, &crate::part::Fill)| {
            let PartOutcome { kind, threads, rounds, took, counts, gauges } = part;
            let seconds = took.as_secs_f64();
            let columns = counts.columns;
            PartReport {
                kind: *kind,
                threads: *threads,
                rounds: *rounds,
                operations: counts.operations(),
                took_s: seconds,
                operations_per_second: counts.operations() as f64 / seconds.max(1e-9),
                actions: Named::new(columns.actions, counts.actions.iter().copied()),
                outcomes: Named::new(columns.outcomes, counts.outcomes.iter().copied()),
                gauges: Named(gauges.iter().copied().filter(|(_, value)| *value > 0).collect()),
                times: Named::new(columns.timed, counts.times.iter().map(Percentiles::of)),
                most_used: most.used,
                most_in_flight: most.in_flight,
                total: most.total,
            }
        };
        Self {
            program: PROGRAM,
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION"),
            machine: machine::describe(),
            made_at: SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs()),
            outcome: match ending {
                Ending::Held => "held",
                Ending::Idle => "idle",
                Ending::Interrupted => "interrupted",
                Ending::Broken(_) => "broken",
                Ending::Failed(_) => "failed",
            },
            failure: failure.map(ToString::to_string),
            violation,
            repeat: repeat(plan, ending),
            seed: plan.seed,
            plan: plan.clone(),
            wall_s: wall.as_secs_f64(),
            freezes: *frozen,
            parts: parts.iter().zip(&seen.most).map(part).collect(),
            looks: seen.looks,
            most: seen.most_resources,
            growth: seen.growth,
            series: seen.series.samples().to_vec(),
        }
    }

    /// The first line of the summary.
    fn headline(&self) -> String {
        if let Some(failure) = &self.failure {
            return format!("FAILED: {failure}\nuntil then all invariants held");
        }
        match (&self.violation, self.outcome) {
            (Some(violation), _) => {
                let ViolationReport { what, part, round, phase, thread } = violation;
                let phase = phase.map(|phase| format!(" ({phase})")).unwrap_or_default();
                let who = thread.map_or_else(
                    || "seen by the check or the watcher".to_owned(),
                    |thread| format!("seen by thread {thread}"),
                );
                // What concerns the whole process is in no round.
                let place = part.map(|part| format!("in round {round}{phase}, {part}, "));
                format!("BROKEN: {what}\n{}{who}", place.unwrap_or_default())
            }
            (None, "interrupted") => "interrupted: all invariants held until then".to_owned(),
            (None, "idle") => "idle: a part had nothing to show (no block for anybody, no task \
                               claimed); run longer, or with more --blocks"
                .to_owned(),
            _ => "held: everything was given back, once".to_owned(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.headline())?;
        for part in &self.parts {
            writeln!(
                f,
                "  {}: {} operations in {} round{} and {:.1} s: {} a second",
                part.kind,
                grouped(part.operations),
                grouped(part.rounds),
                if part.rounds == 1 { "" } else { "s" },
                part.took_s,
                grouped(part.operations_per_second as u64),
            )?;
            let outcomes = part.outcomes.0.iter().chain(&part.gauges.0);
            let outcomes: Vec<_> =
                outcomes.map(|(name, count)| format!("{} {name}", grouped(*count))).collect();
            writeln!(f, "    {}", outcomes.join(", "))?;
            for (name, times) in &part.times.0 {
                let [p50, p99, p99_9, max] =
                    [times.p50, times.p99, times.p99_9, times.max].map(time);
                writeln!(f, "    {name}: p50 {p50}, p99 {p99}, p99.9 {p99_9}, max {max}")?;
            }
            writeln!(
                f,
                "    at most {} of {} in use, {} in flight",
                grouped(part.most_used),
                grouped(part.total),
                grouped(part.most_in_flight),
            )?;
        }
        let Resources { resident, in_use, descriptors, threads, .. } = self.most;
        write!(
            f,
            "  {} looks while running; at most {}, {} of them in use, {descriptors} descriptors, {threads} threads",
            grouped(self.looks),
            mebibytes(resident),
            mebibytes(in_use),
        )?;
        let Growth { memory, in_use, descriptors, threads } = self.growth;
        let each = [
            ("memory in use", in_use, Unit::Megabytes),
            ("resident memory", memory, Unit::Megabytes),
            ("descriptors", descriptors, Unit::One),
            ("threads", threads, Unit::One),
        ];
        for (what, slope, unit) in each {
            if let Some(slope) = slope {
                write!(f, "\n  growth in {what}: {}", slope.told_in(unit))?;
            }
        }
        writeln!(f, "\n  {} freezes", grouped(self.freezes))?;
        write!(f, "  repeat: {}", self.repeat)
    }
}

/// The command that runs the same decisions again: of the round that broke, or of all.
fn repeat(plan: &Plan, ending: &Ending) -> String {
    match ending {
        Ending::Broken(Broken { part: Some(part), round, .. }) => {
            plan.round_alone(*part, *round).command()
        }
        _ => plan.command(),
    }
}
