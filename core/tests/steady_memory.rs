//! What the pool and the plans take from the heap: nothing in the steady state, and at the beginning little
//! for each block.
#![cfg(not(any(latchless_loom, latchless_shuttle)))]

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;

use allocation_counter::{AllocationInfo, measure};
use latchless::{AgentHandle, BlockHandle, BlockPool, LayerId, ModelSpec, PlanContext, PoolConfig};

const LAYER: LayerId = LayerId(0);
const BLOCKS: u32 = 8_192;
const REQUESTS: [u32; 4] = [1, 8, 48, 512];

/// Requests that cannot be put together from more pieces than a lease has room for, however scattered
/// the free blocks are. Larger ones can, where threads meet.
const PIECES: [u32; 2] = [1, 8];
const ROUNDS: u32 = 2_000;

fn pool(blocks: u32) -> BlockPool {
    let spec = ModelSpec::new(1, 8, 128, 16).unwrap();
    BlockPool::new(PoolConfig::new(blocks, spec)).unwrap()
}

fn pairs(pool: &BlockPool, agent: AgentHandle, requests: &[u32]) {
    for _ in 0..ROUNDS {
        for blocks in requests {
            drop(black_box(pool.allocate(agent, LAYER, *blocks).unwrap()));
        }
    }
}

/// Heap allocations of this thread while `work` runs. Under [`measure`] a panic would unsettle the
/// counter, so nothing is asserted within.
fn allocations(work: impl FnOnce()) -> u64 {
    measure(work).count_total
}

#[test]
fn allocate_and_free_allocate_no_memory() {
    let pool = pool(BLOCKS);
    let agent = pool.open_account().unwrap();
    assert_eq!(allocations(|| pairs(&pool, agent, &REQUESTS)), 0, "not even the first time");
    assert_eq!(pool.usage().used, 0);

    // The test can fail: one allocation among all that shows.
    let planted = || {
        pairs(&pool, agent, &REQUESTS);
        drop(black_box(Box::new(1)));
    };
    assert_eq!(allocations(planted), 1);
}

#[test]
fn threads_that_meet_allocate_no_memory() {
    let pool = pool(BLOCKS);
    let begin = Barrier::new(4);
    let counts: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let agent = pool.open_account().unwrap();
                    begin.wait();
                    allocations(|| pairs(&pool, agent, &PIECES))
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(counts, [0; 4]);
    assert_eq!(pool.usage().used, 0);
}

#[test]
fn handles_allocate_no_memory() {
    let pool = pool(BLOCKS);
    let agent = pool.open_account().unwrap();
    for blocks in [1, 8, 48, 512] {
        let mut handles = vec![BlockHandle::default(); blocks as usize];
        let (mut allocated, mut freed) = (Ok(()), Ok(0));
        let count = allocations(|| {
            allocated = pool.allocate_handles(agent, LAYER, &mut handles);
            freed = pool.free(agent, &handles);
        });
        assert_eq!((count, allocated, freed), (0, Ok(()), Ok(blocks)), "{blocks} blocks");
    }
}

#[test]
fn refusals_allocate_no_memory() {
    let pool = pool(100);
    let agent = pool.open_account().unwrap();
    let held = pool.allocate(agent, LAYER, 95).unwrap();
    let mut refused = 0;
    let count = allocations(|| {
        for _ in 0..ROUNDS {
            refused += u32::from(pool.allocate(agent, LAYER, 6).is_err());
        }
    });
    assert_eq!((count, refused), (0, ROUNDS));
    drop(held);
}

/// Bytes that a pool has on the heap once it is made.
fn footprint(blocks: u32) -> i64 {
    let mut made = None;
    let AllocationInfo { bytes_current, .. } = measure(|| made = Some(pool(blocks)));
    assert_eq!(made.unwrap().usage().free, blocks);
    bytes_current
}

#[test]
fn a_million_blocks_take_at_most_16_bytes_each() {
    let (small, large) = (footprint(BLOCKS), footprint(1_000_000));
    assert!(large <= 16_000_000, "{large} bytes");
    // Without the constant part.
    let each = (large - small) as f64 / f64::from(1_000_000 - BLOCKS);
    assert!(each <= 16.0, "{each} bytes a block");
    assert!(each >= 1.0, "{each} bytes a block: what is counted is not the pool");
}

#[test]
fn a_pool_of_8192_blocks_takes_less_than_a_megabyte() {
    let bytes = footprint(BLOCKS);
    assert!(bytes < 1 << 20, "{bytes} bytes");
    assert!(bytes > i64::from(BLOCKS), "{bytes} bytes: what is counted is not the pool");
}

/// Recording, sealing and starting go on without the allocator once there is room for as many records as there
/// are at once.
#[test]
fn recording_allocates_no_memory() {
    let plan = PlanContext::new();
    let round = |records: u64| {
        let changeset = plan.start().unwrap();
        for change in 0..records {
            plan.record(change).unwrap();
        }
        plan.seal(changeset).unwrap().sum::<u64>()
    };
    assert!(allocations(|| _ = round(1_000)) > 0, "the first time: the test can fail");
    let rounds = || {
        for records in 0..20 {
            black_box(round(records * 50));
        }
    };
    assert_eq!(allocations(rounds), 0);
}
