//! Waiting for blocks: order, deadlines, dropped and forgotten waiters, and what stays behind.
#![cfg(not(any(latchless_loom, latchless_shuttle)))]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use latchless::{
    AllocateError, Allocation, BlockLease, BlockPool, LayerId, ModelSpec, PoolConfig,
    PoolConfigError, ReconfigureError, WaitError,
};

const LAYER: LayerId = LayerId(0);

fn spec(layers: usize) -> ModelSpec {
    ModelSpec::new(layers, 8, 128, 16).unwrap()
}

fn config(blocks: u32) -> PoolConfig {
    PoolConfig::new(blocks, spec(2)).stripes(2).max_waiters(4)
}

fn pool(blocks: u32) -> BlockPool {
    BlockPool::new(config(blocks)).unwrap()
}

type Polled<'pool> = Poll<Result<BlockLease<'pool>, WaitError>>;

/// Polls with a waker that does nothing: what a caller sees that looks by itself.
fn look<'pool>(allocation: &mut Allocation<&'pool BlockPool>) -> Polled<'pool> {
    Pin::new(allocation).poll(&mut Context::from_waker(Waker::noop()))
}

fn ready<'pool>(allocation: &mut Allocation<&'pool BlockPool>) -> BlockLease<'pool> {
    match look(allocation) {
        Poll::Ready(lease) => lease.unwrap(),
        Poll::Pending => panic!("has to wait"),
    }
}

/// Everything is free, nobody waits, and all blocks can be had at once.
fn assert_whole(pool: &BlockPool) {
    let total = pool.usage().total;
    assert_eq!((pool.waiters(), pool.usage().free), (0, total));
    let census = pool.census();
    assert_eq!((census.free, census.in_flight.len()), (total, 0));
    assert_eq!(pool.reconfigure(&pool.model().spec), Ok(()), "a permit was lost");
}

#[test]
fn first_come_first_served() {
    let pool = pool(10);
    let agent = pool.open_account().unwrap();
    let mut all = pool.allocate(agent, LAYER, 10).unwrap();
    let mut big = pool.allocate_async(agent, LAYER, 8);
    let mut small = pool.allocate_async(agent, LAYER, 1);
    assert!(look(&mut big).is_pending() && look(&mut small).is_pending());
    drop(all.split_off(7).unwrap());
    assert!(look(&mut small).is_pending(), "behind one who waits for more than there is");
    assert_eq!(
        pool.allocate(agent, LAYER, 1).unwrap_err(),
        AllocateError::Exhausted { requested: 1, available: 0, total: 10, allocated: 3 },
        "7 are promised"
    );
    assert_eq!(pool.reconfigure(&spec(1)), Err(ReconfigureError { outstanding: 3 }));
    drop(all.split_off(2).unwrap());
    let (big, small) = (ready(&mut big), ready(&mut small));
    assert_eq!((big.len(), small.len(), pool.used_by(agent)), (8, 1, 10));
    drop((all, big, small));
    assert_whole(&pool);
}

#[test]
fn who_waits_grows_old_and_is_counted() {
    let pool = pool(10);
    let agent = pool.open_account().unwrap();
    let all = pool.allocate(agent, LAYER, 10).unwrap();
    let [mut first, mut second] = [(); 2].map(|()| pool.allocate_async(agent, LAYER, 5));
    assert!(look(&mut first).is_pending() && look(&mut second).is_pending());
    let waiting = pool.waiting();
    assert_eq!((waiting.waiters, waiting.longest), (2, Duration::ZERO));
    let oldest = waiting.oldest.unwrap();
    assert!(pool.waiting().oldest.unwrap() >= oldest, "it has waited on");
    drop(all);
    let (_first, _second) = (ready(&mut first), ready(&mut second));
    let (waiting, counted) = (pool.waiting(), pool.counters().total());
    assert_eq!((waiting.waiters, waiting.oldest), (0, None));
    assert!(waiting.longest >= oldest, "the first one's");
    assert!(counted.waited() >= waiting.longest && counted.waits == 2, "both of them");
}

#[test]
fn a_deadline_that_passes_leaves_nothing() {
    let pool = pool(10);
    let agent = pool.open_account().unwrap();
    let lease = pool.allocate(agent, LAYER, 7).unwrap();
    for timeout in [Duration::ZERO, Duration::from_millis(15)] {
        assert_eq!(
            pool.allocate_within(agent, LAYER, 4, timeout).unwrap_err(),
            WaitError::TimedOut { requested: 4, timeout }
        );
        assert_eq!((pool.waiters(), pool.usage().free, pool.used_by(agent)), (0, 3, 7));
    }
    assert_eq!(pool.allocate_within(agent, LAYER, 3, Duration::ZERO).unwrap().len(), 3);
    drop(lease);
    assert_whole(&pool);
}

#[test]
fn what_waiting_does_not_help_is_refused_at_once() {
    let pool = pool(10);
    let agent = pool.open_account().unwrap();
    let _some = pool.allocate(agent, LAYER, 1).unwrap();
    let within = |layer, blocks| pool.allocate_within(agent, layer, blocks, Duration::MAX);
    assert_eq!(within(LAYER, 11).unwrap_err(), WaitError::NeverFits { requested: 11, total: 10 });
    assert_eq!(within(LAYER, 0).unwrap_err(), AllocateError::NoBlocks.into());
    assert_eq!(
        within(LayerId(2), 10).unwrap_err(),
        AllocateError::UnknownLayer { layer: LayerId(2), layers: 2 }.into()
    );
    assert_eq!(
        pool.allocate_sequence_within(agent, 16 * 6, Duration::MAX).unwrap_err(),
        WaitError::NeverFits { requested: 12, total: 10 }
    );
    pool.close_account(agent).unwrap();
    assert_eq!(within(LAYER, 10).unwrap_err(), AllocateError::UnknownAgent.into());
    assert_whole(&pool);
}

#[test]
fn places_are_bounded_and_come_back() {
    let pool = pool(2);
    let agent = pool.open_account().unwrap();
    let all = pool.allocate(agent, LAYER, 2).unwrap();
    let mut waiting: Vec<_> = (0..4).map(|_| pool.allocate_async(agent, LAYER, 1)).collect();
    assert!(waiting.iter_mut().all(|allocation| look(allocation).is_pending()));
    let mut fifth = pool.allocate_async(agent, LAYER, 1);
    let Poll::Ready(Err(error)) = look(&mut fifth) else { panic!("there is no fifth place") };
    assert_eq!(error, WaitError::TooManyWaiters { max_waiters: 4 });
    drop(waiting.remove(1));
    assert!(look(&mut fifth).is_pending());
    drop(all);
    drop((ready(&mut waiting[0]), ready(&mut waiting[1])));
    drop((ready(&mut waiting[2]), ready(&mut fifth)));
    assert_whole(&pool);
    for waiters in [0, 4_096] {
        assert_eq!(
            BlockPool::new(config(1).max_waiters(waiters)).unwrap_err(),
            PoolConfigError::Waiters { waiters }
        );
    }
}

#[test]
fn dropped_after_the_grant_it_gives_the_blocks_on() {
    let pool = pool(5);
    let agent = pool.open_account().unwrap();
    let all = pool.allocate(agent, LAYER, 5).unwrap();
    let mut first = pool.allocate_async(agent, LAYER, 5);
    let mut second = pool.allocate_async(agent, LAYER, 3);
    assert!(look(&mut first).is_pending() && look(&mut second).is_pending());
    drop(all);
    assert_eq!(pool.usage().free, 0, "all 5 are granted to the first");
    assert!(look(&mut second).is_pending());
    drop(first);
    drop(ready(&mut second));
    assert_whole(&pool);
}

/// Whoever has been granted its blocks and is never seen again keeps them, as if it had allocated them,
/// and one who waits and is never seen again keeps its place: nobody else is held up.
#[test]
fn a_granted_waiter_that_is_frozen_delays_nobody() {
    let pool = pool(3);
    let agent = pool.open_account().unwrap();
    let mut all = pool.allocate(agent, LAYER, 3).unwrap();
    let mut frozen = pool.allocate_async(agent, LAYER, 1);
    assert!(look(&mut frozen).is_pending());
    drop(all.split_off(1).unwrap());
    // It has its block now. Many come and go meanwhile, more than there are places.
    for _ in 0..100 {
        let mut waits = pool.allocate_async(agent, LAYER, 1);
        assert!(look(&mut waits).is_pending());
        drop(all.split_off(1).unwrap());
        all.merge(ready(&mut waits)).unwrap();
    }
    assert_eq!((pool.waiters(), pool.usage().free), (1, 0));
    drop(ready(&mut frozen));
    drop(all);
    assert_whole(&pool);
}

/// An agent that leaves while it waits is told so when its turn comes; its blocks go to the next.
#[test]
fn an_agent_that_leaves_while_it_waits() {
    let pool = pool(4);
    let (agent, leaving) = (pool.open_account().unwrap(), pool.open_account().unwrap());
    let all = pool.allocate(agent, LAYER, 4).unwrap();
    let mut first = pool.allocate_async(leaving, LAYER, 4);
    let mut second = pool.allocate_async(agent, LAYER, 2);
    assert!(look(&mut first).is_pending() && look(&mut second).is_pending());
    pool.close_account(leaving).unwrap();
    drop(all);
    let Poll::Ready(Err(error)) = look(&mut first) else { panic!("its agent has left") };
    assert_eq!(error, AllocateError::UnknownAgent.into());
    drop(ready(&mut second));
    assert_whole(&pool);
}

/// Somebody waits for more than the reserves leave, and nothing is out. Found by the stress run: it was told that
/// 0 blocks were out.
#[test]
fn what_is_promised_stands_in_the_way_of_another_geometry() {
    let pool = pool(12);
    let (agent, reserving) = (pool.open_account().unwrap(), pool.open_account().unwrap());
    pool.set_reserve(reserving, 5).unwrap();
    let mut waits = pool.allocate_async(agent, LAYER, 9);
    assert!(look(&mut waits).is_pending());
    assert_eq!(pool.usage().used, 0);
    assert_eq!(pool.reconfigure(&spec(1)), Err(ReconfigureError { outstanding: 7 }));
    pool.set_reserve(reserving, 0).unwrap();
    assert_eq!(ready(&mut waits).len(), 9);
    assert_whole(&pool);
}

/// Whoever waits waits for others' blocks, and whoever was granted some has them: the geometry for which
/// a sequence was counted stays for as long as it waits.
#[test]
fn the_geometry_stays_while_somebody_waits() {
    let pool = pool(12);
    let agent = pool.open_account().unwrap();
    let all = pool.allocate(agent, LAYER, 12).unwrap();
    let mut sequence = pool.allocate_sequence_async(agent, 16 * 2);
    assert!(look(&mut sequence).is_pending());
    assert_eq!(pool.reconfigure(&spec(1)), Err(ReconfigureError { outstanding: 12 }));
    drop(all);
    assert_eq!(pool.reconfigure(&spec(1)), Err(ReconfigureError { outstanding: 4 }));
    assert_eq!(ready(&mut sequence).len(), 4, "two blocks in each of two layers");
    pool.reconfigure(&spec(1)).unwrap();
    let mut sequence = pool.allocate_sequence_async(agent, 16 * 2);
    assert_eq!(ready(&mut sequence).len(), 2);
    assert_whole(&pool);
}

#[test]
fn an_allocation_is_a_task_of_its_own() {
    fn is_a_task<T: Send + Unpin + 'static>(_: &T) {}
    struct Bell(AtomicU32);
    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    let pool = Arc::new(pool(4));
    let agent = pool.open_account().unwrap();
    let all = pool.allocate_owned(agent, LAYER, 4).unwrap();
    let mut sequence = pool.allocate_sequence_owned_async(agent, 16 * 2);
    is_a_task(&sequence);
    let bell = Arc::new(Bell(AtomicU32::new(0)));
    let waker = Waker::from(Arc::clone(&bell));
    let mut executor = Context::from_waker(&waker);
    assert!(Pin::new(&mut sequence).poll(&mut executor).is_pending());
    drop(all);
    assert_eq!(bell.0.load(Ordering::Relaxed), 1);
    let Poll::Ready(Ok(lease)) = Pin::new(&mut sequence).poll(&mut executor) else {
        panic!("it was woken")
    };
    assert_eq!(lease.len(), 4);
    drop(lease);
    drop(pool.allocate_owned_async(agent, LAYER, 4).within(Duration::ZERO).unwrap());
    assert_whole(&pool);
}

/// A waker is its task's, and runs on the thread of whoever gives blocks back.
#[test]
fn a_waker_that_panics_harms_nobody_but_its_task() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a task's own affair");
        }
    }

    let pool = pool(10);
    let agent = pool.open_account().unwrap();
    let all = pool.allocate(agent, LAYER, 10).unwrap();
    let panics = Waker::from(Arc::new(Panics));
    let mut first = pool.allocate_async(agent, LAYER, 4);
    assert!(Pin::new(&mut first).poll(&mut Context::from_waker(&panics)).is_pending());
    let mut second = pool.allocate_async(agent, LAYER, 6);
    assert!(look(&mut second).is_pending());
    drop(all);
    let both = (ready(&mut first), ready(&mut second));
    assert_eq!(pool.usage().free, 0);
    drop(both);
    assert_whole(&pool);
}

/// Threads wait with deadlines short and long, give up, are granted blocks and free them, beside others
/// that do not wait: every thread ends, the blocks that are out never exceed the total, and all are there
/// in the end.
#[test]
fn many_threads_with_random_deadlines_keep_the_total() {
    const ROUNDS: u32 = 400;
    let pool = BlockPool::new(config(64).stripes(4).max_waiters(8)).unwrap();
    let (held, waited) = (AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        for seed in 1..=6_u32 {
            let (pool, held, waited) = (&pool, &held, &waited);
            scope.spawn(move || {
                let agent = pool.open_account().unwrap();
                let mut random = seed.wrapping_mul(0x9E37_79B9);
                for _ in 0..ROUNDS {
                    random ^= random << 13;
                    random ^= random >> 17;
                    random ^= random << 5;
                    let blocks = 1 + random % 40;
                    let timeout = Duration::from_micros(u64::from(random >> 8) % 300);
                    let lease = match pool.allocate_within(agent, LAYER, blocks, timeout) {
                        Ok(lease) => lease,
                        Err(WaitError::TimedOut { .. }) => {
                            waited.fetch_add(1, Ordering::Relaxed);
                            continue;
                        }
                        Err(error) => panic!("{error}"),
                    };
                    let before = held.fetch_add(blocks, Ordering::AcqRel);
                    assert!(before + blocks <= 64, "more blocks are out than there are");
                    thread::yield_now();
                    held.fetch_sub(blocks, Ordering::AcqRel);
                    drop(lease);
                }
                // Whatever the others do, this is served in its turn.
                drop(pool.allocate_within(agent, LAYER, 64, Duration::MAX).unwrap());
            });
        }
    });
    assert_whole(&pool);
}

/// Requests for everything beside a stream of small ones: each is served.
#[test]
fn a_big_request_is_not_starved_by_small_ones() {
    let pool = BlockPool::new(config(32).stripes(4)).unwrap();
    let done = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let agent = pool.open_account().unwrap();
                let mut kept = None;
                while done.load(Ordering::Acquire) == 0 {
                    // Two at a time are held, so the pool is never empty by itself.
                    let next = pool.allocate(agent, LAYER, 4);
                    kept = next.ok();
                }
                drop(kept);
            });
        }
        let agent = pool.open_account().unwrap();
        for _ in 0..100 {
            drop(pool.allocate_within(agent, LAYER, 32, Duration::MAX).unwrap());
        }
        done.store(1, Ordering::Release);
    });
    assert_whole(&pool);
}
