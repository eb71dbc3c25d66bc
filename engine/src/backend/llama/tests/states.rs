//! Sequences that leave a context as bytes and come back.

use super::*;
use crate::cache::WarmCache;

const PROMPT: &str = "The three primary colours are red, yellow and blue. The sky is";

fn decoded(options: &ContextOptions, sequence: u32, prompt: &[Token]) -> LlamaContext {
    let mut context = context(options);
    context.decode(&batch(&rows(sequence, 0, prompt))).unwrap();
    context
}

/// The next `most` tokens, greedily, after `token` at the end of the sequence.
fn continued(context: &mut LlamaContext, sequence: u32, token: Token, most: usize) -> Vec<Token> {
    let mut sampler = context.sampler(&GREEDY).unwrap();
    let mut said = vec![token];
    for _ in 0..most {
        let last = *said.last().unwrap();
        let position = context.sequence_len(SequenceId(sequence));
        context.decode(&batch(&rows(sequence, position, &[last]))).unwrap();
        said.push(context.sample(0, &mut sampler).unwrap());
    }
    said
}

#[test]
fn another_context_goes_on_where_the_first_one_was() {
    let prompt = tokens(PROMPT);
    let (head, last) = (&prompt[..prompt.len() - 1], *prompt.last().unwrap());
    let mut first = decoded(&options(), 0, head);
    let state = first.save_sequence(SequenceId(0)).unwrap();
    let expected = continued(&mut first, 0, last, 12);

    // Another sequence, beside a busy one, in place of what it held.
    let mut second = decoded(&options(), 0, &tokens("Something else entirely"));
    second.decode(&batch(&rows(1, 0, &tokens("and more")))).unwrap();
    let busy = second.sequence_len(SequenceId(0));
    assert_eq!(second.load_sequence(SequenceId(1), &state), Ok(head.len() as u32));
    assert_eq!(continued(&mut second, 1, last, 12), expected);
    assert_eq!(second.sequence_len(SequenceId(0)), busy);
}

#[test]
fn a_state_can_be_shortened_like_a_sequence() {
    let prompt = tokens(PROMPT);
    let half = prompt.len() / 2;
    let mut first = decoded(&options(), 0, &prompt);
    let state = first.save_sequence(SequenceId(0)).unwrap();
    let mut second = context(&options());
    second.load_sequence(SequenceId(0), &state).unwrap();
    second.truncate(SequenceId(0), half as u32).unwrap();
    second.decode(&batch(&rows(0, half as u32, &prompt[half..]))).unwrap();
    let mut sampler = second.sampler(&GREEDY).unwrap();
    let next = second.sample(prompt.len() - half - 1, &mut sampler).unwrap();
    let mut sampler = first.sampler(&GREEDY).unwrap();
    assert_eq!(next, first.sample(prompt.len() - 1, &mut sampler).unwrap());
}

/// Cut off anywhere, of another layout, or made of nothing: an error, and the context works on.
#[test]
fn states_that_llama_cpp_refuses_leave_the_sequence_empty() {
    let prompt = tokens(PROMPT);
    let sequence = SequenceId(1);
    let mut context = decoded(&options(), 0, &prompt);
    let state = context.save_sequence(SequenceId(0)).unwrap();
    let divided = ContextOptions { layout: CellLayout::Divided, ..options() };
    let foreign = decoded(&divided, 0, &prompt).save_sequence(SequenceId(0)).unwrap();
    // Magic, source sequence and streams come first.
    let mut counted = state.clone();
    counted[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    let cut = [0, 1, 4, 11, 100, state.len() / 2, state.len() - 1].map(|len| &state[..len]);
    for refused in cut.into_iter().chain([&foreign[..], &counted, &[0xFF; 64]]) {
        let outcome = context.load_sequence(sequence, refused);
        let len = refused.len();
        assert!(matches!(outcome, Err(BackendError::State { .. })), "{len} bytes: {outcome:?}");
        assert_eq!(context.sequence_len(sequence), 0);
    }
    assert_eq!(context.load_sequence(sequence, &state), Ok(prompt.len() as u32));
    assert_eq!(context.sequence_len(SequenceId(0)), prompt.len() as u32);
}

#[test]
fn a_state_longer_than_the_context_is_refused() {
    let long: Vec<Token> = tokens("one two three four five ").repeat(70);
    let roomy = ContextOptions { cells: Some(512), batch_rows: 512, ..options() };
    let state = decoded(&roomy, 0, &long[..300]).save_sequence(SequenceId(0)).unwrap();
    let mut small = context(&ContextOptions { cells: Some(256), ..options() });
    let error = small.load_sequence(SequenceId(0), &state).unwrap_err();
    assert!(matches!(error, BackendError::State { .. }), "{error}");
    assert_eq!(small.sequence_len(SequenceId(0)), 0);
    small.decode(&batch(&rows(0, 0, &long[..100]))).unwrap();
}

#[test]
fn what_is_not_there_cannot_be_saved() {
    let mut context = context(&options());
    let (empty, outside) = (SequenceId(0), SequenceId(2));
    assert!(matches!(context.save_sequence(empty), Err(BackendError::State { .. })));
    let unknown = BackendError::UnknownSequence { sequence: outside, sequences: 2 };
    assert_eq!(context.save_sequence(outside), Err(unknown.clone()));
    assert_eq!(context.load_sequence(outside, &[1]), Err(unknown));
}

/// From one context through a file into another one, and not into one whose cells lie otherwise.
#[test]
fn a_sequence_resumes_from_disk() {
    let folder = tempfile::tempdir().unwrap();
    let agent = latchless::AgentId::new("a").unwrap();
    let prompt = tokens(PROMPT);
    let (head, last) = (&prompt[..prompt.len() - 1], *prompt.last().unwrap());
    let mut first = decoded(&options(), 0, head);
    {
        let tag = model().state_tag(&options()).unwrap();
        let cache = WarmCache::open(folder.path(), tag, 1 << 30).unwrap();
        cache.save(&agent, head, &first.save_sequence(SequenceId(0)).unwrap()).unwrap();
    }
    let expected = continued(&mut first, 0, last, 8);
    {
        let divided = ContextOptions { layout: CellLayout::Divided, ..options() };
        let tag = model().state_tag(&divided).unwrap();
        let cache = WarmCache::open(folder.path(), tag, 1 << 30).unwrap();
        let refused = cache.load(&agent).unwrap_err().to_string();
        assert!(refused.contains("cells is shared, not divided by 2"), "{refused}");
    }
    let tag = model().state_tag(&options()).unwrap();
    let cache = WarmCache::open(folder.path(), tag, 1 << 30).unwrap();
    let found = cache.longest_prefix(&prompt).unwrap();
    assert_eq!((found.common, found.stored), (head.len(), head.len()));
    let saved = cache.load(&found.agent).unwrap();
    let mut second = context(&options());
    assert_eq!(second.load_sequence(SequenceId(1), &saved.state), Ok(saved.tokens.len() as u32));
    assert_eq!(continued(&mut second, 1, last, 8), expected);
}
