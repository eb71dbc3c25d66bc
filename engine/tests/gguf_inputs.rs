//! The fuzz corpus of GGUF headers, as it is and mutated: whatever the bytes are, there is an answer or a
//! sentence, no panic, and no more memory than the file gives cause for. What cargo-fuzz does for hours
//! (engine/fuzz), for a second, with any toolchain and always in the same way.

use std::fs;
use std::path::{Path, PathBuf};

use fastrand::Rng;

use self::gguf::{GgufError, Header};

// The reader alone, with its unit tests, so that they need no llama.cpp here.
#[path = "../src/backend/llama/gguf/mod.rs"]
#[allow(dead_code, unreachable_pub)]
mod gguf;

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

/// The files of the corpus, by name.
fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/gguf");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap())
        })
        .collect();
    files.sort();
    files
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

/// One to four changes of the kinds that break readers: a bit, a byte, a number at its limits, an end, a
/// piece of another file.
fn mutate(file: &mut Vec<u8>, others: &[(String, Vec<u8>)], random: &mut Rng) {
    for _ in 0..random.usize(1..=4) {
        if file.is_empty() {
            return;
        }
        let at = random.usize(..file.len());
        match random.u32(..6) {
            0 => file[at] ^= 1 << random.u32(..8),
            1 => file[at] = random.u8(..),
            2 => {
                let number =
                    random.choice([0, 1, u64::MAX, 1 << 63, 1 << 32, 0xFFFF_FFFF]).unwrap();
                let bytes = number.to_le_bytes();
                let end = file.len().min(at + 8);
                file[at..end].copy_from_slice(&bytes[..end - at]);
            }
            3 => file.truncate(at),
            4 => drop(file.drain(at..file.len().min(at + random.usize(1..16)))),
            _ => {
                let (_, other) = &others[random.usize(..others.len())];
                let from = random.usize(..other.len());
                let piece = &other[from..other.len().min(from + random.usize(1..64))];
                file.splice(at..at, piece.iter().copied());
            }
        }
    }
}

#[test]
fn the_corpus_is_read_as_its_names_say() {
    let read: Vec<_> = corpus()
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
    let corpus = corpus();
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
