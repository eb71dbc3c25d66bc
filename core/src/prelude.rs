//! What most users of the pool need, by one line: `use latchless::prelude::*`.
//!
//! ```
//! use latchless::prelude::*;
//!
//! let pool = BlockPool::new(PoolConfig::new(64, ModelSpec::new(2, 8, 128, 16)?))?;
//! let agent: AgentHandle = pool.open_account()?;
//! let lease: BlockLease<'_> = pool.allocate(agent, LayerId(1), 3)?;
//! assert_eq!(lease.len(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub use crate::{
    AgentHandle, AgentId, AllocateError, BlockId, BlockLease, BlockPool, LayerId, ModelSpec,
    OwnedLease, PoolConfig, RequestId,
};
