//! In whatever order a host lets go of what belongs together, nothing hangs and nothing is lost.

use std::sync::Arc;
use std::time::Duration;

use latchless::LayerId;
use latchless_engine::backend::scripted::{Script, ScriptedBackend};
use latchless_engine::{Engine, EngineConfig, FinishReason, Request, SubmitError, TokenStream};

fn endless() -> ScriptedBackend {
    ScriptedBackend::builder(Script::Endless("on and ".into())).build()
}

fn started() -> (Engine, TokenStream) {
    let engine = Engine::start(endless(), EngineConfig::default()).unwrap();
    let agent = engine.agent("planner").unwrap();
    let stream = engine.submit(agent, Request::text("go").max_tokens(900)).unwrap();
    (engine, stream)
}

fn reason(stream: TokenStream) -> FinishReason {
    stream.wait().completion.reason
}

#[test]
fn an_engine_that_goes_before_its_streams_ends_them() {
    let (engine, stream) = started();
    let pool = engine.pool();
    drop(engine);
    assert_eq!(pool.usage().used, 0, "the lane's thread has ended");
    assert_eq!(reason(stream), FinishReason::Shutdown);
}

#[test]
fn streams_that_go_before_their_engine_give_everything_back() {
    let (engine, stream) = started();
    drop(stream);
    assert!(engine.drain(Duration::MAX).is_ok());
    assert_eq!(engine.pool().usage().used, 0);
    assert_eq!(engine.snapshot().lanes[0].ended.cancelled, 1);
}

#[test]
fn a_lane_that_goes_first_closes_its_engine_and_ends_its_streams() {
    let (engine, lane) = Engine::new(endless(), EngineConfig::default()).unwrap();
    let agent = engine.agent("planner").unwrap();
    let stream = engine.submit(agent, Request::text("go")).unwrap();
    drop(lane);
    assert_eq!(reason(stream), FinishReason::Shutdown);
    let refused = engine.submit(agent, Request::text("go")).unwrap_err();
    assert!(matches!(refused, SubmitError::Closed));
}

#[test]
fn a_lane_outlives_its_engine_and_says_that_it_is_over() {
    let (engine, mut lane) = Engine::new(endless(), EngineConfig::default()).unwrap();
    let agent = engine.agent("planner").unwrap();
    let stream = engine.submit(agent, Request::text("go")).unwrap();
    drop(engine);
    let report = lane.step();
    assert!(report.closed && report.ended == 1);
    assert_eq!(reason(stream), FinishReason::Shutdown);
}

#[test]
fn leases_outlive_the_engine_whose_pool_they_are_of() {
    let (engine, stream) = started();
    let (pool, agent) = (engine.pool(), engine.agent("another").unwrap());
    let lease = pool.allocate_owned(agent, LayerId(0), 3).unwrap();
    drop((stream, engine));
    assert_eq!((pool.usage().used, pool.used_by(agent)), (3, 3));
    let alive = Arc::downgrade(&pool);
    drop(pool);
    assert_eq!(lease.pool().usage().used, 3, "the lease keeps the pool");
    drop(lease);
    assert!(alive.upgrade().is_none(), "and nobody else does");
}

#[test]
fn what_watches_a_swap_outlives_the_engine() {
    let (engine, stream) = started();
    let old = engine.swap(|| Ok::<_, std::io::Error>([endless()])).unwrap();
    assert!(!old.is_gone());
    drop(engine);
    assert_eq!(reason(stream), FinishReason::Shutdown);
    assert!(old.wait(Duration::MAX).is_ok() && old.is_gone());
}

#[test]
fn several_engines_of_one_process_know_nothing_of_each_other() {
    let (one, first) = started();
    let (other, second) = started();
    drop(one);
    assert_eq!(reason(first), FinishReason::Shutdown);
    assert!(second.cancel());
    assert_eq!(reason(second), FinishReason::Cancelled);
    let agent = other.agent("planner").unwrap();
    let more = other.submit(agent, Request::text("go").max_tokens(2)).unwrap();
    assert_eq!(reason(more), FinishReason::Length);
}
