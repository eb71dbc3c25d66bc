//! Connections: how a file is opened, and what each connection is told.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::super::StoreError;
use super::failure::Failures;
use super::{StoreOptions, schema};

/// A connection that may write, to a database whose schema is the newest.
pub(super) fn open(
    path: &Path,
    options: &StoreOptions,
    failed: &Failures,
) -> Result<Connection, StoreError> {
    let of = |error: rusqlite::Error| failed.of(&error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(of)?;
    wait_at_most(&connection, options.patience).map_err(of)?;
    // Asked before anything is written: what is refused stays as it is.
    schema::check(&connection, path)?;
    if connection.is_readonly("main").map_err(of)? {
        return Err(StoreError::ReadOnly { path: path.into() });
    }
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(of)?;
    if !mode.eq_ignore_ascii_case("wal") {
        let reason = format!("it keeps no write-ahead log here, but {mode}");
        return Err(StoreError::Database { path: path.into(), reason });
    }
    connection.pragma_update(None, "synchronous", "FULL").map_err(of)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(of)?;
    schema::migrate(&mut connection, path)?;
    if let Some(bytes) = options.max_bytes {
        let page: u32 =
            connection.pragma_query_value(None, "page_size", |row| row.get(0)).map_err(of)?;
        let pages = i64::try_from(bytes / u64::from(page.max(1))).unwrap_or(i64::MAX);
        connection
            .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
            .map_err(of)?;
    }
    prepare_once(&connection).map_err(of)?;
    Ok(connection)
}

/// Lets a connection wait so long for others; as long as can be said, where that is longer.
pub(super) fn wait_at_most(connection: &Connection, patience: Duration) -> rusqlite::Result<()> {
    connection.busy_timeout(patience.min(Duration::from_millis(i32::MAX as u64)))
}

/// Lets statements be prepared once. As long as SQLite may plan with the values that are bound, it prepares a
/// statement anew for each of them, which takes longer than to carry it out.
pub(super) fn prepare_once(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}
