//! The schema, and how an older one becomes the newest.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::super::StoreError;
use super::failure::Failures;

/// Says in the file's header whose database it is: "LTCH".
const APPLICATION: i32 = 0x4C54_4348;

/// What makes each version out of the one before. A step that was ever released is never changed.
pub(super) const STEPS: [&str; 4] = [
    // 1: tasks. Statuses are numbers in the order of `TaskStatus`.
    "CREATE TABLE marks (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
     INSERT INTO marks VALUES ('clock', 0), ('work', 0);
     CREATE TABLE plans (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL) STRICT;
     CREATE TABLE tasks (
         id INTEGER PRIMARY KEY AUTOINCREMENT,
         plan INTEGER NOT NULL REFERENCES plans,
         key TEXT NOT NULL,
         description TEXT NOT NULL,
         agent_type TEXT NOT NULL,
         priority INTEGER NOT NULL,
         status INTEGER NOT NULL DEFAULT 0,
         waiting INTEGER NOT NULL,
         attempt INTEGER NOT NULL DEFAULT 0,
         agent TEXT,
         nonce INTEGER,
         lease_until INTEGER,
         outcome TEXT,
         UNIQUE (plan, key)
     ) STRICT;
     CREATE INDEX claimable ON tasks (agent_type, priority DESC, id) WHERE status = 0 AND waiting = 0;
     CREATE INDEX leased ON tasks (lease_until) WHERE status IN (1, 2);
     CREATE TABLE dependencies (
         before INTEGER NOT NULL REFERENCES tasks,
         after INTEGER NOT NULL REFERENCES tasks,
         PRIMARY KEY (before, after)
     ) STRICT, WITHOUT ROWID;",
    // 2: changes and tool calls.
    "CREATE TABLE changesets (
         id INTEGER PRIMARY KEY AUTOINCREMENT,
         plan INTEGER NOT NULL REFERENCES plans,
         title TEXT NOT NULL,
         sealed INTEGER NOT NULL DEFAULT 0
     ) STRICT;
     CREATE INDEX changesets_of_plan ON changesets (plan, id);
     CREATE TABLE changes (
         id INTEGER PRIMARY KEY,
         changeset INTEGER NOT NULL REFERENCES changesets,
         kind TEXT NOT NULL,
         target TEXT NOT NULL,
         body TEXT NOT NULL
     ) STRICT;
     CREATE INDEX changes_of_changeset ON changes (changeset, id);
     CREATE TABLE tool_calls (
         id INTEGER PRIMARY KEY,
         changeset INTEGER NOT NULL REFERENCES changesets,
         tool TEXT NOT NULL,
         arguments TEXT NOT NULL,
         ok INTEGER NOT NULL,
         result TEXT NOT NULL
     ) STRICT;
     CREATE INDEX tool_calls_of_changeset ON tool_calls (changeset, id);",
    // 3: outputs and documents. A removed document leaves its version behind.
    "CREATE TABLE outputs (
         id INTEGER PRIMARY KEY AUTOINCREMENT,
         agent TEXT NOT NULL,
         task INTEGER,
         text TEXT NOT NULL
     ) STRICT;
     CREATE INDEX outputs_of_agent ON outputs (agent, id);
     CREATE TABLE documents (
         scope TEXT NOT NULL,
         key TEXT NOT NULL,
         version INTEGER NOT NULL,
         content BLOB,
         PRIMARY KEY (scope, key)
     ) STRICT;",
    // 4: when a task was submitted, in milliseconds since 1970; of older ones nobody knows it.
    "ALTER TABLE tasks ADD COLUMN submitted INTEGER;",
];

/// Refuses what is not ours or too new, without changing it.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let failed = Failures::new(path);
    let application: i32 = number(connection, "application_id", &failed)?;
    let version: u32 = number(connection, "user_version", &failed)?;
    let tables: u32 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|error| failed.of(&error))?;
    let empty = application == 0 && version == 0 && tables == 0;
    if !empty && application != APPLICATION {
        return Err(StoreError::Foreign { path: path.into() });
    }
    let known = STEPS.len() as u32;
    if version > known {
        return Err(StoreError::NewerSchema { path: path.into(), found: version, known });
    }
    Ok(())
}

/// Takes the steps that are missing, all or none.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let failed = Failures::new(path);
    let of = |error: rusqlite::Error| failed.of(&error);
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(of)?;
    // Asked again under the lock: another process may have been faster, or newer.
    check(&transaction, path)?;
    let version: u32 = number(&transaction, "user_version", &failed)?;
    for step in STEPS.iter().skip(version as usize) {
        transaction.execute_batch(step).map_err(of)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION).map_err(of)?;
    transaction.pragma_update(None, "user_version", STEPS.len() as u32).map_err(of)?;
    transaction.commit().map_err(of)
}

fn number<T: rusqlite::types::FromSql>(
    connection: &Connection,
    pragma: &str,
    failed: &Failures,
) -> Result<T, StoreError> {
    connection.pragma_query_value(None, pragma, |row| row.get(0)).map_err(|error| failed.of(&error))
}
