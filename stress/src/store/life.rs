//! The life of a child: what it is told when it begins, and how it ends.

use std::path::PathBuf;
use std::time::Duration;

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use crate::crew::freezer::Freezes;
use crate::phase::Phase;
use crate::plan::{Plan, Plant};

/// Decisions of each thread in a life that ends by itself.
const DECISIONS: u64 = 40;
/// Lines after which a child is killed, at most.
const LINES: u64 = 500;
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
        let killed = plan.faults && number % 4 != 3;
        let lines = rng.u64(1..LINES);
        let longer = Duration::from_micros(rng.u64(0..2_000));
        let death = if killed { Death::Killed { lines, longer } } else { Death::Itself };
        let life = Self {
            file,
            seed: plan.seed,
            round,
            number,
            threads: threads(plan),
            decisions: (!killed).then_some(DECISIONS),
            most_bytes: (plan.faults && number % 4 == 1).then_some(bytes + ROOM),
            faults: plan.faults,
            disk: plan.faults && has_faulty_disk(number),
            freezes: plan.freezes.map(|Freezes { per_second, time }| (per_second, time)),
            stall_after: plan.stall_after,
            plant: match plan.plant {
                Some(Plant::Lost) => Some(Planted::Lost),
                Some(Plant::Twice) => Some(Planted::Twice),
                _ => None,
            },
        };
        (life, death)
    }

    pub(super) fn phase(&self) -> Phase {
        Phase::of_round(self.round)
    }

    /// An agent's name: the same in all lives of a round.
    pub(super) fn agent(thread: u16) -> String {
        format!("agent {thread}")
    }
}

/// Whether the disk fails in a life of this number, of a run with faults. In the others what was not durable
/// must have gone in order.
pub(super) fn has_faulty_disk(number: u64) -> bool {
    number % 2 == 1
}

/// Threads of a child: a store has one writer, whom more of them only wait for.
pub(super) fn threads(plan: &Plan) -> u16 {
    plan.threads.min(8)
}
