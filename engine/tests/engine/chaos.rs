//! Everything that can go wrong, at once and in any order: what is touched ends with a reason, what is not
//! says what it would have said, and nothing is left behind.

use std::time::Instant;

use latchless_engine::backend::SequenceId;
use latchless_engine::backend::scripted::{
    DecodeFault, DecodeTrigger, SampleTrigger, ScriptedBuilder,
};
use latchless_engine::{
    Engine, EngineConfig, FinishReason, Lane, Priority, Request, RequestError, TokenStream,
};

use super::support::{ENOUGH, alone, assert_nothing_held, babble, ready, stepped_with, text_of};

const TOKENS: u32 = 14;

/// A backend with few cells that keeps its word.
fn sound(dice: &mut fastrand::Rng) -> ScriptedBuilder {
    babble(TOKENS).sequences(dice.u32(1..6)).cells(dice.u32(60..400)).batch_rows(16)
}

/// The same with some of all faults.
fn faulty(dice: &mut fastrand::Rng) -> ScriptedBuilder {
    let mut backend = sound(dice);
    for _ in 0..dice.u32(0..4) {
        let when = match dice.u32(0..3) {
            0 => DecodeTrigger::Decode(dice.u64(0..60)),
            1 => DecodeTrigger::RowsAbove(dice.usize(2..16)),
            _ => DecodeTrigger::Sequence(SequenceId(dice.u32(1..6))),
        };
        let how = match dice.u32(0..4) {
            0 => DecodeFault::NoRoom,
            1 => DecodeFault::BadBatch,
            2 => DecodeFault::Failed,
            _ => DecodeFault::FailedAfter { rows: dice.usize(0..12) },
        };
        backend = backend.fail_decode(when, how);
    }
    if dice.bool() {
        backend = backend.fail_sample(SampleTrigger::Sample(dice.u64(0..80)));
    }
    let rarely: [fn(ScriptedBuilder) -> ScriptedBuilder; 4] = [
        ScriptedBuilder::fail_share,
        ScriptedBuilder::fail_park,
        ScriptedBuilder::fail_unpark,
        ScriptedBuilder::divided,
    ];
    for fault in rarely {
        if dice.u32(0..4) == 0 {
            backend = fault(backend);
        }
    }
    if dice.u32(0..4) == 0 {
        backend = backend.fail_truncate(SequenceId(dice.u32(0..3)));
    }
    backend
}

/// A request, its prompt, and what was read of it.
struct Asked {
    prompt: String,
    stream: TokenStream,
    text: String,
}

impl Asked {
    fn read(&mut self) {
        self.text.push_str(&text_of(&ready(&mut self.stream)));
    }
}

fn submit(engine: &Engine, dice: &mut fastrand::Rng) -> Option<Asked> {
    let agent = engine.agent(&format!("agent {}", dice.u32(0..4))).unwrap();
    // Often the same beginning, sometimes the same prompt.
    let prompt = format!("the instructions of all, and then {}", dice.u32(0..6));
    let priority = [Priority::Low, Priority::Normal, Priority::High][dice.usize(0..3)];
    let mut request = Request::text(prompt.as_str()).priority(priority);
    if dice.u32(0..12) == 0 {
        request = request.deadline(Instant::now());
    }
    // No room is an answer, too.
    let stream = engine.submit(agent, request).ok()?;
    Some(Asked { prompt, stream, text: String::new() })
}

fn run<B: latchless_engine::backend::Backend>(
    engine: &Engine,
    lane: &mut Lane<B>,
    dice: &mut fastrand::Rng,
) -> Vec<Asked> {
    let mut asked = Vec::new();
    for _ in 0..dice.usize(20..80) {
        if dice.u32(0..3) == 0 {
            asked.extend(submit(engine, dice));
        }
        if let Some(index) = asked.len().checked_sub(1).filter(|_| dice.u32(0..15) == 0) {
            asked[dice.usize(0..=index)].stream.cancel();
        }
        lane.step();
        // A reader that is behind now and then.
        for one in &mut asked {
            if dice.bool() {
                one.read();
            }
        }
    }
    for _ in 0..ENOUGH {
        let report = lane.step();
        asked.iter_mut().for_each(Asked::read);
        if report.running + report.waiting == 0 {
            break;
        }
    }
    asked
}

/// Case 17 in every phase, from every seed: a failure is its seed's number away.
#[test]
fn whatever_fails_everybody_ends_and_nothing_is_kept() {
    let mut ends = [0_u32; 3];
    for seed in 0..400 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let is_sound = seed % 3 == 0;
        let backend = if is_sound { sound(&mut dice) } else { faulty(&mut dice) }.build();
        let config = EngineConfig::default()
            .blocks(200)
            .stream_events(dice.u32(1..20))
            .idle_tokens([0, 50, u32::MAX][dice.usize(0..3)])
            .parked_bytes([0, 200, u64::MAX][dice.usize(0..3)]);
        let (engine, mut lane, _) = stepped_with(backend, config);
        for mut one in run(&engine, &mut lane, &mut dice) {
            one.read();
            let completion = one.stream.completion();
            let reason = &completion.unwrap_or_else(|| panic!("seed {seed}: no end")).reason;
            let whole = alone(babble(TOKENS).build(), Request::text(one.prompt.as_str())).text;
            match reason {
                FinishReason::EndOfGeneration => {
                    assert_eq!(one.text, whole, "seed {seed}");
                    ends[0] += 1;
                }
                FinishReason::Failed(error) => {
                    assert!(!is_sound, "seed {seed}: {error}");
                    assert_ne!(*error, RequestError::LaneGone, "seed {seed}");
                    assert!(whole.starts_with(&one.text), "seed {seed}: {error}");
                    ends[1] += 1;
                }
                FinishReason::Cancelled | FinishReason::Deadline => {
                    assert!(whole.starts_with(&one.text), "seed {seed}");
                    ends[2] += 1;
                }
                other => panic!("seed {seed}: {other}"),
            }
        }
        assert_nothing_held(&engine);
        let census = engine.pool().census();
        assert_eq!((census.free, census.in_flight.len()), (census.total, 0), "seed {seed}");
    }
    // It has to have seen all of it.
    assert!(ends[0] > 1000 && ends[1] > 100 && ends[2] > 100, "{ends:?}");
}
