//! A task's way through the queue.

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group};
use latchless::{AgentType, Claim, NewTask, TaskId, TaskQueue, TaskQueueConfig, Tick, WorkerId};

type Queue = &'static TaskQueue<u64>;

const WORKER: WorkerId = WorkerId(3);

/// A queue that was used before, with eight tasks.
fn queue() -> Queue {
    let queue = TaskQueue::new(TaskQueueConfig::new(256)).expect("a possible queue");
    let queue: Queue = Box::leak(Box::new(queue));
    for task in 0..16 {
        queue.submit(NewTask::new(task)).expect("there is room");
    }
    for _ in 0..8 {
        let claim = claimed_of(queue);
        queue.start(&claim).expect("it was just claimed");
        queue.complete(&claim).expect("it was just started");
        queue.forget(claim.task()).expect("it was just completed");
    }
    queue
}

fn claimed_of(queue: Queue) -> Claim<u64> {
    queue.claim(WORKER, AgentType(0), Tick(0)).expect("there is a task")
}

fn claimed() -> (Queue, &'static Claim<u64>) {
    let queue = queue();
    (queue, Box::leak(Box::new(claimed_of(queue))))
}

fn started() -> (Queue, &'static Claim<u64>) {
    let (queue, claim) = claimed();
    queue.start(claim).expect("it was just claimed");
    (queue, claim)
}

fn completed() -> (Queue, TaskId) {
    let (queue, claim) = started();
    queue.complete(claim).expect("it was just started");
    (queue, claim.task())
}

#[library_benchmark(setup = queue)]
fn task_submit(queue: Queue) -> TaskId {
    queue.submit(black_box(NewTask::new(7))).expect("there is room")
}

#[library_benchmark(setup = queue)]
fn task_claim(queue: Queue) -> Claim<u64> {
    queue.claim(black_box(WORKER), AgentType(0), Tick(1)).expect("there is a task")
}

#[library_benchmark(setup = claimed)]
fn task_start((queue, claim): (Queue, &'static Claim<u64>)) {
    queue.start(black_box(claim)).expect("it was just claimed");
}

#[library_benchmark(setup = started)]
fn task_renew((queue, claim): (Queue, &'static Claim<u64>)) {
    queue.renew(black_box(claim), Tick(1)).expect("it is being done");
}

#[library_benchmark(setup = started)]
fn task_complete((queue, claim): (Queue, &'static Claim<u64>)) {
    queue.complete(black_box(claim)).expect("it was just started");
}

#[library_benchmark(setup = completed)]
fn task_forget((queue, task): (Queue, TaskId)) {
    queue.forget(black_box(task)).expect("it was just completed");
}

library_benchmark_group!(
    name = tasks_operations,
    benchmarks = [task_submit, task_claim, task_start, task_renew, task_complete, task_forget]
);
