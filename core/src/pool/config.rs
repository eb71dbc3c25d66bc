//! How big a pool is.

use thiserror::Error;

use super::owners::MAX_VALUE;
use super::permits::{MAX_PERMITS, MAX_STRIPES, MAX_WAITERS};
use crate::model::ModelSpec;

/// How big a [`BlockPool`](super::BlockPool) is.
///
/// ```
/// use latchless::{BlockPool, ModelSpec, PoolConfig};
/// let spec = ModelSpec::new(30, 3, 64, 32)?;
/// let pool = BlockPool::new(PoolConfig::new(7_680, spec).max_agents(64))?;
/// assert_eq!(pool.usage().free, 7_680);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct PoolConfig {
    pub(super) blocks: u32,
    pub(super) spec: ModelSpec,
    pub(super) max_agents: u32,
    pub(super) stripes: usize,
    pub(super) max_waiters: u32,
}

/// A pool that cannot be made.
///
/// ```
/// use latchless::{BlockPool, ModelSpec, PoolConfig, PoolConfigError};
/// let refused = BlockPool::new(PoolConfig::new(0, ModelSpec::new(2, 8, 128, 16)?)).unwrap_err();
/// assert_eq!(refused, PoolConfigError::Blocks { blocks: 0 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PoolConfigError {
    /// A pool without blocks, or with more than words have room for.
    #[error("a pool of {blocks} blocks; choose 1 to {MAX_PERMITS}")]
    Blocks {
        /// The blocks asked for.
        blocks: u32,
    },
    /// No agents, or more than words have room for.
    #[error("a pool for {agents} agents; choose 1 to {MAX_VALUE}")]
    Agents {
        /// The agents asked for.
        agents: u32,
    },
    /// No stripe, or more than the permits have room for.
    #[error("{stripes} stripes; choose 1 to {MAX_STRIPES}, about one a core")]
    Stripes {
        /// The stripes asked for.
        stripes: usize,
    },
    /// No place for a caller to wait, or more than words have room for.
    #[error("places for {waiters} callers who wait; choose 1 to {MAX_WAITERS}")]
    Waiters {
        /// The places asked for.
        waiters: u32,
    },
}

impl PoolConfig {
    /// A pool of `blocks` blocks of the given geometry, for up to 1,024 agents, with a stripe for each
    /// core and places for 256 callers who wait.
    pub fn new(blocks: u32, spec: ModelSpec) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let stripes = cores.next_power_of_two().min(MAX_STRIPES);
        Self { blocks, spec, max_agents: 1_024, stripes, max_waiters: 256 }
    }

    /// Agents that can be registered at once; 64 bytes each.
    #[must_use]
    pub fn max_agents(mut self, agents: u32) -> Self {
        self.max_agents = agents;
        self
    }

    /// Stripes of the permits: about as many as threads that allocate at the same time, up to 16. The next
    /// power of two is taken.
    #[must_use]
    pub fn stripes(mut self, stripes: usize) -> Self {
        self.stripes = stripes;
        self
    }

    /// Callers that can wait for blocks at once ([`allocate_within`](super::BlockPool::allocate_within)
    /// and [`Allocation`](super::Allocation)), up to 4,095; 16 bytes each.
    #[must_use]
    pub fn max_waiters(mut self, waiters: u32) -> Self {
        self.max_waiters = waiters;
        self
    }

    pub(super) fn validate(&self) -> Result<(), PoolConfigError> {
        let Self { blocks, max_agents: agents, stripes, max_waiters: waiters, .. } = *self;
        if !(1..=MAX_PERMITS).contains(&blocks) {
            Err(PoolConfigError::Blocks { blocks })
        } else if !(1..=MAX_VALUE).contains(&agents) {
            Err(PoolConfigError::Agents { agents })
        } else if !(1..=MAX_STRIPES).contains(&stripes) {
            Err(PoolConfigError::Stripes { stripes })
        } else if !(1..=MAX_WAITERS).contains(&waiters) {
            Err(PoolConfigError::Waiters { waiters })
        } else {
            Ok(())
        }
    }
}
