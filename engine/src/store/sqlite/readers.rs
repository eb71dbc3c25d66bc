//! A bounded pool of connections that only read. In write-ahead mode they wait for no writer, and each sees
//! the database as of one commit.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::super::StoreError;
use super::failure::Failures;
use super::waits::Waits;
use crate::process::Birthplace;

#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    most: usize,
    wait: Duration,
    failed: Failures,
    pool: Mutex<Pool>,
    returned: Condvar,
    pub(super) reads: AtomicU64,
    pub(super) waits: Waits,
    birthplace: Birthplace,
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
            waits: Waits::new(wait),
            birthplace: Birthplace::here(),
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
        self.birthplace.check()?;
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
        let mut pool = self.pool();
        // When the wait began, and how long it may take.
        let mut waiting: Option<(Instant, Duration)> = None;
        loop {
            if (!pool.idle.is_empty() || pool.made < self.most)
                && let Some((since, _)) = waiting
            {
                self.waits.end(since.elapsed());
            }
            if let Some(connection) = pool.idle.pop() {
                return Ok(Lent { readers: self, connection: Some(connection) });
            }
            if pool.made < self.most {
                pool.made += 1;
                break;
            }
            let (since, limit) = *waiting.get_or_insert_with(|| {
                self.waits.begin();
                (Instant::now(), self.waits.limit())
            });
            let waited = since.elapsed();
            let left = limit.saturating_sub(waited);
            if left.is_zero() {
                self.waits.give_up(waited, limit);
                let waited_ms = limit.as_millis() as u64;
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
            super::open::wait_at_most(&connection, self.wait)?;
            super::open::prepare_once(&connection)?;
            Ok(connection)
        });
        lent.connection = Some(opened.map_err(|error| self.failed.of(&error))?);
        Ok(lent)
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        // A child of the process that opened them must not even close them: SQLite would take itself for
        // the last user of the file, and remove its log.
        if self.birthplace.was_left() {
            let pool = self.pool.get_mut().unwrap_or_else(PoisonError::into_inner);
            std::mem::forget(std::mem::take(&mut pool.idle));
        }
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
