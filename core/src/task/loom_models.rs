//! Models of the queue: whatever threads do at the same time, a task is one agent's, and a claimable one
//! is found.
//!
//! What changes things is on the first thread, and who looks at them on another: loom tries a load before
//! the writes that it came after, and not the other way round.

use loom::sync::Arc;
use loom::thread;

use super::*;
use crate::sync::explore::explore;
use crate::sync::{AtomicU32, Ordering};

const ANY: AgentType = AgentType(0);
const NOW: Tick = Tick(0);

fn queue(capacity: usize) -> Arc<TaskQueue<u32>> {
    Arc::new(TaskQueue::new(TaskQueueConfig::new(capacity).lease(10)).unwrap())
}

fn claim(queue: &TaskQueue<u32>, worker: u16) -> Option<Claim<u32>> {
    queue.claim(WorkerId(worker), ANY, NOW)
}

fn started(queue: &TaskQueue<u32>, worker: u16) -> Claim<u32> {
    let claim = claim(queue, worker).expect("there is one");
    queue.start(&claim).unwrap();
    claim
}

/// Two agents and one task: one gets it, the other is told that there is none.
#[test]
fn loom_one_task_is_claimed_once() {
    explore("tasks: claimed once", Some(3), 100, || {
        let queue = queue(1);
        queue.submit(NewTask::new(1)).unwrap();
        let other = Arc::clone(&queue);
        let thread = thread::spawn(move || claim(&other, 2).map(|claim| claim.attempt()));
        let mine = claim(&queue, 1).map(|claim| claim.attempt());
        let theirs = thread.join().unwrap();
        assert_eq!([mine, theirs].iter().flatten().collect::<Vec<_>>(), [&1]);
        assert!(claim(&queue, 3).is_none());
    });
}

/// Two agents and two tasks: both are served.
#[test]
fn loom_two_tasks_are_found_by_two() {
    explore("tasks: two found by two", Some(3), 500, || {
        let queue = queue(2);
        for i in 0..2 {
            queue.submit(NewTask::new(i)).unwrap();
        }
        let other = Arc::clone(&queue);
        let thread = thread::spawn(move || *claim(&other, 2).expect("there are two").payload());
        let mine = *claim(&queue, 1).expect("there are two").payload();
        assert_eq!(mine + thread.join().unwrap(), 1);
    });
}

/// A task is submitted while another agent polls: when the submit has returned it is found, though the
/// other one may just be taking the last one's bit away.
#[test]
fn loom_a_submitted_task_is_found() {
    explore("tasks: submitted while polled", Some(3), 500, || {
        let queue = queue(2);
        queue.submit(NewTask::new(1)).unwrap();
        let other = Arc::clone(&queue);
        let thread = thread::spawn(move || claim(&other, 2).is_some());
        queue.submit(NewTask::new(2)).unwrap();
        assert!(claim(&queue, 1).is_some(), "two tasks, and the other takes one");
        // The other one may have passed the second's place before, and the first's after it was taken.
        let theirs = thread.join().unwrap();
        assert_ne!(claim(&queue, 1).is_some(), theirs, "lost, or claimed twice");
    });
}

/// A claim is taken back while its agent ends the task: it is completed, or pending again with the late
/// result refused.
#[test]
fn loom_a_late_result_is_refused() {
    explore("tasks: a late result", None, 5, || {
        let queue = queue(1);
        let task = queue.submit(NewTask::new(1)).unwrap();
        let late = started(&queue, 1);
        let other = Arc::clone(&queue);
        let thread = thread::spawn(move || other.complete(&late));
        let reclaimed = queue.reclaim_expired(Tick(11)).len();
        let completed = thread.join().unwrap();
        if reclaimed == 0 {
            assert_eq!((completed, queue.status(task)), (Ok(()), Some(TaskStatus::Completed)));
        } else {
            let now = Some(TaskStatus::Pending);
            assert_eq!(completed, Err(ClaimError::Lost { task, attempt: 1, now }));
            assert_eq!(claim(&queue, 2).map(|claim| claim.attempt()), Some(2));
        }
    });
}

/// A claim is started while another thread takes back what is over: this one's lease is, and starting it does
/// not save it. (Found by the histories: it was passed over.)
#[test]
fn loom_a_claim_that_is_started_is_taken_back() {
    explore("tasks: start and reclaim", None, 10, || {
        let queue = queue(1);
        let task = queue.submit(NewTask::new(1)).unwrap();
        let mine = claim(&queue, 1).unwrap();
        let other = Arc::clone(&queue);
        let thread = thread::spawn(move || other.reclaim_expired(Tick(11)).len());
        // Either way: before it was taken back, or after.
        let _started = queue.start(&mine);
        assert_eq!(thread.join().unwrap(), 1, "passed over");
        assert_eq!(queue.status(task), Some(TaskStatus::Pending));
    });
}

/// A lease is renewed while another thread looks whether it is over: renewed is not taken back, taken
/// back is not renewed.
#[test]
fn loom_a_renewed_claim_is_not_taken_back() {
    explore("tasks: renew and reclaim", None, 50, || {
        let queue = queue(1);
        queue.submit(NewTask::new(1)).unwrap();
        let mine = claim(&queue, 1).unwrap();
        let (other, theirs) = (Arc::clone(&queue), mine.clone());
        let thread = thread::spawn(move || other.renew(&theirs, Tick(5)).is_ok());
        let reclaimed = queue.reclaim_expired(Tick(11)).len() > 0;
        let renewed = thread.join().unwrap();
        assert_ne!(renewed, reclaimed);
        assert_eq!(queue.start(&mine).is_ok(), renewed);
    });
}

/// A task that is claimable is found, whoever is on the way to list it: the claim was given back, or
/// what it waited for was completed.
#[test]
fn loom_a_claimable_task_is_found_though_it_is_not_listed_yet() {
    explore("tasks: claimable and not listed", Some(2), 500, || {
        let queue = queue(2);
        let mut graph = TaskGraph::new();
        graph.add("first", NewTask::new(1), [""; 0]).add("second", NewTask::new(2), ["first"]);
        let tasks = queue.submit_graph(graph).unwrap();
        let first = started(&queue, 1);
        let (other, second) = (Arc::clone(&queue), tasks[1]);
        let thread = thread::spawn(move || {
            let claimable = other.status(second) == Some(TaskStatus::Pending);
            let theirs = claim(&other, 2).is_some();
            assert!(theirs || !claimable, "overlooked");
            theirs
        });
        queue.complete(&first).unwrap();
        let theirs = thread.join().unwrap();
        assert_ne!(claim(&queue, 3).is_some(), theirs, "lost, or claimed twice");
    });
}

/// Two agents complete the two dependencies of a task at once: it is claimable when both are through.
#[test]
fn loom_the_last_dependency_lets_the_task_begin() {
    explore("tasks: the last dependency", None, 100, || {
        let queue = queue(3);
        let mut graph = TaskGraph::new();
        graph.add("a", NewTask::new(1), [""; 0]).add("b", NewTask::new(2), [""; 0]);
        graph.add("c", NewTask::new(3), ["a", "b"]);
        let tasks = queue.submit_graph(graph).unwrap();
        let [a, b] = [started(&queue, 1), started(&queue, 2)];
        let other = Arc::clone(&queue);
        let thread = thread::spawn(move || other.complete(&a).unwrap());
        queue.complete(&b).unwrap();
        thread.join().unwrap();
        assert_eq!(queue.status(tasks[2]), Some(TaskStatus::Pending));
        assert_eq!(claim(&queue, 3).map(|claim| *claim.payload()), Some(3));
    });
}

/// A completed task is forgotten, by another thread, before its agent has come to what follows: the task
/// that waited begins nevertheless, and the slot is used again.
#[test]
fn loom_forgotten_before_it_is_settled() {
    explore("tasks: forgotten before settled", Some(2), 100, || {
        let queue = queue(2);
        let mut graph = TaskGraph::new();
        graph.add("first", NewTask::new(1), [""; 0]).add("second", NewTask::new(2), ["first"]);
        let tasks = queue.submit_graph(graph).unwrap();
        let first = started(&queue, 1);
        let other = Arc::clone(&queue);
        let thread = thread::spawn(move || {
            let forgotten = other.forget(tasks[0]).is_ok();
            if forgotten {
                assert_eq!(other.status(tasks[1]), Some(TaskStatus::Pending));
                assert!(other.submit(NewTask::new(3)).is_ok(), "its slot is free");
            }
            forgotten
        });
        queue.complete(&first).unwrap();
        let forgotten = thread.join().unwrap();
        assert!(claim(&queue, 2).is_some());
        assert_eq!(claim(&queue, 2).is_some(), forgotten);
    });
}

/// What an agent did for a task is seen by whoever sees it completed: the result. It is written and read
/// relaxed: only the task's word passes it on.
#[test]
fn loom_the_result_is_seen_with_the_status() {
    explore("tasks: the result is seen", None, 5, || {
        let queue = queue(1);
        let task = queue.submit(NewTask::new(1)).unwrap();
        let claim = started(&queue, 1);
        let result = Arc::new(AtomicU32::new(0));
        let (other, seen) = (Arc::clone(&queue), Arc::clone(&result));
        let thread = thread::spawn(move || {
            if other.status(task) == Some(TaskStatus::Completed) {
                assert_eq!(seen.load(Ordering::Relaxed), 7, "left behind");
            }
        });
        result.store(7, Ordering::Relaxed);
        queue.complete(&claim).unwrap();
        thread.join().unwrap();
    });
}

/// A slot is used again, for a task of another type, while an agent is on its way to what it found there
/// before: it does not get what is not for it.
#[test]
fn loom_a_task_for_one_type_is_not_given_to_another() {
    explore("tasks: another type", Some(2), 500, || {
        let (reader, writer) = (AgentType(0), AgentType(1));
        let config = TaskQueueConfig::new(1).agent_types(2);
        let queue = Arc::new(TaskQueue::new(config).unwrap());
        queue.submit(NewTask::new(1).for_type(reader)).unwrap();
        let other = Arc::clone(&queue);
        let thread = thread::spawn(move || {
            other.claim(WorkerId(2), reader, NOW).map(|claim| *claim.payload())
        });
        let claim = queue.claim(WorkerId(1), reader, NOW);
        if let Some(claim) = &claim {
            queue.start(claim).unwrap();
            queue.complete(claim).unwrap();
            queue.forget(claim.task()).unwrap();
            // The other one may be reading the last task's record yet.
            let _second = queue.submit(NewTask::new(2).for_type(writer));
        }
        assert_eq!(thread.join().unwrap(), claim.is_none().then_some(1));
    });
}
