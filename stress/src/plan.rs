//! What is run.

pub(crate) mod limits;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::crew::freezer::Freezes;
use crate::fault::Rates;
use crate::humane;
use crate::part::Kind;
use crate::schedule::Stretch;

/// A whole run, as it was asked for. A report keeps it, so that the run can be repeated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) parts: Vec<Kind>,
    /// Threads of each part.
    pub(crate) threads: u16,
    /// Blocks of the pool.
    pub(crate) blocks: u32,
    pub(crate) first_round: u64,
    /// How long the phases last, in order; all take turns, a round each, where nothing is said.
    pub(crate) phases: Vec<Stretch>,
    #[serde(with = "humane::maybe")]
    pub(crate) duration: Option<Duration>,
    /// Rounds of each part.
    pub(crate) rounds: Option<u64>,
    #[serde(with = "humane")]
    pub(crate) stall_after: Duration,
    /// From then on growth is judged.
    #[serde(with = "humane")]
    pub(crate) judge_after: Duration,
    pub(crate) freezes: Option<Freezes>,
    /// The GGUF file that the engine runs in place of a script.
    pub(crate) model: Option<PathBuf>,
    /// Whether backends and files fail.
    pub(crate) faults: bool,
    /// How often faults come, where that is not as by themselves.
    pub(crate) rates: Rates,
    pub(crate) plant: Option<Plant>,
}

/// A fault that is put in on purpose, to see that it is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Plant {
    /// Some blocks are marked as if somebody had them, while the pool has them as free.
    Double,
    /// A lease is forgotten.
    Leak,
    /// The threads never begin.
    Stall,
    /// A task is completed behind the backs of those who claim it.
    Stolen,
    /// The end of a task is acknowledged, and not written.
    Lost,
    /// The changes of a task are written twice.
    Twice,
    /// States in the engine's cache are cut off, under checksums that fit.
    Torn,
    /// Saves in the engine's cache are acknowledged, and removed.
    Dropped,
    /// Memory is kept that nobody needs, more and more of it.
    Swell,
}
