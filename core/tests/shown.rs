//! What a log shows of each type, and what its accessors tell: names and numbers that somebody who looks
//! for a fault goes by.
#![cfg(not(any(latchless_loom, latchless_shuttle)))]

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use latchless::{
    AgentId, AgentIdError, BlockId, BlockPool, Inbox, LatencyHistogram, LayerId, ModelSpec,
    PoolConfig,
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
