//! The rest of the pool's interface, one thread: what is done to leases, handles, agents, the whole; looking.
//! Waiting has a file of its own.

mod support;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use latchless::{BlockHandle, BlockLease, BlockPool, LatencyHistogram, LayerId, PoolConfig, Timed};
use latchless_benches::{BLOCKS, REQUESTS};

use crate::support::{LAYER, Setting, pool, quick};

fn leases(criterion: &mut Criterion) {
    let Setting { pool, agent, other, .. } = pool();
    let mut group = criterion.benchmark_group("lease");
    let lease = |blocks| pool.allocate(agent, LAYER, blocks).expect("there is room");
    for blocks in REQUESTS {
        group.bench_function(format!("allocate and free/{blocks}"), |bencher| {
            bencher.iter(|| lease(black_box(blocks)));
        });
        group.bench_function(format!("share and drop/{blocks}"), |bencher| {
            let mut held = lease(blocks);
            bencher.iter(|| held.share(black_box(other)).expect("both are there"));
        });
        group.bench_function(format!("transfer/{blocks}"), |bencher| {
            let mut held = lease(blocks);
            let mut turn = [agent, other].into_iter().cycle();
            bencher.iter(|| held.transfer(turn.next().unwrap_or(agent)).expect("both are there"));
        });
    }
    group.bench_function("allocate and free, owned/48", |bencher| {
        bencher.iter(|| pool.allocate_owned(agent, LAYER, black_box(48)).expect("there is room"));
    });
    group.bench_function("split and merge/48", |bencher| {
        let mut held = lease(48);
        bencher.iter(|| {
            let half: BlockLease<'_> = held.split_off(black_box(24)).expect("it has more");
            held.merge(half).expect("they are of one agent and layer");
        });
    });
    group.bench_function("blocks, one after another/48", |bencher| {
        let held = lease(48);
        bencher.iter(|| held.blocks().map(|block| block.0).sum::<u32>());
    });
    group.bench_function("sequence of 512 tokens", |bencher| {
        bencher.iter(|| pool.allocate_sequence(agent, black_box(512)).expect("there is room"));
    });
    group.bench_function("owned sequence of 512 tokens", |bencher| {
        let sequence = || pool.allocate_sequence_owned(agent, black_box(512));
        bencher.iter(|| sequence().expect("there is room"));
    });
    group.bench_function("refused", |bencher| {
        let all = lease(pool.usage().free);
        bencher.iter(|| pool.allocate(agent, LAYER, black_box(8)).map(drop));
        drop(all);
    });
    group.bench_function("another layer than there is", |bencher| {
        bencher.iter(|| pool.allocate(agent, LayerId(9), black_box(8)).map(drop));
    });
    group.finish();
}

fn handles(criterion: &mut Criterion) {
    let Setting { pool, agent, .. } = pool();
    let mut group = criterion.benchmark_group("handles");
    for blocks in REQUESTS {
        let mut handles = vec![BlockHandle::default(); blocks as usize];
        group.bench_function(format!("allocate and free/{blocks}"), |bencher| {
            bencher.iter(|| {
                pool.allocate_handles(agent, LAYER, &mut handles).expect("there is room");
                pool.free(agent, &handles).expect("they are ours")
            });
        });
        group.bench_function(format!("into a lease and back/{blocks}"), |bencher| {
            pool.allocate_handles(agent, LAYER, &mut handles).expect("there is room");
            bencher.iter(|| {
                let lease = pool.lease_from_handles(agent, Some(LAYER), &handles);
                handles = lease.expect("they are ours").into_handles();
            });
            pool.free(agent, &handles).expect("they are ours");
        });
    }
    group.bench_function("refused, because they are stale/48", |bencher| {
        let mut handles = [BlockHandle::default(); 48];
        pool.allocate_handles(agent, LAYER, &mut handles).expect("there is room");
        pool.free(agent, &handles).expect("they are ours");
        bencher.iter(|| pool.free(agent, black_box(&handles)).is_err());
    });
    group.finish();
}

fn agents(criterion: &mut Criterion) {
    let Setting { pool, agent, .. } = pool();
    let mut group = criterion.benchmark_group("account");
    group.bench_function("open and close", |bencher| {
        bencher.iter(|| pool.close_account(pool.open_account().expect("there is room")));
    });
    group.bench_function("free an agent with 48 blocks", |bencher| {
        bencher.iter_batched(
            || {
                let mut handles = [BlockHandle::default(); 48];
                pool.allocate_handles(agent, LAYER, &mut handles).expect("there is room");
            },
            |()| pool.free_agent(agent),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("set a quota", |bencher| {
        bencher.iter(|| pool.set_quota(agent, black_box(Some(1_000))).expect("it is there"));
    });
    group.bench_function("allocate and free under a quota/8", |bencher| {
        bencher.iter(|| pool.allocate(agent, LAYER, black_box(8)).expect("there is room"));
    });
    group.bench_function("set a reserve and give it up", |bencher| {
        bencher.iter(|| {
            pool.set_reserve(agent, black_box(64)).expect("there is room");
            pool.set_reserve(agent, 0).expect("it is there");
        });
    });
    pool.set_reserve(agent, 64).expect("there is room");
    group.bench_function("allocate and free from a reserve/8", |bencher| {
        bencher.iter(|| pool.allocate(agent, LAYER, black_box(8)).expect("there is room"));
    });
    group.bench_function("limits", |bencher| bencher.iter(|| pool.limits(black_box(agent))));
    group.finish();
}

fn pools(criterion: &mut Criterion) {
    let Setting { pool, agent, other, spec } = pool();
    let mut group = criterion.benchmark_group("whole pool");
    group.bench_function("new", |bencher| {
        let new = || BlockPool::new(PoolConfig::new(black_box(BLOCKS), spec.clone()));
        bencher.iter_with_large_drop(|| new().expect("a possible pool"));
    });
    group.bench_function("reconfigure", |bencher| {
        bencher.iter(|| pool.reconfigure(black_box(&spec)).expect("no block is out"));
    });
    group.bench_function("force clear, 2 agents with 48 blocks each", |bencher| {
        bencher.iter_batched(
            || {
                for agent in [agent, other] {
                    let mut handles = [BlockHandle::default(); 48];
                    pool.allocate_handles(agent, LAYER, &mut handles).expect("there is room");
                }
            },
            |()| pool.force_clear(),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn looking(criterion: &mut Criterion) {
    let Setting { pool, agent, spec, .. } = pool();
    let _held = pool.allocate(agent, LAYER, 500).expect("there is room");
    let mut group = criterion.benchmark_group("looking");
    group.bench_function("usage", |bencher| bencher.iter(|| pool.usage()));
    group.bench_function("used by", |bencher| bencher.iter(|| pool.used_by(black_box(agent))));
    group.bench_function("census", |bencher| bencher.iter(|| pool.census()));
    group.bench_function("counters", |bencher| bencher.iter(|| pool.counters()));
    group.bench_function("snapshot", |bencher| bencher.iter(|| pool.snapshot()));
    group.bench_function("largest batch", |bencher| {
        bencher.iter(|| pool.max_batch_size(black_box(512)));
    });
    group.bench_function("model", |bencher| bencher.iter(|| pool.model()));
    group.bench_function("reconfigure, refused", |bencher| {
        bencher.iter(|| pool.reconfigure(black_box(&spec)).is_ok());
    });
    group.finish();
}

fn timed(criterion: &mut Criterion) {
    let Setting { pool, agent, .. } = pool();
    let timed = Timed::new(&*pool);
    let mut group = criterion.benchmark_group("timed");
    group.bench_function("allocate and free, with their latencies recorded/8", |bencher| {
        bencher.iter(|| timed.allocate(agent, LAYER, black_box(8)).expect("there is room"));
    });
    group.bench_function("sequence of 512 tokens", |bencher| {
        bencher.iter(|| timed.allocate_sequence(agent, black_box(512)).expect("there is room"));
    });
    group.bench_function("free by handles/48", |bencher| {
        let mut handles = [BlockHandle::default(); 48];
        bencher.iter(|| {
            pool.allocate_handles(agent, LAYER, &mut handles).expect("there is room");
            timed.free(agent, &handles).expect("they are ours")
        });
    });
    let histogram = LatencyHistogram::new();
    group.bench_function("record a latency", |bencher| {
        bencher.iter(|| histogram.record(black_box(Duration::from_nanos(700))));
    });
    group.bench_function("snapshot and percentile", |bencher| {
        bencher.iter(|| histogram.snapshot().p99());
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = quick();
    targets = leases, handles, agents, pools, looking, timed
}
criterion_main!(benches);
