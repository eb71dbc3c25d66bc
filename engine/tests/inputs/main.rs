//! The corpora of the fuzz targets, as they are and mutated. What a fuzzer does for hours (engine/fuzz), for
//! some seconds, with any toolchain and always in the same way.

use std::fs;
use std::path::Path;

use fastrand::Rng;

mod cache_header;
mod gguf;
#[cfg(feature = "store")]
mod store;

/// As the crate's own modules call it, some of which are included here.
mod backend {
    pub(crate) use latchless_engine::Token;
    pub(crate) use latchless_engine::backend::Model;
}

/// The files of a target's corpus, by name.
pub(crate) fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
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

/// One to four changes of the kinds that break readers: a bit, a byte, a number at its limits, an end, a
/// piece of another file.
pub(crate) fn mutate(file: &mut Vec<u8>, others: &[(String, Vec<u8>)], random: &mut Rng) {
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
                if other.is_empty() {
                    continue;
                }
                let from = random.usize(..other.len());
                let piece = &other[from..other.len().min(from + random.usize(1..64))];
                file.splice(at..at, piece.iter().copied());
            }
        }
    }
}
