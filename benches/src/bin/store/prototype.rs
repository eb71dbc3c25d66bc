//! The task queue of the prototypes, the lock-based Python systems that came before, ported: a claim is one
//! immediate transaction of one statement, with a write-ahead log, a busy timeout of 30 seconds, and a
//! connection for each thread.
//!
//! Two locks of theirs are left out, because they only made threads of one process wait once more.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use crate::Failed;

/// One thread's connection.
pub(crate) struct PrototypeQueue {
    connection: Connection,
}

impl PrototypeQueue {
    /// Makes a database with so many tasks.
    pub(crate) fn create(path: &Path, tasks: u32) -> Result<(), Failed> {
        let mut queue = Self::open(path)?;
        queue.connection.execute_batch(
            "CREATE TABLE tasks (
                 id INTEGER PRIMARY KEY, description TEXT, agent_type TEXT, priority INTEGER,
                 status TEXT, assigned_to TEXT, assigned_at INTEGER);
             CREATE INDEX by_status ON tasks (status, priority DESC, id);",
        )?;
        let transaction = queue.connection.transaction()?;
        for number in 0..tasks {
            transaction.execute(
                "INSERT INTO tasks (description, agent_type, priority, status)
                 VALUES (?, 'any', 1, 'pending')",
                [number.to_string()],
            )?;
        }
        Ok(transaction.commit()?)
    }

    pub(crate) fn open(path: &Path) -> Result<Self, Failed> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(30))?;
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        Ok(Self { connection })
    }

    /// Takes the first pending task.
    pub(crate) fn claim(&mut self, agent: &str) -> Result<Option<i64>, Failed> {
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let claimed = transaction
            .prepare_cached(
                "UPDATE tasks SET status = 'assigned', assigned_to = ?1, assigned_at = unixepoch()
                 WHERE id = (
                     SELECT id FROM tasks
                     WHERE status = 'pending' AND agent_type IN ('any', 'coder')
                     ORDER BY priority DESC, id LIMIT 1)
                 RETURNING id",
            )?
            .query_row([agent], |row| row.get(0))
            .optional()?;
        transaction.commit()?;
        Ok(claimed)
    }
}
