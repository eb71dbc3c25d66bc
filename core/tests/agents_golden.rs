//! The golden baseline test of the system that Latchless replaces: many threads move one agent while some
//! of them fail, and in the end the machine is consistent and nothing is left over.
#![cfg(not(latchless_loom))]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Barrier};
use std::thread;

use latchless::{AgentState, BlockPool, LayerId, ModelSpec, PoolConfig, StateMachine};

const THREADS: usize = 10;
const TRANSITIONS: usize = 100;

/// What the threads saw together.
#[derive(Default)]
struct Outcome {
    made: u64,
    refused: u64,
}

/// Ten threads, each 100 transitions along a walk of its own, in lockstep at the start only.
fn walk(machine: &StateMachine) -> Outcome {
    let barrier = Barrier::new(THREADS);
    let outcomes: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|i| {
                let (machine, barrier) = (&machine, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    let mut outcome = Outcome::default();
                    let mut version = 0;
                    for step in 0..TRANSITIONS {
                        let to = AgentState::ALL[(step * (i + 1) + i) % 4];
                        match machine.transition(to) {
                            Ok(after) => {
                                assert_eq!(after.state(), to);
                                assert!(after.version() > version, "a version came back");
                                version = after.version();
                                outcome.made += 1;
                            }
                            Err(refused) => {
                                assert_eq!(refused.to, to);
                                assert!(!refused.from.may_become(to), "{refused}");
                                outcome.refused += 1;
                            }
                        }
                    }
                    outcome
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    outcomes.iter().fold(Outcome::default(), |sum, one| Outcome {
        made: sum.made + one.made,
        refused: sum.refused + one.refused,
    })
}

/// Row 2: 1,000 iterations.
#[test]
fn concurrent_transitions_end_in_a_consistent_state() {
    for _ in 0..1_000 {
        let machine = StateMachine::new();
        let Outcome { made, refused } = walk(&machine);
        assert_eq!(made + refused, (THREADS * TRANSITIONS) as u64);
        assert_eq!(machine.snapshot().version(), made, "every change counts once");
        assert_ne!(machine.snapshot().state(), AgentState::UserInput, "nobody goes back there");
    }
}

/// One thread's turns: it takes blocks for each, and every third turn ends in a panic in its tools.
fn turns(machine: &StateMachine, pool: &BlockPool, token: &Arc<()>) -> u32 {
    let mut failed = 0;
    for turn in 0..TRANSITIONS {
        let agent = pool.open_account().unwrap();
        let result = catch_unwind(AssertUnwindSafe(|| {
            let _held = (Arc::clone(token), pool.allocate(agent, LayerId(0), 3).unwrap());
            for to in [AgentState::Assistant, AgentState::ToolExecution, AgentState::Response] {
                // Other threads move it too: a refusal is an answer here.
                let _moved = machine.transition(to);
            }
            // Not `panic!`: its message would be printed a thousand times.
            if turn % 3 == 0 {
                std::panic::resume_unwind(Box::new("a tool failed"));
            }
        }));
        failed += u32::from(result.is_err());
        assert_eq!(pool.close_account(agent), Some(0), "a failed turn kept blocks");
    }
    failed
}

/// Rows 2 and 3: threads and errors combined leave nothing over, in 100 consecutive runs.
#[test]
fn golden_threads_and_errors_leave_nothing_over() {
    let spec = ModelSpec::new(1, 1, 1, 1).unwrap();
    let pool = BlockPool::new(PoolConfig::new(100, spec)).unwrap();
    let token = Arc::new(());
    for _ in 0..100 {
        let machine = StateMachine::new();
        let failed: u32 = thread::scope(|scope| {
            let threads: Vec<_> =
                (0..THREADS).map(|_| scope.spawn(|| turns(&machine, &pool, &token))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(failed as usize, THREADS * TRANSITIONS.div_ceil(3));
        assert_eq!((pool.usage().used, Arc::strong_count(&token)), (0, 1));
        assert!(machine.snapshot().version() > 0);
    }
}
