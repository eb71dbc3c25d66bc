//! Threads that come into each other's way as often as they can, and sums that must be right all the same:
//! the paths on which a compare-and-swap is lost, or a place is closed while it is being filled.
#![cfg(not(any(latchless_loom, latchless_shuttle)))]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use latchless::{
    AdaptiveLimit, AgentState, BlockHandle, BlockPool, ChangesetId, LayerId, ModelSpec, Outbox,
    PlanContext, PoolConfig, SpawnSlots, StateMachine, Tick,
};

const THREADS: usize = 4;

/// Threads that begin together; what each returns.
fn together<R: Send>(work: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let begin = Barrier::new(THREADS);
    thread::scope(|scope| {
        let (begin, work) = (&begin, &work);
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    begin.wait();
                    work(thread)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// All start, record and seal: every record is read once, whoever seals.
#[test]
fn changesets_that_all_start_and_seal_lose_nothing() {
    const ROUNDS: u64 = 20_000;
    let plan = PlanContext::new();
    let read = AtomicU64::new(0);
    let seal = |changeset| {
        if let Ok(sealed) = plan.seal(changeset) {
            read.fetch_add(sealed.sum(), Ordering::Relaxed);
        }
    };
    let recorded = together(|thread| {
        let mut recorded = 0;
        for round in 0..ROUNDS {
            let newest = plan.start().unwrap();
            for change in 0..4 {
                let number = round * 4 + change + thread as u64;
                recorded += plan.record(number).map_or(0, |_| number);
            }
            seal(newest);
        }
        recorded
    });
    (0..=plan.newest().unwrap().0).map(ChangesetId).for_each(seal);
    assert_eq!(read.into_inner(), recorded.into_iter().sum::<u64>());
    assert_eq!(plan.newest(), Some(ChangesetId(ROUNDS * THREADS as u64 - 1)));
}

/// Each change of a machine is one version, however many were lost on the way to it.
#[test]
fn states_that_all_change_are_counted_once_each() {
    let machine = StateMachine::new();
    machine.transition(AgentState::Assistant).unwrap();
    let changed = together(|_| {
        let mut changed = 0;
        for _ in 0..100_000 {
            let to = machine.snapshot().state().followers()[0];
            changed += u64::from(machine.transition(to).is_ok());
        }
        changed
    });
    assert_eq!(machine.snapshot().version(), 1 + changed.into_iter().sum::<u64>());
}

/// Two agents for one slot: it is given back as often as it was had.
#[test]
fn a_slot_that_all_want_is_had_one_at_a_time() {
    let slots = SpawnSlots::new(1).unwrap();
    let inside = AtomicU64::new(0);
    let had = together(|_| {
        let mut had = 0_u64;
        for _ in 0..100_000 {
            if let Ok(slot) = slots.reserve(Tick(had)) {
                assert_eq!(inside.fetch_add(1, Ordering::AcqRel), 0);
                slot.beat(Tick(had + 1));
                inside.fetch_sub(1, Ordering::AcqRel);
                drop(slot);
                had += 1;
            }
        }
        had
    });
    assert!(had.into_iter().sum::<u64>() > 0);
    assert_eq!(slots.running(), 0);
}

/// A small outbox that all push into and pop from: what went in came out.
#[test]
fn an_outbox_that_all_use_loses_nothing() {
    let outbox = Outbox::new(2).unwrap();
    let sums = together(|thread| {
        let (mut pushed, mut taken) = (0_u64, 0_u64);
        for i in 0..50_000 {
            let item = i * THREADS as u64 + thread as u64;
            pushed += item;
            taken += outbox.push(item).unwrap_or(0);
            taken += outbox.pop().unwrap_or(0);
        }
        (pushed, taken)
    });
    let left: u64 = std::iter::from_fn(|| outbox.pop()).sum();
    let [pushed, taken] = [sums.iter().map(|s| s.0).sum::<u64>(), sums.iter().map(|s| s.1).sum()];
    assert_eq!(pushed, taken + left);
}

/// Two measure at once: the estimate is of the measurements, and neither is lost for good.
#[test]
fn a_limit_that_all_measure_for_stays_within_its_bounds() {
    let limit = AdaptiveLimit::new(Duration::from_micros(10), Duration::from_millis(100)).unwrap();
    together(|thread| {
        for i in 0..50_000_u64 {
            limit.observe(Duration::from_micros(100 + thread as u64));
            if i % 1_000 == 0 {
                limit.expired(limit.limit());
            }
        }
    });
    for _ in 0..100 {
        limit.observe(Duration::from_micros(100));
    }
    let now = limit.limit();
    assert!((Duration::from_micros(100)..Duration::from_millis(1)).contains(&now), "{now:?}");
}

/// Handles of many spans, more than the list of claims has room for, are in order and can be freed; also
/// with what others take and free meanwhile.
#[test]
fn handles_from_many_spans_while_others_free() {
    let spec = ModelSpec::new(1, 1, 1, 1).unwrap();
    let pool = Arc::new(BlockPool::new(PoolConfig::new(8_192, spec)).unwrap());
    let agents = together(|_| {
        let agent = pool.open_account().unwrap();
        let mut handles = vec![BlockHandle::default(); 1_500];
        for _ in 0..200 {
            // One block of two is free: as many spans as there can be.
            let all: Vec<_> =
                (0..400).map(|_| pool.allocate(agent, LayerId(0), 1).unwrap()).collect();
            let kept: Vec<_> = all.into_iter().step_by(2).collect();
            pool.allocate_handles(agent, LayerId(0), &mut handles).unwrap();
            assert!(handles.is_sorted_by_key(|handle| handle.block()));
            pool.free(agent, &handles).unwrap();
            drop(kept);
        }
        agent
    });
    for agent in agents {
        assert_eq!(pool.used_by(agent), 0);
    }
    assert_eq!(pool.usage().used, 0);
}
