//! What SQLite says, in our words.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::ErrorCode;

use super::super::StoreError;

/// Makes errors that name the file.
#[derive(Debug, Clone)]
pub(super) struct Failures {
    path: PathBuf,
    busy: Duration,
}

impl Failures {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.into(), busy: Duration::ZERO }
    }

    /// The same, for connections that wait so long for others.
    pub(super) fn busy(mut self, busy: Duration) -> Self {
        self.busy = busy;
        self
    }

    /// Says how long a wait was that was given up.
    pub(super) fn waited(&mut self, waited: Duration) {
        self.busy = waited;
    }

    pub(super) fn of(&self, error: &rusqlite::Error) -> StoreError {
        let path = self.path.clone();
        let reason = || error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::CannotOpen) => StoreError::CannotOpen { path, reason: reason() },
            Some(ErrorCode::NotADatabase) => StoreError::NotADatabase { path },
            Some(ErrorCode::ReadOnly) => StoreError::ReadOnly { path },
            Some(ErrorCode::DiskFull) => StoreError::Full { path },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                StoreError::Busy { path, waited_ms: self.busy.as_millis() as u64 }
            }
            Some(ErrorCode::DatabaseCorrupt) => StoreError::Damaged { path, reason: reason() },
            _ => StoreError::Database { path, reason: reason() },
        }
    }
}
