//! The block tables under two writers and four readers.

use std::sync::Arc;

use latchless::{
    AgentBlocks, BlockId, BlockPool, BlockTables, LayerBlocks, LayerId, ModelSpec, PoolConfig,
};
use shuttle::thread;

use crate::explore;

/// Readers see whole tables, none of them older than the one before it.
#[test]
fn snapshots_are_whole_and_never_go_back() {
    explore("block tables", || {
        let spec = ModelSpec::new(2, 1, 1, 1).unwrap();
        let pool = BlockPool::new(PoolConfig::new(10, spec).max_agents(1)).unwrap();
        let agent = pool.open_account().unwrap();
        let tables = Arc::new(BlockTables::new(&pool, 6));
        let threads = [0_u32, 1, 2, 3, 4, 5].map(|i| {
            let tables = Arc::clone(&tables);
            thread::spawn(move || {
                let access = tables.access().unwrap();
                let mut last = 0;
                for stamp in [i, i + 6] {
                    if i < 2 {
                        let layer =
                            |layer| LayerBlocks::new(LayerId(layer), stamp, [BlockId(stamp)]);
                        let table = AgentBlocks::new(agent, (0..2).map(layer)).unwrap();
                        let version = access.replace(table).unwrap();
                        assert!(version > last, "two tables of one version");
                        last = version;
                    }
                    let Some(table) = access.read(agent) else {
                        continue;
                    };
                    assert!(table.version() >= last, "an older table came back");
                    last = table.version();
                    let [a, b] = table.layers() else { panic!("torn") };
                    assert_eq!((a.tokens(), a.block_at(0)), (b.tokens(), b.block_at(0)), "torn");
                }
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        let access = tables.access().unwrap();
        (0..10).for_each(|_| access.collect());
        assert_eq!(tables.pins().waiting, 0);
    });
}
