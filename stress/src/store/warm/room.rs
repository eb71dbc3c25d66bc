//! The cache of a life, and what all its keepers know of it.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, anyhow};
use latchless::{AgentId, ModelSpec};
use latchless_engine::cache::{CacheError, ModelTag, Pin, WarmCache};

use super::phases::STATE;
use super::{AGENTS, KEEPERS, PINNED, Save};
use crate::phase::Phase;
use crate::store::life::Life;

/// Bytes of a file at most: a state, its header, and what a state is longer than it was asked for.
const FILE: u64 = STATE as u64 + 2_048;
/// Nothing was acknowledged, or it may have gone since.
const NOTHING: u64 = 0;

/// The agents of all keepers.
pub(super) fn agents() -> std::ops::Range<u16> {
    0..KEEPERS * AGENTS
}

/// An agent's id.
pub(super) fn id(agent: u16) -> AgentId {
    AgentId::new(format!("kept-{agent}")).expect("a short name is an agent's")
}

/// Opens the cache in the folder.
pub(super) fn open(folder: &Path, phase: Phase) -> Result<WarmCache, CacheError> {
    let spec = ModelSpec::new(4, 2, 64, 16).expect("four layers are a model");
    WarmCache::open(folder, ModelTag::new("stress 1", "bytes", &spec, 1_000), budget(phase))
}

/// Whether there is room for all.
fn is_roomy(phase: Phase) -> bool {
    phase == Phase::Calm
}

/// Bytes of all files. The least is room for what is pinned, and for one more.
pub(super) fn budget(phase: Phase) -> u64 {
    let files = if is_roomy(phase) { KEEPERS * AGENTS } else { KEEPERS * PINNED + 1 };
    FILE * u64::from(files)
}

/// Whether what is acknowledged for an agent never makes room for others.
pub(super) fn stays(agent: u16, phase: Phase) -> bool {
    is_roomy(phase) || agent % AGENTS < PINNED
}

/// The cache, with its pins.
pub(in crate::store) struct Room {
    pub(super) cache: WarmCache,
    pub(super) phase: Phase,
    ids: Vec<AgentId>,
    /// Of each agent the last save that was acknowledged, [as a number](Save::packed). Written by its own keeper.
    least: Vec<AtomicU64>,
    _pins: Vec<Pin>,
}

impl Room {
    /// Opens what earlier lives have left, and reads all of it.
    pub(in crate::store) fn open(life: &Life) -> anyhow::Result<Self> {
        let phase = life.phase();
        let cache = open(&life.cache(), phase)?;
        let ids: Vec<_> = agents().map(id).collect();
        let pinned = agents().filter(|agent| agent % AGENTS < PINNED);
        let pins = pinned.map(|agent| cache.pin(&ids[usize::from(agent)])).collect();
        let least = |agent: u16| -> anyhow::Result<u64> {
            match cache.load(&ids[usize::from(agent)]) {
                Ok(found) => Ok(Save::read(agent, &found).map_err(|what| anyhow!(what))?.packed()),
                Err(CacheError::Missing { .. }) => Ok(NOTHING),
                Err(error) => Err(error).context("what an earlier life has left"),
            }
        };
        let least = agents().map(|agent| least(agent).map(AtomicU64::new));
        let least = least.collect::<anyhow::Result<_>>()?;
        Ok(Self { cache, phase, ids, least, _pins: pins })
    }

    pub(super) fn id(&self, agent: u16) -> &AgentId {
        &self.ids[usize::from(agent)]
    }

    /// What an agent must have at least; none when it may have nothing.
    pub(super) fn least(&self, agent: u16) -> Option<u64> {
        // Acquire: whoever finds a state gone, and then reads here, sees that it was allowed to go.
        let least = self.least[usize::from(agent)].load(Ordering::Acquire);
        (least != NOTHING).then_some(least)
    }

    pub(super) fn acknowledge(&self, save: Save) {
        self.least[usize::from(save.agent)].store(save.packed(), Ordering::Release);
    }

    /// Before it goes.
    pub(super) fn let_go(&self, agent: u16) {
        self.least[usize::from(agent)].store(NOTHING, Ordering::Release);
    }

    pub(super) fn stays(&self, agent: u16) -> bool {
        stays(agent, self.phase)
    }
}
