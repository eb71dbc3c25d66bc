//! A snapshot of an agent's block table: which blocks its tokens lie in, layer by layer.

use std::ops::Deref;

use thiserror::Error;

use crate::id::{BlockId, LayerId};
use crate::model::{Attention, ModelSpec};
use crate::pool::{AgentHandle, BlockPool, Lease};

/// Blocks with consecutive numbers, in the order of the tokens that they hold.
///
/// ```
/// use latchless::{BlockId, BlockRun, LayerBlocks, LayerId};
///
/// let blocks = [4, 5, 6, 9].map(BlockId);
/// let table = LayerBlocks::new(LayerId(0), 60, blocks);
/// let last = BlockRun { first: BlockId(9), blocks: 1, place: 3 };
/// assert_eq!(table.runs().last(), Some(&last));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockRun {
    /// The first block.
    pub first: BlockId,
    /// How many there are.
    pub blocks: u32,
    /// Place of the first block in the layer's table: blocks of the runs before it.
    pub place: u32,
}

/// The block table of one layer: the block that holds the tokens `i × block_tokens ..` is at place `i`.
///
/// Kept as runs: tables are read as often as they are replaced, and a pool that is not full gives out
/// consecutive blocks.
///
/// ```
/// use latchless::{BlockId, LayerBlocks, LayerId};
///
/// // Blocks of 16 tokens: token 20 lies in the second one.
/// let table = LayerBlocks::new(LayerId(0), 40, [7, 3, 8].map(BlockId));
/// assert_eq!(table.block_at(20 / 16), Some(BlockId(3)));
/// assert_eq!((table.len(), table.tokens()), (3, 40));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerBlocks {
    layer: LayerId,
    tokens: u32,
    runs: Box<[BlockRun]>,
}

impl LayerBlocks {
    /// The table of a layer in which `tokens` tokens are stored, in these blocks.
    pub fn new(layer: LayerId, tokens: u32, blocks: impl IntoIterator<Item = BlockId>) -> Self {
        let mut runs: Vec<BlockRun> = Vec::new();
        for block in blocks {
            match runs.last_mut() {
                Some(run) if run.first.0.checked_add(run.blocks) == Some(block.0) => {
                    run.blocks += 1;
                }
                last => {
                    let place = last.map_or(0, |run| run.place + run.blocks);
                    runs.push(BlockRun { first: block, blocks: 1, place });
                }
            }
        }
        Self { layer, tokens, runs: runs.into() }
    }

    /// The layer.
    pub fn layer(&self) -> LayerId {
        self.layer
    }

    /// Tokens whose keys and values are stored. The blocks may have room for more.
    pub fn tokens(&self) -> u32 {
        self.tokens
    }

    /// Number of blocks.
    pub fn len(&self) -> u32 {
        self.runs.last().map_or(0, |run| run.place + run.blocks)
    }

    /// Whether there is no block.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The blocks as runs.
    pub fn runs(&self) -> &[BlockRun] {
        &self.runs
    }

    /// The blocks one by one.
    pub fn blocks(&self) -> impl Iterator<Item = BlockId> {
        self.runs.iter().flat_map(|run| (0..run.blocks).map(|i| BlockId(run.first.0 + i)))
    }

    /// The block at a place; `None` behind the last one. Costs a binary search over the runs.
    pub fn block_at(&self, place: u32) -> Option<BlockId> {
        let next = self.runs.partition_point(|run| run.place <= place);
        let run = self.runs[..next].last()?;
        let offset = place - run.place;
        (offset < run.blocks).then(|| BlockId(run.first.0 + offset))
    }
}

/// The block table of an agent: its layers' tables, as they were at one time. It has no mutators; the next
/// state is another one, which [replaces](super::TableAccess::replace) it whole.
///
/// ```
/// use latchless::{AgentBlocks, BlockId, BlockPool, LayerId, ModelSpec, PoolConfig};
///
/// let spec = ModelSpec::new(4, 8, 128, 16)?;
/// let pool = BlockPool::new(PoolConfig::new(100, spec.clone()))?;
/// let agent = pool.open_account()?;
/// // Room for 40 tokens, of which 20 are there.
/// let lease = pool.allocate_sequence(agent, 40)?;
/// let blocks = AgentBlocks::of_sequence(&spec, &lease, 40, 20)?;
/// let layer = blocks.layer(LayerId(3)).expect("the model has it");
/// assert_eq!((blocks.len(), layer.len(), layer.tokens()), (12, 3, 20));
/// assert_eq!(layer.block_at(1), layer.blocks().nth(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentBlocks {
    agent: AgentHandle,
    layers: Box<[LayerBlocks]>,
    version: u64,
}

/// Layers that are no table.
///
/// ```
/// use latchless::{AgentBlocks, AgentBlocksError, BlockPool, LayerId, ModelSpec, PoolConfig, LayerBlocks};
/// # let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(2, 8, 128, 16)?))?;
/// # let agent = pool.open_account()?;
/// let twice = [0, 0].map(|layer| LayerBlocks::new(LayerId(layer), 0, []));
/// let refused = AgentBlocks::new(agent, twice).unwrap_err();
/// assert_eq!(refused, AgentBlocksError::LayerTwice { layer: LayerId(0) });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AgentBlocksError {
    /// Two tables of one layer.
    #[error("layer {layer} has two tables; give each layer one")]
    LayerTwice {
        /// The layer.
        layer: LayerId,
    },
    /// The lease was made for another number of tokens or another model.
    #[error("a sequence with room for {capacity} tokens has {needed} blocks, the lease {given}")]
    OtherLength {
        /// Tokens that there should be room for.
        capacity: u32,
        /// Blocks that they take.
        needed: u64,
        /// Blocks of the lease.
        given: u32,
    },
    /// More tokens than there is room for.
    #[error("{tokens} tokens where there is room for {capacity}; allocate more blocks first")]
    TooManyTokens {
        /// Tokens.
        tokens: u32,
        /// Tokens that there is room for.
        capacity: u32,
    },
}

impl AgentBlocks {
    /// The table of an agent with these layers, in any order.
    ///
    /// # Errors
    /// [`AgentBlocksError::LayerTwice`].
    pub fn new(
        agent: AgentHandle,
        layers: impl IntoIterator<Item = LayerBlocks>,
    ) -> Result<Self, AgentBlocksError> {
        let mut layers: Box<[_]> = layers.into_iter().collect();
        layers.sort_unstable_by_key(LayerBlocks::layer);
        match layers.windows(2).find(|pair| pair[0].layer == pair[1].layer) {
            Some(pair) => Err(AgentBlocksError::LayerTwice { layer: pair[0].layer }),
            None => Ok(Self { agent, layers, version: 0 }),
        }
    }

    /// The table of a sequence of all layers: the lease is what
    /// [`allocate_sequence`](BlockPool::allocate_sequence) gave for `capacity` tokens, of which `tokens`
    /// are stored. Each layer gets its share of the blocks in the order of the lease.
    ///
    /// # Errors
    /// [`AgentBlocksError`] when the lease is not for `capacity` tokens of this model, or `tokens` are
    /// more.
    pub fn of_sequence<P: Deref<Target = BlockPool>>(
        spec: &ModelSpec,
        lease: &Lease<P>,
        capacity: u32,
        tokens: u32,
    ) -> Result<Self, AgentBlocksError> {
        let (needed, given) = (spec.blocks_for(capacity), lease.len());
        if needed != u64::from(given) {
            return Err(AgentBlocksError::OtherLength { capacity, needed, given });
        }
        if tokens > capacity {
            return Err(AgentBlocksError::TooManyTokens { tokens, capacity });
        }
        let mut blocks = lease.blocks();
        let layers = spec.attention().iter().zip(0..).map(|(attention, layer)| {
            let share = spec.blocks_in_layer(*attention, capacity) as usize;
            let stored = match *attention {
                Attention::Full => tokens,
                Attention::Sliding { window } => tokens.min(window),
            };
            LayerBlocks::new(LayerId(layer), stored, blocks.by_ref().take(share))
        });
        Self::new(lease.agent(), layers)
    }

    /// The agent.
    pub fn agent(&self) -> AgentHandle {
        self.agent
    }

    /// The tables of the layers that have one, in the order of layers.
    pub fn layers(&self) -> &[LayerBlocks] {
        &self.layers
    }

    /// The table of a layer.
    pub fn layer(&self, layer: LayerId) -> Option<&LayerBlocks> {
        let at = self.layers.binary_search_by_key(&layer, LayerBlocks::layer).ok()?;
        Some(&self.layers[at])
    }

    /// Blocks of all layers together.
    pub fn len(&self) -> u32 {
        self.layers.iter().map(LayerBlocks::len).sum()
    }

    /// Whether there is no block.
    pub fn is_empty(&self) -> bool {
        self.layers.iter().all(LayerBlocks::is_empty)
    }

    /// Grows with each table that [replaces](super::TableAccess::replace) the one before it; 0 for a table
    /// that was not published.
    pub fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn set_version(&mut self, version: u64) {
        self.version = version;
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;
    use crate::pool::PoolConfig;

    fn ids(numbers: &[u32]) -> Vec<BlockId> {
        numbers.iter().copied().map(BlockId).collect()
    }

    #[test]
    fn a_table_keeps_the_order_of_its_blocks() {
        let blocks = ids(&[7, 8, 9, 3, 4, 20, 19, u32::MAX]);
        let table = LayerBlocks::new(LayerId(1), 100, blocks.clone());
        assert_eq!((table.runs().len(), table.len(), table.tokens()), (5, 8, 100));
        assert_eq!(table.blocks().collect::<Vec<_>>(), blocks);
        for (place, block) in blocks.iter().enumerate() {
            assert_eq!(table.block_at(place as u32), Some(*block));
        }
        assert_eq!((table.block_at(8), table.block_at(u32::MAX)), (None, None));
        let empty = LayerBlocks::new(LayerId(1), 0, []);
        assert_eq!((empty.is_empty(), empty.len(), empty.block_at(0)), (true, 0, None));
    }

    #[test]
    fn layers_are_found_and_given_once() {
        let pool = pool(vec![Attention::Full; 3]);
        let agent = pool.open_account().unwrap();
        let layer = |layer, blocks: &[u32]| LayerBlocks::new(LayerId(layer), 9, ids(blocks));
        let table = AgentBlocks::new(agent, [layer(5, &[1]), layer(0, &[2, 3])]).unwrap();
        let order: Vec<_> = table.layers().iter().map(LayerBlocks::layer).collect();
        assert_eq!((order, table.len()), (vec![LayerId(0), LayerId(5)], 3));
        assert_eq!(table.layer(LayerId(5)).unwrap().block_at(0), Some(BlockId(1)));
        assert_eq!((table.layer(LayerId(1)), table.version()), (None, 0));
        let twice = AgentBlocks::new(agent, [layer(5, &[1]), layer(0, &[]), layer(5, &[])]);
        assert_eq!(twice, Err(AgentBlocksError::LayerTwice { layer: LayerId(5) }));
    }

    fn pool(attention: Vec<Attention>) -> BlockPool {
        let spec = ModelSpec::new(attention.len(), 1, 1, 10).unwrap();
        let spec = spec.with_attention(attention).unwrap();
        BlockPool::new(PoolConfig::new(100, spec)).unwrap()
    }

    #[test]
    fn a_sequence_is_parted_among_its_layers() {
        let pool = pool(vec![Attention::Full, Attention::Sliding { window: 15 }, Attention::Full]);
        let spec = &pool.model().spec;
        let agent = pool.open_account().unwrap();
        let lease = pool.allocate_sequence(agent, 40).unwrap();
        let table = AgentBlocks::of_sequence(spec, &lease, 40, 31).unwrap();
        let parts: Vec<_> = table.layers().iter().map(|l| (l.len(), l.tokens())).collect();
        assert_eq!((table.agent(), parts), (agent, vec![(4, 31), (2, 15), (4, 31)]));
        let blocks: Vec<_> = table.layers().iter().flat_map(LayerBlocks::blocks).collect();
        assert_eq!(blocks, lease.blocks().collect::<Vec<_>>());

        let other = AgentBlocks::of_sequence(spec, &lease, 41, 31);
        let error = AgentBlocksError::OtherLength { capacity: 41, needed: 12, given: 10 };
        assert_eq!(other, Err(error));
        let full = AgentBlocks::of_sequence(spec, &lease, 40, 41);
        assert_eq!(full, Err(AgentBlocksError::TooManyTokens { tokens: 41, capacity: 40 }));
    }
}
