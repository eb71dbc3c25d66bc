//! Quotas and reserves, on one thread and on several.
#![cfg(not(any(latchless_loom, latchless_shuttle)))]

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use latchless::{
    AgentHandle, AgentLimits, AllocateError, BlockPool, LayerId, ModelSpec, NoSuchAgent,
    PoolConfig, PoolUsage, ReconfigureError, ReserveError, TransferError,
};

const LAYER: LayerId = LayerId(0);

fn spec(layers: usize) -> ModelSpec {
    ModelSpec::new(layers, 8, 128, 16).unwrap()
}

/// A pool and two agents of it.
fn pool(blocks: u32) -> (BlockPool, [AgentHandle; 2]) {
    let pool = BlockPool::new(PoolConfig::new(blocks, spec(1)).max_agents(2).stripes(2)).unwrap();
    let agents = [(); 2].map(|()| pool.open_account().unwrap());
    (pool, agents)
}

fn exhausted(requested: u32, available: u32, total: u32) -> AllocateError {
    AllocateError::Exhausted { requested, available, total, allocated: total - available }
}

fn reserve_free(pool: &BlockPool, agent: AgentHandle) -> u32 {
    pool.limits(agent).unwrap().reserve_free
}

#[test]
fn a_quota_bounds_what_an_agent_has() {
    let (pool, [agent, other]) = pool(100);
    pool.set_quota(agent, Some(10)).unwrap();
    let mut lease = pool.allocate(agent, LAYER, 7).unwrap();
    let over = |requested, used, quota| AllocateError::QuotaExceeded { requested, used, quota };
    assert_eq!(pool.allocate(agent, LAYER, 4).unwrap_err(), over(4, 7, 10));
    assert_eq!(pool.allocate_sequence(agent, 16 * 11).unwrap_err(), over(11, 7, 10));
    assert_eq!((pool.usage().used, pool.used_by(agent)), (7, 7));
    let _rest = pool.allocate(agent, LAYER, 3).unwrap();
    assert_eq!(pool.allocate(agent, LAYER, 1).unwrap_err(), over(1, 10, 10));
    assert_eq!(pool.allocate(other, LAYER, 90).unwrap().len(), 90, "the other has no quota");

    // Below what the agent has: it keeps that, and gets more when it has less.
    pool.set_quota(agent, Some(5)).unwrap();
    assert_eq!(pool.allocate(agent, LAYER, 1).unwrap_err(), over(1, 10, 5));
    drop(lease.split_off(6).unwrap());
    assert_eq!(pool.allocate(agent, LAYER, 2).unwrap_err(), over(2, 4, 5));
    assert_eq!(pool.allocate(agent, LAYER, 1).unwrap().len(), 1);
    pool.set_quota(agent, None).unwrap();
    assert_eq!(pool.allocate(agent, LAYER, 96).unwrap().len(), 96);
}

/// An agent at its quota is told so, also when the pool has nothing for anybody.
#[test]
fn a_quota_is_looked_at_before_the_pool() {
    let (pool, [agent, other]) = pool(10);
    let _all = pool.allocate(other, LAYER, 10).unwrap();
    pool.set_quota(agent, Some(3)).unwrap();
    assert_eq!(
        pool.allocate(agent, LAYER, 4).unwrap_err(),
        AllocateError::QuotaExceeded { requested: 4, used: 0, quota: 3 }
    );
    assert_eq!(pool.allocate(agent, LAYER, 3).unwrap_err(), exhausted(3, 0, 10));
}

#[test]
fn a_lease_does_not_pass_to_an_agent_over_its_quota() {
    let (pool, [agent, friend]) = pool(100);
    pool.set_quota(friend, Some(5)).unwrap();
    let mut lease = pool.allocate(agent, LAYER, 4).unwrap();
    let blocks: Vec<_> = lease.blocks().collect();
    let shared = lease.share(friend).unwrap();
    let over = TransferError::QuotaExceeded { requested: 4, used: 4, quota: 5 };
    assert_eq!(lease.share(friend).unwrap_err(), over);
    assert_eq!(lease.transfer(friend), Err(over));
    assert_eq!((lease.agent(), lease.blocks().collect::<Vec<_>>()), (agent, blocks));
    assert_eq!((pool.used_by(agent), pool.used_by(friend)), (4, 4));
    drop(shared);
    assert_eq!(lease.transfer(friend), Ok(()));
    assert_eq!((pool.used_by(agent), pool.used_by(friend)), (0, 4));
}

#[test]
fn limits_end_with_their_agent() {
    let (pool, [agent, _]) = pool(100);
    pool.set_quota(agent, Some(5)).unwrap();
    pool.set_reserve(agent, 20).unwrap();
    let limits = AgentLimits { quota: Some(5), reserve: 20, reserve_free: 20 };
    assert_eq!((pool.limits(agent), pool.usage().reserved), (Some(limits), 20));
    let lease = pool.allocate(agent, LAYER, 5).unwrap();
    assert_eq!(pool.close_account(agent), Some(5));
    assert_eq!(pool.usage(), PoolUsage { total: 100, free: 100, used: 0, reserved: 0 });
    assert_eq!(pool.limits(agent), None);
    assert_eq!(pool.set_quota(agent, Some(1)), Err(NoSuchAgent));
    assert_eq!(pool.set_reserve(agent, 1), Err(ReserveError::UnknownAgent));

    let next = pool.open_account().unwrap();
    let none = AgentLimits { quota: None, reserve: 0, reserve_free: 0 };
    assert_eq!(pool.limits(next), Some(none));
    assert_eq!(pool.set_quota(agent, Some(1)), Err(NoSuchAgent), "the slot is the next one's");
    pool.set_reserve(next, 10).unwrap();
    let own = AgentLimits { quota: None, reserve: 10, reserve_free: 10 };
    assert_eq!(pool.limits(next), Some(own), "the last one's quota is not the next one's");
    drop(lease);
    assert_eq!(pool.allocate(next, LAYER, 100).unwrap().len(), 100);
}

#[test]
fn a_reserve_is_there_for_its_agent_only() {
    let (pool, [agent, other]) = pool(100);
    pool.set_reserve(agent, 30).unwrap();
    assert_eq!(pool.usage(), PoolUsage { total: 100, free: 100, used: 0, reserved: 30 });
    assert_eq!(pool.allocate(other, LAYER, 71).unwrap_err(), exhausted(71, 70, 100));
    let crowd = pool.allocate(other, LAYER, 70).unwrap();
    assert_eq!(pool.usage(), PoolUsage { total: 100, free: 30, used: 70, reserved: 30 });
    assert_eq!(pool.max_batch_size(16), 0, "what is reserved is not for everybody");
    assert_eq!(pool.allocate(agent, LAYER, 31).unwrap_err(), exhausted(31, 30, 100));
    assert_eq!(reserve_free(&pool, agent), 30, "the refused one gave back what it had");

    let mine = pool.allocate(agent, LAYER, 20).unwrap();
    assert_eq!(pool.allocate(agent, LAYER, 11).unwrap_err(), exhausted(11, 10, 100));
    drop(mine);
    // What the crowd frees is the pool's, what the agent frees goes into its reserve.
    drop(crowd);
    let mine = pool.allocate(agent, LAYER, 40).unwrap();
    assert_eq!((reserve_free(&pool, agent), pool.usage().reserved), (0, 0));
    let handles = mine.into_handles();
    assert_eq!(pool.free(agent, &handles[..25]), Ok(25));
    assert_eq!(reserve_free(&pool, agent), 25);
    assert_eq!(pool.free(agent, &handles[25..]), Ok(15));
    assert_eq!(reserve_free(&pool, agent), 30, "and no more");
    assert_eq!(pool.allocate(other, LAYER, 70).unwrap().len(), 70);
}

#[test]
fn a_reserve_is_never_promised_twice() {
    let (pool, [agent, other]) = pool(100);
    pool.set_reserve(agent, 60).unwrap();
    let short = |requested, missing, available| {
        Err(ReserveError::Exhausted { requested, missing, available })
    };
    assert_eq!(pool.set_reserve(other, 41), short(41, 41, 40));
    assert_eq!(pool.limits(other).unwrap().reserve, 0);
    pool.set_reserve(other, 40).unwrap();
    assert_eq!(pool.set_reserve(agent, 61), short(61, 1, 0));
    assert_eq!(reserve_free(&pool, agent), 60);

    // A smaller reserve gives back what is free of the difference; the rest comes when it is freed.
    let mine = pool.allocate(agent, LAYER, 50).unwrap();
    pool.set_reserve(agent, 30).unwrap();
    let limits = AgentLimits { quota: None, reserve: 30, reserve_free: 10 };
    assert_eq!((pool.limits(agent), pool.usage().reserved), (Some(limits), 50));
    assert_eq!(pool.allocate(other, LAYER, 41).unwrap_err(), exhausted(41, 40, 100));
    pool.set_reserve(agent, 5).unwrap();
    assert_eq!(pool.allocate(other, LAYER, 45).unwrap().len(), 45);
    drop(mine);
    assert_eq!((reserve_free(&pool, agent), pool.usage().reserved), (5, 45));
    pool.set_reserve(agent, 0).unwrap();
    pool.set_reserve(other, 0).unwrap();
    assert_eq!(pool.allocate(agent, LAYER, 100).unwrap().len(), 100);
}

#[test]
fn blocks_that_leave_the_agent_are_covered_by_the_pool() {
    let (pool, [agent, other]) = pool(100);
    pool.set_reserve(agent, 30).unwrap();
    let mut lease = pool.allocate(agent, LAYER, 20).unwrap();
    let mut crowd = pool.allocate(other, LAYER, 65).unwrap();
    let uncovered = TransferError::ReserveUncovered { needed: 20, available: 5 };
    assert_eq!(lease.transfer(other), Err(uncovered));
    assert_eq!(lease.share(other).unwrap_err(), uncovered);
    assert_eq!(lease.share(agent).unwrap_err(), uncovered);
    assert_eq!((pool.used_by(agent), pool.used_by(other)), (20, 65));
    assert_eq!((reserve_free(&pool, agent), pool.usage().free), (10, 15));

    drop(crowd.split_off(15).unwrap());
    let shared = lease.share(other).unwrap();
    assert_eq!((reserve_free(&pool, agent), pool.usage().free), (30, 30));
    drop(lease);
    assert_eq!(pool.allocate(agent, LAYER, 30).unwrap().len(), 30, "as was promised");
    drop((shared, crowd));
    assert_eq!(pool.usage(), PoolUsage { total: 100, free: 100, used: 0, reserved: 30 });

    // Nothing is missing in the reserve: nothing has to be covered.
    let mut lease = pool.allocate(agent, LAYER, 100).unwrap();
    drop(lease.split_off(30).unwrap());
    assert_eq!(reserve_free(&pool, agent), 30);
    assert_eq!(lease.transfer(other), Ok(()));
    assert_eq!((pool.used_by(other), pool.usage().free), (70, 30));
}

#[test]
fn freeing_agents_fills_their_reserves() {
    let (pool, [agent, other]) = pool(200);
    pool.set_reserve(agent, 80).unwrap();
    pool.set_reserve(other, 10).unwrap();
    let lease = pool.allocate(agent, LAYER, 150).unwrap();
    let theirs = pool.allocate(other, LAYER, 20).unwrap();
    assert_eq!(pool.usage(), PoolUsage { total: 200, free: 30, used: 170, reserved: 0 });
    assert_eq!(pool.free_agent(agent), 150);
    assert_eq!((reserve_free(&pool, agent), reserve_free(&pool, other)), (80, 0));
    let again = pool.allocate(agent, LAYER, 80).unwrap();
    assert_eq!(pool.force_clear().blocks, 100);
    assert_eq!(pool.usage(), PoolUsage { total: 200, free: 200, used: 0, reserved: 90 });
    assert_eq!((reserve_free(&pool, agent), reserve_free(&pool, other)), (80, 10));
    drop((lease, theirs, again));
    assert_eq!(pool.usage().reserved, 90);
}

#[test]
fn reserves_do_not_stand_in_the_way_of_a_reconfiguration() {
    let (pool, [agent, other]) = pool(100);
    pool.set_reserve(agent, 30).unwrap();
    pool.set_reserve(other, 70).unwrap();
    assert_eq!(pool.reconfigure(&spec(2)), Ok(()));
    assert_eq!(pool.usage(), PoolUsage { total: 100, free: 100, used: 0, reserved: 100 });
    let lease = pool.allocate(agent, LAYER, 5).unwrap();
    assert_eq!(pool.reconfigure(&spec(3)), Err(ReconfigureError { outstanding: 5 }));
    drop(lease);
    pool.set_reserve(other, 10).unwrap();
    assert_eq!(pool.reconfigure(&spec(3)), Ok(()));
    assert_eq!((reserve_free(&pool, agent), reserve_free(&pool, other)), (30, 10));
    assert_eq!(pool.allocate(other, LAYER, 70).unwrap().len(), 70);
}

/// A crowd takes and gives back all that it can get, splits, shares and transfers, while an agent takes
/// its whole reserve again and again and is never refused. Another one sets its own reserve meanwhile.
#[test]
fn a_reserve_holds_against_a_crowd() {
    let config = PoolConfig::new(256, spec(1)).max_agents(8).stripes(4);
    let pool = BlockPool::new(config).unwrap();
    let agents: Vec<_> = (0..4).map(|_| pool.open_account().unwrap()).collect();
    let (favoured, moody) = (agents[2], agents[3]);
    pool.set_reserve(favoured, 64).unwrap();
    let barrier = Barrier::new(4);
    thread::scope(|scope| {
        let (pool, agents, barrier) = (&pool, &agents, &barrier);
        for i in 0..2 {
            scope.spawn(move || {
                barrier.wait();
                let mut held = Vec::new();
                for n in 0..20_000 {
                    match pool.allocate(agents[i], LAYER, 1 + (n * 7) % 60) {
                        Ok(mut lease) => {
                            match n % 4 {
                                0 => held.extend(lease.share(agents[1 - i])),
                                1 => assert_eq!(lease.transfer(agents[1 - i]), Ok(())),
                                2 => drop(lease.split_off(1)),
                                _ => {}
                            }
                            held.push(lease);
                        }
                        Err(AllocateError::Exhausted { .. }) => held.clear(),
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        scope.spawn(move || {
            barrier.wait();
            for n in 0..20_000 {
                let mut lease = pool.allocate(favoured, LAYER, 64).expect("it is reserved");
                drop(lease.split_off(1 + n % 64));
            }
        });
        scope.spawn(move || {
            barrier.wait();
            for n in 0..20_000 {
                match pool.set_reserve(moody, n % 50) {
                    Ok(()) => drop(pool.allocate(moody, LAYER, (n % 50).max(1))),
                    Err(error) => assert!(matches!(error, ReserveError::Exhausted { .. })),
                }
            }
        });
    });
    assert_eq!(pool.usage().used, 0);
    assert_eq!(reserve_free(&pool, favoured), 64);
    for agent in agents {
        pool.close_account(agent).unwrap();
    }
    assert_eq!(pool.usage(), PoolUsage { total: 256, free: 256, used: 0, reserved: 0 });
    assert!(pool.reconfigure(&spec(1)).is_ok(), "a permit was lost");
}

/// Many threads of one agent take and give back under one quota: whatever they see, it never has more.
#[test]
fn a_quota_holds_against_the_agents_own_threads() {
    let (pool, [agent, _]) = pool(256);
    pool.set_quota(agent, Some(50)).unwrap();
    let refused = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|i| {
                let pool = &pool;
                scope.spawn(move || {
                    let (mut last, mut refused) = (None, 0);
                    for n in 0..20_000 {
                        match pool.allocate(agent, LAYER, 1 + (n * 7 + i) % 40) {
                            Ok(lease) => last = Some(lease),
                            Err(AllocateError::QuotaExceeded { requested, used, quota }) => {
                                assert!(quota == 50 && used + requested > quota && used <= quota);
                                refused += 1;
                                last = None;
                            }
                            Err(error) => panic!("{error}"),
                        }
                        assert!(pool.used_by(agent) <= 50);
                    }
                    drop(last);
                    refused
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u32>()
    });
    assert!(refused > 0, "never at the quota: the test does not see refusals");
    assert_eq!((pool.usage().used, pool.used_by(agent)), (0, 0));
}

/// What an agent frees fills its reserve up and is granted to nobody: the agent itself, which waits, has
/// to get it.
#[test]
fn an_agent_that_waits_gets_what_its_reserve_gets_back() {
    let (pool, [planner, crowd]) = pool(40);
    pool.set_reserve(planner, 10).unwrap();
    let reserved = pool.allocate(planner, LAYER, 10).unwrap();
    let _others = pool.allocate(crowd, LAYER, 30).unwrap();
    let mut waits = pin!(pool.allocate_async(planner, LAYER, 10));
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut executor = Context::from_waker(&waker);
    assert!(waits.as_mut().poll(&mut executor).is_pending());
    drop(reserved);
    assert_eq!(wakes.0.load(Ordering::Acquire), 1, "nobody told it");
    let Poll::Ready(lease) = waits.as_mut().poll(&mut executor) else {
        panic!("its reserve is free");
    };
    assert_eq!((lease.unwrap().len(), pool.waiters()), (10, 0));
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}
