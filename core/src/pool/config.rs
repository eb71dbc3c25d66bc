//! How big a pool is.

use thiserror::Error;

use super::owners::MAX_VALUE;
use super::permits::{MAX_PERMITS, MAX_STRIPES};
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
}

/// A pool that cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
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
}

impl PoolConfig {
    /// A pool of `blocks` blocks of the given geometry, for up to 1,024 agents, with a stripe for each
    /// core.
    pub fn new(blocks: u32, spec: ModelSpec) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let stripes = cores.next_power_of_two().min(MAX_STRIPES);
        Self { blocks, spec, max_agents: 1_024, stripes }
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

    pub(super) fn validate(&self) -> Result<(), PoolConfigError> {
        let Self { blocks, max_agents: agents, stripes, .. } = *self;
        if !(1..=MAX_PERMITS).contains(&blocks) {
            Err(PoolConfigError::Blocks { blocks })
        } else if !(1..=MAX_VALUE).contains(&agents) {
            Err(PoolConfigError::Agents { agents })
        } else if !(1..=MAX_STRIPES).contains(&stripes) {
            Err(PoolConfigError::Stripes { stripes })
        } else {
            Ok(())
        }
    }
}
