//! What can go wrong with what is meant to last.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::{PlanId, TaskId, TaskStatus};
use crate::process::Forked;

/// Something was not stored or not read. Nothing was changed, unless the variant says otherwise.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A key or a name that could lead elsewhere, or cannot be shown.
    #[error("{what} {name:?} {problem}; use 1 to 100 letters, digits, '-', '_', '.' or spaces")]
    Name {
        /// What it names.
        what: &'static str,
        /// Its beginning.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Larger than may be stored.
    #[error("{what} has {size} {unit}, at most {most} are stored; split it")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// Its size.
        size: u64,
        /// In what.
        unit: &'static str,
        /// The limit.
        most: u64,
    },
    /// Two tasks of one plan with one key.
    #[error("the plan has two tasks with the key {key:?}; name them apart")]
    DuplicateTask {
        /// The key.
        key: String,
    },
    /// A task depends on one that is not in its plan.
    #[error(
        "task {task:?} depends on {dependency:?}, which is not in its plan; add it, or correct the name"
    )]
    UnknownDependency {
        /// The task.
        task: String,
        /// What it asks for.
        dependency: String,
    },
    /// Tasks wait for each other. The cycle is named, beginning and ending with the same task.
    #[error("tasks wait for each other: {}; take out one of these dependencies", cycle.join(" -> "))]
    Circular {
        /// Keys of the tasks, each depending on the next.
        cycle: Vec<String>,
    },
    /// There is no such plan.
    #[error("there is no plan {0}; create it first")]
    UnknownPlan(PlanId),
    /// There is no such task.
    #[error("there is no task {0}")]
    UnknownTask(TaskId),
    /// The task was taken back, because the lease had ended or its agent was given up, and the result of
    /// this attempt comes late.
    #[error(
        "attempt {attempt} at task {task} is over (now {status}, attempt {current}); drop its result"
    )]
    StaleClaim {
        /// The task.
        task: TaskId,
        /// The attempt that came late.
        attempt: u32,
        /// The last attempt.
        current: u32,
        /// What the task is now.
        status: TaskStatus,
    },
    /// A status cannot follow the one that the task has.
    #[error("task {task} cannot become {to}: it is {from}; {hint}")]
    Status {
        /// The task.
        task: TaskId,
        /// What it is.
        from: TaskStatus,
        /// What it was to become.
        to: TaskStatus,
        /// What to do first.
        hint: &'static str,
    },
    /// A change or a tool call, and no open changeset to record it in.
    #[error("plan {0} has no open changeset; start one before recording")]
    NoChangeset(PlanId),
    /// Somebody else wrote the document meanwhile.
    #[error(
        "document {key:?} is at version {found}, not {expected}; read it again and repeat the change"
    )]
    Version {
        /// The document.
        key: String,
        /// The version that the writer had read; 0 for none.
        expected: u64,
        /// The version that is stored; 0 for none.
        found: u64,
    },
    /// There is no such file and none can be made, or it is none.
    #[error(
        "{} cannot be opened: {reason}; name a file in a folder that exists and may be written",
        path.display()
    )]
    CannotOpen {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        reason: String,
    },
    /// The file is no database.
    #[error("{} is no database; name another file", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// A database of another program.
    #[error("{} is the database of another program; name another file", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Written by a newer version of this library.
    #[error(
        "{} has schema {found}, this version knows {known}; update the program. The file was not changed",
        path.display()
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The newest that is known here.
        known: u32,
    },
    /// The file may not be written.
    #[error("{} is read-only; make it and its folder writable", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// The disk, or the size that the host allows, is full. Reading goes on, and so does writing once there
    /// is room.
    #[error("there is no room to write {}; free some, or raise the limit", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// Another process kept the database for longer than this one waits.
    #[error("{} was busy for {waited_ms} ms; end the other writer, or try again", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
        /// How long was waited.
        waited_ms: u64,
    },
    /// All readers were busy for as long as the host lets a call wait.
    #[error("all {readers} readers were busy for {waited_ms} ms; raise their number, or read less")]
    Readers {
        /// How many there are.
        readers: usize,
        /// How long was waited.
        waited_ms: u64,
    },
    /// The database is damaged.
    #[error("{} is damaged: {reason}; restore a copy, or recover it with the sqlite3 tool", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        reason: String,
    },
    /// The group that the write was part of was not committed.
    #[error("the write was rolled back: {reason}; it may be repeated")]
    RolledBack {
        /// Why.
        reason: String,
    },
    /// The system gave no thread or no file.
    #[error("{doing} failed: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The store was opened by another process, whose threads are not here. SQLite's connections do not
    /// survive a fork either.
    #[error("the store: {0}")]
    Forked(#[from] Forked),
    /// The writer has ended.
    #[error("the store is closed; open it again")]
    Closed,
    /// Anything else that SQLite said.
    #[error("{}: {reason}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        reason: String,
    },
}
