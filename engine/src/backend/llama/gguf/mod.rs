//! A reader of GGUF headers that looks before llama.cpp does.
//!
//! llama.cpp answers a bad file with a null pointer, and in places with an abort. This reader finds
//! what people meet (a folder, a web page saved as a model, half a download) and says it in a
//! sentence; it also reads the geometry that the block pool needs. It trusts nothing in the file: a
//! length is compared with the file's before it is used, a product is checked, and nothing is kept
//! that is not asked for.
//!
//! The format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

mod metadata;
mod reader;
mod tensor;

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use self::metadata::{Metadata, Number};
use self::reader::Reader;
use super::LoadError;

/// What is wrong with a file that should hold a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// It holds something else.
    #[error("it is no GGUF file: it starts with {found}; give the path of a .gguf model")]
    NotGguf {
        /// The first bytes.
        found: String,
    },
    /// A version that llama.cpp does not read.
    #[error(
        "its GGUF version is {version}, and only 2 and 3 can be read; convert the model again with a \
         current llama.cpp"
    )]
    Version {
        /// The version.
        version: u32,
    },
    /// It was made for a big-endian machine.
    #[error("its numbers are big-endian; convert the model for this machine")]
    BigEndian,
    /// It ends too early.
    #[error(
        "it is truncated: at least {expected} bytes are expected, {found} are there; fetch it again"
    )]
    Truncated {
        /// Bytes that it must have.
        expected: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// It contradicts itself.
    #[error("it is corrupt at byte {at}: {what}; fetch it again")]
    Corrupt {
        /// Where.
        at: u64,
        /// What cannot be.
        what: String,
    },
    /// The header lacks what every language model has.
    #[error("its metadata lacks {key:?}, so it is no language model; give the path of one")]
    Missing {
        /// The key.
        key: String,
    },
    /// It cannot be read.
    #[error("it cannot be read: {0}; check the disk and try again")]
    Io(#[source] io::Error),
}

/// The geometry and the names in the header of a GGUF file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The kind of network, for example `llama`.
    pub architecture: String,
    /// The model's name, if it has one.
    pub name: Option<String>,
    /// The kind of tokeniser; `None` for a model without one.
    pub tokenizer: Option<String>,
    /// Tokens that the model was trained to have in sight.
    pub context_length: u32,
    /// Layers.
    pub layers: u32,
    /// Elements of a token's vector between the layers; 0 when the file does not say.
    pub embedding: u32,
    /// KV heads of the layer that has most.
    pub kv_heads: u32,
    /// KV heads of all layers together.
    pub kv_heads_of_all_layers: u64,
    /// Elements of a key.
    pub key_length: u32,
    /// Elements of a value.
    pub value_length: u32,
    /// Tokens of the vocabulary; 0 when the file does not say.
    pub vocabulary: u32,
}

impl Header {
    /// Reads the header of the file at `path` and checks that the file is as long as it says.
    ///
    /// # Errors
    /// [`LoadError`] when there is no such file, or it is no GGUF file, or not a whole one.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let unreadable = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => LoadError::NotFound { path: path.into() },
            _ => LoadError::File { path: path.into(), problem: GgufError::Io(error) },
        };
        // Asked before it is opened: opening a pipe would wait for a writer.
        let metadata = fs::metadata(path).map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(LoadError::NotAFile { path: path.into() });
        }
        let file = File::open(path).map_err(unreadable)?;
        Self::read(BufReader::with_capacity(1 << 16, file), metadata.len())
            .map_err(|problem| LoadError::File { path: path.into(), problem })
    }

    /// Reads a header from a file of `len` bytes. What is fuzzed.
    pub(crate) fn read(file: impl BufRead, len: u64) -> Result<Self, GgufError> {
        let mut reader = Reader::new(file, len);
        check_magic(&mut reader)?;
        let version = reader.u32()?;
        match version {
            2 | 3 => {}
            // A small number whose bytes are in the wrong order.
            version if version != 0 && version.trailing_zeros() >= 16 => {
                return Err(GgufError::BigEndian);
            }
            version => return Err(GgufError::Version { version }),
        }
        let tensors = reader.u64()?;
        let pairs = reader.u64()?;
        let metadata = Metadata::read(&mut reader, pairs)?;
        let alignment = metadata.alignment.unwrap_or(32);
        if !alignment.is_power_of_two() {
            return Err(reader.corrupt(format!("the alignment is {alignment}, no power of two")));
        }
        let mut data = 0;
        for _ in 0..tensors {
            data = tensor::end_of_tensor(&mut reader, alignment)?.max(data);
        }
        let start = reader.at().next_multiple_of(alignment);
        let (expected, found) = (start.saturating_add(data), reader.len());
        if tensors > 0 && expected > found {
            return Err(GgufError::Truncated { expected, found });
        }
        Self::from_metadata(metadata)
    }

    fn from_metadata(metadata: Metadata) -> Result<Self, GgufError> {
        let missing = |key: &str| GgufError::Missing { key: key.into() };
        let architecture =
            metadata.architecture.clone().ok_or_else(|| missing("general.architecture"))?;
        let number = |key: &str| metadata.number(&architecture, key);
        let required = |key: &str| {
            number(key)
                .map(Number::largest)
                .filter(|number| *number > 0)
                .ok_or_else(|| missing(&format!("{architecture}.{key}")))
        };
        let layers = required("block_count")?;
        let context_length = required("context_length")?;
        // Recurrent models have no heads; everything of theirs counts as none.
        let heads = number("attention.head_count").unwrap_or(Number::One(0));
        let kv_heads = number("attention.head_count_kv").unwrap_or(heads);
        let embedding = number("embedding_length").map_or(0, Number::largest);
        let head_size = embedding.checked_div(heads.largest()).unwrap_or(0);
        let length = |key: &str| number(key).map_or(head_size, Number::largest);
        let vocabulary = number("vocab_size").map_or(metadata.tokens, Number::largest);
        Ok(Self {
            context_length: clamp(context_length),
            layers: clamp(layers),
            embedding: clamp(embedding),
            kv_heads: clamp(kv_heads.largest()),
            kv_heads_of_all_layers: match kv_heads {
                Number::One(heads) => heads.saturating_mul(layers),
                Number::Many { sum, .. } => sum,
            },
            key_length: clamp(length("attention.key_length")),
            value_length: clamp(length("attention.value_length")),
            vocabulary: clamp(vocabulary.max(metadata.tokens)),
            name: metadata.name,
            tokenizer: metadata.tokenizer,
            architecture,
        })
    }
}

impl Number {
    fn largest(self) -> u64 {
        match self {
            Self::One(number) | Self::Many { largest: number, .. } => number,
        }
    }
}

/// A count from the file; one beyond `u32` is nonsense that llama.cpp refuses later.
fn clamp(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn check_magic<R: BufRead>(reader: &mut Reader<R>) -> Result<(), GgufError> {
    let mut start = Vec::new();
    while start.len() < 4 && (start.len() as u64) < reader.len() {
        start.push(reader.u8()?);
    }
    match start.as_slice() {
        b"GGUF" => Ok(()),
        [] => Err(GgufError::NotGguf { found: "nothing, for it is empty".into() }),
        other => {
            let found = format!("\"{}\" instead of \"GGUF\"", other.escape_ascii());
            Err(GgufError::NotGguf { found })
        }
    }
}

#[cfg(test)]
mod tests;
