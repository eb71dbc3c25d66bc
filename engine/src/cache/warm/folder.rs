//! The folder: names, atomic replacement, and what a crash left behind.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use latchless::AgentId;
use twox_hash::XxHash3_64;

use super::super::{CacheError, IdProblem};

const FINISHED: &str = "sequence";
const PARTIAL: &str = "partial";
const LOCK: &str = "lock";

/// A folder that this process alone uses, as long as this value lives.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Locked by the system, which lets go when the process ends, however it ends.
    _lock: File,
    partials: AtomicU64,
}

/// What is in a folder.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) finished: Vec<PathBuf>,
    pub(super) partial: Vec<PathBuf>,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self, CacheError> {
        fs::create_dir_all(path).map_err(io_error("making the folder", path))?;
        let name = path.join(LOCK);
        let lock = File::options().create(true).truncate(false).write(true).open(&name);
        let lock = lock.map_err(io_error("opening", &name))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(CacheError::InUse { folder: path.to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(io_error("locking", &name)(source)),
        }
        Ok(Self { path: path.to_owned(), _lock: lock, partials: AtomicU64::new(0) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The files that are ours, by name; others are left alone.
    pub(super) fn contents(&self) -> Result<Contents, CacheError> {
        let failed = io_error("listing", &self.path);
        let mut contents = Contents::default();
        for entry in fs::read_dir(&self.path).map_err(&failed)? {
            let path = entry.map_err(&failed)?.path();
            let ours = |stem: &str| stem.len() >= 32 && stem.is_ascii();
            if !path.file_stem().and_then(|stem| stem.to_str()).is_some_and(ours) {
                continue;
            }
            match path.extension().and_then(|extension| extension.to_str()) {
                Some(FINISHED) => contents.finished.push(path),
                Some(PARTIAL) => contents.partial.push(path),
                _ => {}
            }
        }
        Ok(contents)
    }

    /// The file of `agent`. Its name is a hash: an id may be longer than a file name, and differ from
    /// another one only in case.
    pub(super) fn file(&self, agent: &AgentId) -> Result<PathBuf, CacheError> {
        let id = agent.as_str();
        if let Some(problem) = problem(id) {
            return Err(CacheError::Id { id: id.into(), problem });
        }
        let [high, low] = [0, 1].map(|seed| XxHash3_64::oneshot_with_seed(seed, id.as_bytes()));
        Ok(self.path.join(format!("{high:016x}{low:016x}.{FINISHED}")))
    }

    /// Writes `parts` into a file of a name that nobody has, and syncs it.
    pub(super) fn write_partial(
        &self,
        finished: &Path,
        parts: [&[u8]; 2],
    ) -> Result<PathBuf, CacheError> {
        // Relaxed: the number only has to be another one each time.
        let number = self.partials.fetch_add(1, Ordering::Relaxed);
        let stem = finished.file_stem().unwrap_or_default().to_string_lossy();
        let path = self.path.join(format!("{stem}-{}-{number}.{PARTIAL}", process::id()));
        let write = || {
            let mut file = File::create_new(&path)?;
            for part in parts {
                file.write_all(part)?;
            }
            file.sync_all()
        };
        if let Err(source) = write() {
            discard(&path);
            return Err(io_error("writing", &path)(source));
        }
        Ok(path)
    }

    /// Makes renames and removals outlive a loss of power.
    pub(super) fn sync(&self) -> Result<(), CacheError> {
        // Windows has no such thing: there a rename is written through.
        if cfg!(unix) {
            let synced = File::open(&self.path).and_then(|folder| folder.sync_all());
            synced.map_err(io_error("syncing", &self.path))?;
        }
        Ok(())
    }
}

/// Gives a partial file its name. Readers see the old file or the new one.
pub(super) fn publish(partial: &Path, finished: &Path) -> Result<(), CacheError> {
    fs::rename(partial, finished).map_err(|source| {
        discard(partial);
        io_error("renaming", partial)(source)
    })
}

/// Removes a file that may be gone already.
pub(super) fn remove(path: &Path) -> Result<(), CacheError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error("removing", path)(error))
        }
        _ => Ok(()),
    }
}

/// Removes what is of no use; where that fails, the next open tries again.
pub(super) fn discard(path: &Path) {
    if let Err(error) = remove(path) {
        tracing::warn!(%error, "a file of no use stays in the cache's folder");
    }
}

fn problem(id: &str) -> Option<IdProblem> {
    if id.contains(['/', '\\']) {
        Some(IdProblem::Separator)
    } else if id == "." || id.contains("..") {
        Some(IdProblem::Parent)
    } else if id.chars().any(char::is_control) {
        Some(IdProblem::Control)
    } else {
        None
    }
}

/// What makes a [`CacheError::Io`] of the system's error.
pub(super) fn io_error(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> CacheError {
    move |source| CacheError::Io { doing, path: path.to_owned(), source }
}
