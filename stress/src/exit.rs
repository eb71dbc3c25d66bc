//! How the process ends: exit codes that scripts rely on, and why there is nothing to tell.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::process::ExitCode;

use nix::errno::Errno;

use crate::failure::Failure;

/// What the process ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Every invariant held.
    Held = 0,
    /// One broke.
    Broken = 1,
    /// The arguments cannot be run, or a part had nothing to show with them. clap's own too.
    BadArguments = 2,
    /// Somebody ended it; until then everything held.
    Interrupted = 3,
    /// The machine did not do what it must: a disk is full, there are no more descriptors or threads.
    MachineFailed = 4,
}

impl Exit {
    /// As the system is told.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// What an error ends the process with: the machine's failure when the system refused something, and
    /// bad arguments else.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        // Whoever knows that a system's refusal is an argument's fault says so.
        let failed = error.chain().any(|error| error.is::<io::Error>() || error.is::<Failure>());
        if failed && !error.is::<BadArguments>() { Self::MachineFailed } else { Self::BadArguments }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// An error that is the arguments' fault, whoever refused: a folder that may not be written to.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct BadArguments(Box<dyn Error + Send + Sync>);

/// What the arguments name cannot be used, and the error says what can.
pub(crate) fn bad_arguments(error: impl Error + Send + Sync + 'static) -> anyhow::Error {
    BadArguments(Box::new(error)).into()
}

/// Whether a refusal is the machine's want of something, whatever was asked for.
pub(crate) fn is_want(error: &io::Error) -> bool {
    use ErrorKind::{FileTooLarge, OutOfMemory, QuotaExceeded, StorageFull};
    let no_descriptors = [Errno::EMFILE, Errno::ENFILE].map(|errno| Some(errno as i32));
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge | OutOfMemory)
        || no_descriptors.contains(&error.raw_os_error())
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn the_machine_fails_only_when_the_system_refused_something() {
        assert_eq!(Exit::of(&anyhow!("no such part")), Exit::BadArguments);
        let full = || io::Error::from(ErrorKind::StorageFull);
        let failed = Err::<(), _>(full()).context("the report").context("the night").unwrap_err();
        assert_eq!(Exit::of(&failed), Exit::MachineFailed);
        assert_eq!(Exit::of(&bad_arguments(full())), Exit::BadArguments);
        assert_eq!(Exit::of(&Failure::thread(full()).into()), Exit::MachineFailed);
        assert!(is_want(&full()) && !is_want(&ErrorKind::NotFound.into()));
        assert!(is_want(&Errno::EMFILE.into()) && !is_want(&Errno::EACCES.into()));
    }
}
