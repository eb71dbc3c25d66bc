//! The pool under six threads.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use latchless::{
    AgentHandle, AllocateError, BlockId, BlockPool, LayerId, ModelSpec, OwnedLease, PoolConfig,
};
use shuttle::thread;

use crate::explore;

const LAYER: LayerId = LayerId(0);

fn pool(blocks: u32, agents: u32) -> Arc<BlockPool> {
    let spec = ModelSpec::new(1, 1, 1, 1).unwrap();
    let config = PoolConfig::new(blocks, spec).max_agents(agents).stripes(4);
    Arc::new(BlockPool::new(config).unwrap())
}

/// Nobody has anything, and all of it can be had.
fn assert_whole(pool: &Arc<BlockPool>, agent: AgentHandle) {
    let census = pool.census();
    assert_eq!((census.free, census.in_flight.len()), (census.total, 0), "{census:?}");
    assert_eq!(pool.used_by(agent), 0);
    let all = pool.allocate(agent, LAYER, census.total);
    assert_eq!(all.map(|lease| lease.len()), Ok(census.total), "a permit was lost");
}

/// Runs six threads to their end.
fn six(work: impl Fn(usize) + Clone + Send + 'static) {
    let threads = [0, 1, 2, 3, 4, 5].map(|i| {
        let work = work.clone();
        thread::spawn(move || work(i))
    });
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Blocks that somebody has. Std's mutex is held across no step that is scheduled.
#[derive(Clone, Default)]
struct Hands(Arc<Mutex<BTreeSet<BlockId>>>);

impl Hands {
    fn take(&self, lease: &OwnedLease) {
        let mut hands = self.0.lock().unwrap();
        assert!(lease.blocks().all(|block| hands.insert(block)), "a block in two hands");
    }

    fn give_back(&self, lease: OwnedLease) {
        let mut hands = self.0.lock().unwrap();
        assert!(lease.blocks().all(|block| hands.remove(&block)));
        drop(hands);
        drop(lease);
    }
}

/// Requests that together never want more than there is, of which most fit into no single stripe: each
/// is granted, and no block is in two hands.
#[test]
fn nobody_is_refused_while_there_is_enough() {
    explore("requests that all fit", || {
        let pool = pool(70, 1);
        let agent = pool.open_account().unwrap();
        let hands = Hands::default();
        let theirs = Arc::clone(&pool);
        six(move |i| {
            for n in [i as u32 + 1, 11] {
                let lease = theirs.allocate_owned(agent, LAYER, n);
                let lease = lease.expect("six times 11 of 70 can always be had");
                hands.take(&lease);
                hands.give_back(lease);
            }
        });
        assert_whole(&pool, agent);
    });
}

/// Requests that want more than there is: each refusal says a number below what was asked, and nothing is
/// lost.
#[test]
fn refusals_say_less_than_was_asked() {
    explore("requests that do not all fit", || {
        let pool = pool(20, 1);
        let agent = pool.open_account().unwrap();
        let hands = Hands::default();
        let theirs = Arc::clone(&pool);
        six(move |i| {
            for n in [5 + i as u32, 2] {
                match theirs.allocate_owned(agent, LAYER, n) {
                    Ok(lease) => {
                        hands.take(&lease);
                        hands.give_back(lease);
                    }
                    Err(AllocateError::Exhausted { requested, available, allocated, total }) => {
                        assert!(available < requested && available + allocated == total);
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        });
        assert_whole(&pool, agent);
    });
}

/// Agents are freed by others while they allocate, divide, share and pass on: nothing is lost, nothing is
/// freed twice, and no charge stays behind.
#[test]
fn agents_are_freed_under_their_own_feet() {
    explore("agents freed by others", || {
        let pool = pool(70, 3);
        let agents = [(); 3].map(|()| pool.open_account().unwrap());
        let theirs = Arc::clone(&pool);
        six(move |i| {
            let (agent, friend) = (agents[i % 3], agents[(i + 1) % 3]);
            if i == 5 {
                for agent in agents {
                    theirs.free_agent(agent);
                }
                return;
            }
            let Ok(mut lease) = theirs.allocate_owned(agent, LAYER, 12) else {
                return;
            };
            match i {
                0 => drop(lease.split_off(5)),
                1 => drop(lease.share(friend)),
                2 => drop(lease.transfer(friend)),
                3 => drop(theirs.free(agent, &lease.into_handles())),
                _ => drop(lease),
            }
        });
        for agent in agents {
            pool.free_agent(agent);
        }
        assert_whole(&pool, agents[0]);
    });
}

/// Five threads free the same handles, and one the whole agent: each block is freed once.
#[test]
fn the_same_handles_are_freed_once() {
    explore("the same handles", || {
        let pool = pool(8, 1);
        let agent = pool.open_account().unwrap();
        let handles = pool.allocate(agent, LAYER, 6).unwrap().into_handles();
        let freed = Arc::new(Mutex::new(0));
        let (theirs, sum) = (Arc::clone(&pool), Arc::clone(&freed));
        six(move |i| {
            let n = match i {
                5 => theirs.free_agent(agent),
                _ => theirs.free(agent, &handles[i % 3..]).unwrap_or(0),
            };
            *sum.lock().unwrap() += n;
        });
        assert!(*freed.lock().unwrap() >= 3, "somebody was the first");
        pool.free_agent(agent);
        assert_whole(&pool, agent);
    });
}

/// Six holders of the same blocks end at once: the last one frees them.
#[test]
fn the_last_of_six_holders_frees() {
    explore("shared blocks", || {
        let pool = pool(8, 1);
        let agent = pool.open_account().unwrap();
        let mut lease = pool.allocate_owned(agent, LAYER, 3).unwrap();
        let copies = [(); 5].map(|()| lease.share(agent).unwrap());
        let threads = copies.map(|copy| thread::spawn(move || drop(copy)));
        drop(lease);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_whole(&pool, agent);
    });
}

/// A quota holds whoever allocates, and a reserve whatever the crowd takes.
#[test]
fn limits_hold() {
    explore("limits", || {
        let pool = pool(24, 2);
        let [favoured, crowd] = [(); 2].map(|()| pool.open_account().unwrap());
        pool.set_reserve(favoured, 6).unwrap();
        pool.set_quota(crowd, Some(10)).unwrap();
        let theirs = Arc::clone(&pool);
        six(move |i| {
            if i == 0 {
                for _ in 0..2 {
                    drop(theirs.allocate(favoured, LAYER, 6).expect("it is reserved"));
                }
                return;
            }
            let lease = theirs.allocate(crowd, LAYER, 4);
            assert!(theirs.used_by(crowd) <= 10);
            drop(lease);
        });
        pool.set_reserve(favoured, 0).unwrap();
        assert_whole(&pool, favoured);
    });
}

/// The geometry is replaced only while nobody has a block.
#[test]
fn the_geometry_stays_while_blocks_are_out() {
    explore("reconfigurations", || {
        let pool = pool(12, 1);
        let agent = pool.open_account().unwrap();
        let theirs = Arc::clone(&pool);
        six(move |i| {
            if i < 2 {
                let spec = ModelSpec::new(2 + i, 1, 1, 1).unwrap();
                let _: Result<(), _> = theirs.reconfigure(&spec);
            } else if let Ok(lease) = theirs.allocate(agent, LAYER, 3) {
                let before = theirs.model().number;
                thread::yield_now();
                assert_eq!(theirs.model().number, before, "replaced while blocks were out");
                drop(lease);
            }
        });
        assert_whole(&pool, agent);
    });
}
