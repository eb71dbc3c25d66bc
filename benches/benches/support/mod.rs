//! What several benchmarks begin with.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::sync::Arc;
use std::time::Duration;

use criterion::Criterion;
use latchless::{AgentHandle, BlockPool, LayerId, ModelSpec, PoolConfig};
use latchless_benches::BLOCKS;

/// The only one.
pub(crate) const LAYER: LayerId = LayerId(0);

/// A pool with two agents.
pub(crate) struct Setting {
    pub(crate) pool: Arc<BlockPool>,
    pub(crate) agent: AgentHandle,
    pub(crate) other: AgentHandle,
    pub(crate) spec: ModelSpec,
}

pub(crate) fn pool() -> Setting {
    let spec = ModelSpec::new(1, 8, 128, 16).expect("a model of one layer");
    let pool = BlockPool::new(PoolConfig::new(BLOCKS, spec.clone())).expect("a possible pool");
    let [agent, other] = [(); 2].map(|()| pool.open_account().expect("there is room"));
    Setting { pool: Arc::new(pool), agent, other, spec }
}

/// There are over 100 benchmarks: half a second each, not criterion's eight.
pub(crate) fn quick() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .sample_size(20)
}
