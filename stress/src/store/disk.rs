//! A disk that fails: the system is told to refuse this process what it asks for, for a moment.
//!
//! A limit on the size of files is what a disk that is full or fails looks like to a writer: its call returns
//! an error, at whichever write that happens to be.

use std::sync::{Mutex, PoisonError};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use signal_hook::consts::SIGXFSZ;

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
