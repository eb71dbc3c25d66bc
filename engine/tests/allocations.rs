//! What the lane's thread allocates: nothing while requests generate, and never two copies of a state. A
//! binary of its own, because it replaces the allocator.

use std::thread;

use allocation_counter::measure;
use latchless_engine::backend::scripted::{Script, ScriptedBackend};
use latchless_engine::{
    CacheConfig, Engine, EngineConfig, Lane, Request, StepReport, TokenStream, TryRecvError,
};

/// Bytes that a token's state takes in these tests, as in a small model.
const TOKEN: usize = 20_000;
/// A prompt's tokens: 2 MB.
const TOKENS: usize = 100;
/// Less than a tenth of a state, and more than everything else that a step allocates.
const LITTLE: u64 = 200_000;
const STATE: u64 = (TOKEN * TOKENS) as u64;

fn with_states(cells: usize, config: EngineConfig) -> (Engine, Lane<ScriptedBackend>) {
    let backend = ScriptedBackend::builder(Script::Endless("on ".into()))
        .state_bytes_a_token(TOKEN)
        .cells(cells as u32)
        .tokens_per_sequence(cells as u32)
        .sequences(2)
        .build();
    Engine::new(backend, config).unwrap()
}

fn ask(engine: &Engine, agent: &str, tokens: u32) -> TokenStream {
    let prompt: String = agent.chars().chain("abc".chars().cycle()).take(TOKENS - 1).collect();
    let agent = engine.agent(agent).unwrap();
    engine.submit(agent, Request::text(prompt).max_tokens(tokens)).unwrap()
}

/// A state is copied out once and given away, and copied in from where it was read: the lane's thread never
/// has two.
#[test]
fn a_state_on_its_way_to_disk_and_back_is_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let config = EngineConfig::default().cache(CacheConfig::new(folder.path(), 1 << 30));
    let (engine, mut lane) = with_states(1_000, config.clone());
    let stream = ask(&engine, "a", 1);
    let mut report = StepReport::default();
    while report.saved == 0 {
        let step = measure(|| report = lane.step());
        if report.saved > 0 {
            assert!((STATE..STATE + LITTLE).contains(&step.bytes_max), "{step:?}");
        } else {
            assert!(step.bytes_max < LITTLE, "{step:?}");
        }
    }
    drop((stream, engine, lane));
    let (engine, mut lane) = with_states(1_000, config);
    let stream = ask(&engine, "a", 1);
    let mut report = StepReport::default();
    while report.resumed_rows == 0 {
        let step = measure(|| report = lane.step());
        assert!(step.bytes_max < LITTLE, "the reader's copy is the only one: {step:?}");
        // It was taken over from the reader, and goes when it is copied in.
        assert_eq!(step.bytes_current < -(STATE as i64) + LITTLE as i64, report.resumed_rows > 0);
        thread::yield_now();
    }
    lane.run_until_idle(100);
    assert!(stream.wait().completion.reason.is_success());
}

/// Of requests that give way there is one state each, no more than the budget, and it goes when they are back.
#[test]
fn the_states_of_parked_requests_keep_to_their_budget() {
    for (budget, states) in [(1 << 30, 1), (STATE / 2, 0)] {
        // Cells for one of two with their answers; blocks for both.
        let config = EngineConfig::default().blocks(1_000).parked_bytes(budget);
        let (engine, mut lane) = with_states(2 * TOKENS + 20, config);
        let streams = [ask(&engine, "a", 60), ask(&engine, "b", 60)];
        let (mut parked, mut left) = (0, true);
        let all = measure(|| {
            while left {
                let mut report = StepReport::default();
                let step = measure(|| report = lane.step());
                parked += report.parked;
                let most = u64::from(report.parked) * states * 2 * STATE + LITTLE;
                assert!(step.bytes_max < most, "{step:?} {report:?}");
                left = report.running + report.waiting > 0;
            }
        });
        assert!(parked > 0);
        assert!(all.bytes_max < states * 2 * STATE + LITTLE, "{all:?}");
        assert!(all.bytes_current < LITTLE as i64, "{all:?}");
        for stream in streams {
            let usage = stream.wait().completion.usage;
            assert_eq!(usage.generated_tokens, 60);
        }
    }
}

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
    let steps = measure(|| {
        for _ in 0..100 {
            rows += lane.step().decode_rows;
        }
    });
    assert_eq!(rows, 600);
    assert_eq!((steps.count_total, steps.bytes_total), (0, 0));
    // Reading what was said neither.
    let reading = measure(|| {
        for stream in &mut streams {
            while stream.try_recv() != Err(TryRecvError::Empty) {}
        }
    });
    assert_eq!(reading.count_total, 0);
}
