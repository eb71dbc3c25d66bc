//! The agents' names by their handles: files are named after agents, and requests carry handles.
//!
//! The directory finds handles by names, under its shards' locks. This finds names by handles, without: a
//! word a slot, replaced whole.

use arc_swap::ArcSwapOption;
use latchless::{AgentHandle, AgentId};

#[derive(Debug)]
pub(crate) struct Names {
    /// By the agents' slots.
    slots: Box<[ArcSwapOption<Named>]>,
}

#[derive(Debug)]
struct Named {
    agent: AgentHandle,
    id: AgentId,
}

impl Names {
    pub(super) fn new(agents: u32) -> Self {
        Self { slots: (0..agents).map(|_| ArcSwapOption::empty()).collect() }
    }

    /// Notes who an agent is.
    pub(crate) fn note(&self, agent: AgentHandle, id: &AgentId) {
        let Some(slot) = self.slots.get(agent.slot() as usize) else { return };
        if self.of(agent).is_none() {
            slot.store(Some(Named { agent, id: id.clone() }.into()));
        }
    }

    /// The agent's name, if it was noted.
    pub(crate) fn of(&self, agent: AgentHandle) -> Option<AgentId> {
        let named = self.slots.get(agent.slot() as usize)?.load();
        // Whoever had the slot before is somebody else.
        named.as_ref().filter(|named| named.agent == agent).map(|named| named.id.clone())
    }
}
