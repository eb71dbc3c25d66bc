//! `kvbm-logical`, the logical layer of NVIDIA Dynamo's KV block manager.

use kvbm_logical::manager::FrequencyTrackingCapacity;
use kvbm_logical::{BlockManager, BlockRegistry, MutableBlock};

use crate::contender::{Contender, Exhausted, ReturnError};

/// A tier of memory: the manager wants a name for it.
#[derive(Debug, Clone)]
pub struct Tier;

/// Its own way to take and give back blocks that hold no registered content: `allocate_blocks`, and
/// dropping the guards. The manager is built as its documentation shows, with the LRU backend.
///
/// It keeps no owner, refuses without numbers (they are asked for afterwards) and takes its one mutex
/// once for a request and once for each block that is dropped.
pub struct KvbmLogical {
    manager: BlockManager<Tier>,
    total: u32,
}

impl std::fmt::Debug for KvbmLogical {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KvbmLogical").field("total", &self.total).finish_non_exhaustive()
    }
}

impl Contender for KvbmLogical {
    const NAME: &'static str = "kvbm_logical";
    type Hand<'pool> = Vec<MutableBlock<Tier>>;

    fn new(blocks: u32) -> Self {
        let tracker = FrequencyTrackingCapacity::Small.create_tracker();
        let registry = BlockRegistry::builder().frequency_tracker(tracker).build();
        let manager = BlockManager::builder()
            .block_count(blocks as usize)
            .block_size(16)
            .registry(registry)
            .with_lru_backend()
            .build()
            .expect("every field is set");
        Self { manager, total: blocks }
    }

    fn hand(&self) -> Vec<MutableBlock<Tier>> {
        Vec::new()
    }

    #[inline]
    fn take(&self, hand: &mut Vec<MutableBlock<Tier>>, blocks: u32) -> Result<(), Exhausted> {
        *hand = self.manager.allocate_blocks(blocks as usize).ok_or_else(|| {
            let available = self.free();
            let (total, allocated) = (self.total, self.total - available);
            Exhausted { requested: blocks, available, total, allocated }
        })?;
        Ok(())
    }

    #[inline]
    fn give_back(&self, hand: &mut Vec<MutableBlock<Tier>>) -> Result<(), ReturnError> {
        hand.clear();
        Ok(())
    }

    fn free(&self) -> u32 {
        self.manager.available_blocks() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::tests::{loses_nothing, takes_all_or_nothing};

    #[test]
    fn is_a_contender() {
        takes_all_or_nothing::<KvbmLogical>();
        loses_nothing::<KvbmLogical>();
    }
}
