//! Headers of GGUF files: an answer or a sentence, and no more memory than the file gives cause for.

use std::path::PathBuf;

use fastrand::Rng;

use self::gguf_header::{GgufError, Header};
use crate::{corpus, mutate};

// The reader alone, with its unit tests, so that they need no llama.cpp here.
#[path = "../../src/backend/llama/gguf/mod.rs"]
#[allow(dead_code, unreachable_pub)]
mod gguf_header;

/// What the reader's surroundings call a file that cannot be loaded.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error("there is no model at {path:?}")]
    NotFound { path: PathBuf },
    #[error("{path:?} is no file")]
    NotAFile { path: PathBuf },
    #[error("{path:?} cannot be loaded: {problem}")]
    File { path: PathBuf, problem: GgufError },
}

/// Reads a file, and checks what it took.
fn read(file: &[u8]) -> Result<Header, GgufError> {
    let mut result = None;
    let taken = allocation_counter::measure(|| {
        result = Some(Header::read(file, file.len() as u64));
    });
    let most = 4 * file.len() as u64 + (1 << 16);
    assert!(taken.bytes_max <= most, "{} bytes for {} of a file", taken.bytes_max, file.len());
    result.unwrap()
}

#[test]
fn the_corpus_is_read_as_its_names_say() {
    let read: Vec<_> = corpus("gguf")
        .iter()
        .map(|(name, file)| {
            let kind = match read(file) {
                Ok(_) => "whole",
                Err(GgufError::Truncated { .. }) => "truncated",
                Err(GgufError::Corrupt { .. }) => "corrupt",
                Err(GgufError::BigEndian) => "big-endian",
                Err(GgufError::NotGguf { .. }) => "not GGUF",
                Err(error) => panic!("{name}: {error}"),
            };
            format!("{name}: {kind}")
        })
        .collect();
    assert_eq!(
        read,
        [
            "a-web-page: not GGUF",
            "alignment-64: whole",
            "big-endian: big-endian",
            "cut-in-data: truncated",
            "cut-in-pairs: truncated",
            "every-scalar: whole",
            "heads-by-layer: whole",
            "long-string: truncated",
            "many-pairs: truncated",
            "many-tensors: truncated",
            "nested-array: corrupt",
            "version-2: whole",
            "whole: whole",
        ]
    );
}

#[test]
fn no_mutation_of_the_corpus_makes_the_reader_panic() {
    let corpus = corpus("gguf");
    let mut random = Rng::with_seed(1);
    let (mut whole, mut refused) = (0, 0);
    for _ in 0..2_000 {
        for (_, original) in &corpus {
            let mut file = original.clone();
            mutate(&mut file, &corpus, &mut random);
            match read(&file) {
                Ok(_) => whole += 1,
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    refused += 1;
                }
            }
        }
    }
    // Both: else the mutations are too weak, or nothing gets past the first byte.
    assert!(whole > 500 && refused > 500, "{whole} whole, {refused} refused");
}
