//! The commons: agents that every thread allocates for and any thread may free, or unregister, at any
//! instant. They bring about the races between an operation on an agent's blocks and the end of the
//! agent.

use std::sync::atomic::{AtomicU64, Ordering};

use latchless::{AgentId, AgentIdError};

/// Common agents of a run.
pub(crate) const COMMONS: u8 = 3;

/// How often something was done that others must know of: a common agent swept, which is freed as a whole or
/// unregistered, for instance.
#[derive(Debug, Default)]
pub(crate) struct Sweeps {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Sweeps {
    /// Carries out a sweep.
    pub(crate) fn sweep<R>(&self, sweep: impl FnOnce() -> R) -> R {
        // Before anything is freed: who gets a block of it sees this.
        self.begun.fetch_add(1, Ordering::AcqRel);
        let result = sweep();
        self.ended.fetch_add(1, Ordering::AcqRel);
        result
    }

    /// The number of sweeps, when none is under way.
    pub(crate) fn settled(&self) -> Option<u64> {
        // In this order: as many had ended by then as have begun by now, so all had ended by then.
        let ended = self.ended.load(Ordering::Acquire);
        let begun = self.begun.load(Ordering::Acquire);
        (begun == ended).then_some(begun)
    }

    /// Whether no sweep has begun since there were this many.
    pub(crate) fn stand_at(&self, sweeps: u64) -> bool {
        self.begun.load(Ordering::Acquire) == sweeps
    }
}

/// The name of a common agent.
pub(crate) fn name(agent: u8) -> Result<AgentId, AgentIdError> {
    AgentId::new(format!("common-{agent}"))
}
