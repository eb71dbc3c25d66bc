//! Headers of stored sequences: what somebody wrote, or a sentence.

use fastrand::Rng;

use self::cache::{FileProblem, read};
use crate::{corpus, mutate};

#[path = "../../fuzz/inputs/cache/mod.rs"]
mod cache;

fn kind(result: &Result<(), FileProblem>) -> &'static str {
    match result {
        Ok(()) => "whole",
        Err(FileProblem::Short { .. }) => "short",
        Err(FileProblem::Long { .. }) => "long",
        Err(FileProblem::NotASequence) => "no sequence",
        Err(FileProblem::Version { .. }) => "newer",
        Err(FileProblem::Checksum { part }) => part,
        Err(FileProblem::Field { field }) => field,
        Err(error) => panic!("{error}"),
    }
}

/// As they are, and with a checksum that fits.
#[test]
fn the_corpus_is_read_as_its_names_say() {
    let read: Vec<_> = corpus("cache_header")
        .iter()
        .map(|(name, file)| {
            let [as_it_is, mended] = read(file);
            format!("{name}: {}, {}", kind(&as_it_is), kind(&mended))
        })
        .collect();
    assert_eq!(
        read,
        [
            "a-web-page: no sequence, no sequence",
            "cut-in-lengths: short, short",
            "cut-in-payload: short, short",
            "cut-in-tokens: short, short",
            "empty: short, short",
            "extra-bytes: long, long",
            "format-2: newer, newer",
            "id-empty: header, the agent's id",
            "id-not-utf8: header, the agent's id",
            "long-id: whole, whole",
            "no-payload: whole, whole",
            "no-tokens: whole, whole",
            "payload-2-to-64: short, short",
            "payload-flipped: payload, payload",
            "tag-without-end: header, the model's tag",
            "token-flipped: header, whole",
            "tokens-4-billion: short, short",
            "whole: whole, whole",
        ]
    );
}

#[test]
fn no_mutation_of_the_corpus_makes_the_reader_panic() {
    let corpus = corpus("cache_header");
    let mut random = Rng::with_seed(1);
    let (mut whole, mut refused, mut behind) = (0, 0, 0);
    for _ in 0..2_000 {
        for (_, original) in &corpus {
            let mut file = original.clone();
            mutate(&mut file, &corpus, &mut random);
            for result in read(&file) {
                whole += u32::from(result.is_ok());
                refused += u32::from(result.is_err());
                behind += u32::from(matches!(result, Err(FileProblem::Field { .. })));
            }
        }
    }
    // All three: else the mutations are too weak, or nothing gets past the lengths.
    assert!(whole > 500 && refused > 500 && behind > 500, "{whole} {refused} {behind}");
}
