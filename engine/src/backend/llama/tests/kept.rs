//! Cells that two sequences have in common, and sequences in host memory.

use super::*;

const FIRST: SequenceId = SequenceId(0);
const SECOND: SequenceId = SequenceId(1);

/// Decodes all of `prompt` but the last token into the first sequence.
fn fill(context: &mut LlamaContext, prompt: &[Token]) -> u32 {
    let known = &prompt[..prompt.len() - 1];
    context.decode(&batch(&rows(0, 0, known))).unwrap();
    known.len() as u32
}

/// Greedy tokens of `sequence` after the last token of `prompt`, one row a batch.
fn go_on(context: &mut LlamaContext, sequence: SequenceId, prompt: &[Token]) -> Vec<Token> {
    let mut sampler = context.sampler(&GREEDY).unwrap();
    let mut said = Vec::new();
    let mut next = prompt[prompt.len() - 1];
    for _ in 0..12 {
        let position = context.sequence_len(sequence);
        context.decode(&batch(&rows(sequence.0, position, &[next]))).unwrap();
        next = context.sample(0, &mut sampler).unwrap();
        said.push(next);
    }
    said
}

#[test]
fn a_shared_prefix_is_as_good_as_a_computed_one_and_outlives_its_first_keeper() {
    let mut context = context(&options());
    let prompt = question("What is the capital of France?");
    let known = fill(&mut context, &prompt);
    assert!(context.shares_cells());
    context.share(FIRST, SECOND, known).unwrap();
    let expected = go_on(&mut context, FIRST, &prompt);
    // The first one's own tokens are not the second one's.
    assert_eq!(context.sequence_len(SECOND), known);
    context.truncate(FIRST, 0).unwrap();
    assert_eq!(go_on(&mut context, SECOND, &prompt), expected);
}

/// llama.cpp aborts on a copy between divided cells, and marks what is not there.
#[test]
fn what_cannot_be_shared_is_refused() {
    let mut shared = context(&options());
    let prompt = question("Hi!");
    let known = fill(&mut shared, &prompt);
    assert!(shared.share(FIRST, SECOND, known + 1).is_err());
    assert!(shared.share(FIRST, FIRST, 1).is_err());
    assert!(shared.share(FIRST, SequenceId(2), 1).is_err());
    assert!(shared.share(SequenceId(u32::MAX), SECOND, 1).is_err());
    shared.share(FIRST, SECOND, 1).unwrap();
    assert!(shared.share(FIRST, SECOND, 2).is_err(), "it is not empty any more");

    let mut divided = context(&ContextOptions { layout: CellLayout::Divided, ..options() });
    let known = fill(&mut divided, &prompt);
    assert!(!divided.shares_cells());
    let refused = divided.share(FIRST, SECOND, known).unwrap_err();
    assert!(matches!(refused, BackendError::NotShared { .. }), "{refused}");
    assert_eq!(divided.sequence_len(SECOND), 0);
}

#[test]
fn a_parked_sequence_goes_on_where_it_was() {
    for layout in [CellLayout::Shared, CellLayout::Divided] {
        let mut context = context(&ContextOptions { layout, ..options() });
        let prompt = question("What is the capital of France?");
        let known = fill(&mut context, &prompt);
        let parked = context.park(FIRST).unwrap();
        assert_eq!(parked.tokens(), known);
        // Keys and values of 30 layers, 3 heads of 64, at 16 bits.
        assert!(parked.bytes() as u32 >= known * 30 * 3 * 64 * 2 * 2);
        assert_eq!(context.sequence_len(FIRST), known, "it was copied");
        let expected = go_on(&mut context, FIRST, &prompt);
        context.truncate(FIRST, 0).unwrap();
        context.unpark(SECOND, &parked).unwrap();
        assert_eq!(go_on(&mut context, SECOND, &prompt), expected);
        assert!(context.unpark(SECOND, &parked).is_err(), "it is not empty");
        assert!(context.unpark(SequenceId(2), &parked).is_err());
        assert!(context.park(SequenceId(2)).is_err());
    }
}

/// A sequence with nothing is parked as nothing.
#[test]
fn an_empty_sequence_can_be_parked() {
    let mut context = context(&options());
    let parked = context.park(FIRST).unwrap();
    assert_eq!(parked.tokens(), 0);
    context.unpark(SECOND, &parked).unwrap();
    assert_eq!(context.sequence_len(SECOND), 0);
}

/// Without room the sequence stays empty, and what was parked is as good as before.
#[test]
fn what_finds_no_room_can_be_brought_back_later() {
    let small = ContextOptions { cells: Some(256), ..options() };
    let mut context = context(&small);
    let prompt = question(&"word ".repeat(150));
    assert!((130..250).contains(&prompt.len()));
    let known = fill(&mut context, &prompt);
    let parked = context.park(FIRST).unwrap();
    let refused = context.unpark(SECOND, &parked).unwrap_err();
    assert_eq!(refused, BackendError::NoRoom { tokens: known });
    assert_eq!((context.sequence_len(FIRST), context.sequence_len(SECOND)), (known, 0));
    let expected = go_on(&mut context, FIRST, &prompt);
    context.truncate(FIRST, 0).unwrap();
    context.unpark(SECOND, &parked).unwrap();
    assert_eq!(go_on(&mut context, SECOND, &prompt), expected);
}
