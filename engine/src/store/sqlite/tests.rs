//! The store as its callers see it.

use std::sync::atomic::AtomicU64;

use rusqlite::Connection;
use tempfile::TempDir;

use super::super::Durability::{Durable, Relaxed};
use super::super::{Priority, TaskStatus};
use super::*;

mod files;
mod hostile;
mod records;
mod tasks;

const LEASE: Duration = Duration::from_mins(1);

/// A database in a folder of its own, on a clock that stands still until it is moved.
struct Fixture {
    folder: TempDir,
    clock: Arc<ManualClock>,
}

/// A clock in the hands of a test.
#[derive(Debug, Default)]
struct ManualClock(AtomicU64);

impl Clock for ManualClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Fixture {
    fn new() -> Self {
        let clock = Arc::new(ManualClock(AtomicU64::new(1_000_000)));
        Self { folder: tempfile::tempdir().unwrap(), clock }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("agents.db")
    }

    fn options(&self) -> StoreOptions {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        StoreOptions { clock, ..StoreOptions::default() }
    }

    fn open(&self) -> SqliteStore {
        SqliteStore::open(self.path(), self.options()).unwrap()
    }

    fn set_clock(&self, ms: u64) {
        self.clock.0.store(ms, Ordering::Relaxed);
    }
}

fn independent(count: usize) -> Vec<NewTask> {
    (0..count).map(|number| NewTask::new(number.to_string(), "x")).collect()
}

fn claim(store: &SqliteStore, agent: &str) -> Option<Claim> {
    store.claim(agent, "any", LEASE, Durable).unwrap()
}
