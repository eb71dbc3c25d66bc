//! Headers of GGUF files: whatever the bytes are, an answer or a sentence, and no panic.
//!
//! `cargo xtask test --fuzz`, or `cargo fuzz run gguf` in the folder `engine`. The corpus is also replayed,
//! and mutated for a while, by the test engine/tests/inputs.
#![no_main]

use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;

// The reader alone: the rest of the crate needs llama.cpp.
#[path = "../../src/backend/llama/gguf/mod.rs"]
#[allow(dead_code)]
mod gguf;

/// What the reader's surroundings call a file that cannot be loaded.
#[derive(Debug)]
#[allow(dead_code)]
enum LoadError {
    NotFound { path: PathBuf },
    NotAFile { path: PathBuf },
    File { path: PathBuf, problem: gguf::GgufError },
}

fuzz_target!(|file: &[u8]| {
    let _ = gguf::Header::read(file, file.len() as u64);
});
