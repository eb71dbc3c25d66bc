//! Why a model or a context could not be made.

use std::path::PathBuf;

use latchless::SpecError;

use super::gguf::GgufError;

/// A model or a context could not be made; nothing is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// There is no such file.
    #[error("there is no model at {path:?}; give the path of a GGUF file")]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// A folder, a pipe, a device.
    #[error("{path:?} is no file; give the path of a GGUF file")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The path cannot be handed to llama.cpp.
    #[error("the path {path:?} is not UTF-8; give the model another name")]
    NotUtf8 {
        /// The path.
        path: PathBuf,
    },
    /// The file is no GGUF file, or not a whole one.
    #[error("{path:?} cannot be loaded: {problem}")]
    File {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        problem: GgufError,
    },
    /// A kind of network that generates no text token by token.
    #[error(
        "{path:?} holds a network of the kind {architecture:?}, which does not generate text token by \
         token; give the path of a language model"
    )]
    Unsupported {
        /// The path.
        path: PathBuf,
        /// The kind of network.
        architecture: String,
    },
    /// The geometry in the file, with the block size asked for, makes no pool.
    #[error("the KV cache of {path:?} cannot be divided into blocks: {problem}")]
    Geometry {
        /// The path.
        path: PathBuf,
        /// What cannot be.
        #[source]
        problem: SpecError,
    },
    /// llama.cpp refused the file.
    #[error("llama.cpp cannot load {path:?}: {reason}; fetch it again, or take another model")]
    Refused {
        /// The path.
        path: PathBuf,
        /// What llama.cpp said.
        reason: String,
    },
    /// An option outside its range.
    #[error("{option} is {value}; give it {allowed}")]
    Option {
        /// Which one.
        option: &'static str,
        /// What it was.
        value: u32,
        /// What it may be.
        allowed: &'static str,
    },
    /// The context would take more memory than there is.
    #[error(
        "a context of {cells} tokens takes {} of memory and {} are available; {}",
        size(*.needed),
        size(*.available),
        advice(*.fits)
    )]
    TooLarge {
        /// Tokens asked for.
        cells: u32,
        /// Bytes that it takes, about.
        needed: u64,
        /// Bytes that are available.
        available: u64,
        /// Tokens that would fit; 0 when none do.
        fits: u32,
    },
    /// llama.cpp made no context, or none that decodes.
    #[error(
        "llama.cpp made no context of {cells} tokens that works: {reason}; free memory, or ask for fewer tokens"
    )]
    Context {
        /// Tokens asked for.
        cells: u32,
        /// What llama.cpp said.
        reason: String,
    },
    /// llama.cpp was initialised elsewhere in this process.
    #[error(
        "llama.cpp was initialised by another part of this process; let it use \
         latchless_engine::backend::llama::runtime() instead"
    )]
    RuntimeTaken,
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    const MIB: f64 = 1024.0 * 1024.0;
    let mib = bytes as f64 / MIB;
    if mib < 1024.0 { format!("{mib:.0} MiB") } else { format!("{:.1} GiB", mib / 1024.0) }
}

fn advice(fits: u32) -> String {
    match fits {
        0 => "free some memory or take a smaller model".into(),
        fits => format!("ask for at most {fits} tokens (--context {fits})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_too_large_says_what_fits() {
        let error = |fits| {
            let (needed, available) = (90 << 30, 700 << 20);
            LoadError::TooLarge { cells: 9_000_192, needed, available, fits }.to_string()
        };
        assert_eq!(
            error(4096),
            "a context of 9000192 tokens takes 90.0 GiB of memory and 700 MiB are available; ask for \
             at most 4096 tokens (--context 4096)"
        );
        assert!(error(0).ends_with("free some memory or take a smaller model"));
    }
}
