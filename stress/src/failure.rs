//! What the machine did not give although the run needs it. No invariant broke: the run ends in an orderly way,
//! with an exit code of its own.

use std::env;
use std::io;
use std::sync::Arc;

use thiserror::Error;

/// The machine failed.
#[derive(Debug, Clone, Error)]
pub(crate) enum Failure {
    /// The system has no thread left.
    #[error(
        "the system gives no further thread ({0}); take fewer --threads or only one part (--only), or raise \
         its limits (ulimit -u, ulimit -v)"
    )]
    Thread(Arc<io::Error>),
    /// The same, in the process that owns the store: its own words.
    #[error("in the process that owns the store: {0}")]
    InChild(String),
    /// No process for the store.
    #[error(
        "the system starts no process for the store ({0}); raise its limits (ulimit -u, ulimit -n), or leave \
         the part out (--only)"
    )]
    Process(Arc<io::Error>),
    /// No folder for the store.
    #[error(
        "there is no folder for the store ({0}); make room there, or name another one in TMPDIR"
    )]
    Folder(Arc<io::Error>),
    /// No room there any more, or no descriptor: that the store refuses something says nothing then.
    #[error(
        "the system takes no more for the store ({error}), which says: {seen}; make room in {}, name another folder in \
         TMPDIR, or raise its limits (ulimit -f, ulimit -n)",
        env::temp_dir().display()
    )]
    Room { error: Arc<io::Error>, seen: String },
}

impl Failure {
    pub(crate) fn thread(error: io::Error) -> Self {
        Self::Thread(Arc::new(error))
    }

    pub(crate) fn process(error: io::Error) -> Self {
        Self::Process(Arc::new(error))
    }

    pub(crate) fn of_the_store(error: io::Error, seen: String) -> Self {
        Self::Room { error: Arc::new(error), seen }
    }

    pub(crate) fn folder(error: io::Error) -> Self {
        Self::Folder(Arc::new(error))
    }
}
