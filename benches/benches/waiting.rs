//! Waiting for blocks: granted at once, served by somebody's free, given up. By time limits and as futures.

mod support;

use std::hint::black_box;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use latchless::{Allocation, BlockPool, Lease, WaitError};

use crate::support::{LAYER, Setting, pool, quick};

fn poll<P>(allocation: &mut Allocation<P>) -> Poll<Result<Lease<P>, WaitError>>
where
    P: Deref<Target = BlockPool> + Clone + Unpin,
{
    Pin::new(allocation).poll(&mut Context::from_waker(Waker::noop()))
}

/// The lease of a future that need not wait.
fn ready<P>(mut allocation: Allocation<P>) -> Lease<P>
where
    P: Deref<Target = BlockPool> + Clone + Unpin,
{
    match poll(&mut allocation) {
        Poll::Ready(lease) => lease.expect("there is room"),
        Poll::Pending => panic!("it waits although there is room"),
    }
}

fn granted_at_once(criterion: &mut Criterion) {
    let Setting { pool, agent, .. } = pool();
    let second = Duration::from_secs(1);
    let mut group = criterion.benchmark_group("waiting, granted at once");
    group.bench_function("8", |bencher| {
        bencher.iter(|| {
            pool.allocate_within(agent, LAYER, black_box(8), second).expect("there is room")
        });
    });
    group.bench_function("sequence of 512 tokens", |bencher| {
        bencher.iter(|| {
            pool.allocate_sequence_within(agent, black_box(512), second).expect("there is room")
        });
    });
    group.bench_function("future/8", |bencher| {
        bencher.iter(|| ready(pool.allocate_async(agent, LAYER, black_box(8))));
    });
    group.bench_function("future, owned/8", |bencher| {
        bencher.iter(|| ready(pool.allocate_owned_async(agent, LAYER, black_box(8))));
    });
    group.bench_function("future, sequence of 512 tokens", |bencher| {
        bencher.iter(|| ready(pool.allocate_sequence_async(agent, black_box(512))));
    });
    group.bench_function("future, owned sequence of 512 tokens", |bencher| {
        bencher.iter(|| ready(pool.allocate_sequence_owned_async(agent, black_box(512))));
    });
    group.finish();
}

fn given_up(criterion: &mut Criterion) {
    let Setting { pool, agent, .. } = pool();
    let _all = pool.allocate(agent, LAYER, pool.usage().free).expect("all of it");
    let mut group = criterion.benchmark_group("waiting, given up");
    group.bench_function("at once/8", |bencher| {
        bencher.iter(|| pool.allocate_within(agent, LAYER, black_box(8), Duration::ZERO).map(drop));
    });
    group.bench_function("future, pending and dropped/8", |bencher| {
        bencher.iter(|| {
            let mut waits = pool.allocate_async(agent, LAYER, black_box(8));
            assert!(poll(&mut waits).is_pending(), "nothing is free");
        });
    });
    group.bench_function("who waits", |bencher| bencher.iter(|| pool.waiting()));
    group.bench_function("how many wait", |bencher| bencher.iter(|| pool.waiters()));
    group.finish();
}

fn served(criterion: &mut Criterion) {
    let Setting { pool, agent, other, .. } = pool();
    let _rest = pool.allocate(agent, LAYER, pool.usage().free - 8).expect("all but 8");
    let mut group = criterion.benchmark_group("waiting, served by another's free");
    group.bench_function("future/8", |bencher| {
        let mut held = Some(pool.allocate(agent, LAYER, 8).expect("8 are left"));
        bencher.iter(|| {
            let mut waits = pool.allocate_async(other, LAYER, black_box(8));
            assert!(poll(&mut waits).is_pending(), "nothing is free");
            drop(held.take());
            held = Some(ready(waits));
        });
    });
    // An iteration hands the blocks to another thread and back, through two threads that sleep.
    group.bench_function("threads, there and back/8", |bencher| {
        let over = AtomicBool::new(false);
        // Takes the blocks and keeps them until the other one waits for them.
        let turn = |agent| {
            let lease = pool.allocate_within(agent, LAYER, 8, Duration::MAX).expect("its turn");
            // Relaxed: nothing is handed over with it.
            while pool.waiters() == 0 && !over.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            drop(lease);
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    turn(other);
                }
            });
            bencher.iter(|| turn(black_box(agent)));
            over.store(true, Ordering::Relaxed);
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = quick();
    targets = granted_at_once, given_up, served
}
criterion_main!(benches);
