//! The life of a child: what it is told when it begins, and how it ends.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use crate::crew::freezer::Freezes;
use crate::fault::{Fault, Rates};
use crate::phase::Phase;
use crate::plan::{Plan, Plant};

/// Decisions of each thread in a life that ends by itself.
const DECISIONS: u64 = 40;
/// Lines after which a child is killed, at most.
const LINES: u64 = 500;
/// Of the lives of a run with faults, by themselves: those that are killed, those whose disk may become full, and
/// those whose disk fails.
const KILLED: f64 = 0.75;
const FULL: f64 = 0.25;
const FAULTY: f64 = 0.5;
/// Bytes that a database gets on top of what it has, where it may become full.
const ROOM: u64 = 256 << 10;

/// What a child is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Life {
    pub(super) file: PathBuf,
    pub(super) seed: u64,
    pub(super) round: u64,
    /// Which one of the round.
    pub(super) number: u64,
    pub(super) threads: u16,
    /// Decisions of each thread; none goes on until it is killed.
    pub(super) decisions: Option<u64>,
    /// Bytes that the database may have.
    pub(super) most_bytes: Option<u64>,
    /// Whether agents die and the clock jumps.
    pub(super) faults: bool,
    pub(super) rates: Rates,
    /// Whether the system refuses writes and descriptors now and then, too.
    pub(super) disk: bool,
    pub(super) freezes: Option<(f64, Duration)>,
    pub(super) stall_after: Duration,
    pub(super) plant: Option<Planted>,
}

/// A defect of the store that a child plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Planted {
    /// An end that was told and not written.
    Lost,
    /// Changes of a turn that were written twice.
    Twice,
    /// States of the cache that were cut off, under a checksum that fits.
    Torn,
    /// Saves of the cache that were told, and removed.
    Dropped,
}

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Death {
    /// By itself, when its threads have made their decisions.
    Itself,
    /// Killed when so many lines have come, and so much longer.
    Killed { lines: u64, longer: Duration },
}

impl Life {
    /// The next life of a round; all of it comes from `rng`.
    pub(super) fn draw(
        rng: &mut Rng,
        plan: &Plan,
        round: u64,
        number: u64,
        file: PathBuf,
        bytes: u64,
    ) -> (Self, Death) {
        let lines = rng.u64(1..LINES);
        let longer = Duration::from_micros(rng.u64(0..2_000));
        let mut strikes =
            |fault, comes, of| plan.faults && plan.rates.strikes(fault, comes, of, rng);
        let killed = strikes(Fault::Kill, number % 4 != 3, KILLED);
        let full = strikes(Fault::FullDisk, number % 4 == 1, FULL);
        let disk = strikes(Fault::IoError, number % 2 == 1, FAULTY);
        let death = if killed { Death::Killed { lines, longer } } else { Death::Itself };
        let life = Self {
            file,
            seed: plan.seed,
            round,
            number,
            threads: threads(plan),
            decisions: (!killed).then_some(DECISIONS),
            most_bytes: full.then_some(bytes + ROOM),
            faults: plan.faults,
            rates: plan.rates,
            disk,
            freezes: plan.freezes.map(|Freezes { per_second, time }| (per_second, time)),
            stall_after: plan.stall_after,
            plant: match plan.plant {
                Some(Plant::Lost) => Some(Planted::Lost),
                Some(Plant::Twice) => Some(Planted::Twice),
                Some(Plant::Torn) => Some(Planted::Torn),
                Some(Plant::Dropped) => Some(Planted::Dropped),
                _ => None,
            },
        };
        (life, death)
    }

    /// The folder of all of its files.
    pub(super) fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(&self.file)
    }

    /// The folder of the cache.
    pub(super) fn cache(&self) -> PathBuf {
        self.file.with_file_name("cache")
    }

    pub(super) fn phase(&self) -> Phase {
        Phase::of_round(self.round)
    }

    /// Whether a write may be refused, because there is no room or because the disk fails. Then what was not
    /// durable goes with it; else that, too, must have gone in order.
    pub(super) fn may_refuse(&self) -> bool {
        self.disk || self.most_bytes.is_some()
    }

    /// An agent's name: the same in all lives of a round.
    pub(super) fn agent(thread: u16) -> String {
        format!("agent {thread}")
    }
}

/// Threads of a child: a store has one writer, whom more of them only wait for.
pub(super) fn threads(plan: &Plan) -> u16 {
    plan.threads.min(8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::tests::plan;

    /// Of a thousand rounds of four lives: those that are killed, those with a disk that becomes full, and those
    /// with one that fails.
    fn struck(rates: &[&str]) -> [u32; 3] {
        let plan = plan(&[&["--faults", "--seed", "1"], rates].concat()).unwrap();
        let mut rng = Rng::with_seed(1);
        let mut struck = [0_u32; 3];
        for number in (0..4_000).map(|number| number % 4) {
            let (life, death) = Life::draw(&mut rng, &plan, 0, number, PathBuf::new(), 0);
            let each = [death != Death::Itself, life.most_bytes.is_some(), life.disk];
            struck.iter_mut().zip(each).for_each(|(count, is)| *count += u32::from(is));
            assert_eq!(life.may_refuse(), life.disk || life.most_bytes.is_some());
        }
        struck
    }

    #[test]
    fn lives_are_struck_as_often_as_rates_say() {
        for (rates, expected) in [
            ("kill=1", [3_000, 1_000, 2_000]),
            ("kill=0", [0, 1_000, 2_000]),
            ("kill=0.5,full-disk=3,io-error=0.25", [1_500, 3_000, 500]),
            ("kill=3,full-disk=4,io-error=2", [4_000, 4_000, 4_000]),
        ] {
            let struck = struck(&["--rate", rates]);
            let close = |(one, other): (u32, u32)| one.abs_diff(other) <= 100;
            assert!(struck.into_iter().zip(expected).all(close), "{rates}: {struck:?}");
        }
        assert_eq!(struck(&[]), [3_000, 1_000, 2_000], "the same lives in each round");
    }
}
