//! Looking at a running core: snapshots, their metrics, their samples, and the way to a recorder.

mod support;

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use latchless::observe::{Observe, describe, export, metrics, samples};
use latchless::{Outbox, SpawnSlots, TaskQueue, TaskQueueConfig, Timed};

use crate::support::{LAYER, Setting, pool, quick};

/// A kind of snapshots: taken, and told in each way. Nobody has installed a recorder, so what is exported
/// goes to one that keeps nothing.
fn kind<S: Observe>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, take: impl Fn() -> S) {
    let snapshot = take();
    group.bench_function(format!("{name}, snapshot"), |bencher| bencher.iter(&take));
    group.bench_function(format!("{name}, samples"), |bencher| {
        bencher.iter(|| {
            samples(black_box(&snapshot), |sample| {
                black_box(sample);
            });
        });
    });
    group.bench_function(format!("{name}, metrics"), |bencher| {
        bencher.iter(|| metrics::<S>().count());
    });
    group.bench_function(format!("{name}, export"), |bencher| {
        bencher.iter(|| export(black_box(&snapshot), &[("part", "main")]));
    });
    group.bench_function(format!("{name}, describe"), |bencher| bencher.iter(describe::<S>));
}

fn observe(criterion: &mut Criterion) {
    let Setting { pool, agent, .. } = pool();
    let _held = pool.allocate(agent, LAYER, 500).expect("there is room");
    let timed = Timed::new(&*pool);
    for _ in 0..100 {
        drop(timed.allocate(agent, LAYER, 8).expect("there is room"));
    }
    let queue = TaskQueue::<u64>::new(TaskQueueConfig::new(1_024)).expect("a possible queue");
    let slots = SpawnSlots::new(64).expect("a possible limit");
    let outbox = Outbox::<u64>::new(1_000).expect("a possible outbox");

    let mut group = criterion.benchmark_group("observe");
    kind(&mut group, "pool", || pool.snapshot());
    kind(&mut group, "latencies", || timed.latencies());
    kind(&mut group, "tasks", || queue.snapshot());
    kind(&mut group, "slots", || slots.snapshot());
    kind(&mut group, "outbox", || outbox.snapshot());
    let allocations = timed.allocations().snapshot();
    group.bench_function("a percentile of latencies", |bencher| {
        bencher.iter(|| allocations.at(black_box(0.999)));
    });
    group.bench_function("latencies within a bound", |bencher| {
        bencher.iter(|| allocations.at_most(black_box(Duration::from_micros(5))));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = quick();
    targets = observe
}
criterion_main!(benches);
