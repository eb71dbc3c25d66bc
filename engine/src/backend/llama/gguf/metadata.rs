//! The key-value pairs of the header that matter here; the others are skipped.

use std::io::BufRead;

use super::GgufError;
use super::reader::Reader;

/// The GGUF specification allows keys of 65,535 bytes.
const LONGEST_KEY: u64 = 65_535;
/// The strings that are kept are names.
const LONGEST_NAME: u64 = 65_536;
/// More numbers than any model has under the keys below.
const MOST_NUMBERS: usize = 256;
/// What is looked up under `<architecture>.`.
const WANTED: [&str; 8] = [
    "block_count",
    "context_length",
    "embedding_length",
    "vocab_size",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
];

/// A number, or the sum and the largest of a list of them (one a layer).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    One(u64),
    Many { sum: u64, largest: u64 },
}

/// The pairs that were kept.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    pub(super) architecture: Option<String>,
    pub(super) name: Option<String>,
    pub(super) tokenizer: Option<String>,
    pub(super) tokens: u64,
    pub(super) alignment: Option<u64>,
    numbers: Vec<(String, Number)>,
}

impl Metadata {
    /// Reads `pairs` pairs.
    pub(super) fn read<R: BufRead>(reader: &mut Reader<R>, pairs: u64) -> Result<Self, GgufError> {
        let mut metadata = Self::default();
        // No pair takes less than a byte, so a made-up count ends where the file does.
        for _ in 0..pairs {
            metadata.read_pair(reader)?;
        }
        Ok(metadata)
    }

    /// The number under `<architecture>.<key>`.
    pub(super) fn number(&self, architecture: &str, key: &str) -> Option<Number> {
        let under = |full: &str| {
            full.strip_prefix(architecture).and_then(|rest| rest.strip_prefix('.')) == Some(key)
        };
        self.numbers.iter().find(|(full, _)| under(full)).map(|(_, number)| *number)
    }

    fn read_pair<R: BufRead>(&mut self, reader: &mut Reader<R>) -> Result<(), GgufError> {
        let key = reader.string(LONGEST_KEY)?;
        let kind = reader.u32()?;
        let wants_number = key.split_once('.').is_some_and(|(_, rest)| WANTED.contains(&rest));
        match (key.as_str(), kind) {
            ("general.architecture", kind::STRING) => {
                self.architecture = Some(reader.string(LONGEST_NAME)?);
            }
            ("general.name", kind::STRING) => self.name = Some(reader.string(LONGEST_NAME)?),
            ("tokenizer.ggml.model", kind::STRING) => {
                self.tokenizer = Some(reader.string(LONGEST_NAME)?);
            }
            ("tokenizer.ggml.tokens", kind::ARRAY) => self.tokens = skip_array(reader)?,
            ("general.alignment", kind::U32) => self.alignment = Some(reader.u32()?.into()),
            (_, kind::ARRAY) if wants_number => {
                let number = read_numbers(reader)?;
                self.keep(reader, key, number)?;
            }
            (_, kind) if wants_number && kind::is_integer(kind) => {
                let number = Number::One(read_integer(reader, kind)?);
                self.keep(reader, key, Some(number))?;
            }
            (_, kind) => skip_value(reader, kind)?,
        }
        Ok(())
    }

    fn keep<R: BufRead>(
        &mut self,
        reader: &Reader<R>,
        key: String,
        number: Option<Number>,
    ) -> Result<(), GgufError> {
        let Some(number) = number else { return Ok(()) };
        if self.numbers.len() == MOST_NUMBERS {
            return Err(reader.corrupt("the geometry is given over and over".into()));
        }
        self.numbers.push((key, number));
        Ok(())
    }
}

/// The types of values, as the specification numbers them.
mod kind {
    pub(super) const U8: u32 = 0;
    pub(super) const I8: u32 = 1;
    pub(super) const U16: u32 = 2;
    pub(super) const I16: u32 = 3;
    pub(super) const U32: u32 = 4;
    pub(super) const I32: u32 = 5;
    pub(super) const F32: u32 = 6;
    pub(super) const BOOL: u32 = 7;
    pub(super) const STRING: u32 = 8;
    pub(super) const ARRAY: u32 = 9;
    pub(super) const U64: u32 = 10;
    pub(super) const I64: u32 = 11;
    pub(super) const F64: u32 = 12;

    pub(super) fn is_integer(kind: u32) -> bool {
        matches!(kind, U8 | I8 | U16 | I16 | U32 | I32 | U64 | I64)
    }

    /// Bytes of one value; `None` for strings, lists and what is no type.
    pub(super) fn bytes(kind: u32) -> Option<u64> {
        match kind {
            U8 | I8 | BOOL => Some(1),
            U16 | I16 => Some(2),
            U32 | I32 | F32 => Some(4),
            U64 | I64 | F64 => Some(8),
            _ => None,
        }
    }
}

/// An integer that counts something: a negative one is refused.
fn read_integer<R: BufRead>(reader: &mut Reader<R>, kind: u32) -> Result<u64, GgufError> {
    let number = match kind {
        kind::U8 => reader.u8()?.into(),
        kind::I8 => i64::from(reader.u8()?.cast_signed()),
        kind::U16 => reader.u16()?.into(),
        kind::I16 => reader.u16()?.cast_signed().into(),
        kind::U32 => reader.u32()?.into(),
        kind::I32 => reader.u32()?.cast_signed().into(),
        _ => reader.u64()?.cast_signed(),
    };
    u64::try_from(number).map_err(|_| reader.corrupt(format!("a count is {number}")))
}

/// The sum and the largest of a list of integers; `None` for a list of anything else.
fn read_numbers<R: BufRead>(reader: &mut Reader<R>) -> Result<Option<Number>, GgufError> {
    let kind = reader.u32()?;
    let count = reader.u64()?;
    if !kind::is_integer(kind) {
        skip_items(reader, kind, count)?;
        return Ok(None);
    }
    let (mut sum, mut largest) = (0_u64, 0);
    for _ in 0..count {
        let number = read_integer(reader, kind)?;
        sum = sum.saturating_add(number);
        largest = number.max(largest);
    }
    Ok(Some(Number::Many { sum, largest }))
}

fn skip_value<R: BufRead>(reader: &mut Reader<R>, kind: u32) -> Result<(), GgufError> {
    match kind {
        kind::ARRAY => skip_array(reader).map(drop),
        kind => skip_items(reader, kind, 1),
    }
}

/// Skips a list and returns how many items it has.
fn skip_array<R: BufRead>(reader: &mut Reader<R>) -> Result<u64, GgufError> {
    let kind = reader.u32()?;
    let count = reader.u64()?;
    skip_items(reader, kind, count)?;
    Ok(count)
}

fn skip_items<R: BufRead>(reader: &mut Reader<R>, kind: u32, count: u64) -> Result<(), GgufError> {
    if kind == kind::STRING {
        return (0..count).try_for_each(|_| reader.skip_string());
    }
    let Some(bytes) = kind::bytes(kind) else {
        return Err(reader.corrupt(format!("a value of type {kind}, which does not exist")));
    };
    reader.skip(bytes.saturating_mul(count))
}
