//! What the pool, the plans and the task queue take from the heap: nothing in the steady state, and at the beginning little
//! for each block.
#![cfg(not(any(latchless_loom, latchless_shuttle)))]

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;

use allocation_counter::{AllocationInfo, measure};
use latchless::{
    AgentHandle, AgentType, BlockHandle, BlockPool, LayerId, ModelSpec, NewTask, PlanContext,
    PoolConfig, TaskGraph, TaskQueue, TaskQueueConfig, Tick, WorkerId,
};

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

fn tasks(capacity: usize) -> TaskQueue<u64> {
    TaskQueue::new(TaskQueueConfig::new(capacity)).unwrap()
}

/// A task's whole way, `count` times.
fn ways(queue: &TaskQueue<u64>, worker: u16, count: u64) {
    for payload in 0..count {
        queue.submit(NewTask::new(payload)).unwrap();
        let claim = queue.claim(WorkerId(worker), AgentType(0), Tick(payload)).unwrap();
        queue.start(&claim).unwrap();
        queue.renew(&claim, Tick(payload)).unwrap();
        queue.complete(&claim).unwrap();
        queue.forget(claim.task()).unwrap();
    }
}

#[test]
fn tasks_come_and_go_without_memory() {
    let queue = tasks(100);
    assert_eq!(allocations(|| ways(&queue, 1, 1_000)), 0, "not even the first time");

    // The test can fail: a claim that is kept keeps its record's memory, so the slot gets another one.
    let small = tasks(1);
    let mut kept = Vec::with_capacity(1);
    let planted = || {
        small.submit(NewTask::new(1)).unwrap();
        let claim = small.claim(WorkerId(1), AgentType(0), Tick(0)).unwrap();
        small.start(&claim).unwrap();
        small.complete(&claim).unwrap();
        small.forget(claim.task()).unwrap();
        kept.push(claim);
        ways(&small, 1, 100);
    };
    assert_eq!(allocations(planted), 1, "once, and not each time");
    assert_eq!(*kept[0].payload(), 1);
}

#[test]
fn agents_that_meet_at_a_queue_take_no_memory() {
    let queue = tasks(64);
    let begin = Barrier::new(4);
    let counts: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|worker| {
                let (queue, begin) = (&queue, &begin);
                scope.spawn(move || {
                    let claimed = || {
                        for payload in 0..2_000 {
                            queue.submit(NewTask::new(payload)).unwrap();
                            // Of four tasks at most, another one may be faster each time.
                            let claim = loop {
                                let claim = queue.claim(WorkerId(worker), AgentType(0), Tick(0));
                                if let Some(claim) = claim {
                                    break claim;
                                }
                            };
                            let _mine = queue.start(&claim).and_then(|()| queue.complete(&claim));
                            let _mine = queue.forget(claim.task());
                        }
                    };
                    begin.wait();
                    allocations(claimed)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(queue.counts().pending + queue.counts().assigned, 0);
    // A slot that comes round while a thread is stopped between forgetting a task and dropping its claim gets
    // other memory, once for each of the other threads. There are 8,000 tasks, and each would take some.
    assert!(counts.iter().sum::<u64>() <= 64 * 3, "{counts:?}");
}

/// Tasks that wait for others begin without memory, too; only those that fail with another one take a list.
#[test]
fn what_follows_from_a_completed_task_takes_no_memory() {
    let queue = tasks(100);
    let mut graph = TaskGraph::new();
    for task in 0..50_u64 {
        let before = (task > 0).then(|| (task - 1).to_string());
        graph.add(task.to_string(), NewTask::new(task), before);
    }
    queue.submit_graph(graph).unwrap();
    let mut in_order = true;
    let chain = || {
        for task in 0..50 {
            let claim = queue.claim(WorkerId(1), AgentType(0), Tick(0)).unwrap();
            in_order &= *claim.payload() == task;
            queue.start(&claim).unwrap();
            queue.complete(&claim).unwrap();
        }
    };
    assert_eq!((allocations(chain), in_order), (0, true));
}
