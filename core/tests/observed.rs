//! What is told about the core: looking changes nothing, and what is told is what happened.
#![cfg(not(any(latchless_loom, latchless_shuttle)))]

use std::collections::BTreeMap;

use latchless::observe::{Observe, PoolLatencies, Sample, Value, samples};
use latchless::{
    AgentType, BlockPool, LayerId, ModelSpec, NewTask, PoolConfig, TaskQueue, TaskQueueConfig,
    Tick, Timed, WorkerId,
};

fn pool() -> BlockPool {
    let spec = ModelSpec::new(2, 8, 128, 16).unwrap();
    BlockPool::new(PoolConfig::new(100, spec).stripes(2).max_agents(2)).unwrap()
}

/// All numbers of a snapshot, by name and label.
fn numbers<S: Observe>(snapshot: &S) -> BTreeMap<String, u64> {
    let mut numbers = BTreeMap::new();
    samples(snapshot, |Sample { name, label, value }| {
        let label = label.map(|(key, value)| format!("{{{key}={value}}}")).unwrap_or_default();
        let number = match value {
            Value::Counter(count) => count,
            // All that these tests look at are whole.
            Value::Gauge(number) => number as u64,
        };
        assert!(numbers.insert(format!("{name}{label}"), number).is_none(), "{name}{label} twice");
    });
    numbers
}

#[test]
fn looking_at_a_pool_changes_nothing_and_the_fast_path_counts_nothing() {
    let pool = pool();
    let agent = pool.open_account().unwrap();
    let before = pool.snapshot();
    assert_eq!(pool.snapshot(), before);
    for _ in 0..1_000 {
        drop(pool.allocate(agent, LayerId(0), 8).unwrap());
    }
    assert_eq!(pool.snapshot(), before, "a thousand pairs, and not one event");
}

#[test]
fn a_pools_numbers_are_those_of_its_accessors() {
    let pool = pool();
    let agents = [(); 2].map(|()| pool.open_account().unwrap());
    pool.set_quota(agents[1], Some(3)).unwrap();
    pool.set_reserve(agents[1], 2).unwrap();
    let _lease = pool.allocate(agents[0], LayerId(0), 90).unwrap();
    assert!(pool.allocate(agents[0], LayerId(0), 20).is_err());
    assert!(pool.allocate(agents[1], LayerId(1), 4).is_err());
    let numbers = numbers(&pool.snapshot());
    let is = |name: &str, number: u32| assert_eq!(numbers[name], u64::from(number), "{name}");
    is("latchless_pool_blocks", 100);
    is("latchless_pool_blocks_free", 10);
    is("latchless_pool_blocks_used", 90);
    is("latchless_pool_blocks_reserved", 2);
    is("latchless_pool_block_bytes", 2 * 2 * 8 * 128 * 16);
    is("latchless_pool_agents_limit", 2);
    is("latchless_pool_waiters", 0);
    is("latchless_pool_oldest_wait_seconds", 0);
    is("latchless_pool_refusals_total{reason=exhausted}", 1);
    is("latchless_pool_refusals_total{reason=quota}", 1);
    assert!(numbers["latchless_pool_gathers_total"] >= 1);
    let census = self::numbers(&pool.census());
    assert_eq!(census["latchless_pool_owners"], 1);
    assert_eq!(census["latchless_pool_blocks_in_flight"], 0);
}

#[test]
fn a_timed_pools_histograms_have_every_operation() {
    let pool = pool();
    let timed = Timed::new(&pool);
    let agent = pool.open_account().unwrap();
    for _ in 0..5 {
        drop(timed.allocate(agent, LayerId(0), 1).unwrap());
    }
    assert!(timed.allocate(agent, LayerId(0), 101).is_err());
    let latencies: PoolLatencies = timed.latencies();
    let numbers = numbers(&latencies);
    assert_eq!(numbers["latchless_pool_allocate_seconds_count"], 6);
    assert_eq!(numbers["latchless_pool_free_seconds_bucket{le=+Inf}"], 5);
}

#[test]
fn a_queues_tasks_are_where_they_are_said_to_be() {
    let queue = TaskQueue::new(TaskQueueConfig::new(10)).unwrap();
    for _ in 0..4 {
        queue.submit(NewTask::new(())).unwrap();
    }
    let claims = [(); 3].map(|()| queue.claim(WorkerId(0), AgentType(0), Tick(0)).unwrap());
    queue.start(&claims[0]).unwrap();
    queue.complete(&claims[0]).unwrap();
    queue.start(&claims[1]).unwrap();
    let numbers = numbers(&queue.snapshot());
    let tasks = |status: &str| numbers[&format!("latchless_tasks{{status={status}}}")];
    assert_eq!(
        ["pending", "assigned", "in_progress", "completed", "failed"].map(tasks),
        [1, 1, 1, 1, 0]
    );
    assert_eq!(numbers["latchless_tasks_limit"], 10);
}
