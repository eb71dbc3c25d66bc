//! Which process something belongs to.
//!
//! After a `fork` the child has one thread, the one that forked, and a copy of all memory: words that count
//! requests which no thread will end, locks that a thread held which is not there, handles of threads that
//! never were. Whoever waits for one of these waits for ever. So what has threads here remembers the process
//! that made it, and asks before it waits: in another one it refuses, by name. A number is compared: no
//! handler that runs at a fork, and nothing global.
//!
//! What that costs is one `getpid`, some tens of nanoseconds, where a thread is about to wait anyway, and in
//! a submit.

use std::mem;
use std::process;
use std::thread::{self, JoinHandle};

/// Something that has threads is used in a child of the process that made it, where they do not exist.
///
/// Fork before the first engine or store is made, or `exec` in the child, or make the child its own.
///
/// ```
/// use latchless_engine::Forked;
/// let forked = Forked { made_in: 41, here: 42 };
/// assert!(forked.to_string().starts_with("made in process 41 and used in its child 42"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "made in process {made_in} and used in its child {here}, where its threads do not exist; make a new \
     one in the child, or fork before you make one"
)]
pub struct Forked {
    /// The process that made it.
    pub made_in: u32,
    /// The one that asked.
    pub here: u32,
}

/// The process that made something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Birthplace(u32);

impl Birthplace {
    /// The calling process.
    pub(crate) fn here() -> Self {
        Self(process::id())
    }

    /// Whether this is the process still.
    ///
    /// # Errors
    /// [`Forked`] when it is a child of it.
    pub(crate) fn check(self) -> Result<(), Forked> {
        let here = process::id();
        if here == self.0 { Ok(()) } else { Err(Forked { made_in: self.0, here }) }
    }

    /// Whether this is another process.
    pub(crate) fn was_left(self) -> bool {
        self.check().is_err()
    }

    /// Waits for the end of a thread of this process. In a child there is nothing to wait for, and nothing
    /// to detach.
    pub(crate) fn join(self, thread: JoinHandle<()>) -> thread::Result<()> {
        if self.was_left() {
            mem::forget(thread);
            return Ok(());
        }
        thread.join()
    }
}
