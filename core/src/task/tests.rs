//! The queue by one thread, case by case; and by ten.

use std::collections::HashSet;
use std::sync::Barrier;
use std::thread;

use super::*;

const ANY: AgentType = AgentType(0);
const NOW: Tick = Tick(0);
const ME: WorkerId = WorkerId(1);

fn queue(capacity: usize) -> TaskQueue<u32> {
    TaskQueue::new(TaskQueueConfig::new(capacity).agent_types(3)).unwrap()
}

fn started<T>(queue: &TaskQueue<T>, worker: WorkerId) -> Claim<T> {
    let claim = queue.claim(worker, ANY, NOW).unwrap();
    queue.start(&claim).unwrap();
    claim
}

#[test]
fn case_29_twenty_tasks_ten_agents_five_claims_each() {
    for _ in 0..200 {
        let queue = queue(20);
        let submitted: HashSet<_> =
            (0..20).map(|i| queue.submit(NewTask::new(i)).unwrap()).collect();
        let barrier = Barrier::new(10);
        let (queue, barrier) = (&queue, &barrier);
        let claimed: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..10)
                .map(|i| {
                    scope.spawn(move || {
                        barrier.wait();
                        let claim = |_| queue.claim(WorkerId(i), ANY, NOW);
                        (0..5).filter_map(claim).collect::<Vec<_>>()
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(claimed.len(), 20);
        assert_eq!(claimed.iter().map(Claim::task).collect::<HashSet<_>>(), submitted);
        let payloads: HashSet<_> = claimed.iter().map(|claim| *claim.payload()).collect();
        assert_eq!(payloads.len(), 20);
        for claim in &claimed {
            let assigned = TaskStatus::Assigned { worker: claim.worker(), attempt: 1 };
            assert_eq!(queue.status(claim.task()), Some(assigned));
        }
    }
}

#[test]
fn case_29_high_before_low_and_types_apart() {
    let queue = queue(100);
    let mut payload = 0;
    let mut submit = |priority, agent_type: Option<u8>| {
        payload += 1;
        let task = NewTask::new(payload).priority(priority);
        let task = agent_type.map(AgentType).into_iter().fold(task, NewTask::for_type);
        queue.submit(task).unwrap();
    };
    submit(Priority::Low, None);
    submit(Priority::Normal, Some(1));
    submit(Priority::High, Some(2));
    submit(Priority::Critical, None);
    submit(Priority::High, Some(1));
    submit(Priority::Normal, Some(1));
    let claims = |agent_type| {
        let claim = || queue.claim(ME, AgentType(agent_type), NOW).map(|claim| *claim.payload());
        std::iter::from_fn(claim).collect::<Vec<_>>()
    };
    assert_eq!(claims(1), [4, 5, 2, 6, 1], "critical, high, normal in order, low");
    assert_eq!(claims(0), []);
    assert_eq!(claims(200), [], "a type that the queue does not know gets what any type gets");
    assert_eq!(claims(2), [3]);
}

#[test]
fn tasks_of_one_thread_come_in_order() {
    let queue = queue(64);
    for round in 0..10 {
        for i in 0..40 {
            queue.submit(NewTask::new(round * 40 + i)).unwrap();
        }
        for i in 0..40 {
            let claim = started(&queue, ME);
            assert_eq!(*claim.payload(), round * 40 + i);
            queue.complete(&claim).unwrap();
            queue.forget(claim.task()).unwrap();
        }
    }
}

#[test]
fn case_30_a_claim_returns_when_its_lease_is_over_and_its_late_result_is_refused() {
    let queue = TaskQueue::new(TaskQueueConfig::new(1).lease(10)).unwrap();
    let task = queue.submit(NewTask::new(5)).unwrap();
    let dead = queue.claim(WorkerId(1), ANY, Tick(100)).unwrap();
    queue.start(&dead).unwrap();
    assert_eq!(queue.reclaim_expired(Tick(110)), []);
    let back = Reclaimed { task, worker: WorkerId(1), attempt: 1, used_up: false };
    assert_eq!(queue.reclaim_expired(Tick(111)), [back]);
    let lost = |now| Err(ClaimError::Lost { task, attempt: 1, now: Some(now) });
    assert_eq!(queue.complete(&dead), lost(TaskStatus::Pending));

    let next = queue.claim(WorkerId(2), ANY, Tick(200)).unwrap();
    assert_eq!((next.attempt(), *next.payload()), (2, 5));
    let now = TaskStatus::Assigned { worker: WorkerId(2), attempt: 2 };
    for refused in [
        queue.start(&dead),
        queue.complete(&dead),
        queue.fail(&dead),
        queue.give_back(&dead),
        queue.renew(&dead, Tick(200)),
    ] {
        assert_eq!(refused, lost(now));
    }
    queue.start(&next).unwrap();
    queue.complete(&next).unwrap();
    assert_eq!(queue.complete(&dead), lost(TaskStatus::Completed));
    queue.forget(task).unwrap();
    let refused = queue.complete(&dead).unwrap_err();
    assert_eq!(refused, ClaimError::Lost { task, attempt: 1, now: None });
    assert!(refused.to_string().contains("the task is forgotten"), "{refused}");
}

#[test]
fn a_renewed_claim_stays() {
    let queue = TaskQueue::new(TaskQueueConfig::new(2).lease(10)).unwrap();
    let task = queue.submit(NewTask::new(())).unwrap();
    let claim = queue.claim(ME, ANY, NOW).unwrap();
    for now in 1..10 {
        queue.renew(&claim, Tick(now * 10)).unwrap();
        assert_eq!(queue.reclaim_expired(Tick(now * 10 + 10)), []);
    }
    queue.start(&claim).unwrap();
    queue.complete(&claim).unwrap();
    let (now, wanted) = (TaskStatus::Completed, "renewed");
    assert_eq!(queue.renew(&claim, NOW), Err(ClaimError::NotAStep { task, now, wanted }));
}

#[test]
fn a_dead_workers_claims_return_and_no_others() {
    let queue = queue(10);
    for i in 0..4 {
        queue.submit(NewTask::new(i)).unwrap();
    }
    let claims = [1, 2, 1, 2].map(|worker| queue.claim(WorkerId(worker), ANY, NOW).unwrap());
    queue.start(&claims[2]).unwrap();
    let back: Vec<_> = queue.reclaim_worker(WorkerId(1)).iter().map(|back| back.task).collect();
    assert_eq!(back, [claims[0].task(), claims[2].task()]);
    assert_eq!(queue.counts(), TaskCounts { pending: 2, assigned: 2, ..TaskCounts::default() });
}

#[test]
fn attempts_are_used_up() {
    let queue = TaskQueue::new(TaskQueueConfig::new(4).max_attempts(2)).unwrap();
    let mut graph = TaskGraph::new();
    graph.add("first", NewTask::new(()), [""; 0]).add("second", NewTask::new(()), ["first"]);
    let tasks = queue.submit_graph(graph).unwrap();
    for attempt in 1..=2 {
        let claim = started(&queue, ME);
        assert_eq!(claim.attempt(), attempt);
        queue.give_back(&claim).unwrap();
    }
    assert!(queue.claim(ME, ANY, NOW).is_none());
    let used_up = Failure::AttemptsUsedUp { attempts: 2 };
    assert_eq!(queue.status(tasks[0]), Some(TaskStatus::Failed(used_up)));
    let skipped = Failure::DependencyFailed { dependency: tasks[0] };
    assert_eq!(queue.status(tasks[1]), Some(TaskStatus::Failed(skipped)));
}

/// The old queue let a completed task become in progress again.
#[test]
fn case_31_status_moves_along_its_path_only() {
    let queue = queue(1);
    let task = queue.submit(NewTask::new(0)).unwrap();
    let not_over = ForgetError::NotOver { task, now: TaskStatus::Pending };
    assert_eq!(queue.forget(task), Err(not_over));
    let claim = queue.claim(ME, ANY, NOW).unwrap();
    let (worker, attempt) = (ME, 1);
    let refused = |now, wanted| Err(ClaimError::NotAStep { task, now, wanted });

    let now = TaskStatus::Assigned { worker, attempt };
    assert_eq!(queue.complete(&claim), refused(now, "completed"));
    assert_eq!(queue.fail(&claim), refused(now, "failed"));
    queue.start(&claim).unwrap();
    let now = TaskStatus::InProgress { worker, attempt };
    assert_eq!(queue.start(&claim), refused(now, "in progress"));
    queue.complete(&claim).unwrap();
    let now = TaskStatus::Completed;
    assert_eq!(queue.start(&claim), refused(now, "in progress"));
    assert_eq!(queue.complete(&claim), refused(now, "completed"));
    assert_eq!(queue.fail(&claim), refused(now, "failed"));
    assert_eq!(queue.give_back(&claim), refused(now, "pending"));
    assert_eq!(queue.reclaim_worker(ME), []);
    assert_eq!(queue.status(task), Some(TaskStatus::Completed));
    queue.forget(task).unwrap();
    assert_eq!(queue.forget(task), Err(ForgetError::Unknown { task }));
}

#[test]
fn the_id_of_a_forgotten_task_finds_nothing() {
    let queue = queue(1);
    let first = queue.submit(NewTask::new(1)).unwrap();
    let claim = started(&queue, ME);
    queue.complete(&claim).unwrap();
    queue.forget(first).unwrap();
    let second = queue.submit(NewTask::new(2)).unwrap();
    assert_eq!((second.slot(), queue.status(first)), (first.slot(), None), "the slot is the same");
    assert_ne!(first, second);
    let next = started(&queue, ME);
    assert_eq!((next.task(), next.attempt()), (second, 1));
    assert_eq!(queue.fail(&claim), Err(ClaimError::Lost { task: first, attempt: 1, now: None }));
    queue.complete(&next).unwrap();
    assert_eq!(queue.forget(first), Err(ForgetError::Unknown { task: first }));
    assert_eq!(queue.status(second), Some(TaskStatus::Completed));
}

#[test]
fn case_37_a_task_whose_dependency_failed_never_runs_and_says_why() {
    let queue = queue(10);
    let mut graph = TaskGraph::new();
    graph.add("deploy", NewTask::new(4), ["test", "docs"]);
    graph.add("test", NewTask::new(2), ["build"]);
    graph.add("docs", NewTask::new(3), [""; 0]);
    graph.add("build", NewTask::new(1), [""; 0]);
    let ids = queue.submit_graph(graph).unwrap();
    let [deploy, test, docs, build] = ids[..] else { panic!("four tasks") };
    assert_eq!(queue.counts(), TaskCounts { waiting: 2, pending: 2, ..TaskCounts::default() });
    for _ in 0..2 {
        let claim = started(&queue, ME);
        if claim.task() == docs {
            queue.complete(&claim).unwrap();
        } else {
            assert_eq!(claim.task(), build);
            queue.fail(&claim).unwrap();
        }
    }
    assert!(queue.claim(ME, ANY, NOW).is_none(), "the others never run");
    let why = |dependency| Some(TaskStatus::Failed(Failure::DependencyFailed { dependency }));
    assert_eq!((queue.status(test), queue.status(deploy)), (why(build), why(test)));
    // Also when the cause is forgotten.
    queue.forget(build).unwrap();
    queue.forget(test).unwrap();
    let status = queue.status(deploy).unwrap().to_string();
    assert_eq!(status, format!("failed: it depends on task {test}, which failed"));
}

#[test]
fn a_graph_runs_in_its_order() {
    let queue = queue(64);
    let mut graph = TaskGraph::new();
    // 5 layers of 10, each task after all of the layer before.
    for layer in 0..5_u32 {
        for i in 0..10 {
            let before = (0..10).filter(|_| layer > 0).map(|i| format!("{}.{i}", layer - 1));
            graph.add(format!("{layer}.{i}"), NewTask::new(layer), before);
        }
    }
    queue.submit_graph(graph).unwrap();
    let (queue, done) = (&queue, &std::array::from_fn::<_, 5, _>(|_| AtomicU32::new(0)));
    let total = || done.iter().map(|count| count.load(Ordering::Relaxed)).sum::<u32>();
    thread::scope(|scope| {
        for worker in 0..4 {
            scope.spawn(move || {
                while total() < 50 {
                    let Some(claim) = queue.claim(WorkerId(worker), ANY, NOW) else {
                        thread::yield_now();
                        continue;
                    };
                    queue.start(&claim).unwrap();
                    let layer = *claim.payload() as usize;
                    if layer > 0 {
                        assert_eq!(done[layer - 1].load(Ordering::Relaxed), 10, "too early");
                    }
                    done[layer].fetch_add(1, Ordering::Relaxed);
                    queue.complete(&claim).unwrap();
                    queue.forget(claim.task()).unwrap();
                }
            });
        }
    });
    assert_eq!(queue.counts(), TaskCounts::default());
}

use std::sync::atomic::{AtomicU32, Ordering};

#[test]
fn what_is_refused_comes_back_and_leaves_nothing() {
    let queue = queue(2);
    let task = NewTask::new(7).for_type(AgentType(3));
    let refused = queue.submit(task.clone()).unwrap_err();
    assert_eq!(refused.into_task(), task);
    queue.submit(NewTask::new(1)).unwrap();

    let mut graph = TaskGraph::new();
    graph.add("a", NewTask::new(1), [""; 0]).add("b", NewTask::new(2), ["a"]);
    let refused = queue.submit_graph(graph.clone()).unwrap_err();
    assert_eq!(refused.graph, graph);
    assert_eq!(refused.refusal, GraphRefusal::Full { tasks: 2, used: 1, capacity: 2 });
    graph.add("c", task, ["c"]);
    let refused = queue.submit_graph(graph.clone()).unwrap_err();
    assert!(matches!(refused.refusal, GraphRefusal::Graph(GraphError::Circular { .. })));

    queue.submit(NewTask::new(2)).unwrap();
    let full = queue.submit(NewTask::new(3)).unwrap_err();
    assert_eq!(full, SubmitError::Full { capacity: 2, task: NewTask::new(3) });
    assert_eq!(queue.counts().pending, 2);
}

#[test]
fn a_queue_must_be_possible() {
    let made = |config: TaskQueueConfig| TaskQueue::<()>::new(config).map(drop).unwrap_err();
    let config = TaskQueueConfig::new(1);
    assert_eq!(made(TaskQueueConfig::new(0)), TaskQueueConfigError::Capacity { capacity: 0 });
    assert_eq!(made(config.agent_types(63)), TaskQueueConfigError::AgentTypes { types: 63 });
    assert_eq!(
        made(config.max_attempts(4_096)),
        TaskQueueConfigError::Attempts { max_attempts: 4_096 }
    );
    assert_eq!(made(config.lease(0)), TaskQueueConfigError::Lease { ticks: 0 });
    assert!(TaskQueue::<()>::new(config.agent_types(62).max_attempts(4_095)).is_ok());
}

/// Payloads are dropped when their task is forgotten, and with the queue.
#[test]
fn nothing_is_left_over() {
    let payload = std::sync::Arc::new(());
    let queue = TaskQueue::new(TaskQueueConfig::new(8)).unwrap();
    for _ in 0..100 {
        queue.submit(NewTask::new(payload.clone())).unwrap();
        let claim = started(&queue, ME);
        queue.complete(&claim).unwrap();
        queue.forget(claim.task()).unwrap();
    }
    assert_eq!(std::sync::Arc::strong_count(&payload), 1);
    queue.submit(NewTask::new(payload.clone())).unwrap();
    drop(queue);
    assert_eq!(std::sync::Arc::strong_count(&payload), 1);
}

/// Agents that die at random, and one that takes their claims back: every task is completed once.
#[test]
fn every_task_is_completed_once_though_agents_die() {
    const TASKS: usize = 2_000;
    let config = TaskQueueConfig::new(64).max_attempts(4_095).lease(1);
    let queue = TaskQueue::new(config).unwrap();
    let completed: Vec<_> = (0..TASKS).map(|_| AtomicU32::new(0)).collect();
    let done = || completed.iter().all(|count| count.load(Ordering::Relaxed) == 1);
    let (queue, completed, done) = (&queue, &completed, &done);
    thread::scope(|scope| {
        scope.spawn(move || {
            for task in 0..TASKS {
                while queue.submit(NewTask::new(task)).is_err() {
                    thread::yield_now();
                }
            }
        });
        for worker in 0..3 {
            scope.spawn(move || {
                let mut steps = 0_u64;
                while !done() {
                    let Some(claim) = queue.claim(WorkerId(worker), ANY, Tick(steps)) else {
                        thread::yield_now();
                        continue;
                    };
                    steps += 1;
                    // Every fifth time it dies on the way.
                    if steps.is_multiple_of(5) || queue.start(&claim).is_err() {
                        continue;
                    }
                    if queue.complete(&claim).is_ok() {
                        completed[*claim.payload()].fetch_add(1, Ordering::Relaxed);
                        queue.forget(claim.task()).unwrap();
                    }
                }
            });
        }
        scope.spawn(move || {
            let mut now = 0;
            while !done() {
                now += 1;
                queue.reclaim_expired(Tick(now * 100));
                thread::yield_now();
            }
        });
    });
    assert_eq!(queue.counts(), TaskCounts::default());
}
