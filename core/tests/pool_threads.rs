//! The pool under many threads: cases 7, 11 and 12 of the behaviour, with counts and not with times.
#![cfg(not(any(latchless_loom, latchless_shuttle)))]

use std::collections::HashSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use latchless::{AllocateError, BlockPool, LayerId, ModelSpec, PoolConfig};

const LAYER: LayerId = LayerId(0);

fn pool(blocks: u32, stripes: usize) -> BlockPool {
    let spec = ModelSpec::new(1, 8, 128, 16).unwrap();
    BlockPool::new(PoolConfig::new(blocks, spec).stripes(stripes)).unwrap()
}

#[test]
fn case_11_ten_threads_get_different_blocks() {
    for _ in 0..100 {
        let pool = pool(1_000, 4);
        let barrier = Barrier::new(10);
        let blocks: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..10)
                .map(|_| {
                    scope.spawn(|| {
                        let agent = pool.open_account().unwrap();
                        barrier.wait();
                        pool.allocate(agent, LAYER, 10).unwrap().into_handles()
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let unique: HashSet<_> = blocks.iter().map(|handle| handle.block()).collect();
        assert_eq!((blocks.len(), unique.len(), pool.usage().free), (100, 100, 900));
    }
}

#[test]
fn case_11_ten_keep_and_ten_give_back() {
    for _ in 0..100 {
        let pool = pool(1_000, 4);
        let barrier = Barrier::new(20);
        let (pool, barrier) = (&pool, &barrier);
        let kept: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..20)
                .map(|i| {
                    scope.spawn(move || {
                        let agent = pool.open_account().unwrap();
                        barrier.wait();
                        let lease = pool.allocate(agent, LAYER, 5).unwrap();
                        (i < 10).then_some(lease)
                    })
                })
                .collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!((kept.len(), pool.usage().free), (10, 950));
    }
}

/// A refusal is exact: while threads together never want more than there is, nobody is ever refused,
/// although each request is more than any stripe's share.
#[test]
fn nobody_is_refused_while_there_is_enough() {
    let pool = pool(400, 16);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let agent = pool.open_account().unwrap();
                for i in 0..20_000 {
                    let lease = pool.allocate(agent, LAYER, 1 + i % 100);
                    drop(lease.expect("four times 100 of 400 can always be had"));
                }
            });
        }
    });
    assert_eq!(pool.usage().used, 0);
}

#[test]
fn case_12_every_snapshot_adds_up() {
    let pool = pool(300, 4);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|i| {
                let pool = &pool;
                scope.spawn(move || {
                    let agent = pool.open_account().unwrap();
                    let mut refused = 0_u32;
                    // Two of 200 are more than there is: each thread is refused, also if it runs alone.
                    let mut last = None;
                    for n in 0..30_000 {
                        let size = 1 + (n * 7 + i) % 200;
                        match pool.allocate(agent, LAYER, size) {
                            Ok(mut lease) => {
                                drop(lease.split_off(size.div_ceil(9)));
                                last = Some(lease);
                            }
                            Err(AllocateError::Exhausted {
                                requested,
                                available,
                                total,
                                allocated,
                            }) => {
                                assert!(available < requested);
                                assert_eq!(available + allocated, total);
                                refused += 1;
                                last = None;
                            }
                            Err(error) => panic!("{error}"),
                        }
                    }
                    drop(last);
                    refused
                })
            })
            .collect();
        let reader = scope.spawn(|| {
            let mut snapshots = 0_u32;
            while !done.load(Ordering::Acquire) || snapshots < 100 {
                let usage = pool.usage();
                assert_eq!(usage.used + usage.free, usage.total);
                let census = pool.census();
                let counted = census.free + census.owned_total() + census.shared;
                assert_eq!(counted + census.in_flight.len() as u32, census.total);
                snapshots += 1;
            }
        });
        let refused: u32 = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
        done.store(true, Ordering::Release);
        reader.join().unwrap();
        assert!(refused > 0, "the pool was never short: the test does not see refusals");
    });
    let census = pool.census();
    assert_eq!((census.free, census.in_flight.len()), (300, 0));
}

/// Case 7: a reconfiguration that races with allocations wins or loses, never both.
#[test]
fn case_7_reconfigure_races_with_allocations() {
    let pool = pool(64, 4);
    let specs = [1, 2].map(|layers| ModelSpec::new(layers, 8, 128, 16).unwrap());
    let held = AtomicU32::new(0);
    let done = AtomicBool::new(false);
    let changed = thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let agent = pool.open_account().unwrap();
                    while !done.load(Ordering::Acquire) {
                        if let Ok(lease) = pool.allocate(agent, LAYER, 8) {
                            held.fetch_add(1, Ordering::SeqCst);
                            let before = pool.model().number;
                            thread::yield_now();
                            assert_eq!(
                                pool.model().number,
                                before,
                                "replaced while blocks were out"
                            );
                            held.fetch_sub(1, Ordering::SeqCst);
                            drop(lease);
                        }
                        thread::yield_now();
                    }
                })
            })
            .collect();
        let mut changed = 0;
        let mut tries = 0_u32;
        // A thread that is preempted with blocks in its hands refuses any number of tries: let it run.
        while changed < 200 {
            match pool.reconfigure(&specs[tries as usize % 2]) {
                Ok(()) => changed += 1,
                Err(_) => thread::yield_now(),
            }
            tries = tries.wrapping_add(1);
        }
        done.store(true, Ordering::Release);
        for thread in threads {
            thread.join().unwrap();
        }
        changed
    });
    assert_eq!((pool.model().number, pool.usage().used), (changed, 0));
}

/// Agents are freed as a whole, from another thread, while they allocate, split and share: nothing is
/// lost, nothing is freed twice, and no charge stays behind.
#[test]
fn agents_are_freed_under_their_own_feet() {
    let pool = pool(512, 4);
    let agents = [(); 4].map(|()| pool.open_account().unwrap());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (pool, done) = (&pool, &done);
        let workers: Vec<_> = (0..4)
            .map(|i| {
                scope.spawn(move || {
                    let (agent, friend) = (agents[i], agents[(i + 1) % 4]);
                    for n in 0..20_000 {
                        let Ok(mut lease) = pool.allocate(agent, LAYER, 1 + n % 90) else {
                            continue;
                        };
                        match n % 5 {
                            0 => drop(lease.split_off(lease.len().div_ceil(3))),
                            1 => drop(lease.share(friend)),
                            2 => drop(lease.transfer(friend)),
                            3 => drop(pool.free(agent, &lease.into_handles())),
                            _ => {
                                if let Ok(other) = pool.allocate(agent, LAYER, 3) {
                                    drop(lease.merge(other));
                                }
                            }
                        }
                    }
                })
            })
            .collect();
        scope.spawn(move || {
            while !done.load(Ordering::Acquire) {
                for agent in agents {
                    pool.free_agent(agent);
                }
                thread::yield_now();
            }
        });
        for worker in workers {
            worker.join().unwrap();
        }
        done.store(true, Ordering::Release);
    });
    for agent in agents {
        pool.free_agent(agent);
        assert_eq!(pool.used_by(agent), 0);
    }
    let census = pool.census();
    assert_eq!((census.free, census.in_flight.len()), (512, 0), "{census:?}");
    assert_eq!(pool.usage().free, 512);
    assert!(pool.reconfigure(&pool.model().spec).is_ok(), "a permit was lost");
}
