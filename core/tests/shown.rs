//! What a log shows of each type, and what its accessors tell: names and numbers that somebody who looks
//! for a fault goes by.
#![cfg(not(any(latchless_loom, latchless_shuttle)))]

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use latchless::{
    AdaptiveLimit, AgentBlocks, AgentId, AgentIdError, AgentState, AgentType, BlockId, BlockPool,
    Directory, Inbox, LatencyHistogram, LayerId, ModelSpec, NewTask, Outbox, OutboxContention,
    PoolConfig, SpawnSlots, StateMachine, TaskCounts, TaskGraph, TaskQueue, TaskQueueConfig, Tick,
    Timed, WorkerId,
};

fn pool() -> Arc<BlockPool> {
    let spec = ModelSpec::new(2, 8, 128, 16).unwrap();
    Arc::new(BlockPool::new(PoolConfig::new(100, spec).max_agents(1)).unwrap())
}

#[test]
fn ids_show_their_numbers_and_names() {
    assert_eq!(format!("{:?} {}", BlockId(7), BlockId(7)), "BlockId(7) 7");
    assert_eq!(format!("{:?}", LayerId(3)), "LayerId(3)");
    assert_eq!(AgentId::new("planner").unwrap().to_string(), "planner");
    assert_eq!(AgentId::new(""), Err(AgentIdError::Empty));
    assert_eq!(AgentId::new("x".repeat(257)), Err(AgentIdError::TooLong { bytes: 257 }));
}

#[test]
fn a_spec_tells_what_it_was_made_of() {
    let spec = ModelSpec::new(2, 8, 128, 16).unwrap();
    assert_eq!((spec.kv_heads(), spec.head_size(), spec.block_tokens()), (8, 128, 16));
    assert!(!format!("{:?}", spec.bits()).is_empty());
}

#[test]
fn a_lease_shows_whose_it_is_and_how_much() {
    let pool = pool();
    let agent = pool.open_account().unwrap();
    let lease = pool.allocate_owned(agent, LayerId(1), 5).unwrap();
    assert!(std::ptr::eq(lease.pool(), &raw const *pool));
    let shown = format!("{lease:?}");
    assert!(shown.contains("LayerId(1)") && shown.contains("blocks: 5"), "{shown}");
}

#[test]
fn an_inbox_and_what_was_taken_show_counts_and_not_items() {
    let inbox = Inbox::with_capacity(4);
    inbox.push("secret").unwrap();
    assert_eq!(format!("{inbox:?}"), "Inbox { len: 1, capacity: 4, .. }");
    assert_eq!(format!("{:?}", inbox.take_all()), "Drained { .. }");
}

#[test]
fn latencies_show_their_percentiles() {
    let histogram = LatencyHistogram::default();
    let shown = format!("{histogram:?}");
    for name in ["count: 0", "p50", "p99", "p999", "max"] {
        assert!(shown.contains(name), "{shown}");
    }
}

#[test]
fn a_request_for_a_sequence_shows_itself_and_is_granted() {
    let pool = pool();
    let agent = pool.open_account().unwrap();
    let request = pool.allocate_sequence_owned_async(agent, 16);
    let shown = format!("{request:?}");
    assert!(shown.contains("tokens: 16") && shown.contains("waiting: false"), "{shown}");
    let Poll::Ready(lease) = pin!(request).poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("the pool is free");
    };
    assert_eq!(lease.map(|lease| lease.len()), Ok(2));
}

#[test]
fn tasks_say_where_they_are_and_why() {
    let queue = TaskQueue::new(TaskQueueConfig::new(4).max_attempts(1)).unwrap();
    let id = queue.submit(NewTask::new("write")).unwrap();
    assert_eq!(queue.status(id).unwrap().to_string(), "pending");
    let claim = queue.claim(WorkerId(3), AgentType(0), Tick(0)).unwrap();
    assert_eq!((claim.task(), claim.worker().to_string().as_str()), (id, "3"));
    assert_eq!(queue.status(id).unwrap().to_string(), "assigned to worker 3 (attempt 1)");
    let shown = format!("{claim:?} {queue:?} {id:?}");
    for part in ["Claim", "attempt: 1", "capacity: 4", "assigned: 1", &format!("TaskId({id})")] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    queue.start(&claim).unwrap();
    assert_eq!(queue.status(id).unwrap().to_string(), "in progress at worker 3 (attempt 1)");
    queue.fail(&claim).unwrap();
    let failed = queue.status(id).unwrap().to_string();
    assert_eq!(failed, "failed: worker 3 reported it in attempt 1");
    let used_up = queue.submit(NewTask::new("again")).unwrap();
    let claim = queue.claim(WorkerId(3), AgentType(0), Tick(0)).unwrap();
    queue.give_back(&claim).unwrap();
    let failed = queue.status(used_up).unwrap().to_string();
    assert_eq!(failed, "failed: 1 attempts ended without a result");
    let lost = queue.complete(&claim).unwrap_err().to_string();
    assert!(lost.contains("cannot become completed"), "{lost}");
}

#[test]
fn a_task_that_waits_and_is_skipped_says_for_whom() {
    let queue = TaskQueue::new(TaskQueueConfig::new(4)).unwrap();
    let mut graph = TaskGraph::default();
    assert!(graph.is_empty());
    graph.add("first", NewTask::new(1), [""; 0]);
    graph.add("second", NewTask::new(2), ["first"]);
    assert_eq!((graph.len(), graph.is_empty()), (2, false));
    assert!(format!("{graph:?}").contains("TaskGraph"));
    let ids = queue.submit_graph(graph).unwrap();
    assert_eq!(queue.status(ids[1]).unwrap().to_string(), "waiting");
    let claim = queue.claim(WorkerId(0), AgentType(0), Tick(0)).unwrap();
    queue.start(&claim).unwrap();
    queue.fail(&claim).unwrap();
    let skipped = queue.status(ids[1]).unwrap().to_string();
    assert_eq!(skipped, format!("failed: it depends on task {}, which failed", ids[0]));
}

#[test]
fn a_graph_for_agents_that_there_are_none_of_is_refused_by_name() {
    let queue = TaskQueue::new(TaskQueueConfig::new(4).agent_types(2)).unwrap();
    let mut graph = TaskGraph::new();
    graph.add("paint", NewTask::new(()).for_type(AgentType(5)), [""; 0]);
    let refused = queue.submit_graph(graph).unwrap_err().to_string();
    assert!(refused.contains("paint") && refused.contains('5'), "{refused}");
    assert_eq!(queue.counts(), TaskCounts::default());
}

#[test]
fn an_agent_shows_its_state_its_slot_and_its_outbox() {
    let machine = StateMachine::default();
    machine.transition(AgentState::Assistant).unwrap();
    let shown = format!("{:?}", machine.snapshot());
    assert!(shown.contains("Assistant") && shown.contains("version: 1"), "{shown}");
    assert_eq!(machine.retries(), 0);

    let slots = SpawnSlots::new(2).unwrap();
    let slot = slots.reserve(Tick(0)).unwrap();
    assert_eq!(slot.id().index(), slot.index());
    assert_eq!(slot.id().to_string().split('.').next(), Some(&*slot.index().to_string()));

    let outbox = Outbox::new(1).unwrap();
    outbox.push('a');
    outbox.push('b');
    let shown = format!("{outbox:?}");
    for part in ["capacity: 1", "len: 1", "dropped: 1"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert_eq!(outbox.contention(), OutboxContention::default());
}

#[test]
fn a_limit_that_adapts_shows_its_bounds_and_its_estimate() {
    let (floor, ceiling) = (Duration::from_millis(1), Duration::from_secs(1));
    let limit = AdaptiveLimit::new(floor, ceiling).unwrap();
    limit.observe(Duration::from_millis(5));
    let shown = format!("{limit:?}");
    for part in ["floor: 1ms", "ceiling: 1s", "estimate"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}

#[test]
fn a_timed_lease_is_the_lease() {
    let pool = pool();
    let agent = pool.open_account().unwrap();
    let timed = Timed::new(&*pool);
    let mut lease = timed.allocate(agent, LayerId(0), 4).unwrap();
    assert_eq!(lease.len(), 4);
    let half = lease.split_off(2).unwrap();
    assert_eq!((lease.len(), half.len()), (2, 2));
    assert!(format!("{lease:?}").contains("Lease"));
    drop((lease, half));
    assert_eq!(pool.usage().used, 0);
}

#[test]
fn a_directory_and_a_table_say_whether_they_are_empty() {
    let pool = pool();
    let directory = Directory::new(Arc::clone(&pool));
    assert!(directory.is_empty());
    let agent = directory.register(AgentId::new("one").unwrap()).unwrap();
    assert!(!directory.is_empty() && pool.has_account(agent));
    let none = AgentBlocks::new(agent, []).unwrap();
    assert!(none.is_empty());
    directory.unregister(&AgentId::new("one").unwrap());
    assert!(!pool.has_account(agent));
}
