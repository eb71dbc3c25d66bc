//! A bounded pool of connections that only read. In write-ahead mode they wait for no writer, and each sees
//! the database as of one commit.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::super::StoreError;
use super::failure::Failures;

#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    most: usize,
    wait: Duration,
    failed: Failures,
    pool: Mutex<Pool>,
    returned: Condvar,
    pub(super) reads: AtomicU64,
    pub(super) waits: AtomicU64,
}

#[derive(Debug, Default)]
struct Pool {
    idle: Vec<Connection>,
    /// Idle or lent.
    made: usize,
}

impl Readers {
    pub(super) fn new(path: PathBuf, most: usize, wait: Duration, failed: Failures) -> Self {
        Self {
            path,
            most: most.max(1),
            wait,
            failed,
            pool: Mutex::default(),
            returned: Condvar::new(),
            reads: AtomicU64::new(0),
            waits: AtomicU64::new(0),
        }
    }

    /// Readers that were made.
    pub(super) fn made(&self) -> usize {
        self.pool().made
    }

    /// Runs `work` on a reader, inside one transaction.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let lent = self.lend()?;
        let connection = &lent.connection;
        let done = connection.as_ref().map(|connection| {
            let transaction = connection.unchecked_transaction()?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        });
        done.unwrap_or(Err(rusqlite::Error::InvalidQuery)).map_err(|error| self.failed.of(&error))
    }

    fn lend(&self) -> Result<Lent<'_>, StoreError> {
        let until = Instant::now() + self.wait;
        let mut pool = self.pool();
        let mut waited = false;
        loop {
            if let Some(connection) = pool.idle.pop() {
                return Ok(Lent { readers: self, connection: Some(connection) });
            }
            if pool.made < self.most {
                pool.made += 1;
                break;
            }
            if !waited {
                self.waits.fetch_add(1, Ordering::Relaxed);
                waited = true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let waited_ms = self.wait.as_millis() as u64;
                return Err(StoreError::Readers { readers: self.most, waited_ms });
            }
            let woken = self.returned.wait_timeout(pool, left);
            pool = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(pool);
        // Its place is taken; without a connection it is given back.
        let mut lent = Lent { readers: self, connection: None };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(&self.path, flags).and_then(|connection| {
            connection.busy_timeout(self.wait)?;
            Ok(connection)
        });
        lent.connection = Some(opened.map_err(|error| self.failed.of(&error))?);
        Ok(lent)
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader in use.
struct Lent<'a> {
    readers: &'a Readers,
    connection: Option<Connection>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut pool = self.readers.pool();
        match self.connection.take() {
            // An error may have left its transaction open, which would show an old state for ever.
            Some(connection) if connection.is_autocommit() => pool.idle.push(connection),
            _ => pool.made -= 1,
        }
        drop(pool);
        self.readers.returned.notify_one();
    }
}
