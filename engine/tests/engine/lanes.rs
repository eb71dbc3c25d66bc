//! Several lanes of one engine.

use std::collections::HashSet;

use latchless_engine::backend::scripted::{DecodeFault, DecodeTrigger, ScriptedBackend};
use latchless_engine::{
    Engine, EngineConfig, EngineError, FinishReason, Request, RequestError, SubmitError, Token,
};

use super::support::{ENOUGH, alone, babble, endless, reason, text};

/// Agents are spread over the lanes, and each stays in its own: the next turn finds its sequence.
#[test]
fn agents_are_spread_and_stay() {
    let backends: Vec<_> = (0..3).map(|_| babble(8).build()).collect();
    let probes: Vec<_> = backends.iter().map(ScriptedBackend::probe).collect();
    let (engine, mut lanes) = Engine::with_lanes(backends, EngineConfig::default()).unwrap();
    let agents: Vec<_> =
        (0..6).map(|index| engine.agent(&format!("agent {index}")).unwrap()).collect();
    let mut ids = HashSet::new();
    for turn in 0..3 {
        let prompt = |index: usize| {
            Request::text(format!("agent {index} asks nearly the same in turn {turn}"))
        };
        let streams: Vec<_> = agents
            .iter()
            .enumerate()
            .map(|(index, agent)| engine.submit(*agent, prompt(index)).unwrap())
            .collect();
        assert_eq!(engine.pending().len(), 6);
        let ended: Vec<_> =
            lanes.iter_mut().map(|lane| lane.run_until_idle(ENOUGH).ended).collect();
        assert_eq!(ended, [2, 2, 2]);
        for (index, stream) in streams.into_iter().enumerate() {
            assert!(ids.insert(stream.id()), "ids of lanes differ");
            let answer = stream.wait();
            assert_eq!(answer.completion.agent, agents[index]);
            assert_eq!(answer.text, alone(babble(8).build(), prompt(index)).text);
            let cached = answer.completion.usage.cached_tokens;
            assert_eq!(cached + 1 == answer.completion.usage.prompt_tokens, turn > 0);
        }
    }
    assert!(probes.iter().all(|probe| probe.samples() == probes[0].samples()));
    for pool in engine.pools() {
        assert_eq!(pool.usage().used, 0);
    }
    assert_eq!(engine.pending(), []);
}

/// New agents go where their instructions are, until that lane has much more to do than another one.
#[test]
fn agents_with_common_instructions_come_together() {
    let lanes_of = |instructions: &str, agents: usize| -> Vec<u32> {
        let backends: Vec<_> = (0..3).map(|_| babble(1).sequences(8).build()).collect();
        let (engine, mut lanes) = Engine::with_lanes(backends, EngineConfig::default()).unwrap();
        let mut streams = Vec::new();
        for index in 0..agents {
            let agent = engine.agent(&format!("agent {index}")).unwrap();
            let prompt = Request::text(format!("{instructions}{index} asks"));
            streams.push(engine.submit(agent, prompt).unwrap());
            // The one before has been answered: what counts is where agents are.
            for lane in &mut lanes {
                lane.run_until_idle(ENOUGH);
            }
        }
        lanes.iter_mut().map(|lane| lane.backend().probe().samples() as u32 / 2).collect()
    };
    let long = "be brief, be kind, say what you know. ".repeat(20);
    assert_eq!(lanes_of(&long, 3), [3, 0, 0], "760 tokens are worth three agents");
    assert_eq!(lanes_of(&long, 4), [3, 1, 0], "and then another lane computes them, too");
    assert_eq!(lanes_of(&long, 9), [3, 3, 3]);
    assert_eq!(lanes_of(&long[..100], 6), [2, 2, 2], "100 tokens are not worth one");
    assert_eq!(lanes_of("", 6), [2, 2, 2]);
}

/// A lane that panics takes its own requests along, and its agents find another one.
#[test]
fn a_lane_s_failure_is_its_own() {
    let poison = Token(i32::from(b'!'));
    let backend =
        || text("fine").fail_decode(DecodeTrigger::Token(poison), DecodeFault::Panic).build();
    let engine = Engine::start_lanes([backend(), backend()], EngineConfig::default()).unwrap();
    let (one, other) = (engine.agent("one").unwrap(), engine.agent("other").unwrap());
    let submit = |agent, asked: &str| engine.submit(agent, Request::text(asked));
    assert_eq!(submit(one, "a").unwrap().wait().text, "fine");
    assert_eq!(submit(other, "b").unwrap().wait().text, "fine");
    let failed = submit(one, "c!").unwrap().wait().completion.reason;
    assert_eq!(failed, FinishReason::Failed(RequestError::LaneGone));
    for _ in 0..3 {
        assert_eq!(submit(other, "d").unwrap().wait().text, "fine");
        assert_eq!(submit(one, "e").unwrap().wait().text, "fine");
    }
    let failed = submit(other, "f!").unwrap().wait().completion.reason;
    assert_eq!(failed, FinishReason::Failed(RequestError::LaneGone));
    assert!(matches!(submit(one, "g"), Err(SubmitError::Closed)), "no lane is left");
    for pool in engine.pools() {
        assert_eq!(pool.usage().used, 0);
    }
}

#[test]
fn a_cancel_finds_its_lane() {
    let backends = [endless().build(), endless().build()];
    let (engine, mut lanes) = Engine::with_lanes(backends, EngineConfig::default()).unwrap();
    let mut streams: Vec<_> = (0..4)
        .map(|index| {
            let agent = engine.agent(&format!("agent {index}")).unwrap();
            engine.submit(agent, Request::text("q").max_tokens(100)).unwrap()
        })
        .collect();
    for lane in &mut lanes {
        lane.step();
    }
    for stream in &streams {
        assert!(engine.cancel(stream.id()));
    }
    for lane in &mut lanes {
        assert_eq!(lane.step().ended, 2);
    }
    for stream in &mut streams {
        assert!(!engine.cancel(stream.id()));
        assert_eq!(reason(stream), FinishReason::Cancelled);
    }
}

#[test]
fn an_engine_needs_a_lane() {
    let none: [ScriptedBackend; 0] = [];
    let refused = Engine::with_lanes(none, EngineConfig::default()).unwrap_err();
    assert!(matches!(refused, EngineError::NoLanes));
}
