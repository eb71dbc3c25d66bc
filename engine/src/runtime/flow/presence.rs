//! Processes show that they are there by the lock of a file. The system lets go of a lock when its process
//! ends, however it ends: nobody has to guess from a number or a time.
//!
//! A file is locked under another name and then given its own, so that no file that others can see is
//! unlocked while its process lives.

use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use thiserror::Error;

/// Stands in the names of claims between agent and run.
pub(super) const MARK: char = '@';
const ENDING: &str = "run";

/// The folder cannot be used.
#[derive(Debug, Error)]
#[error("{}: {source}; make it a folder that may be written, on a disk that has locks", path.display())]
pub struct PresenceError {
    /// The folder, or the file in it.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// This process is there, as long as this is.
#[derive(Debug)]
pub(super) struct Presence {
    folder: PathBuf,
    run: String,
    /// Locked.
    _file: File,
}

/// A process that is gone. Its file is locked, so that one other process at most takes care of it.
#[derive(Debug)]
pub(super) struct Gone {
    run: String,
    path: PathBuf,
    _file: File,
}

/// A name that no other run has: the hasher's keys come from the system.
pub(super) fn new_run() -> String {
    format!("{:016x}", RandomState::new().hash_one(SystemTime::now()))
}

impl Presence {
    pub(super) fn enter(folder: &Path) -> Result<Self, PresenceError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| PresenceError { path, source }
        };
        fs::create_dir_all(folder).map_err(failed(folder))?;
        let run = new_run();
        let (hidden, shown) = (folder.join(format!("{run}.new")), path_of(folder, &run));
        let file = File::create_new(&hidden).map_err(failed(&hidden))?;
        let shown = file.lock().and_then(|()| fs::rename(&hidden, &shown)).map_err(failed(&shown));
        shown.inspect_err(|_| drop(fs::remove_file(&hidden)))?;
        Ok(Self { folder: folder.to_owned(), run, _file: file })
    }

    pub(super) fn run(&self) -> &str {
        &self.run
    }

    /// Those that are gone and that nobody else takes care of. What cannot be read is left alone: the leases
    /// do the rest.
    pub(super) fn gone(&self) -> Vec<Gone> {
        let Ok(files) = fs::read_dir(&self.folder) else { return Vec::new() };
        let mut gone = Vec::new();
        for entry in files.flatten() {
            let path = entry.path();
            let run = path.file_stem().map(|run| run.to_string_lossy().into_owned());
            let is_run = path.extension().is_some_and(|ending| ending == ENDING);
            let Some(run) = run.filter(|run| is_run && *run != self.run) else { continue };
            let Ok(file) = File::open(&path) else { continue };
            match file.try_lock() {
                // Somebody may have been faster and forgotten it: then there is nothing left to be done.
                Ok(()) if path.exists() => gone.push(Gone { run, path, _file: file }),
                Ok(()) | Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
            }
        }
        gone
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        // What it had is given back or ended by now; without it, the file is that of a gone process.
        let _left = fs::remove_file(path_of(&self.folder, &self.run));
    }
}

impl Gone {
    pub(super) fn run(&self) -> &str {
        &self.run
    }

    /// Its claims were taken back.
    pub(super) fn forget(self) {
        let _left = fs::remove_file(&self.path);
    }
}

fn path_of(folder: &Path, run: &str) -> PathBuf {
    folder.join(format!("{run}.{ENDING}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_there_is_not_gone_and_who_is_gone_is_found_once() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = [(); 2].map(|()| Presence::enter(folder.path()).unwrap());
        assert_eq!((first.gone().len(), second.gone().len()), (0, 0));
        // What a killed process leaves: a file without a lock.
        File::create(path_of(folder.path(), "dead")).unwrap();
        let gone = first.gone();
        assert_eq!(gone.iter().map(Gone::run).collect::<Vec<_>>(), ["dead"]);
        assert_eq!(second.gone().len(), 0, "the first one takes care of it");
        gone.into_iter().for_each(Gone::forget);
        drop(second);
        assert_eq!(first.gone().len(), 0);
        drop(first);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
    }

    #[test]
    fn a_folder_that_is_none_says_so() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let said = Presence::enter(file.path()).unwrap_err().to_string();
        assert!(said.contains("make it a folder"), "{said}");
    }
}
