//! A small plan with dependencies and priorities, four agents of two types, and one that dies on the way.
//!
//! `cargo run -p latchless --example task_queue`

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use latchless::{
    AgentType, NewTask, Priority, TaskGraph, TaskQueue, TaskQueueConfig, TaskStatus, Tick, WorkerId,
};

const CODER: AgentType = AgentType(0);
const WRITER: AgentType = AgentType(1);

fn main() -> Result<(), Box<dyn Error>> {
    let config = TaskQueueConfig::new(64).agent_types(2).lease(100);
    let queue = TaskQueue::new(config)?;

    let mut plan = TaskGraph::new();
    plan.add("design", NewTask::new("draw the parts").priority(Priority::High), [""; 0]);
    plan.add("parser", NewTask::new("write the parser").for_type(CODER), ["design"]);
    plan.add("lexer", NewTask::new("write the lexer").for_type(CODER), ["design"]);
    plan.add("tests", NewTask::new("test both").for_type(CODER), ["parser", "lexer"]);
    plan.add("manual", NewTask::new("write the manual").for_type(WRITER), ["design"]);
    plan.add("release", NewTask::new("publish").priority(Priority::Critical), ["tests", "manual"]);
    let names: Vec<_> = plan.names().map(str::to_owned).collect();
    let ids = queue.submit_graph(plan)?;

    // The host's clock: here a number that somebody advances.
    let clock = AtomicU64::new(0);
    let now = || Tick(clock.load(Ordering::Relaxed));
    let is_over = || {
        let over =
            |id| matches!(queue.status(id), Some(TaskStatus::Completed | TaskStatus::Failed(_)));
        ids.iter().all(|id| over(*id))
    };
    // It claims the first task, and is never seen again.
    let dead = queue.claim(WorkerId(99), CODER, now()).ok_or("a task that depends on nothing")?;
    println!("worker 99 claims {:?} and dies", dead.payload());

    thread::scope(|scope| {
        for (worker, agent_type) in [(1, CODER), (2, CODER), (3, WRITER), (4, WRITER)] {
            let (queue, now, is_over) = (&queue, &now, &is_over);
            scope.spawn(move || {
                while !is_over() {
                    let Some(claim) = queue.claim(WorkerId(worker), agent_type, now()) else {
                        thread::yield_now();
                        continue;
                    };
                    let what = *claim.payload();
                    let done = queue.start(&claim).and_then(|()| queue.complete(&claim));
                    println!("worker {worker}, attempt {}: {what}: {done:?}", claim.attempt());
                }
            });
        }
        // Somebody looks for leases that are over, every now and then.
        while !is_over() {
            let now = Tick(clock.fetch_add(1, Ordering::Relaxed));
            for claim in queue.reclaim_expired(now) {
                println!(
                    "tick {}: task {} taken back from worker {}",
                    now.0, claim.task, claim.worker
                );
            }
            thread::yield_now();
        }
    });
    match queue.complete(&dead) {
        Ok(()) => return Err("a late result was accepted".into()),
        Err(refused) => println!("worker 99 is not dead after all: {refused}"),
    }
    for (name, id) in names.iter().zip(&ids) {
        println!("{name}: {}", queue.status(*id).ok_or("nobody forgets")?);
        queue.forget(*id)?;
    }
    Ok(())
}
