//! Where the demo keeps what must not be lost.

use std::env;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::DemoError;

const DATABASE: &str = "agents.db";
const DOCUMENTS: &str = "documents";
const RUNS: &str = "runs";

/// A folder for one plan. Others may use it at the same time.
pub(super) struct State {
    pub(super) folder: PathBuf,
    /// Locked, shared with others who work here.
    _in_use: File,
    /// Whether there was something from before.
    pub(super) goes_on: bool,
}

impl State {
    /// The folder that was named, or the plan's own in the user's cache; emptied if it is to be `fresh`.
    pub(super) fn open(
        named: Option<&Path>,
        name: &str,
        text: &str,
        fresh: bool,
    ) -> Result<Self, DemoError> {
        let folder = match named {
            Some(folder) => folder.to_owned(),
            None => default_folder(name, text).ok_or(DemoError::NoStateFolder)?,
        };
        let refused = |problem: io::Error| DemoError::State {
            folder: folder.clone(),
            problem: format!("{problem}; name a folder that may be written with --state"),
        };
        fs::create_dir_all(&folder).map_err(refused)?;
        let in_use = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join("in-use"))
            .map_err(refused)?;
        if fresh {
            match in_use.try_lock() {
                Ok(()) => empty(&folder).map_err(refused)?,
                Err(TryLockError::Error(error)) => return Err(refused(error)),
                Err(TryLockError::WouldBlock) => {
                    let problem = "another demo works here; end it before --fresh".to_owned();
                    return Err(DemoError::State { folder, problem });
                }
            }
            in_use.unlock().map_err(refused)?;
        }
        in_use.lock_shared().map_err(refused)?;
        let goes_on = folder.join(DATABASE).exists();
        Ok(Self { folder, _in_use: in_use, goes_on })
    }

    pub(super) fn database(&self) -> PathBuf {
        self.folder.join(DATABASE)
    }

    /// Where processes show that they work here.
    pub(super) fn runs(&self) -> PathBuf {
        self.folder.join(RUNS)
    }

    /// Where documents are written for people.
    pub(super) fn documents(&self) -> PathBuf {
        self.folder.join(DOCUMENTS)
    }

    /// Runs `work` while no other process runs any here.
    pub(super) fn alone<T>(&self, work: impl FnOnce() -> T) -> io::Result<T> {
        let setup = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.folder.join("setup"))?;
        setup.lock()?;
        Ok(work())
    }
}

/// Removes what is ours, and nothing else.
fn empty(folder: &Path) -> io::Result<()> {
    let gone = |removed: io::Result<()>| match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    for ending in ["", "-wal", "-shm"] {
        gone(fs::remove_file(folder.join(format!("{DATABASE}{ending}"))))?;
    }
    for name in [DOCUMENTS, RUNS] {
        gone(fs::remove_dir_all(folder.join(name)))?;
    }
    Ok(())
}

/// Another text is another plan, and has a folder of its own.
fn default_folder(name: &str, text: &str) -> Option<PathBuf> {
    // FNV-1a: the same with every version of Rust.
    let hash = text.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    let xdg = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = xdg.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))?;
    let plain = |c: char| if c.is_alphanumeric() { c } else { '-' };
    let name: String = name.chars().map(plain).take(40).collect();
    Some(cache.join("latchless").join("demo").join(format!("{name}-{:08x}", hash as u32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_removes_what_is_ours_unless_somebody_works_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let open = |fresh| State::open(Some(&path), "p", "", fresh);
        let state = open(false).unwrap();
        assert!(!state.goes_on);
        fs::write(state.database(), "x").unwrap();
        fs::create_dir(state.documents()).unwrap();
        fs::write(path.join("mine.txt"), "x").unwrap();
        assert!(open(false).unwrap().goes_on);
        let Err(refused) = open(true) else { panic!("somebody works there") };
        assert!(refused.to_string().contains("another demo"), "{refused}");
        drop(state);
        let state = open(true).unwrap();
        assert!(!state.goes_on && !state.documents().exists());
        assert!(path.join("mine.txt").exists(), "not ours");
    }

    #[test]
    fn a_state_folder_that_is_a_file_says_what_to_do() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let Err(refused) = State::open(Some(file.path()), "p", "", false) else { panic!("a file") };
        assert!(refused.to_string().contains("--state"), "{refused}");
        assert_eq!(refused.exit_code(), 2);
    }
}
