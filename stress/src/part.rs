//! The parts of the system under load. Each has its own threads, which work in rounds; when the threads
//! of a round have ended, the part is checked. Parts know nothing of each other: they share the machine,
//! the faults and the end.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::agents::Agents;
use crate::crew::Ground;
use crate::crew::roll::Present;
use crate::engine;
use crate::plan::Plan;
use crate::pool::Pool;
use crate::store::Store;
use crate::tally::Tally;
use crate::violation::Violation;

/// A part of the system.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Blocks: allocate, split, merge, transfer, share, free, and the coming and going of their agents.
    Pool,
    /// Tasks, plans, states, outboxes and spawn slots of agents.
    Agents,
    /// The engine, on a scripted backend or a real model: requests, streams, cancels, swaps, the cache.
    Engine,
    /// The durable store and the engine's cache, in a process of their own, which is killed again and again.
    Store,
}

impl Kind {
    /// All of them, in the order of the design.
    pub(crate) const ALL: [Self; 4] = [Self::Pool, Self::Agents, Self::Engine, Self::Store];

    /// Makes the part as planned.
    pub(crate) fn make(self, plan: &Plan) -> anyhow::Result<Box<dyn Part>> {
        Ok(match self {
            Self::Pool => Box::new(Pool::new(plan)?),
            Self::Agents => Box::new(Agents::new(plan)?),
            Self::Engine => engine::make(plan)?,
            Self::Store => Box::new(Store::new(plan)),
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pool => "pool",
            Self::Agents => "agents",
            Self::Engine => "engine",
            Self::Store => "store",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How full a part is, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Fill {
    pub(crate) used: u64,
    pub(crate) total: u64,
    /// Between two hands.
    pub(crate) in_flight: u64,
}

/// Neighbouring blocks of a pool: of those that were looked at, how many are whose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    /// With one holder.
    pub(crate) held: u32,
    /// With several.
    pub(crate) shared: u32,
    /// Of an agent whose blocks any thread may free.
    pub(crate) common: u32,
    /// Looked at: the rest is free.
    pub(crate) of: u32,
}

/// A part under load.
pub(crate) trait Part: Send + Sync {
    fn kind(&self) -> Kind;

    /// Threads of a round.
    fn threads(&self) -> u16;

    /// One round: threads that begin together, carry out their decisions, or as many as come before the
    /// stop, and give everything back.
    fn round(&self, ground: &Ground, round: u64);

    /// The check after a round: nobody runs, and nothing is excused. What takes long beats meanwhile.
    fn check(&self, present: &Present<'_>) -> Result<(), Violation>;

    /// The check after the last one.
    fn end(&self, present: &Present<'_>) -> Result<(), Violation>;

    /// A look while the threads are at work: what must hold at every instant, does.
    fn look(&self) -> Result<Fill, Violation>;

    fn tally(&self) -> &Tally;

    /// A map of its blocks, for the eye: at most so many cells. None where there are no blocks.
    fn map(&self, _cells: usize) -> Vec<Cell> {
        Vec::new()
    }

    /// What else there is to be counted, at this moment.
    fn gauges(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}
