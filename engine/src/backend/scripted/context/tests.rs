//! The scripted context behaves as a real one, and fails as it is told.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::super::super::Draw;
use super::super::*;
use super::*;

const GREEDY: Sampling = Sampling::greedy();

fn text(answer: &str) -> ScriptedBuilder {
    ScriptedBackend::builder(Script::Text(answer.into()))
}

/// Rows for `tokens` in `sequence` from `position` on; the last one has logits.
fn rows(sequence: u32, position: u32, tokens: &[Token]) -> Batch {
    let mut batch = Batch::with_capacity(tokens.len());
    for (index, token) in tokens.iter().enumerate() {
        batch
            .push(BatchRow {
                token: *token,
                sequence: SequenceId(sequence),
                position: position + index as u32,
                logits: index + 1 == tokens.len(),
            })
            .unwrap();
    }
    batch
}

fn bytes(text: &str) -> Vec<Token> {
    text.bytes().map(|byte| Token(i32::from(byte))).collect()
}

/// A lane of one request: prompt, then token by token until the end, at most `most`.
fn generate(
    backend: &mut ScriptedBackend,
    sequence: u32,
    prompt: &str,
    most: usize,
) -> Result<String, Box<dyn std::error::Error>> {
    let mut sampler = backend.sampler(&GREEDY)?;
    let mut said = Vec::new();
    let mut next = bytes(prompt);
    let mut position = 0;
    for _ in 0..most {
        backend.decode(&rows(sequence, position, &next))?;
        position += next.len() as u32;
        let token = backend.sample(next.len() - 1, &mut sampler)?;
        if token == ScriptedModel::END {
            break;
        }
        backend.model.token_bytes(token, &mut said);
        next = vec![token];
    }
    Ok(String::from_utf8(said)?)
}

#[test]
fn it_says_its_script() {
    assert_eq!(generate(&mut text("grüß dich").build(), 0, "hi", 99).unwrap(), "grüß dich");
    let mut echo = ScriptedBackend::builder(Script::Echo).build();
    assert_eq!(generate(&mut echo, 3, "one two", 99).unwrap(), "one two");
    let mut endless = ScriptedBackend::builder(Script::Endless("ab".into())).build();
    assert_eq!(generate(&mut endless, 0, "x", 5).unwrap(), "ababa");
    assert_eq!(endless.sequence_len(SequenceId(0)), 5);
    assert_eq!(endless.probe().samples(), 5);
}

#[test]
fn babble_depends_on_the_prompt_but_not_on_the_sequence_or_the_batches() {
    let babble = || ScriptedBackend::builder(Script::Babble { tokens: 20 }).build();
    let first = generate(&mut babble(), 0, "first", 99).unwrap();
    assert_eq!(first.len(), 20);
    assert_eq!(generate(&mut babble(), 7, "first", 99).unwrap(), first);
    assert_ne!(generate(&mut babble(), 0, "other", 99).unwrap(), first);

    // The same prompt in two chunks, between the rows of another sequence.
    let mut backend = babble();
    let mut sampler = backend.sampler(&GREEDY).unwrap();
    backend.decode(&rows(0, 0, &bytes("fir"))).unwrap();
    let mut mixed = Batch::with_capacity(4);
    for row in [rows(1, 0, &bytes("zz")), rows(0, 3, &bytes("st"))].iter().flat_map(Batch::rows) {
        mixed.push(*row).unwrap();
    }
    backend.decode(&mixed).unwrap();
    let token = backend.sample(3, &mut sampler).unwrap();
    assert_eq!(token, bytes(&first)[0]);
}

#[test]
fn it_is_as_strict_as_a_context() {
    let mut backend = text("abc").sequences(2).batch_rows(4).tokens_per_sequence(6).build();
    let mut sampler = backend.sampler(&GREEDY).unwrap();
    assert!(matches!(
        backend.sample(0, &mut sampler),
        Err(BackendError::NoLogits { row: 0, rows: 0 })
    ));
    backend.decode(&rows(0, 0, &bytes("hi"))).unwrap();
    for bad in [
        rows(0, 3, &bytes("a")),
        rows(2, 0, &bytes("a")),
        rows(1, 0, &bytes("fivey")),
        rows(1, 0, &[Token(258)]),
        rows(0, 2, &[]),
    ] {
        assert!(matches!(backend.decode(&bad), Err(DecodeError::BadBatch { .. })), "{bad:?}");
    }
    assert!(matches!(backend.sample(1, &mut sampler), Err(BackendError::NoLogits { .. })));
    assert!(matches!(
        backend.truncate(SequenceId(2), 0),
        Err(BackendError::UnknownSequence { .. })
    ));
    assert!(
        backend
            .sampler(&Sampling::drawn(Draw {
                temperature: 0.0,
                top_k: 0,
                top_p: 1.0,
                ..Draw::seeded(1)
            }))
            .is_err()
    );
    assert_eq!((backend.probe().decodes(), backend.probe().failed_decodes()), (6, 5));
}

/// A lane that feeds back another token than it drew, or the token of another request.
#[test]
fn a_wrong_token_fed_back_is_found() {
    let mut backend = text("abc").build();
    let mut sampler = backend.sampler(&GREEDY).unwrap();
    backend.decode(&rows(0, 0, &bytes("hi"))).unwrap();
    assert_eq!(backend.sample(1, &mut sampler).unwrap(), bytes("a")[0]);
    backend.decode(&rows(0, 2, &bytes("x"))).unwrap();
    let error = backend.sample(0, &mut sampler).unwrap_err().to_string();
    assert!(error.contains("ends with token 120 where 97 was drawn"), "{error}");
}

#[test]
fn cells_run_out_and_come_back() {
    let mut backend = text("abc").cells(6).build();
    backend.decode(&rows(0, 0, &bytes("1234"))).unwrap();
    assert_eq!(backend.decode(&rows(1, 0, &bytes("567"))), Err(DecodeError::NoRoom));
    assert_eq!(backend.sequence_len(SequenceId(1)), 0);
    backend.decode(&rows(1, 0, &bytes("56"))).unwrap();
    backend.truncate(SequenceId(0), 1).unwrap();
    assert_eq!(backend.sequence_len(SequenceId(0)), 1);
    backend.decode(&rows(0, 1, &bytes("abc"))).unwrap();
    backend.truncate(SequenceId(0), 9).unwrap();
    assert_eq!(backend.sequence_len(SequenceId(0)), 4, "a cut behind the end changes nothing");
}

#[test]
fn truncated_and_decoded_again_says_the_same() {
    let mut backend = ScriptedBackend::builder(Script::Babble { tokens: 9 }).build();
    let draw = |backend: &mut ScriptedBackend| {
        let mut sampler = backend.sampler(&GREEDY).unwrap();
        backend.sample(1, &mut sampler).unwrap()
    };
    backend.decode(&rows(0, 0, &bytes("ab"))).unwrap();
    let first = draw(&mut backend);
    backend.decode(&rows(0, 2, &bytes("zz"))).unwrap();
    backend.truncate(SequenceId(0), 0).unwrap();
    backend.decode(&rows(0, 0, &bytes("ab"))).unwrap();
    assert_eq!(draw(&mut backend), first);
    backend.truncate(SequenceId(0), 0).unwrap();
    assert_eq!(draw(&mut backend), first, "logits outlive the sequence they came from");
}

#[test]
fn decode_faults_strike_where_they_are_told() {
    let strike = |when, batch: &Batch| {
        let mut backend = text("x").fail_decode(when, DecodeFault::Failed).build();
        backend.decode(&rows(0, 0, &bytes("p!"))).is_err() || backend.decode(batch).is_err()
    };
    let poison = bytes("!")[0];
    let next = rows(0, 2, &bytes("a"));
    let other = rows(1, 0, &bytes("ab"));
    assert!(strike(DecodeTrigger::Decode(1), &next));
    assert!(!strike(DecodeTrigger::Decode(2), &next));
    assert!(strike(DecodeTrigger::Token(poison), &other), "the first batch has it");
    assert!(strike(DecodeTrigger::Sequence(SequenceId(1)), &other));
    assert!(!strike(DecodeTrigger::Sequence(SequenceId(2)), &other));
    assert!(strike(DecodeTrigger::RowsAbove(1), &next));
    assert!(!strike(DecodeTrigger::RowsAbove(2), &other));

    let mut backend = text("x")
        .fail_decode(DecodeTrigger::Decode(0), DecodeFault::NoRoom)
        .fail_decode(DecodeTrigger::Decode(1), DecodeFault::FailedAfter { rows: 2 })
        .fail_decode(DecodeTrigger::Holding(poison), DecodeFault::BadBatch)
        .build();
    let prompt = rows(0, 0, &bytes("abc"));
    assert_eq!(backend.decode(&prompt), Err(DecodeError::NoRoom));
    assert_eq!(backend.sequence_len(SequenceId(0)), 0);
    assert!(matches!(backend.decode(&prompt), Err(DecodeError::Failed { .. })));
    assert_eq!(backend.sequence_len(SequenceId(0)), 2, "a part was computed");
    assert!(backend.sample(0, &mut ScriptedSampler::default()).is_err());
    backend.decode(&rows(0, 2, &bytes("c"))).unwrap();
    assert!(matches!(backend.decode(&rows(0, 3, &[poison])), Err(DecodeError::BadBatch { .. })));
    backend.decode(&rows(0, 3, &bytes("d"))).unwrap();
    assert_eq!(backend.probe().rows(), 4);
}

#[test]
fn poison_that_stays_in_a_sequence_keeps_striking() {
    let poison = bytes("!")[0];
    let mut backend = text("x")
        .fail_decode(DecodeTrigger::Holding(poison), DecodeFault::FailedAfter { rows: 9 })
        .build();
    assert!(backend.decode(&rows(0, 0, &[poison])).is_err());
    assert_eq!(backend.sequence_len(SequenceId(0)), 1);
    assert!(backend.decode(&rows(0, 1, &bytes("a"))).is_err());
    assert!(backend.decode(&rows(1, 0, &bytes("a"))).is_ok(), "another sequence is not touched");
}

#[test]
fn sample_faults_leave_the_sampler_as_it_was() {
    let mut backend = text("ab").fail_sample(SampleTrigger::Sample(0)).build();
    let mut sampler = backend.sampler(&GREEDY).unwrap();
    backend.decode(&rows(0, 0, &bytes("hi"))).unwrap();
    assert!(matches!(backend.sample(1, &mut sampler), Err(BackendError::Failed { .. })));
    assert_eq!(backend.sample(1, &mut sampler).unwrap(), bytes("a")[0]);

    let poison = bytes("!")[0];
    let mut backend = text("ab")
        .fail_sample(SampleTrigger::Holding(poison))
        .fail_sample(SampleTrigger::Sequence(SequenceId(1)))
        .build();
    let outcomes: Vec<bool> = [(0, "a"), (1, "a"), (2, "!"), (2, "a")]
        .map(|(sequence, prompt)| {
            backend.truncate(SequenceId(sequence), 0).unwrap();
            backend.decode(&rows(sequence, 0, &bytes(prompt))).unwrap();
            backend.sample(0, &mut ScriptedSampler::default()).is_ok()
        })
        .to_vec();
    assert_eq!(outcomes, [true, false, false, true]);
}

#[test]
fn the_remaining_faults() {
    let mut backend = text("a")
        .fail_sampler()
        .fail_truncate(SequenceId(0))
        .fail_decode(DecodeTrigger::Decode(1), DecodeFault::Panic)
        .build();
    assert!(backend.sampler(&GREEDY).is_err());
    backend.decode(&rows(0, 0, &bytes("hi"))).unwrap();
    let sequence = SequenceId(0);
    assert_eq!(
        backend.truncate(sequence, 1),
        Err(BackendError::PartialForget { sequence, from: 1 })
    );
    assert_eq!(backend.sequence_len(sequence), 2);
    assert_eq!(backend.truncate(sequence, 0), Ok(()), "clearing always works");
    let panicked = catch_unwind(AssertUnwindSafe(|| backend.decode(&rows(0, 0, &bytes("hi")))));
    assert!(panicked.is_err());
}

#[test]
fn batches_are_recorded_on_demand() {
    let mut silent = text("a").build();
    silent.decode(&rows(0, 0, &bytes("hi"))).unwrap();
    assert!(silent.probe().batches().is_empty());
    let mut backend = text("a").record_batches().build();
    let batch = rows(0, 0, &bytes("hi"));
    backend.decode(&batch).unwrap();
    backend.decode(&batch).unwrap_err();
    assert_eq!(backend.probe().batches(), [batch.rows(), batch.rows()]);
}

#[test]
fn a_closed_gate_holds_a_decode() {
    let gate = Gate::closed();
    let mut backend = text("a").gate(&gate).build();
    let probe = backend.probe();
    let lane = std::thread::spawn(move || backend.decode(&rows(0, 0, &bytes("hi"))));
    gate.wait_for_arrivals(1);
    assert_eq!((probe.decodes(), probe.rows()), (1, 0));
    gate.open();
    lane.join().unwrap().unwrap();
    assert_eq!(probe.rows(), 2);
}

/// What one context saved, another one goes on with as if it had read the prompt itself.
#[test]
fn a_state_continues_in_another_context() {
    let script = || ScriptedBackend::builder(Script::Babble { tokens: 8 });
    let (from, to) = (SequenceId(0), SequenceId(2));
    let mut first = script().build();
    first.decode(&rows(0, 0, &bytes("hello"))).unwrap();
    let expected = first.sample(4, &mut ScriptedSampler::default()).unwrap();
    let state = first.save_sequence(from).unwrap();
    assert_eq!(first.sequence_len(from), 5, "saving takes nothing away");

    let mut second = script().build();
    second.decode(&rows(2, 0, &bytes("something else"))).unwrap();
    assert_eq!(second.load_sequence(to, &state), Ok(5));
    second.truncate(to, 4).unwrap();
    second.decode(&rows(2, 4, &bytes("o"))).unwrap();
    assert_eq!(second.sample(0, &mut ScriptedSampler::default()), Ok(expected));
}

#[test]
fn states_that_cannot_be_loaded_leave_the_sequence_empty() {
    let sequence = SequenceId(1);
    let mut backend = text("a").cells(8).tokens_per_sequence(6).sequences(3).build();
    backend.decode(&rows(0, 0, &bytes("abcd"))).unwrap();
    let state = backend.save_sequence(SequenceId(0)).unwrap();
    for refused in [&[][..], &state[..7], &[0; 4 * 7], &[0; 4 * 5]] {
        backend.load_sequence(sequence, &state).unwrap();
        let error = backend.load_sequence(sequence, refused).unwrap_err();
        assert!(matches!(error, BackendError::State { .. }), "{error}");
        assert_eq!(backend.sequence_len(sequence), 0);
    }
    assert_eq!(backend.load_sequence(sequence, &state), Ok(4));
    assert_eq!(backend.sequence_len(SequenceId(0)), 4, "others stay");

    let outside = SequenceId(3);
    assert!(matches!(backend.save_sequence(SequenceId(2)), Err(BackendError::State { .. })));
    let unknown = Err(BackendError::UnknownSequence { sequence: outside, sequences: 3 });
    assert_eq!(backend.load_sequence(outside, &state), unknown);
    let mut roomy = text("a").cells(64).tokens_per_sequence(6).build();
    assert!(roomy.load_sequence(sequence, &[0; 4 * 7]).is_err(), "longer than a sequence can be");
    assert_eq!(roomy.load_sequence(sequence, &[0; 4 * 6]), Ok(6));
    let mut faulty = text("a").fail_state(sequence).build();
    faulty.decode(&rows(1, 0, &bytes("ab"))).unwrap();
    assert!(
        faulty.save_sequence(sequence).is_err() && faulty.load_sequence(sequence, &state).is_err()
    );
}
