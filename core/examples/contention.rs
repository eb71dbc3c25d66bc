//! A number of agents that share everything: what they did to each other, structure by structure.
//!
//! `cargo run --release -p latchless --example contention -- 8` for eight threads

use std::error::Error;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use latchless::{
    AdaptiveLimit, AgentId, AgentState, AgentType, BlockPool, ChangesetId, Directory, LayerId,
    ModelSpec, NewTask, Outbox, PlanContext, PoolConfig, SpawnSlots, StateMachine, TaskQueue,
    TaskQueueConfig, Tick, WorkerId,
};

const ROUNDS: u64 = 100_000;

fn main() -> Result<(), Box<dyn Error>> {
    let threads = match std::env::args().nth(1) {
        Some(threads) => threads.parse::<u16>()?.max(1),
        None => 4,
    };
    // Too few blocks, so that some have to wait, and one plan, outbox and machine for all, which a host would
    // not do.
    let blocks = 6 + u32::from(threads);
    let pool = Arc::new(BlockPool::new(PoolConfig::new(blocks, ModelSpec::new(1, 8, 128, 16)?))?);
    let directory = Directory::new(Arc::clone(&pool));
    let queue = TaskQueue::new(TaskQueueConfig::new(1_024))?;
    let plan = PlanContext::new();
    plan.start()?;
    let outbox = Outbox::new(100)?;
    let machine = StateMachine::new();
    let slots = SpawnSlots::new(threads.into())?;
    let wait = AdaptiveLimit::new(Duration::from_micros(50), Duration::from_secs(1))?;

    let begun = Instant::now();
    let tick = || Tick(begun.elapsed().as_micros() as u64);
    thread::scope(|scope| {
        let agents: Vec<_> = (0..threads)
            .map(|worker| {
                let (pool, directory, queue, plan) = (&pool, &directory, &queue, &plan);
                let (outbox, machine, slots, wait, tick) =
                    (&outbox, &machine, &slots, &wait, &tick);
                scope.spawn(move || -> Result<(), String> {
                    let say = |error: &dyn Error| error.to_string();
                    let slot = slots.reserve(tick()).map_err(|error| say(&error))?;
                    let id =
                        AgentId::new(format!("agent-{worker}")).map_err(|error| say(&error))?;
                    let agent = directory.get_or_register(&id).map_err(|error| say(&error))?;
                    for round in 0..ROUNDS {
                        slot.beat(tick());
                        // Refused when the queue is full: there is enough to do then.
                        let _full = queue.submit(NewTask::new(round).submitted_at(tick()));
                        if let Some(claim) = queue.claim(WorkerId(worker), AgentType(0), tick()) {
                            let begun = Instant::now();
                            let limit = wait.limit();
                            let lease = pool.allocate_within(agent, LayerId(0), 6, limit);
                            match &lease {
                                Ok(_) => wait.observe(begun.elapsed()),
                                Err(_) => _ = wait.expired(limit),
                            }
                            if round % 64 == 0 {
                                // In the middle of a task: another one gets the core.
                                thread::yield_now();
                            }
                            plan.record(round).map_err(|error| say(&error))?;
                            if round % 1_000 == 0 {
                                let newest = plan.start().map_err(|error| say(&error))?;
                                // Another agent may have sealed it.
                                drop(plan.seal(ChangesetId(newest.0 - 1)));
                            }
                            outbox.push(round);
                            // Most of them are refused: the machine is in another agent's turn.
                            let _refused = machine.transition(AgentState::ALL[round as usize % 4]);
                            queue.start(&claim).map_err(|error| say(&error))?;
                            queue.complete(&claim).map_err(|error| say(&error))?;
                            queue.forget(claim.task()).map_err(|error| say(&error))?;
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        let (mut oldest, mut most) = (None, 0);
        while agents.iter().any(|agent| !agent.is_finished()) {
            oldest = oldest.max(queue.oldest_pending(tick()).map(|age| age.ticks));
            most = most.max(pool.waiting().waiters);
            thread::sleep(Duration::from_millis(1));
        }
        println!("at some moment, {most} waited for blocks");
        println!("the oldest pending task had waited {:?}", oldest.map(Duration::from_micros));
        agents.into_iter().try_for_each(|agent| agent.join().map_err(|_| "an agent panicked")?)
    })?;

    println!("{threads} agents, {ROUNDS} rounds each:");
    println!("  pool           {:?}", pool.counters().total());
    println!("  waiting        {:?}", pool.waiting());
    println!("  wait limit     {:?}", wait.estimate());
    println!("  directory      {:?}", directory.contention());
    println!("  task queue     {:?}", queue.contention());
    println!("  plan           {:?}", plan.contention());
    println!("  outbox         {:?}", outbox.contention());
    println!("  state machine  {} retries", machine.retries());
    println!("  spawner slots  {:?}", slots.contention());
    Ok(())
}
