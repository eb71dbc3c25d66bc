//! A GGUF file in another quantisation.
//!
//! How long llama.cpp takes for a batch depends on the quantisation as much as on the model: some kernels
//! compute several rows at once, others one after the other. Who picks one by measurement needs the same
//! model in each, and llama-cpp-2 has no function that makes them. So the one raw call is wrapped here, for
//! the engine's figures: what the engine itself runs is the user's file.

use std::ffi::{CString, NulError};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_sys_2 as sys;
use thiserror::Error;

/// How weights are stored, by llama.cpp's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantization {
    /// Blocks of 32 weights, 4 bits each and a scale; all tensors, the output's too. llama.cpp rearranges
    /// such tensors when it loads them, so that it computes eight rows of weights at once.
    Q4_0,
    /// Blocks of 32 weights, 8 bits each and a scale.
    Q8_0,
    /// Super-blocks of 256 weights, about 4.5 bits each.
    Q4KM,
    /// Half-precision floats: nothing is quantised.
    F16,
}

impl Quantization {
    /// All that there are.
    pub const ALL: [Self; 4] = [Self::Q4_0, Self::Q8_0, Self::Q4KM, Self::F16];

    /// The name, as in file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Q4_0 => "Q4_0",
            Self::Q8_0 => "Q8_0",
            Self::Q4KM => "Q4_K_M",
            Self::F16 => "F16",
        }
    }

    fn file_type(self) -> sys::llama_ftype {
        match self {
            Self::Q4_0 => sys::LLAMA_FTYPE_MOSTLY_Q4_0,
            Self::Q8_0 => sys::LLAMA_FTYPE_MOSTLY_Q8_0,
            Self::Q4KM => sys::LLAMA_FTYPE_MOSTLY_Q4_K_M,
            Self::F16 => sys::LLAMA_FTYPE_MOSTLY_F16,
        }
    }
}

impl fmt::Display for Quantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no [`Quantization`] has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no quantisation {0:?} here; name Q4_0, Q8_0, Q4_K_M or F16")]
pub struct Unknown(pub String);

impl FromStr for Quantization {
    type Err = Unknown;

    fn from_str(name: &str) -> Result<Self, Unknown> {
        let same = |known: &Self| known.name().eq_ignore_ascii_case(name);
        Self::ALL.into_iter().find(same).ok_or_else(|| Unknown(name.into()))
    }
}

/// Why there is no new file.
#[derive(Debug, Error)]
pub enum QuantizeError {
    /// A path that C cannot be told.
    #[error("{} has a zero byte in its name; give the file another name", path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// Where the byte is.
        source: NulError,
    },
    /// llama.cpp did not read or write it.
    #[error("llama.cpp could not make {} of {} (its code: {code}); is that a GGUF model, and is there room?", to.display(), from.display())]
    Refused {
        /// The model.
        from: PathBuf,
        /// The file that was to be.
        to: PathBuf,
        /// What llama.cpp returned.
        code: u32,
    },
    /// The new file could not be put in its place.
    #[error("{} could not be written: {source}; use a folder that can be written to", to.display())]
    Write {
        /// The file that was to be.
        to: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Writes the model `from` in another quantisation to `to`, on `threads` threads. `to` is there whole or
/// not at all.
///
/// Weights that are quantised already are quantised again: good enough to measure times, not answers.
///
/// # Errors
/// [`QuantizeError`]; nothing is left behind.
pub fn quantize(
    _runtime: &LlamaBackend,
    from: &Path,
    to: &Path,
    quantization: Quantization,
    threads: u32,
) -> Result<(), QuantizeError> {
    let write = |source| QuantizeError::Write { to: to.into(), source };
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let temporary = tempfile::Builder::new().suffix(".gguf").tempfile_in(folder).map_err(write)?;
    let temporary = temporary.into_temp_path();
    let (source, target) = (text(from)?, text(&temporary)?);
    // SAFETY: it returns a value of plain data and reads nothing but constants.
    #[allow(unsafe_code)]
    let mut parameters = unsafe { sys::llama_model_quantize_default_params() };
    parameters.nthread = threads as i32;
    parameters.ftype = quantization.file_type();
    parameters.allow_requantize = true;
    // Else the embeddings, which are the output's weights as well, would stay at 8 bits.
    parameters.pure_ = quantization == Quantization::Q4_0;
    // SAFETY: both strings end with a zero and outlive the call, and so do the parameters, whose pointers
    // are null as the default has them. llama.cpp is initialised: `_runtime` shows it. C++ exceptions are
    // caught inside, which returns a code other than 0.
    #[allow(unsafe_code)]
    let code = unsafe {
        sys::llama_model_quantize(source.as_ptr(), target.as_ptr(), &raw const parameters)
    };
    if code != 0 {
        return Err(QuantizeError::Refused { from: from.into(), to: to.into(), code });
    }
    temporary.persist(to).map_err(|error| write(error.error))
}

fn text(path: &Path) -> Result<CString, QuantizeError> {
    CString::new(path.as_os_str().as_encoded_bytes())
        .map_err(|source| QuantizeError::Path { path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case_and_others_refused() {
        for known in Quantization::ALL {
            assert_eq!(known.name().to_lowercase().parse(), Ok(known));
        }
        assert_eq!("q3".parse::<Quantization>(), Err(Unknown("q3".into())));
    }

    #[test]
    fn what_is_no_model_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("no.gguf"), folder.path().join("new.gguf"));
        std::fs::write(&from, b"no model").unwrap();
        let runtime = LlamaBackend::init().unwrap();
        let refused = quantize(&runtime, &from, &to, Quantization::Q8_0, 1).unwrap_err();
        assert!(matches!(refused, QuantizeError::Refused { .. }), "{refused}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
