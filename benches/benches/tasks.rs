//! The task queue's interface, one thread; its way from submit to forget beside the locked port is in
//! `agents`.

mod support;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use latchless::{
    AgentType, Claim, NewTask, Priority, Reclaimed, TaskGraph, TaskId, TaskQueue, TaskQueueConfig,
    Tick, WorkerId,
};

use crate::support::quick;

const WORKER: WorkerId = WorkerId(3);

fn queue() -> TaskQueue<u64> {
    let config = TaskQueueConfig::new(1_024).agent_types(4).lease(1_000);
    TaskQueue::new(config).expect("a possible queue")
}

fn claim(queue: &TaskQueue<u64>) -> Claim<u64> {
    queue.claim(WORKER, AgentType(0), Tick(0)).expect("there is a task")
}

fn forget(queue: &TaskQueue<u64>, claim: &Claim<u64>) {
    queue.start(claim).expect("it was just claimed");
    queue.complete(claim).expect("it was just started");
    queue.forget(claim.task()).expect("it was just completed");
}

fn fail(queue: &TaskQueue<u64>, claim: &Claim<u64>) {
    queue.start(claim).expect("it was just claimed");
    queue.fail(black_box(claim)).expect("it was just started");
    queue.forget(claim.task()).expect("it has just failed");
}

fn claims(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("task");
    let queue = queue();
    group.bench_function("submit, claim, start, complete, forget", |bencher| {
        bencher.iter(|| {
            queue.submit(black_box(NewTask::new(1))).expect("there is room");
            forget(&queue, &claim(&queue));
        });
    });
    group.bench_function("the same by priority and type", |bencher| {
        bencher.iter(|| {
            let task = NewTask::new(1).priority(Priority::High).for_type(AgentType(0));
            queue.submit(black_box(task)).expect("there is room");
            forget(&queue, &claim(&queue));
        });
    });
    group.bench_function("claim where there is nothing", |bencher| {
        bencher.iter(|| queue.claim(black_box(WORKER), AgentType(1), Tick(0)).is_none());
    });
    // A task has three attempts: each iteration needs one of its own.
    group.bench_function("submit, claim, give back; claim again and finish", |bencher| {
        bencher.iter(|| {
            queue.submit(NewTask::new(1)).expect("there is room");
            let given_up = claim(&queue);
            queue.give_back(black_box(&given_up)).expect("it was just claimed");
            forget(&queue, &claim(&queue));
        });
    });
    group.bench_function("submit, claim, start, fail, forget", |bencher| {
        bencher.iter(|| {
            queue.submit(NewTask::new(1)).expect("there is room");
            fail(&queue, &claim(&queue));
        });
    });
    queue.submit(NewTask::new(1)).expect("there is room");
    let held = claim(&queue);
    queue.start(&held).expect("it was just claimed");
    group.bench_function("renew", |bencher| {
        bencher.iter(|| queue.renew(black_box(&held), Tick(5)).expect("it is being done"));
    });
    group.bench_function("status", |bencher| bencher.iter(|| queue.status(black_box(held.task()))));
    group.bench_function("snapshot", |bencher| bencher.iter(|| queue.snapshot()));
    group.bench_function("counts", |bencher| bencher.iter(|| queue.counts()));
    group.bench_function("contention", |bencher| bencher.iter(|| queue.contention()));
    group.bench_function("oldest pending", |bencher| {
        bencher.iter(|| queue.oldest_pending(black_box(Tick(9))));
    });
    group.bench_function("take back what expired, nothing has", |bencher| {
        bencher.iter(|| queue.reclaim_expired(black_box(Tick(9))));
    });
    group.finish();
}

/// Both walk over the slots, so most of their time is the walk's.
fn reclaims(criterion: &mut Criterion) {
    let queue = queue();
    let mut group = criterion.benchmark_group("reclaim");
    let mut back = |name, reclaim: &dyn Fn() -> Vec<Reclaimed>| {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                queue.submit(NewTask::new(1)).expect("there is room");
                drop(claim(&queue));
                assert_eq!(black_box(reclaim()).len(), 1, "one was claimed");
                forget(&queue, &claim(&queue));
            });
        });
    };
    back("submit, claim, take back what expired; claim again and finish", &|| {
        queue.reclaim_expired(Tick(10_000))
    });
    back("submit, claim, take back a dead worker's; claim again and finish", &|| {
        queue.reclaim_worker(WORKER)
    });
    group.finish();
}

fn refusals(criterion: &mut Criterion) {
    let full = TaskQueue::new(TaskQueueConfig::new(1)).expect("a possible queue");
    full.submit(NewTask::new(1_u64)).expect("the first");
    let mut group = criterion.benchmark_group("task, refused");
    group.bench_function("the queue is full", |bencher| {
        bencher.iter(|| full.submit(black_box(NewTask::new(2))).is_err());
    });
    group.bench_function("another type than there is", |bencher| {
        let task = || NewTask::new(2).for_type(AgentType(9));
        bencher.iter(|| full.submit(black_box(task())).is_err());
    });
    group.finish();
}

/// Each task waits for the one before.
fn chain() -> TaskGraph<u64> {
    let names: Vec<_> = (0..16).map(|number| format!("task {number}")).collect();
    let mut graph = TaskGraph::new();
    for (number, name) in names.iter().enumerate() {
        let before = number.checked_sub(1).map(|before| names[before].clone());
        graph.add(name.clone(), NewTask::new(number as u64), before);
    }
    graph
}

fn graphs(criterion: &mut Criterion) {
    let queue = queue();
    let mut group = criterion.benchmark_group("task graph");
    group.bench_function("check 16 in a chain", |bencher| {
        let graph = chain();
        bencher.iter(|| black_box(&graph).check());
    });
    group.bench_function("submit 16 in a chain, and do them", |bencher| {
        let work = |graph| {
            let ids: Vec<TaskId> = queue.submit_graph(graph).expect("there is room");
            let claims: Vec<_> = ids
                .iter()
                .map(|_| {
                    let claim = claim(&queue);
                    queue.start(&claim).expect("it was just claimed");
                    queue.complete(&claim).expect("it was just started");
                    claim
                })
                .collect();
            for claim in &claims {
                queue.forget(claim.task()).expect("it was just completed");
            }
        };
        bencher.iter_batched(chain, work, BatchSize::SmallInput);
    });
    group.bench_function("submit 16 in a chain, and fail the first", |bencher| {
        let work = |graph| {
            let ids: Vec<TaskId> = queue.submit_graph(graph).expect("there is room");
            fail(&queue, &claim(&queue));
            for id in &ids[1..] {
                queue.forget(*id).expect("it failed with the first");
            }
        };
        bencher.iter_batched(chain, work, BatchSize::SmallInput);
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = quick();
    targets = claims, reclaims, refusals, graphs
}
criterion_main!(benches);
