//! Threads from the system, which may have none left.

use std::io::ErrorKind;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, Scope, ScopedJoinHandle};

use crate::failure::Failure;

/// Begins threads.
#[derive(Debug, Default)]
pub(crate) struct Spawner {
    /// How many more there are, where a test says so.
    left: Option<AtomicUsize>,
}

impl Spawner {
    pub(super) fn spawn<'scope, T: Send + 'scope>(
        &self,
        scope: &'scope Scope<'scope, '_>,
        work: impl FnOnce() -> T + Send + 'scope,
    ) -> Result<ScopedJoinHandle<'scope, T>, Failure> {
        self.take_one()?;
        thread::Builder::new().spawn_scoped(scope, work).map_err(Failure::thread)
    }

    /// A system with so many threads.
    #[cfg(test)]
    pub(crate) fn at_most(threads: usize) -> Self {
        Self { left: Some(threads.into()) }
    }

    fn take_one(&self) -> Result<(), Failure> {
        let Some(left) = &self.left else { return Ok(()) };
        let taken = left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        taken.map(drop).map_err(|_| Failure::thread(ErrorKind::WouldBlock.into()))
    }
}
