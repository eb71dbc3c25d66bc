//! Counting how often threads come into each other's way.
//!
//! A structure without locks has no lock to watch. What stands in its place is the *retry*: a
//! compare-and-swap that another thread's came before, after which the loser looks again. Each structure
//! counts its own, by what was tried, and tells them in a struct of its own
//! ([`PlanContention`](crate::PlanContention), [`TaskContention`](crate::TaskContention), …; a pool in its
//! [`StripeCounters`](crate::StripeCounters)). A retry is some tens of nanoseconds; many of them for each
//! operation say that a structure is shared by more threads than it should be.
//!
//! # What counting costs
//!
//! Where nobody is met, no counter is touched: it stands on the branch that is taken when a swap has failed, which
//! is there anyway, and in a function that is not inlined. What is left are the instructions with which the compiler
//! keeps ready what that branch needs, 0 to 23 of an operation as measured (docs/agents.md). Whoever has failed adds
//! to a line of its own stripe, so counting makes nobody else fail.

// Not `crate::sync`'s: counters synchronise nothing, and a model would explore every order of them.
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use crate::sync::{default_stripes, thread_index};

/// Counts of `EVENTS` kinds of events, on a padded line for each stripe of threads.
#[derive(Debug)]
pub(crate) struct Tally<const EVENTS: usize>(Box<[CachePadded<[AtomicU64; EVENTS]>]>);

impl<const EVENTS: usize> Tally<EVENTS> {
    /// Nothing counted; as many stripes as threads may run at once.
    pub(crate) fn new() -> Self {
        Self::with_stripes(default_stripes())
    }

    /// For `stripes` stripes, a power of two.
    pub(crate) fn with_stripes(stripes: usize) -> Self {
        let zeros = || CachePadded::new(std::array::from_fn(|_| AtomicU64::new(0)));
        Self((0..stripes).map(|_| zeros()).collect())
    }

    pub(crate) fn stripes(&self) -> usize {
        self.0.len()
    }

    /// Counts an event of the calling thread.
    #[cold]
    #[inline(never)]
    pub(crate) fn count(&self, event: usize) {
        self.add(event, 1);
    }

    /// Counts an event of the calling thread so many times.
    pub(crate) fn add(&self, event: usize, times: u64) {
        let stripe = &self.0[thread_index() & (self.0.len() - 1)];
        // Relaxed: a number to look at; nothing is decided by it.
        stripe[event].fetch_add(times, Ordering::Relaxed);
    }

    /// What the threads of a stripe met.
    pub(crate) fn of(&self, stripe: usize, event: usize) -> u64 {
        self.0[stripe][event].load(Ordering::Relaxed)
    }

    /// What all threads met, stripe after stripe.
    pub(crate) fn sum(&self, event: usize) -> u64 {
        (0..self.0.len()).map(|stripe| self.of(stripe, event)).sum()
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;

    #[test]
    fn stripes_add_up() {
        let tally = Tally::<2>::with_stripes(4);
        tally.count(1);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    (0..1_000).for_each(|_| tally.count(1));
                    tally.add(0, 5);
                });
            }
        });
        assert_eq!((tally.sum(0), tally.sum(1), tally.stripes()), (40, 8_001, 4));
        let mine = thread_index() % 4;
        assert!(tally.of(mine, 1) >= 1);
    }
}

/// Where nothing can be made to come between a load and a compare-and-swap, loom makes it: of all orders of two
/// threads some have a retry, and none has two.
#[cfg(all(test, latchless_loom))]
mod loom_models {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use loom::sync::Arc;
    use loom::thread;

    use crate::sync::explore::explore;
    use crate::{
        AgentState, AgentType, BlockPool, LayerId, ModelSpec, NewTask, Outbox, PlanContext,
        PoolConfig, SpawnSlots, StateMachine, TaskQueue, TaskQueueConfig, Tick, WorkerId,
    };

    /// Two threads do something each with what `make` makes: `retries` of it is 0 or 1 afterwards, and both
    /// occur.
    fn counts_once<S: Send + Sync + 'static>(
        name: &'static str,
        make: fn() -> S,
        each: [fn(&S); 2],
        retries: fn(&S) -> u64,
    ) {
        let seen = std::sync::Arc::new(Mutex::new(BTreeSet::new()));
        let all = std::sync::Arc::clone(&seen);
        explore(name, Some(3), 2, move || {
            let shared = Arc::new(make());
            let other = Arc::clone(&shared);
            let thread = thread::spawn(move || each[1](&other));
            each[0](&shared);
            thread.join().unwrap();
            all.lock().unwrap().insert(retries(&shared));
        });
        assert_eq!(*seen.lock().unwrap(), BTreeSet::from([0, 1]), "{name}");
    }

    #[test]
    fn loom_retries_of_a_state_machine() {
        let go = |machine: &StateMachine| _ = machine.transition(AgentState::Assistant);
        let set = |machine: &StateMachine| _ = machine.set_completion(true);
        counts_once("retries: state machine", StateMachine::new, [go, set], StateMachine::retries);
    }

    #[test]
    fn loom_retries_of_spawner_slots() {
        let make = || SpawnSlots::new(2).unwrap();
        let reserve = |slots: &SpawnSlots| std::mem::forget(slots.reserve(Tick(0)).unwrap());
        let retries = |slots: &SpawnSlots| slots.contention().reserve_retries;
        counts_once("retries: spawner slots", make, [reserve; 2], retries);
    }

    #[test]
    fn loom_retries_of_pushes_and_pops() {
        let make = || Outbox::new(2).unwrap();
        let push = |outbox: &Outbox<u8>| assert!(outbox.push(1).is_none());
        let retries = |outbox: &Outbox<u8>| outbox.contention().push_retries;
        counts_once("retries: pushes", make, [push; 2], retries);
        let full = || {
            let outbox = Outbox::new(2).unwrap();
            assert!(outbox.push(1).is_none() && outbox.push(2).is_none());
            outbox
        };
        let pop = |outbox: &Outbox<u8>| assert!(outbox.pop().is_some());
        let retries = |outbox: &Outbox<u8>| outbox.contention().pop_retries;
        counts_once("retries: pops", full, [pop; 2], retries);
    }

    #[test]
    fn loom_retries_of_starts_and_records() {
        let start = |plan: &PlanContext<u8>| _ = plan.start().unwrap();
        let retries = |plan: &PlanContext<u8>| plan.contention().start_retries;
        counts_once("retries: starts", PlanContext::new, [start; 2], retries);
        let started = || {
            let plan = PlanContext::new();
            plan.start().unwrap();
            plan
        };
        let record = |plan: &PlanContext<u8>| _ = plan.record(1).unwrap();
        let retries = |plan: &PlanContext<u8>| plan.contention().record_retries;
        counts_once("retries: records", started, [record; 2], retries);
    }

    #[test]
    fn loom_retries_of_claims() {
        let make = || {
            let queue = TaskQueue::new(TaskQueueConfig::new(2)).unwrap();
            queue.submit(NewTask::new(1)).unwrap();
            queue
        };
        let claim = |queue: &TaskQueue<u8>| _ = queue.claim(WorkerId(0), AgentType(0), Tick(0));
        let retries = |queue: &TaskQueue<u8>| queue.contention().claim_retries;
        counts_once("retries: claims", make, [claim; 2], retries);
    }

    #[test]
    fn loom_retries_of_a_pool() {
        fn make() -> (BlockPool, [crate::AgentHandle; 2]) {
            let spec = ModelSpec::new(1, 1, 1, 1).unwrap();
            let config = PoolConfig::new(4, spec).stripes(1).max_agents(2).max_waiters(1);
            let pool = BlockPool::new(config).unwrap();
            let agents = [(); 2].map(|()| pool.open_account().unwrap());
            (pool, agents)
        }
        type Shared = (BlockPool, [crate::AgentHandle; 2]);
        fn allocate((pool, agents): &Shared, agent: usize) {
            std::mem::forget(pool.allocate(agents[agent], LayerId(0), 1).unwrap());
        }
        let own: [fn(&Shared); 2] = [|shared| allocate(shared, 0), |shared| allocate(shared, 1)];
        let same: [fn(&Shared); 2] = [|shared| allocate(shared, 0); 2];
        counts_once("retries: stripes", make, own, |(pool, _)| {
            pool.counters().total().stripe_retries
        });
        counts_once("retries: spans", make, own, |(pool, _)| pool.counters().total().span_retries);
        counts_once("retries: accounts", make, same, |(pool, _)| {
            pool.counters().total().account_retries
        });
    }
}
