//! The engine's own work in a step allocates nothing while requests generate. A binary of its own, because
//! it replaces the allocator.

use latchless_engine::backend::scripted::{Script, ScriptedBackend};
use latchless_engine::{Engine, EngineConfig, Request, TryRecvError};

#[test]
fn a_step_in_the_steady_state_allocates_nothing() {
    let backend = ScriptedBackend::builder(Script::Endless("on and on, ".into())).build();
    let config = EngineConfig::default().token_interval(std::time::Duration::from_millis(10));
    let (engine, mut lane) = Engine::new(backend, config).unwrap();
    let mut streams: Vec<_> = (0..6)
        .map(|index| {
            let agent = engine.agent(&format!("agent {index}")).unwrap();
            let asked = Request::text("tell me").max_tokens(500).stop("never");
            engine.submit(agent, asked).unwrap()
        })
        .collect();
    // Buffers find their size.
    for _ in 0..100 {
        lane.step();
    }
    let mut rows = 0;
    let steps = allocation_counter::measure(|| {
        for _ in 0..100 {
            rows += lane.step().decode_rows;
        }
    });
    assert_eq!(rows, 600);
    assert_eq!((steps.count_total, steps.bytes_total), (0, 0));
    // Reading what was said neither.
    let reading = allocation_counter::measure(|| {
        for stream in &mut streams {
            while stream.try_recv() != Err(TryRecvError::Empty) {}
        }
    });
    assert_eq!(reading.count_total, 0);
}
