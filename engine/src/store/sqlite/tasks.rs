//! Tasks in SQL. Everything here runs inside the writer's transaction, or a reader's.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::{
    ANY_AGENT, Claim, NewTask, Plan, PlanId, Priority, StoreError, Task, TaskCounts, TaskId,
    TaskStatus,
};
use super::writer::Writing;

const PENDING: i64 = TaskStatus::Pending as i64;

/// A task that nobody has, with the number of its attempts as it is.
const GIVE_BACK: &str = "status = 0, agent = NULL, nonce = NULL, lease_until = NULL";

/// The task that is claimed next by an agent of a type, of one plan or of all: one look into the index for its
/// own type, one for tasks that are for anybody, and not one over all tasks.
pub(super) const FIRST: &str = "
    SELECT id FROM (
        SELECT * FROM (SELECT id, priority FROM tasks
            WHERE status = 0 AND waiting = 0 AND agent_type = ?1 AND (?3 IS NULL OR plan = ?3)
            ORDER BY priority DESC, id LIMIT 1)
        UNION ALL
        SELECT * FROM (SELECT id, priority FROM tasks
            WHERE status = 0 AND waiting = 0 AND agent_type = ?2 AND (?3 IS NULL OR plan = ?3)
            ORDER BY priority DESC, id LIMIT 1))
    ORDER BY priority DESC, id LIMIT 1";

/// Gives it to the agent.
pub(super) const TAKE: &str = "
    UPDATE tasks SET status = 1, attempt = attempt + 1, agent = ?2, nonce = ?3, lease_until = ?4
    WHERE id = ?1 RETURNING plan, key, description, attempt, submitted";

fn status(number: i64) -> TaskStatus {
    let known = usize::try_from(number).ok().and_then(|number| TaskStatus::ALL.get(number));
    // The schema is ours and the file is checked: another number was not written by this version.
    known.copied().unwrap_or(TaskStatus::Failed)
}

fn priority(priority: Priority) -> i64 {
    match priority {
        Priority::Low => 0,
        Priority::Normal => 1,
        Priority::High => 2,
        Priority::Critical => 3,
    }
}

pub(super) fn create_plan(
    writing: &mut Writing<'_>,
    name: &str,
    tasks: &[NewTask],
    edges: &[Vec<usize>],
) -> Result<PlanId, StoreError> {
    let now = writing.now.min(i64::MAX as u64) as i64;
    let plan = insert_plan(writing.db, name, tasks, edges, now).map_err(|it| writing.error(&it))?;
    writing.work |= !tasks.is_empty();
    Ok(plan)
}

fn insert_plan(
    db: &Connection,
    name: &str,
    tasks: &[NewTask],
    edges: &[Vec<usize>],
    now: i64,
) -> rusqlite::Result<PlanId> {
    db.prepare_cached("INSERT INTO plans (name) VALUES (?)")?.execute([name])?;
    let plan = db.last_insert_rowid();
    let mut insert = db.prepare_cached(
        "INSERT INTO tasks (plan, key, description, agent_type, priority, waiting, submitted)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )?;
    let mut ids = Vec::with_capacity(tasks.len());
    for (task, on) in tasks.iter().zip(edges) {
        let (rank, waiting) = (priority(task.priority), on.len() as i64);
        insert.execute(params![
            plan,
            task.key,
            task.description,
            task.agent_type,
            rank,
            waiting,
            now
        ])?;
        ids.push(db.last_insert_rowid());
    }
    let mut depend = db.prepare_cached("INSERT INTO dependencies (before, after) VALUES (?, ?)")?;
    for (after, on) in ids.iter().zip(edges) {
        for before in on {
            depend.execute([ids[*before], *after])?;
        }
    }
    Ok(PlanId(plan))
}

pub(super) fn plans(db: &Connection) -> rusqlite::Result<Vec<Plan>> {
    let mut read = db.prepare_cached("SELECT id, name FROM plans ORDER BY id")?;
    let plan = |row: &Row<'_>| Ok(Plan { id: PlanId(row.get(0)?), name: row.get(1)? });
    read.query_map([], plan)?.collect()
}

pub(super) fn tasks(db: &Connection, plan: PlanId) -> rusqlite::Result<Vec<Task>> {
    let mut read = db.prepare_cached(
        "SELECT id, plan, key, description, agent_type, status, attempt, agent, outcome, waiting
         FROM tasks WHERE plan = ? ORDER BY id",
    )?;
    let task = |row: &Row<'_>| {
        Ok(Task {
            id: TaskId(row.get(0)?),
            plan: PlanId(row.get(1)?),
            key: row.get(2)?,
            description: row.get(3)?,
            agent_type: row.get(4)?,
            status: status(row.get(5)?),
            attempt: row.get(6)?,
            agent: row.get(7)?,
            outcome: row.get(8)?,
            waiting: row.get(9)?,
        })
    };
    read.query_map([plan.0], task)?.collect()
}

pub(super) fn counts(db: &Connection, plan: Option<PlanId>) -> rusqlite::Result<TaskCounts> {
    let mut read = db.prepare_cached(
        "SELECT status, count(*) FROM tasks WHERE ?1 IS NULL OR plan = ?1 GROUP BY status",
    )?;
    let mut rows = read.query([plan.map(|plan| plan.0)])?;
    let mut counts = TaskCounts::default();
    while let Some(row) = rows.next()? {
        let count: i64 = row.get(1)?;
        let place = match status(row.get(0)?) {
            TaskStatus::Pending => &mut counts.pending,
            TaskStatus::Assigned => &mut counts.assigned,
            TaskStatus::InProgress => &mut counts.in_progress,
            TaskStatus::Completed => &mut counts.completed,
            TaskStatus::Failed => &mut counts.failed,
            TaskStatus::Skipped => &mut counts.skipped,
        };
        *place = count as u64;
    }
    Ok(counts)
}

/// Of the tasks that are pending and wait for no other, the one that was submitted first, of one plan or of
/// all: when that was, and the latest time that the database knows of.
pub(super) fn oldest_pending(
    db: &Connection,
    plan: Option<PlanId>,
) -> rusqlite::Result<Option<(TaskId, u64, u64)>> {
    let mut read = db.prepare_cached(
        "SELECT id, submitted, (SELECT value FROM marks WHERE name = 'clock') FROM tasks
         WHERE status = 0 AND waiting = 0 AND submitted IS NOT NULL AND (?1 IS NULL OR plan = ?1)
         ORDER BY submitted, id LIMIT 1",
    )?;
    let row = |row: &Row<'_>| {
        Ok((TaskId(row.get(0)?), row.get::<_, i64>(1)? as u64, row.get::<_, i64>(2)? as u64))
    };
    read.query_row([plan.map(|plan| plan.0)], row).optional()
}

pub(super) fn claim(
    writing: &mut Writing<'_>,
    plan: Option<PlanId>,
    agent: &str,
    agent_type: &str,
    lease_ms: u64,
) -> Result<Option<Claim>, StoreError> {
    if !writing.swept {
        take_back(writing, None)?;
    }
    let (now, nonce) = (writing.now, writing.nonce);
    let until = now.saturating_add(lease_ms).min(i64::MAX as u64);
    // One that is over as soon as it is given is for the next claimer.
    writing.swept = until > now;
    let claimed = || {
        let mut first = writing.db.prepare_cached(FIRST)?;
        let plan = plan.map(|plan| plan.0);
        let named = params![agent_type, ANY_AGENT, plan];
        let found = first.query_row(named, |row| row.get(0)).optional()?;
        let Some(task) = found else { return Ok(None) };
        let task: i64 = task;
        let mut take = writing.db.prepare_cached(TAKE)?;
        let claim = take.query_row(params![task, agent, nonce, until as i64], |row| {
            Ok(Claim {
                task: TaskId(task),
                plan: PlanId(row.get(0)?),
                key: row.get(1)?,
                description: row.get(2)?,
                agent: agent.to_owned(),
                attempt: row.get(3)?,
                lease_until_ms: until,
                waited: row
                    .get::<_, Option<i64>>(4)?
                    .map(|submitted| Duration::from_millis(now.saturating_sub(submitted as u64))),
                nonce,
            })
        })?;
        Ok(Some(claim))
    };
    claimed().map_err(|error| writing.error(&error))
}

/// Refuses a claim that is not the one that the task has; returns where the task is.
fn held(writing: &Writing<'_>, claim: &Claim) -> Result<TaskStatus, StoreError> {
    let read = || {
        let mut read =
            writing.db.prepare_cached("SELECT status, attempt, nonce FROM tasks WHERE id = ?")?;
        let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get::<_, Option<i64>>(2)?));
        read.query_row([claim.task.0], row).optional()
    };
    let found = read().map_err(|error| writing.error(&error))?;
    let (number, current, nonce) = found.ok_or(StoreError::UnknownTask(claim.task))?;
    let status = status(number);
    if current == claim.attempt && nonce == Some(claim.nonce) {
        return Ok(status);
    }
    let (task, attempt) = (claim.task, claim.attempt);
    Err(StoreError::StaleClaim { task, attempt, current, status })
}

/// Moves the claimed task from one status to the next.
fn step(
    writing: &Writing<'_>,
    claim: &Claim,
    from: TaskStatus,
    to: TaskStatus,
    outcome: Option<&str>,
) -> Result<(), StoreError> {
    let now = held(writing, claim)?;
    if now != from {
        let hint = match now {
            TaskStatus::Assigned => "start it first",
            now if now.is_final() => "it has ended",
            _ => "it is on its way already",
        };
        return Err(StoreError::Status { task: claim.task, from: now, to, hint });
    }
    let update = || {
        let mut update = writing.db.prepare_cached(
            "UPDATE tasks SET status = ?2, outcome = coalesce(?3, outcome) WHERE id = ?1",
        )?;
        update.execute(params![claim.task.0, to as i64, outcome])
    };
    update().map(drop).map_err(|error| writing.error(&error))
}

pub(super) fn start(writing: &Writing<'_>, claim: &Claim) -> Result<(), StoreError> {
    step(writing, claim, TaskStatus::Assigned, TaskStatus::InProgress, None)
}

pub(super) fn renew(
    writing: &mut Writing<'_>,
    claim: &Claim,
    lease_ms: u64,
) -> Result<u64, StoreError> {
    let status = held(writing, claim)?;
    if status.is_final() {
        let (from, to, hint) = (status, status, "it has ended");
        return Err(StoreError::Status { task: claim.task, from, to, hint });
    }
    let until = writing.now.saturating_add(lease_ms).min(i64::MAX as u64);
    writing.swept &= until > writing.now;
    let update = || {
        let mut update =
            writing.db.prepare_cached("UPDATE tasks SET lease_until = ?2 WHERE id = ?1")?;
        update.execute([claim.task.0, until as i64])
    };
    update().map_err(|error| writing.error(&error))?;
    Ok(until)
}

pub(super) fn complete(
    writing: &mut Writing<'_>,
    claim: &Claim,
    result: &str,
) -> Result<(), StoreError> {
    step(writing, claim, TaskStatus::InProgress, TaskStatus::Completed, Some(result))?;
    let ready = || {
        let mut update = writing.db.prepare_cached(
            "UPDATE tasks SET waiting = waiting - 1
             WHERE id IN (SELECT after FROM dependencies WHERE before = ?)",
        )?;
        update.execute([claim.task.0])
    };
    let ready = ready().map_err(|error| writing.error(&error))?;
    writing.work |= ready > 0;
    Ok(())
}

pub(super) fn fail(
    writing: &Writing<'_>,
    claim: &Claim,
    reason: &str,
) -> Result<usize, StoreError> {
    step(writing, claim, TaskStatus::InProgress, TaskStatus::Failed, Some(reason))?;
    let because = format!("task {:?}, which it waits for, failed", claim.key);
    let skip = || {
        // Whatever waits for it, however far away: none of those can have begun.
        let mut skip = writing.db.prepare_cached(
            "WITH RECURSIVE behind (task) AS (
                 SELECT after FROM dependencies WHERE before = ?1
                 UNION SELECT after FROM dependencies JOIN behind ON before = task)
             UPDATE tasks SET status = 5, outcome = ?2
             WHERE id IN (SELECT task FROM behind) AND status = 0",
        )?;
        skip.execute(params![claim.task.0, because])
    };
    skip().map_err(|error| writing.error(&error))
}

pub(super) fn release(writing: &mut Writing<'_>, claim: &Claim) -> Result<(), StoreError> {
    let from = held(writing, claim)?;
    if from.is_final() {
        let (to, hint) = (TaskStatus::Pending, "it has ended");
        return Err(StoreError::Status { task: claim.task, from, to, hint });
    }
    let sql = format!("UPDATE tasks SET {GIVE_BACK} WHERE id = ?");
    let update = || writing.db.prepare_cached(&sql)?.execute([claim.task.0]);
    update().map_err(|error| writing.error(&error))?;
    writing.work = true;
    Ok(())
}

pub(super) fn take_back(
    writing: &mut Writing<'_>,
    gone: Option<&str>,
) -> Result<Vec<TaskId>, StoreError> {
    debug_assert_eq!(PENDING, 0, "the statements say so");
    let now = writing.now.min(i64::MAX as u64) as i64;
    let update = || {
        let sql = format!(
            "UPDATE tasks SET {GIVE_BACK} WHERE status IN (1, 2) AND lease_until <= ? RETURNING id"
        );
        let mut expired = writing.db.prepare_cached(&sql)?;
        let id = |row: &Row<'_>| Ok(TaskId(row.get(0)?));
        let mut ids: Vec<TaskId> = expired.query_map([now], id)?.collect::<Result<_, _>>()?;
        if let Some(agent) = gone {
            let sql = format!(
                "UPDATE tasks SET {GIVE_BACK} WHERE status IN (1, 2) AND agent = ? RETURNING id"
            );
            let mut lost = writing.db.prepare_cached(&sql)?;
            for task in lost.query_map([agent], id)? {
                ids.push(task?);
            }
        }
        Ok(ids)
    };
    let ids = update().map_err(|error| writing.error(&error))?;
    writing.work |= !ids.is_empty();
    Ok(ids)
}
