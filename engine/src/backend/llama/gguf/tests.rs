//! Made-up files: whole ones, cut ones, hostile ones.

use std::io::Cursor;

use super::*;

/// Writes a GGUF file by hand.
struct Writer(Vec<u8>);

impl Writer {
    fn new(version: u32, tensors: u64, pairs: u64) -> Self {
        let mut file = Self(b"GGUF".to_vec());
        file.u32(version).u64(tensors).u64(pairs);
        file
    }

    fn u32(&mut self, number: u32) -> &mut Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    fn u64(&mut self, number: u64) -> &mut Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    fn string(&mut self, text: &str) -> &mut Self {
        self.u64(text.len() as u64).0.extend(text.as_bytes());
        self
    }

    fn text_pair(&mut self, key: &str, value: &str) -> &mut Self {
        self.string(key).u32(8).string(value)
    }

    fn number_pair(&mut self, key: &str, value: u32) -> &mut Self {
        self.string(key).u32(4).u32(value)
    }

    fn tensor(&mut self, name: &str, shape: &[u64], kind: u32, offset: u64) -> &mut Self {
        self.string(name).u32(shape.len() as u32);
        for size in shape {
            self.u64(*size);
        }
        self.u32(kind).u64(offset)
    }

    /// Pads to the data section and appends `bytes` bytes of it.
    fn data(&mut self, bytes: usize) -> Vec<u8> {
        let start = self.0.len().next_multiple_of(32);
        self.0.resize(start + bytes, 0);
        self.0.clone()
    }
}

/// Eight pairs and two tensors, of 64 and 40 bytes.
fn small_model() -> Vec<u8> {
    let mut file = Writer::new(3, 2, 9);
    file.text_pair("general.architecture", "llama")
        .text_pair("general.name", "Tiny")
        .text_pair("tokenizer.ggml.model", "gpt2")
        .number_pair("llama.block_count", 3)
        .number_pair("llama.context_length", 2048)
        .number_pair("llama.embedding_length", 64)
        .number_pair("llama.attention.head_count", 4)
        .number_pair("llama.attention.head_count_kv", 2);
    file.string("tokenizer.ggml.tokens").u32(9).u32(8).u64(2).string("a").string("bc");
    file.tensor("a", &[4, 4], 0, 0).tensor("b", &[32, 2], 3, 64).data(104)
}

fn read(file: &[u8]) -> Result<Header, GgufError> {
    Header::read(Cursor::new(file), file.len() as u64)
}

/// A header with these pairs behind an architecture, and no tensors.
fn with_pairs(
    pairs: u64,
    write: impl for<'a> FnOnce(&'a mut Writer) -> &'a mut Writer,
) -> Result<Header, GgufError> {
    let mut file = Writer::new(3, 0, pairs + 1);
    file.text_pair("general.architecture", "x");
    write(&mut file);
    read(&file.0)
}

#[test]
fn a_whole_file_gives_its_geometry() {
    let header = read(&small_model()).unwrap();
    let expected = Header {
        architecture: "llama".into(),
        name: Some("Tiny".into()),
        tokenizer: Some("gpt2".into()),
        context_length: 2048,
        layers: 3,
        embedding: 64,
        kv_heads: 2,
        kv_heads_of_all_layers: 6,
        key_length: 16,
        value_length: 16,
        vocabulary: 2,
    };
    assert_eq!(header, expected);
}

#[test]
fn heads_given_a_layer_are_summed() {
    let header = with_pairs(6, |file| {
        file.number_pair("x.block_count", 3)
            .number_pair("x.context_length", 8)
            .number_pair("x.attention.key_length", 192)
            .number_pair("x.attention.value_length", 128)
            .number_pair("x.attention.head_count", 16);
        file.string("x.attention.head_count_kv").u32(9).u32(5).u64(3).u32(0).u32(8).u32(4)
    })
    .unwrap();
    assert_eq!((header.kv_heads, header.kv_heads_of_all_layers), (8, 12));
    assert_eq!((header.key_length, header.value_length), (192, 128));
}

#[test]
fn a_recurrent_model_has_no_heads() {
    let header = with_pairs(3, |file| {
        file.number_pair("x.block_count", 3)
            .number_pair("x.context_length", 8)
            .number_pair("x.embedding_length", 64)
    })
    .unwrap();
    assert_eq!((header.kv_heads, header.kv_heads_of_all_layers, header.key_length), (0, 0, 0));
}

#[test]
fn another_files_start_is_shown() {
    let error = read(b"<!doctype html>").unwrap_err().to_string();
    assert!(error.contains("starts with \"<!do\" instead of \"GGUF\""), "{error}");
    let error = read(b"\x89PNG\r\n").unwrap_err().to_string();
    assert!(error.contains("\"\\x89PNG\""), "{error}");
    assert!(read(b"").unwrap_err().to_string().contains("it is empty"));
    assert!(read(b"GG").unwrap_err().to_string().contains("\"GG\""));
}

#[test]
fn versions_that_llama_cpp_does_not_read_are_named() {
    for version in [0, 1, 4] {
        let error = read(&Writer::new(version, 0, 0).0).unwrap_err();
        assert!(matches!(error, GgufError::Version { version: v } if v == version), "{error}");
    }
    let swapped = Writer::new(3_u32.swap_bytes(), 0, 0);
    assert!(matches!(read(&swapped.0), Err(GgufError::BigEndian)));
}

/// Half a download, of any length, is found; and what is missing is counted.
#[test]
fn every_truncation_is_found() {
    let whole = small_model();
    for len in 4..whole.len() {
        match read(&whole[..len]) {
            Err(GgufError::Truncated { expected, found }) => {
                assert_eq!(found, len as u64);
                assert!(expected > found && expected <= whole.len() as u64, "{expected} of {len}");
            }
            other => panic!("{len} of {} bytes: {other:?}", whole.len()),
        }
    }
    let Err(GgufError::Truncated { expected, .. }) = read(&whole[..whole.len() - 1]) else {
        panic!("one byte is missing")
    };
    assert_eq!(expected, whole.len() as u64, "the last byte counts, its padding does not");
}

/// Any byte of the header may be anything: the reader answers, and allocates no more than there is.
#[test]
fn no_damage_makes_it_panic() {
    let whole = small_model();
    let header = whole.len() - 104;
    let mut changed = 0;
    for at in 4..header {
        for value in [0x00, 0x01, 0x08, 0x09, 0x7F, 0x80, 0xFF] {
            let mut file = whole.clone();
            file[at] = value;
            changed += u32::from(read(&file).ok() != read(&whole).ok());
            let most = (at + 8).min(header);
            file[at..most].fill(value);
            drop(read(&file));
        }
    }
    assert!(changed > 1_000, "{changed} damaged files were told from the whole one");
}

/// Lengths and counts near 2^64 would be allocated, or looped over, by a trusting reader.
#[test]
fn made_up_counts_cost_nothing() {
    for huge in [u64::MAX, u64::MAX / 8 + 1, 1 << 40] {
        let truncated = |result: Result<Header, GgufError>| {
            assert!(matches!(result, Err(GgufError::Truncated { .. })), "{huge}: {result:?}");
        };
        truncated(read(&Writer::new(3, 0, huge).0));
        truncated(with_pairs(1, |file| file.u64(huge)));
        truncated(with_pairs(1, |file| file.string("k").u32(8).u64(huge)));
        for kind in [0, 8, 10] {
            truncated(with_pairs(1, |file| file.string("k").u32(9).u32(kind).u64(huge)));
        }
        truncated(with_pairs(1, |file| file.string("x.block_count").u32(9).u32(4).u64(huge)));
        let mut tensors = Writer::new(3, huge, 0);
        truncated(read(&tensors.tensor("a", &[1], 0, 0).0));
    }
}

#[test]
fn what_cannot_be_is_corrupt() {
    let corrupt = |result: Result<Header, GgufError>, expected: &str| {
        let error = result.unwrap_err();
        assert!(matches!(error, GgufError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    };
    corrupt(with_pairs(1, |file| file.string("k").u32(13)), "type 13");
    corrupt(with_pairs(1, |file| file.string("k").u32(9).u32(9).u64(1)), "type 9");
    corrupt(
        with_pairs(1, |file| file.string("x.block_count").u32(5).u32(u32::MAX)),
        "a count is -1",
    );
    corrupt(with_pairs(1, |file| file.number_pair("general.alignment", 24)), "alignment");
    corrupt(with_pairs(1, |file| file.number_pair("general.alignment", 0)), "alignment");
    corrupt(
        with_pairs(300, |file| {
            for _ in 0..300 {
                file.number_pair("x.block_count", 1);
            }
            file
        }),
        "over and over",
    );
    let tensor = |name: &str, shape: &[u64], kind, offset| {
        read(&Writer::new(3, 1, 0).tensor(name, shape, kind, offset).data(64))
    };
    corrupt(tensor(&"n".repeat(64), &[1], 0, 0), "64 bytes");
    corrupt(tensor("a", &[1; 5], 0, 0), "5 dimensions");
    corrupt(tensor("a", &[1 << 40, 1 << 40], 0, 0), "too many elements");
    corrupt(tensor("a", &[1 << 62], 28, 0), "ends outside any file");
    corrupt(tensor("a", &[33], 2, 0), "blocks of 32");
    corrupt(tensor("a", &[1], 0, 7), "odd offset, 7");
}

#[test]
fn a_type_of_the_future_counts_by_its_offset() {
    let read = |offset| read(&Writer::new(3, 1, 0).tensor("a", &[7], 999, offset).data(32));
    assert!(matches!(read(0), Err(GgufError::Missing { .. })), "whole, but no model");
    assert!(matches!(read(64), Err(GgufError::Truncated { .. })));
}

#[test]
fn what_a_language_model_needs_is_named() {
    let missing = |result: Result<Header, GgufError>| match result {
        Err(GgufError::Missing { key }) => key,
        other => panic!("{other:?}"),
    };
    assert_eq!(missing(read(&Writer::new(3, 0, 0).0)), "general.architecture");
    assert_eq!(missing(with_pairs(0, |file| file)), "x.block_count");
    let zero = with_pairs(1, |file| file.number_pair("x.block_count", 0));
    assert_eq!(missing(zero), "x.block_count");
    let layers = with_pairs(1, |file| file.number_pair("x.block_count", 2));
    assert_eq!(missing(layers), "x.context_length");
}

#[test]
fn paths_that_are_no_file_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere.gguf");
    assert!(matches!(Header::open(&nowhere), Err(LoadError::NotFound { path }) if path == nowhere));
    assert!(matches!(Header::open(folder.path()), Err(LoadError::NotAFile { .. })));
    let page = folder.path().join("page.gguf");
    fs::write(&page, "<html>").unwrap();
    let error = Header::open(&page).unwrap_err().to_string();
    assert!(error.contains("page.gguf") && error.contains("no GGUF file"), "{error}");
    fs::write(&page, small_model()).unwrap();
    assert_eq!(Header::open(&page).unwrap().layers, 3);
}
