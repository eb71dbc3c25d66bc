//! The command line.

use std::num::NonZero;
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use clap::builder::{StringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

use crate::compare::CompareArgs;
use crate::crew::freezer::Freezes;
use crate::fault::{Rate, Rates};
use crate::part::Kind;
use crate::plan::limits::{FIRST_ROUNDS, MOST_BLOCKS, MOST_THREADS};
use crate::plan::{Plan, Plant};
use crate::replay::ReplayArgs;
use crate::schedule::Stretch;
use crate::session::ReportArgs;
use crate::view::ViewArgs;

/// Time without an operation after which a thread has stalled, unless something else is said.
pub(crate) const STALL_AFTER: Duration = Duration::from_mins(1);
/// Unless said otherwise.
pub(crate) const JUDGE_AFTER: Duration = Duration::from_mins(20);

/// Freezes a second that make chaos: with up to 200 ms each, about every second instant is in one of them.
const CHAOS_FREEZES: f64 = 5.0;

const EXAMPLES: &str = "\
Examples:
  A minute with a seed that you choose:
    latchless-stress run --duration 60s --seed 1
  A night, with a line every ten minutes and a report:
    latchless-stress run --duration 8h --chaos --status-interval 10m --report night
  One part only, and three freezes a second:
    latchless-stress run --only agents --freeze 3
  A small pool and many threads, ended by count:
    latchless-stress run --blocks 64 --threads 32 --rounds 20
  No kills, and four times as many backends and files that fail:
    latchless-stress run --duration 10m --chaos --rate kill=0,backend=4,spoil=4
  Ten minutes at the limit, then two rounds of calm, and so on:
    latchless-stress run --duration 2h --phases near-exhaustion=10m,calm=2
  A long mix from a file, for an hour instead of what the file says:
    latchless-stress run --config stress/examples/long-mix.toml --duration 1h
  Lines instead of the live view:
    latchless-stress run --view lines --status-interval 1s
  What the canary says when a block is in two hands:
    latchless-stress run --rounds 1 --plant double

Exit codes: 0 every invariant held, 1 one broke, 2 bad arguments (also when nobody had a
block, which shows nothing), 3 interrupted (Ctrl-C ends the run cleanly, with the report; a
second one ends it at once), 4 the machine failed (no room for the report, no more threads).";

const REPLAY_EXAMPLES: &str = "\
Examples:
  What broke last night, once more:
    latchless-stress replay night/report.json
  Until it breaks again, a thousand times at most, with a report of its own:
    latchless-stress replay night --times 1000 --report again
  The whole run, with all its parts side by side:
    latchless-stress replay night --whole

Exit codes: as of run; 2 also when the file is damaged, or no report of this version.";

const COMPARE_EXAMPLES: &str = "\
Examples:
  A minute, with a page:
    latchless-stress compare --report beside
  Without freezes, which shows what the lock itself costs:
    latchless-stress compare --freeze 0
  A small pool that is empty most of the time:
    latchless-stress compare --duration 5m --blocks 256 --threads 8

Exit codes: 0 both held, 1 one lost a block or kept a thread for ever, 2 bad arguments, 3 interrupted, 4 the machine failed.";

/// Runs threads against every part of the core and checks that nothing is ever lost or in two hands.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs until the duration is over, or the operations are done.
    #[command(after_help = EXAMPLES)]
    Run(Box<RunArgs>),
    /// Repeats a run from its report: the round that broke, or all of it.
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(ReplayArgs),
    /// Puts the pool and one behind a mutex under the same load, side by side.
    #[command(after_help = COMPARE_EXAMPLES)]
    Compare(CompareArgs),
    /// What the part `store` starts and kills.
    #[command(hide = true)]
    StoreChild {
        /// What it is told.
        life: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// How long: 90s, 5m, 8h. 60s, unless --rounds says how many.
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,

    /// Only this part; several times for several parts. All of them by default.
    #[arg(long, value_name = "PART")]
    only: Vec<Kind>,

    /// How many rounds of each part. In seven of them a part goes through all its phases.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: Option<u64>,

    /// Seed of all decisions; printed first. A random one by default.
    #[arg(long)]
    seed: Option<u64>,

    /// Threads of each part. Two for each core by default, at least 4.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=i64::from(MOST_THREADS)))]
    threads: Option<u16>,

    /// Blocks of the pool.
    #[arg(long, default_value_t = 8_192, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_BLOCKS)))]
    blocks: u32,

    /// The round to begin with. Each is settled before the next one, and can be run alone.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..FIRST_ROUNDS))]
    first_round: u64,

    /// Phases in the order in which they come, again and again, each with rounds or a time: calm=3,burst=10m.
    /// All in turn, a round each, by default.
    #[arg(long, value_name = "PHASE=LENGTH", value_delimiter = ',')]
    phases: Vec<Stretch>,

    /// Time without an operation after which a thread counts as stalled, which breaks the run.
    #[arg(long, default_value = "1m", value_name = "TIME", value_parser = duration)]
    stall_after: Duration,

    /// How long a run must be for its growth to be judged: memory that grows by more than 1 MB an hour for
    /// certain breaks it.
    #[arg(long, default_value = "20m", value_name = "TIME", value_parser = duration)]
    judge_after: Duration,

    /// Backends that fail in every way, damaged files in the cache; a store whose process is killed and whose
    /// disk fails, and clocks that jump.
    #[arg(long)]
    faults: bool,

    /// How often a fault comes: so many times as often as by itself, 0 for never. For several, with commas; of two
    /// for the same fault the last one counts. The faults are panic, cancel, slow-reader, vanish, load, clock and
    /// die, and with --faults or --chaos also backend, spoil, kill, full-disk and io-error. docs/stress.md says
    /// what each is, and how often it comes by itself.
    #[arg(long, value_name = "FAULT=FACTOR", value_delimiter = ',')]
    rate: Vec<Rate>,

    /// All of it: `--faults --freeze 5`.
    #[arg(long)]
    chaos: bool,

    /// Threads that are frozen at random instructions, a second; 0 for none.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    freeze: Option<f64>,

    /// How long a thread stays frozen at most; less than what counts as stalled.
    #[arg(long, default_value = "200ms", value_name = "TIME", value_parser = freeze_time)]
    freeze_time: Duration,

    /// Takes options from this file, in TOML, under the names that they have here; what the command line says
    /// counts more.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// A GGUF file that the engine runs in place of a script; needs the feature `llama`, which `cargo xtask
    /// stress` builds in.
    // As a text: what is none could be kept neither in a report nor in the command that repeats the run.
    #[arg(long, value_name = "FILE", value_parser = StringValueParser::new().map(PathBuf::from))]
    model: Option<PathBuf>,

    /// Puts in a fault, to see that it is seen; the run must end with exit code 1.
    #[arg(long)]
    plant: Option<Plant>,

    #[command(flatten)]
    pub(crate) view: ViewArgs,

    #[command(flatten)]
    pub(crate) report: ReportArgs,
}

impl RunArgs {
    /// What is asked for.
    ///
    /// # Errors
    /// [`RateError`](crate::fault::RateError): rates of faults that nobody has asked for; [`PlanError`](crate::plan::limits::PlanError):
    /// options that contradict each other.
    pub(crate) fn plan(&self) -> anyhow::Result<Plan> {
        let cores = available_parallelism().map_or(1, NonZero::get);
        let duration = match (self.duration, self.rounds) {
            (None, None) => Some(Duration::from_mins(1)),
            (duration, _) => duration,
        };
        let faults = self.chaos || self.faults;
        let freezes = self.freeze.or(self.chaos.then_some(CHAOS_FREEZES));
        let freezes = freezes.filter(|rate| *rate > 0.0);
        let mut parts = if self.only.is_empty() { Kind::ALL.to_vec() } else { self.only.clone() };
        parts.sort_unstable();
        parts.dedup();
        let plan = Plan {
            seed: self.seed.unwrap_or_else(|| fastrand::u64(..)),
            parts,
            threads: self.threads.unwrap_or_else(|| (2 * cores).clamp(4, 1_024) as u16),
            blocks: self.blocks,
            first_round: self.first_round,
            phases: self.phases.clone(),
            duration,
            rounds: self.rounds,
            stall_after: self.stall_after,
            judge_after: self.judge_after,
            freezes: freezes.map(|per_second| Freezes { per_second, time: self.freeze_time }),
            model: self.model.clone(),
            faults,
            rates: Rates::new(&self.rate, faults)?,
            plant: self.plant,
        };
        plan.check()?;
        Ok(plan)
    }
}

pub(crate) fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate == 0.0 || Freezes::RATES.contains(&rate) => Ok(rate),
        _ => {
            let (least, most) = (Freezes::RATES.start(), Freezes::RATES.end());
            Err(format!(
                "no rate; give a number from {least} to {most}, such as 5 or 0.2, or 0 for none"
            ))
        }
    }
}

pub(crate) fn freeze_time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        time if time <= Freezes::MOST_TIME => Ok(time),
        _ => Err(format!(
            "too long; give {} at most",
            humantime::format_duration(Freezes::MOST_TIME)
        )),
    }
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("no time at all; give at least 1ms".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{error}; write 500ms, 90s, 5m or 8h")),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::CommandFactory;

    use super::*;

    /// What `run` carries out with these arguments.
    pub(crate) fn plan(args: &[&str]) -> anyhow::Result<Plan> {
        let args = ["latchless-stress", "run"].iter().chain(args);
        match Cli::try_parse_from(args)?.command {
            Command::Run(args) => args.plan(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_have_units() {
        for (text, seconds) in [("90s", 90), ("5m", 300), ("8h", 28_800), ("1h 30m", 5_400)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)));
        }
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for nonsense in ["", "5", "-5s", "5 parsecs", "0s", "nan"] {
            assert!(duration(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn a_minute_unless_something_is_said() {
        assert_eq!(plan(&[]).unwrap().duration, Some(Duration::from_mins(1)));
        let by_count = plan(&["--rounds", "10"]).unwrap();
        assert_eq!((by_count.duration, by_count.rounds), (None, Some(10)));
        let both = plan(&["--rounds", "10", "--duration", "1s"]).unwrap();
        assert_eq!((both.duration, both.rounds), (Some(Duration::from_secs(1)), Some(10)));
        assert!(plan(&[]).unwrap().threads >= 4);
    }

    #[test]
    fn parts_and_faults_are_chosen() {
        assert_eq!(plan(&[]).unwrap().parts, Kind::ALL);
        let two = plan(&["--only", "agents", "--only", "pool", "--only", "pool"]).unwrap();
        assert_eq!(two.parts, [Kind::Pool, Kind::Agents]);
        assert!(plan(&["--chaos"]).unwrap().faults && !plan(&["--freeze", "2"]).unwrap().faults);
        assert_eq!(plan(&[]).unwrap().freezes, None);
        let freezes = |args: &[&str]| plan(args).unwrap().freezes.map(|freezes| freezes.per_second);
        assert_eq!(freezes(&["--chaos"]), Some(CHAOS_FREEZES));
        assert_eq!(freezes(&["--chaos", "--freeze", "0"]), None);
        assert_eq!(freezes(&["--freeze", "0.5"]), Some(0.5));
        assert_eq!(freezes(&["--freeze", "0.001"]), Some(0.001));
    }

    #[test]
    fn rates_are_chosen_fault_by_fault() {
        assert_eq!(plan(&["--chaos"]).unwrap().rates, Rates::default());
        let rates = plan(&["--faults", "--rate", "kill=0,spoil=3", "--rate", "clock=2"]);
        assert_eq!(rates.unwrap().rates.to_string(), "spoil=3,kill=0,clock=2");
        let always = plan(&["--rate", "cancel=5,kill=0"]).unwrap();
        assert_eq!((always.rates.to_string().as_str(), always.faults), ("cancel=5,kill=0", false));
    }

    #[test]
    fn nonsense_is_refused() {
        for args in [
            &["--threads", "0"][..],
            &["--threads", "5000"],
            &["--blocks", "0"],
            &["--blocks", "16777217"],
            &["--rounds", "0"],
            &["--duration", "soon"],
            &["--seed", "-1"],
            &["--plant", "rose"],
            &["--only", "lunch"],
            &["--freeze", "-1"],
            &["--freeze", "often"],
            &["--freeze", "1e-30"],
            &["--freeze", "0.0009"],
            &["--freeze-time", "61m"],
            &["--freeze", "1", "--freeze-time", "2s", "--stall-after", "2s"],
            &["--first-round", "400000000000000000"],
            &["--phases", "lunch=1"],
            &["--phases", "calm=0"],
            &["--phases", "calm=soon"],
            &["--chaos", "--rate", "lunch=1"],
            &["--chaos", "--rate", "kill=-1"],
            &["--chaos", "--rate", "kill"],
            &["--rate", "kill=2"],
        ] {
            assert!(plan(args).is_err(), "{args:?}");
        }
    }
}
