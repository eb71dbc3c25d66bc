//! `compare`: the same load on the pool and on one that does its work behind a mutex, side by side.
//!
//! The load is the pool part's: the same generators make the same decisions for both, as far as both know
//! what is decided ([`load`]). The two take turns, slice by slice, so that a machine that speeds up or slows
//! down does so for both; random threads are frozen at random instructions meanwhile, which is where a lock
//! shows: its holder stops, and with it everybody who wants it ([`delays`]).

mod delays;
mod load;
mod outcome;
mod page;
mod side;
mod turns;

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use clap::Args;
use latchless_benches::baseline::MutexOwner;
use latchless_benches::latchless_pool::Leases;

use self::outcome::Compared;
use self::side::Side;
use crate::args::{duration, freeze_time, rate};
use crate::crew::freezer::Freezes;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::{ReportArgs, publish, say};
use crate::stop::Broken;

/// The longest turn of either.
const SLICE: Duration = Duration::from_secs(1);

/// What load, and for how long.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// How long, both together: 90s, 5m. They take turns of a second.
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = duration)]
    duration: Duration,

    /// Seed of all decisions; printed first. A random one by default.
    #[arg(long)]
    seed: Option<u64>,

    /// Threads. One for each core by default, at least 2: more of them wait for cores, which is in their
    /// times then.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=32))]
    threads: Option<u16>,

    /// Blocks of each pool.
    #[arg(long, default_value_t = 8_192, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    blocks: u32,

    /// Threads that are frozen at random instructions, a second; 0 for none.
    #[arg(long, default_value = "5", value_name = "RATE", value_parser = rate)]
    freeze: f64,

    /// How long a thread stays frozen at most.
    #[arg(long, default_value = "200ms", value_name = "TIME", value_parser = freeze_time)]
    freeze_time: Duration,

    #[command(flatten)]
    pub(crate) report: ReportArgs,
}

/// A comparison, as it was asked for.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub(crate) struct Contest {
    pub(crate) seed: u64,
    pub(crate) threads: u16,
    pub(crate) blocks: u32,
    #[serde(with = "crate::humane")]
    pub(crate) duration: Duration,
    pub(crate) freezes: Option<Freezes>,
}

impl CompareArgs {
    fn contest(&self) -> Contest {
        let cores = available_parallelism().map_or(1, NonZero::get);
        let freezes = Freezes { per_second: self.freeze, time: self.freeze_time };
        Contest {
            seed: self.seed.unwrap_or_else(|| fastrand::u64(..)),
            threads: self.threads.unwrap_or(cores.clamp(2, 32) as u16),
            blocks: self.blocks,
            duration: self.duration,
            freezes: Some(freezes).filter(|freezes| freezes.per_second > 0.0),
        }
    }

    /// Runs it and tells it.
    pub(crate) fn run(&self, interrupted: &AtomicBool) -> anyhow::Result<Exit> {
        let folder = self.report.open()?;
        let contest = self.contest();
        say(format_args!("seed {}", contest.seed));
        let compared = compare(&contest, interrupted);
        Ok(publish(folder.as_ref(), &compared, page::page, || {}, compared.exit()))
    }
}

/// Why it ends early.
#[derive(Debug)]
enum Halt {
    /// One of them lost something, or gave it twice.
    Broken(Broken),
    /// The machine failed.
    Failed(Failure),
}

/// Lets both take turns until the time is over, somebody interrupts it, or one breaks.
fn compare(contest: &Contest, interrupted: &AtomicBool) -> Compared {
    let slice = SLICE.min(contest.duration / 2);
    let begun = Instant::now();
    let mut ours = Side::<Leases>::new(contest);
    let mut theirs = Side::<MutexOwner>::new(contest);
    let mut halt = None;
    let over = || interrupted.load(Ordering::Acquire);
    for round in 0.. {
        // Whoever comes second finds warmer caches: in every other round, the other one.
        let result = if round % 2 == 0 {
            ours.turn(round, slice, &over).and_then(|()| theirs.turn(round, slice, &over))
        } else {
            theirs.turn(round, slice, &over).and_then(|()| ours.turn(round, slice, &over))
        };
        halt = result.err();
        if halt.is_some() || over() || begun.elapsed() >= contest.duration {
            break;
        }
    }
    Compared::new(contest, [ours.told(), theirs.told()], halt, over())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contest(freezes: Option<Freezes>) -> Contest {
        let duration = Duration::from_millis(40);
        Contest { seed: 1, threads: 2, blocks: 500, duration, freezes }
    }

    #[test]
    fn both_do_the_same_and_lose_nothing() {
        for freezes in [None, Some(Freezes { per_second: 200.0, time: Duration::from_millis(2) })] {
            let compared = compare(&contest(freezes), &AtomicBool::new(false));
            assert_eq!(compared.exit(), Exit::Held, "{compared}");
            let names: Vec<_> = compared.sides.iter().map(|side| side.name).collect();
            assert_eq!(names, ["latchless", "mutex_owner"]);
            for side in &compared.sides {
                assert!(side.operations > 0 && side.seconds > 0.0, "{compared}");
                assert!(side.freezes == 0 || freezes.is_some(), "{compared}");
            }
            let page = page::page(&compared);
            assert!(page.contains("latchless") && page.contains("mutex_owner"));
        }
    }

    #[test]
    fn a_turn_s_time_is_over_when_it_is_told_to_stop() {
        // Frozen all the time, and for far longer than a turn.
        let freezes = Freezes { per_second: 1_000.0, time: Duration::from_millis(600) };
        let begun = Instant::now();
        let compared = compare(&contest(Some(freezes)), &AtomicBool::new(false));
        // Whatever the machine is slow at counts for both: what was waited for the frozen is in the one alone.
        let told: f64 = compared.sides.iter().map(|side| side.seconds).sum();
        assert!(told < begun.elapsed().as_secs_f64() / 2.0, "{compared}");
    }

    #[test]
    fn a_comparison_may_be_as_long_as_it_likes() {
        let endless = Contest { duration: Duration::MAX, ..contest(None) };
        assert_eq!(compare(&endless, &AtomicBool::new(true)).exit(), Exit::Interrupted);
    }

    #[test]
    fn a_comparison_in_which_nobody_was_given_a_block_shows_nothing() {
        // In the first round everybody keeps within his share, which is no block here.
        let duration = Duration::from_millis(2);
        let compared = compare(
            &Contest { threads: 8, blocks: 1, duration, ..contest(None) },
            &AtomicBool::new(false),
        );
        assert_eq!(compared.exit(), Exit::BadArguments, "{compared}");
        assert!(compared.to_string().starts_with("idle: "), "{compared}");
    }

    #[test]
    fn an_interrupted_comparison_tells_what_it_has() {
        let compared = compare(&contest(None), &AtomicBool::new(true));
        assert_eq!(compared.exit(), Exit::Interrupted);
        assert!(compared.to_string().contains("interrupted"), "{compared}");
    }
}
