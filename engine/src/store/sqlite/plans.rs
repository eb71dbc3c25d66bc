//! Changesets, outputs and documents in SQL.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::{
    Change, Changeset, ChangesetId, Document, Expect, Output, PlanId, Scope, StoreError, TaskId,
    ToolCall,
};
use super::writer::Writing;

pub(super) fn start_changeset(
    writing: &Writing<'_>,
    plan: PlanId,
    title: &str,
) -> Result<ChangesetId, StoreError> {
    let insert = || {
        let mut insert = writing.db.prepare_cached(
            "INSERT INTO changesets (plan, title) SELECT id, ?2 FROM plans WHERE id = ?1",
        )?;
        insert.execute(params![plan.0, title])
    };
    match insert().map_err(|error| writing.error(&error))? {
        0 => Err(StoreError::UnknownPlan(plan)),
        _ => Ok(ChangesetId(writing.db.last_insert_rowid())),
    }
}

/// The newest changeset, if it is open.
fn newest(writing: &Writing<'_>, plan: PlanId) -> Result<i64, StoreError> {
    let read = || {
        let mut read = writing.db.prepare_cached(
            "SELECT id, sealed FROM changesets WHERE plan = ? ORDER BY id DESC LIMIT 1",
        )?;
        read.query_row([plan.0], |row| Ok((row.get(0)?, row.get(1)?))).optional()
    };
    match read().map_err(|error| writing.error(&error))? {
        Some((id, false)) => Ok(id),
        Some((_, true)) | None => Err(StoreError::NoChangeset(plan)),
    }
}

pub(super) fn record_changes(
    writing: &Writing<'_>,
    plan: PlanId,
    changes: &[Change],
) -> Result<ChangesetId, StoreError> {
    let changeset = newest(writing, plan)?;
    let insert = || -> rusqlite::Result<()> {
        let mut insert = writing.db.prepare_cached(
            "INSERT INTO changes (changeset, kind, target, body) VALUES (?, ?, ?, ?)",
        )?;
        for Change { kind, target, body } in changes {
            insert.execute(params![changeset, kind, target, body])?;
        }
        Ok(())
    };
    insert().map_err(|error| writing.error(&error))?;
    Ok(ChangesetId(changeset))
}

pub(super) fn record_tool_call(
    writing: &Writing<'_>,
    plan: PlanId,
    call: &ToolCall,
) -> Result<ChangesetId, StoreError> {
    let changeset = newest(writing, plan)?;
    let (ok, result) = match &call.result {
        Ok(result) => (true, result),
        Err(failure) => (false, failure),
    };
    let insert = || {
        let mut insert = writing.db.prepare_cached(
            "INSERT INTO tool_calls (changeset, tool, arguments, ok, result)
             VALUES (?, ?, ?, ?, ?)",
        )?;
        insert.execute(params![changeset, call.tool, call.arguments, ok, result])
    };
    insert().map_err(|error| writing.error(&error))?;
    Ok(ChangesetId(changeset))
}

pub(super) fn seal_changeset(
    writing: &Writing<'_>,
    plan: PlanId,
) -> Result<ChangesetId, StoreError> {
    let changeset = newest(writing, plan)?;
    let update = || {
        let mut update =
            writing.db.prepare_cached("UPDATE changesets SET sealed = 1 WHERE id = ?")?;
        update.execute([changeset])
    };
    update().map_err(|error| writing.error(&error))?;
    Ok(ChangesetId(changeset))
}

pub(super) fn changesets(db: &Connection, plan: PlanId) -> rusqlite::Result<Vec<Changeset>> {
    let mut read =
        db.prepare_cached("SELECT id, title, sealed FROM changesets WHERE plan = ? ORDER BY id")?;
    let mut changes = db
        .prepare_cached("SELECT kind, target, body FROM changes WHERE changeset = ? ORDER BY id")?;
    let mut calls = db.prepare_cached(
        "SELECT tool, arguments, ok, result FROM tool_calls WHERE changeset = ? ORDER BY id",
    )?;
    let change =
        |row: &Row<'_>| Ok(Change { kind: row.get(0)?, target: row.get(1)?, body: row.get(2)? });
    let call = |row: &Row<'_>| {
        let (ok, result): (bool, String) = (row.get(2)?, row.get(3)?);
        let result = if ok { Ok(result) } else { Err(result) };
        Ok(ToolCall { tool: row.get(0)?, arguments: row.get(1)?, result })
    };
    let mut found = Vec::new();
    let mut rows = read.query([plan.0])?;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        found.push(Changeset {
            id: ChangesetId(id),
            title: row.get(1)?,
            sealed: row.get(2)?,
            changes: changes.query_map([id], change)?.collect::<Result<_, _>>()?,
            tool_calls: calls.query_map([id], call)?.collect::<Result<_, _>>()?,
        });
    }
    Ok(found)
}

pub(super) fn add_output(
    writing: &mut Writing<'_>,
    agent: &str,
    task: Option<TaskId>,
    text: &str,
    most: u32,
) -> Result<(), StoreError> {
    let insert = || {
        let mut insert = writing
            .db
            .prepare_cached("INSERT INTO outputs (agent, task, text) VALUES (?, ?, ?)")?;
        insert.execute(params![agent, task.map(|task| task.0), text])?;
        let mut trim = writing.db.prepare_cached(
            "DELETE FROM outputs WHERE agent = ?1 AND id <= (
                 SELECT id FROM outputs WHERE agent = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        )?;
        trim.execute(params![agent, most])
    };
    let dropped = insert().map_err(|error| writing.error(&error))?;
    writing.dropped += dropped as u64;
    Ok(())
}

pub(super) fn outputs(
    db: &Connection,
    agent: &str,
    newest: usize,
) -> rusqlite::Result<Vec<Output>> {
    let mut read = db.prepare_cached(
        "SELECT id, task, text FROM outputs WHERE agent = ? ORDER BY id DESC LIMIT ?",
    )?;
    let newest = i64::try_from(newest).unwrap_or(i64::MAX);
    let output = |row: &Row<'_>| {
        let task: Option<i64> = row.get(1)?;
        Ok(Output { number: row.get(0)?, task: task.map(TaskId), text: row.get(2)? })
    };
    let mut found: Vec<_> =
        read.query_map(params![agent, newest], output)?.collect::<Result<_, _>>()?;
    found.reverse();
    Ok(found)
}

/// A scope as a column: one word, and a name that cannot pose as another one.
pub(super) fn column(scope: &Scope) -> String {
    match scope {
        Scope::Shared => "shared".into(),
        Scope::Plan(plan) => format!("plan:{plan}"),
        Scope::Task(task) => format!("task:{task}"),
        Scope::Agent(agent) => format!("agent:{agent}"),
    }
}

pub(super) fn put_document(
    writing: &Writing<'_>,
    scope: &str,
    key: &str,
    content: &[u8],
    expect: Expect,
) -> Result<u64, StoreError> {
    let read = || {
        let mut read = writing.db.prepare_cached(
            "SELECT version, content IS NOT NULL FROM documents WHERE scope = ? AND key = ?",
        )?;
        read.query_row([scope, key], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?))).optional()
    };
    let (last, there) = read().map_err(|error| writing.error(&error))?.unwrap_or((0, false));
    let found = if there { last as u64 } else { 0 };
    let expected = match expect {
        Expect::Anything => found,
        Expect::Absent => 0,
        Expect::Version(version) => version,
    };
    if expected != found {
        return Err(StoreError::Version { key: key.into(), expected, found });
    }
    let write = || {
        let mut write = writing.db.prepare_cached(
            "INSERT INTO documents (scope, key, version, content) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET version = ?3, content = ?4",
        )?;
        write.execute(params![scope, key, last + 1, content])
    };
    write().map_err(|error| writing.error(&error))?;
    Ok(last as u64 + 1)
}

pub(super) fn document(
    db: &Connection,
    scope: &str,
    key: &str,
) -> rusqlite::Result<Option<Document>> {
    let mut read = db.prepare_cached(
        "SELECT version, content FROM documents
         WHERE scope = ? AND key = ? AND content IS NOT NULL",
    )?;
    let document = |row: &Row<'_>| {
        let version: i64 = row.get(0)?;
        Ok(Document { key: key.into(), version: version as u64, content: row.get(1)? })
    };
    read.query_row([scope, key], document).optional()
}

pub(super) fn documents(db: &Connection, scope: &str) -> rusqlite::Result<Vec<(String, u64)>> {
    let mut read = db.prepare_cached(
        "SELECT key, version FROM documents WHERE scope = ? AND content IS NOT NULL ORDER BY key",
    )?;
    let named = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64));
    read.query_map([scope], named)?.collect()
}

pub(super) fn remove_document(
    writing: &Writing<'_>,
    scope: &str,
    key: &str,
) -> Result<bool, StoreError> {
    let update = || {
        let mut update = writing.db.prepare_cached(
            "UPDATE documents SET content = NULL
             WHERE scope = ? AND key = ? AND content IS NOT NULL",
        )?;
        update.execute([scope, key])
    };
    update().map(|removed| removed > 0).map_err(|error| writing.error(&error))
}
