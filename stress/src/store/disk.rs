//! A disk that fails: the system is told to refuse this process what it asks for, for a moment.
//!
//! A limit on the size of files is what a disk that is full or fails looks like to a writer: its call returns
//! an error, at whichever write that happens to be.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use signal_hook::consts::SIGXFSZ;

use crate::exit::is_want;

/// Bytes without which there is no room for a store: what its largest files are together.
const NEEDED: usize = 4 << 20;

/// Descriptors without which nobody can work with one: the database, its log, its index, files of the cache, folders.
const DESCRIPTORS: usize = 8;

/// What the system says when it takes no more in a folder, or gives no more descriptors. A store there does not do what it
/// must, and that is not its fault; what it has acknowledged must be there all the same.
pub(super) fn want_of(folder: &Path) -> Option<io::Error> {
    let opened: io::Result<Vec<_>> = (0..DESCRIPTORS).map(|_| File::open("/dev/null")).collect();
    if let Err(error) = opened
        && is_want(&error)
    {
        return Some(error);
    }
    let file = folder.join("room");
    let written = File::create(&file).and_then(|mut file| {
        file.write_all(&vec![1; NEEDED])?;
        // Some file systems find a place only now.
        file.sync_all()
    });
    // Where it could not be made, it is not there.
    let _ = fs::remove_file(&file);
    written.err().filter(is_want)
}

/// What the system refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// A write to a file beyond so many bytes: any write at all, or one in the middle of it.
    Writes { beyond: u64 },
    /// Another descriptor.
    Descriptors,
}

/// The process's limits. One thread at a time breaks them, so that each finds them broken.
#[derive(Debug)]
pub(super) struct Disk(Mutex<()>);

impl Disk {
    /// A sound one.
    pub(super) fn new() -> std::io::Result<Self> {
        // Without a handler the signal that comes with a refused write ends the process.
        signal_hook::flag::register(SIGXFSZ, std::sync::Arc::default())?;
        Ok(Self(Mutex::default()))
    }

    /// Carries out `work` while the system refuses. Elsewhere than here nothing may take this process for
    /// broken: other threads find it so as well.
    pub(super) fn broken<R>(
        &self,
        refused: Refused,
        work: impl FnOnce() -> R,
    ) -> std::io::Result<R> {
        let _one = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (resource, limit) = match refused {
            Refused::Writes { beyond } => (Resource::RLIMIT_FSIZE, beyond),
            Refused::Descriptors => (Resource::RLIMIT_NOFILE, 0),
        };
        let (soft, hard) = getrlimit(resource)?;
        setrlimit(resource, limit, hard)?;
        let _mends = Mends { resource, soft, hard };
        Ok(work())
    }
}

/// Gives the limit back, also when the work panics.
struct Mends {
    resource: Resource,
    soft: u64,
    hard: u64,
}

impl Drop for Mends {
    fn drop(&mut self) {
        // It was so before: it may be so again.
        let _ = setrlimit(self.resource, self.soft, self.hard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_machine_lacks_is_a_want() {
        let folder = tempfile::tempdir().unwrap();
        assert!(want_of(folder.path()).is_none());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
        let gone = folder.path().join("gone");
        assert!(want_of(&gone).is_none(), "it is not there, which is somebody's fault");
    }
}
