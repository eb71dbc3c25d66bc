//! What came of a comparison: as a table, and for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use latchless_benches::machine;
use latchless_benches::report::table;
use serde::Serialize;

use super::delays::LONG;
use super::load::COLUMNS;
use super::turns::Turn;
use super::{Contest, Halt};
use crate::exit::Exit;
use crate::repeat::PROGRAM;
use crate::report::text::{grouped, time};
use crate::watch::series::Percentiles;

/// What was compared, and how both did.
#[derive(Debug, Serialize)]
pub(crate) struct Compared {
    /// Tells it from the report of a run.
    program: &'static str,
    pub(super) version: &'static str,
    pub(super) machine: String,
    /// Seconds since 1970 when it was over.
    pub(super) made_at: u64,
    /// `held`, `idle`, `broken`, `failed` or `interrupted`.
    pub(super) outcome: &'static str,
    /// What broke, if anything did.
    pub(super) violation: Option<String>,
    /// What the machine did not give, if that ended it.
    pub(super) failure: Option<String>,
    pub(super) contest: Contest,
    /// Makes the same decisions again.
    pub(super) command: String,
    /// Ours first.
    pub(super) sides: [SideReport; 2],
}

/// How one of them did.
#[derive(Debug, Serialize)]
pub(crate) struct SideReport {
    pub(super) name: &'static str,
    /// Of all its turns.
    pub(super) seconds: f64,
    pub(super) operations: u64,
    pub(super) operations_per_second: f64,
    pub(super) outcomes: BTreeMap<&'static str, u64>,
    /// Nanoseconds of all operations in which their own thread was not frozen.
    pub(super) all: Percentiles,
    /// The same by operation.
    pub(super) times: BTreeMap<&'static str, Percentiles>,
    /// Threads that were frozen.
    pub(super) freezes: u64,
    /// The longest operation of a thread that was not frozen, while another one was.
    pub(super) longest_beside_a_freeze_ns: u64,
    /// Those of 20 ms and more.
    pub(super) long_beside_a_freeze: u64,
    pub(super) turns: Vec<Turn>,
}

impl SideReport {
    /// Whether what was to be shown has happened at all.
    fn shows_something(&self) -> bool {
        self.outcomes.get(COLUMNS.outcomes[COLUMNS.needed]).is_some_and(|count| *count > 0)
    }
}

impl Compared {
    pub(super) fn new(
        contest: &Contest,
        sides: [SideReport; 2],
        halt: Option<Halt>,
        interrupted: bool,
    ) -> Self {
        let (outcome, violation, failure) = match halt {
            Some(Halt::Broken(broken)) => {
                let what = format!("{} in round {}", broken.violation, broken.round);
                ("broken", Some(what), None)
            }
            Some(Halt::Failed(failure)) => ("failed", None, Some(failure.to_string())),
            None if interrupted => ("interrupted", None, None),
            None if !sides.iter().all(SideReport::shows_something) => ("idle", None, None),
            None => ("held", None, None),
        };
        Self {
            program: "latchless-stress compare",
            version: env!("CARGO_PKG_VERSION"),
            machine: machine::describe(),
            made_at: SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs()),
            outcome,
            violation,
            failure,
            contest: contest.clone(),
            command: command(contest),
            sides,
        }
    }

    pub(super) fn exit(&self) -> Exit {
        match self.outcome {
            "broken" => Exit::Broken,
            "failed" => Exit::MachineFailed,
            "interrupted" => Exit::Interrupted,
            "idle" => Exit::BadArguments,
            _ => Exit::Held,
        }
    }

    /// The first line.
    pub(super) fn headline(&self) -> String {
        match (&self.violation, &self.failure) {
            (Some(violation), _) => format!("BROKEN: {violation}"),
            (None, Some(failure)) => format!("FAILED: {failure}\nuntil then nothing was lost"),
            (None, None) if self.outcome == "interrupted" => {
                "interrupted: until then nothing was lost".to_owned()
            }
            (None, None) if self.outcome == "idle" => {
                "idle: nobody was given a block; compare longer, or with more --blocks".to_owned()
            }
            (None, None) => "held: both gave everything back".to_owned(),
        }
    }

    /// Heads of [`rows`](Self::rows).
    pub(super) fn head() -> [&'static str; 8] {
        let delay = "longest beside a freeze";
        ["", "operations a second", "p50", "p99", "p99.9", "longest", delay, "of 20 ms and more"]
    }

    /// A row for each of both.
    pub(super) fn rows(&self) -> Vec<[String; 8]> {
        let row = |side: &SideReport| {
            let Percentiles { p50, p99, p99_9, max, .. } = side.all;
            let [p50, p99, p99_9, max] = [p50, p99, p99_9, max].map(time);
            let rate = grouped(side.operations_per_second as u64);
            let delay = time(side.longest_beside_a_freeze_ns);
            [
                side.name.to_owned(),
                rate,
                p50,
                p99,
                p99_9,
                max,
                delay,
                grouped(side.long_beside_a_freeze),
            ]
        };
        self.sides.iter().map(row).collect()
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n", self.headline(), self.machine)?;
        writeln!(f, "{}", table(Self::head(), &self.rows()))?;
        for side in &self.sides {
            let outcomes =
                side.outcomes.iter().map(|(name, count)| format!("{} {name}", grouped(*count)));
            let outcomes: Vec<_> = outcomes.collect();
            let SideReport { name, seconds, freezes, .. } = side;
            writeln!(f, "{name}: {seconds:.1} s, {freezes} freezes; {}", outcomes.join(", "))?;
        }
        writeln!(f, "{}", explained())?;
        write!(f, "repeat: {}", self.command)
    }
}

/// What the last two columns say.
pub(super) fn explained() -> String {
    format!(
        "\"Beside a freeze\": operations of threads that were not frozen, while another one was; the last \
         column counts those of {} and more.",
        humantime::format_duration(LONG)
    )
}

fn command(contest: &Contest) -> String {
    let Contest { seed, threads, blocks, duration, freezes } = contest;
    let time = |time| humantime::format_duration(time).to_string().replace(' ', "");
    let freezes = freezes.map_or_else(
        || " --freeze 0".to_owned(),
        |freezes| format!(" --freeze {} --freeze-time {}", freezes.per_second, time(freezes.time)),
    );
    let duration = time(*duration);
    format!(
        "{PROGRAM} compare --duration {duration} --seed {seed} --threads {threads} --blocks \
         {blocks}{freezes}"
    )
}
