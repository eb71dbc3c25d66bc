//! Counting a pool that is in use.

use super::BlockPool;
use super::accounts::AgentHandle;
use super::owners::Kind;
use super::span::{FULL, SPAN_BLOCKS, blocks_of};
use crate::id::BlockId;

/// How many blocks are free and how many are not. `used + free = total`, always.
///
/// ```
/// use latchless::{BlockPool, LayerId, ModelSpec, PoolConfig, PoolUsage};
/// # let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(2, 8, 128, 16)?))?;
/// # let agent = pool.open_account()?;
/// let _lease = pool.allocate(agent, LayerId(0), 5)?;
/// assert_eq!(pool.usage(), PoolUsage { total: 20, free: 15, used: 5, reserved: 0 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUsage {
    /// Blocks of the pool.
    pub total: u32,
    /// Blocks that could be allocated, by somebody.
    pub free: u32,
    /// Blocks that could not.
    pub used: u32,
    /// Of the free ones, those in the [reserve](BlockPool::set_reserve) of some agent, which nobody else
    /// can have.
    pub reserved: u32,
}

/// Every block of a pool, counted once. `free + owned + shared + in flight = total`, always.
///
/// ```
/// use latchless::{BlockPool, LayerId, ModelSpec, PoolConfig, Census};
/// # let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(2, 8, 128, 16)?))?;
/// # let agent = pool.open_account()?;
/// let _lease = pool.allocate(agent, LayerId(0), 5)?;
/// let Census { free, owned, in_flight, .. } = pool.census();
/// assert_eq!((free, owned), (15, vec![(Some(agent), 5)]));
/// assert!(in_flight.is_empty(), "nobody is in the middle of anything");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Census {
    /// Blocks of the pool.
    pub total: u32,
    /// Blocks whose bit says free.
    pub free: u32,
    /// Blocks of each agent that has any, in the order of slots. An agent that has left is listed for as
    /// long as its last blocks are on their way out, as `None`.
    pub owned: Vec<(Option<AgentHandle>, u32)>,
    /// Blocks with several holders.
    pub shared: u32,
    /// Blocks that are neither free nor anybody's: some thread is between two steps of taking, giving
    /// back or regrouping them. A block that is named here in every census, while nothing runs, was lost.
    pub in_flight: Vec<BlockId>,
}

impl Census {
    /// Blocks of all agents together.
    pub fn owned_total(&self) -> u32 {
        self.owned.iter().map(|(_, blocks)| blocks).sum()
    }
}

impl BlockPool {
    /// How many blocks are free now: a sum over words that are read one after another, so exact when
    /// nobody allocates or frees meanwhile. Costs a walk over all accounts once an agent has had a reserve.
    pub fn usage(&self) -> PoolUsage {
        let (total, available) = (self.permits.total(), self.permits.available());
        let reserved = self.accounts.reserved().map(|(_, free)| free).sum::<u32>().min(total);
        let free = (available + reserved).min(total);
        PoolUsage { total, free, used: total - free, reserved }
    }

    /// Counts every block by its bit and its owner, while the pool is in use. Each span is read on its
    /// own. Costs a walk over all blocks that are not free.
    pub fn census(&self) -> Census {
        let total = self.permits.total();
        let mut census =
            Census { total, free: 0, owned: Vec::new(), shared: 0, in_flight: Vec::new() };
        let mut by_slot = vec![0; self.accounts.slots() as usize];
        // Whose range goes on in the spans that follow, and in how many.
        let mut range = None;
        for (i, span) in self.blocks.spans.iter().enumerate() {
            let first = i as u32 * SPAN_BLOCKS;
            let exist = FULL >> (SPAN_BLOCKS - (total - first).min(SPAN_BLOCKS));
            let free = span.free.load();
            census.free += free.count_ones();
            let mut unaccounted = exist & !free;
            if let Some((slot, spans)) = range.take() {
                by_slot[slot] += unaccounted.count_ones();
                unaccounted = 0;
                range = (spans > 1).then_some((slot, spans - 1));
            }
            for bit in blocks_of(0, unaccounted) {
                let word = span.owners.load(bit);
                let extent = span.owners.extent(bit, word);
                let mask = extent.mask & unaccounted;
                unaccounted &= !mask;
                if extent.spans > 1 {
                    range = Some((word.value() as usize, extent.spans - 1));
                }
                match word.kind() {
                    Kind::Shared => census.shared += mask.count_ones(),
                    _ if mask != 0 => by_slot[word.value() as usize] += mask.count_ones(),
                    _ => {}
                }
            }
            census.in_flight.extend(blocks_of(first, unaccounted).map(BlockId));
        }
        let owned = by_slot.into_iter().enumerate().filter(|(_, blocks)| *blocks > 0);
        census.owned =
            owned.map(|(slot, blocks)| (self.accounts.at(slot as u32), blocks)).collect();
        census
    }
}
