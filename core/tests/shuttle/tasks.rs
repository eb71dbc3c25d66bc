//! A task queue under six and seven threads.

use std::sync::{Arc, Mutex};

use latchless::{
    AgentType, Claim, NewTask, TaskGraph, TaskQueue, TaskQueueConfig, TaskStatus, Tick, WorkerId,
};
use shuttle::thread;

use crate::explore;

const ANY: AgentType = AgentType(0);
const NOW: Tick = Tick(0);

fn claim(queue: &TaskQueue<usize>, worker: usize) -> Option<Claim<usize>> {
    queue.claim(WorkerId(worker as u16), ANY, NOW)
}

/// Claims, starts and completes what there is, up to `most` tasks; tells which it completed.
fn work(queue: &TaskQueue<usize>, worker: usize, most: usize) -> Vec<usize> {
    let ended = |_| {
        let claim = claim(queue, worker)?;
        let done = queue.start(&claim).is_ok() && queue.complete(&claim).is_ok();
        Some(done.then_some(*claim.payload()))
    };
    (0..most).map_while(ended).flatten().collect()
}

/// Six agents work, of which some die or seem to, while a seventh thread takes claims
/// back whose lease is over: each task is completed once, and none is lost.
#[test]
fn each_task_is_completed_once_though_agents_die() {
    explore("tasks of agents that die", || {
        const TASKS: usize = 6;
        let config = TaskQueueConfig::new(TASKS).lease(10).max_attempts(100);
        let queue = Arc::new(TaskQueue::new(config).unwrap());
        for task in 0..TASKS {
            queue.submit(NewTask::new(task)).unwrap();
        }
        let threads = [0, 1, 2, 3, 4, 5, 6].map(|i| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || match i {
                6 => {
                    queue.reclaim_expired(Tick(11));
                    queue.reclaim_worker(WorkerId(0));
                    Vec::new()
                }
                0 => {
                    let _dead = claim(&queue, i);
                    Vec::new()
                }
                // So slow that it may be taken for dead: its result counts, or another's.
                1 => {
                    let held = claim(&queue, i).filter(|held| queue.start(held).is_ok());
                    thread::yield_now();
                    let done = held.filter(|held| queue.complete(held).is_ok());
                    done.iter().map(|held| *held.payload()).collect()
                }
                2 => {
                    // Refused when it was taken back before.
                    let _given_back = claim(&queue, i).map(|held| queue.give_back(&held));
                    work(&queue, i, 2)
                }
                _ => work(&queue, i, 2),
            })
        });
        let mut done: Vec<_> =
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        // Whoever is dead is known to be now.
        queue.reclaim_expired(Tick(100));
        done.extend(work(&queue, 7, TASKS + 1));
        done.sort_unstable();
        assert_eq!(done, (0..TASKS).collect::<Vec<_>>(), "lost, or completed twice");
        assert_eq!(queue.counts().completed, TASKS);
    });
}

/// Six agents carry a graph out and forget what is done, so that slots are used again while others look at
/// them: nothing begins before what it depends on.
#[test]
fn nothing_begins_before_what_it_depends_on() {
    explore("a graph of tasks", || {
        let queue = Arc::new(TaskQueue::new(TaskQueueConfig::new(6)).unwrap());
        let mut graph = TaskGraph::new();
        graph.add("0", NewTask::new(0), [""; 0]).add("1", NewTask::new(1), [""; 0]);
        graph.add("2", NewTask::new(2), ["0", "1"]).add("3", NewTask::new(3), ["1"]);
        graph.add("4", NewTask::new(4), ["2", "3"]);
        let before: [&[usize]; 6] = [&[], &[], &[0, 1], &[1], &[2, 3], &[]];
        queue.submit_graph(graph).unwrap();
        let done = Arc::new(Mutex::new(Vec::new()));
        let (shared, ended) = (Arc::clone(&queue), Arc::clone(&done));
        let carry_out = move |worker: usize, most: usize| {
            for _ in 0..most {
                let Some(held) = claim(&shared, worker) else { return };
                shared.start(&held).unwrap();
                {
                    let mut ended = ended.lock().unwrap();
                    let early = before[*held.payload()].iter().find(|task| !ended.contains(*task));
                    assert_eq!(early, None, "{} began before it", held.payload());
                    ended.push(*held.payload());
                }
                shared.complete(&held).unwrap();
                shared.forget(held.task()).unwrap();
                assert_eq!(shared.status(held.task()), None);
            }
        };
        let threads = [0, 1, 2, 3, 4, 5].map(|worker| {
            let (carry_out, queue) = (carry_out.clone(), Arc::clone(&queue));
            thread::spawn(move || {
                if worker == 5 {
                    let extra = queue.submit(NewTask::new(5)).expect("there is a slot for it");
                    assert_ne!(queue.status(extra), Some(TaskStatus::Waiting));
                }
                carry_out(worker, 2);
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        carry_out(6, 7);
        let mut done = std::mem::take(&mut *done.lock().unwrap());
        done.sort_unstable();
        assert_eq!(done, [0, 1, 2, 3, 4, 5]);
    });
}
