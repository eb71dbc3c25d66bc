//! What must not be lost: tasks and who has them, plans and what was done for them, outputs, documents.
//!
//! [`Store`] is the interface, [`SqliteStore`] keeps everything in one file. The interface is made so that
//! a database server can implement it as well: a claim is one atomic operation that skips what others have
//! (`FOR UPDATE SKIP LOCKED`), a lease ends by the store's clock, each attempt has a fencing token, and
//! waiting for work is part of it (`LISTEN`).
//!
//! # Durable or relaxed
//!
//! Each write says how sure it must be:
//!
//! - [`Durability::Durable`]: it has survived a loss of power when the call returns;
//! - [`Durability::Relaxed`]: it is ordered among all writes when the call returns, and durable a moment
//!   later. A crash in between takes it back whole, together with everything after it.
//!
//! Writes are committed in groups, so that durable calls of several threads share one sync of the disk.
//!
//! # What a crash leaves
//!
//! Every task is completed once, or it can be claimed: a claim of a process that is gone is taken back when
//! its lease ends, or at once by [`Store::take_back`]. A late result is refused. A list of changes, a plan
//! with its tasks, and a document are there whole or not at all. The test [`crash`] kills processes to show
//! it.
//!
//! ```
//! use std::time::Duration;
//! use latchless_engine::store::{Durability::Durable, NewTask, SqliteStore, Store, StoreOptions};
//! # let folder = tempfile::tempdir()?;
//! # let file = folder.path().join("agents.db");
//!
//! let store = SqliteStore::open(&file, StoreOptions::default())?;
//! let plan = store.create_plan(
//!     "release",
//!     &[NewTask::new("build", "cargo build"), NewTask::new("ship", "publish").after("build")],
//!     Durable,
//! )?;
//! let claim = store.claim("worker 1", "any", Duration::from_secs(30), Durable)?.expect("a task");
//! assert_eq!((claim.key.as_str(), claim.attempt), ("build", 1));
//! store.start(&claim, Durable)?;
//! store.complete(&claim, "built", Durable)?;
//! assert_eq!(store.tasks(plan)?[1].waiting, 0, "ship may run now");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod clock;
pub mod crash;
mod error;
mod graph;
pub(crate) mod limits;
mod plan;
mod sqlite;
mod task;

use std::time::Duration;

pub use self::clock::{Clock, SystemClock};
pub use self::error::StoreError;
pub use self::limits::{DOCUMENT_BYTES, KEY_CHARACTERS, OUTPUT_CHARACTERS};
pub use self::plan::{
    Change, Changeset, Document, DocumentEdit, Edit, Expect, Finish, Output, Plan, Scope, ToolCall,
};
pub use self::sqlite::{SqliteStore, StoreOptions};
pub use self::task::{
    ANY_AGENT, ChangesetId, Claim, NewTask, PlanId, Priority, Task, TaskId, TaskStatus,
};

/// Whether a plan with these tasks could be stored, without a store: names, sizes, dependencies.
///
/// # Errors
/// As [`Store::create_plan`].
pub fn check_tasks(name: &str, tasks: &[NewTask]) -> Result<(), StoreError> {
    limits::name("plan", name)?;
    graph::resolve(tasks).map(drop)
}

/// When a write counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Durability {
    /// When it would survive a loss of power.
    Durable,
    /// When it is ordered among the other writes. What follows it cannot survive without it.
    Relaxed,
}

/// What was seen of a store's work: see [`Store::wait_for_work`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkSeen {
    here: u64,
    committed: i64,
}

/// How many tasks are where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TaskCounts {
    /// Nobody has them; some may wait for others.
    pub pending: u64,
    /// Claimed.
    pub assigned: u64,
    /// Worked at.
    pub in_progress: u64,
    /// Done.
    pub completed: u64,
    /// Given up.
    pub failed: u64,
    /// Waiting for one that failed.
    pub skipped: u64,
}

/// How long a task has been pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskAge {
    /// The task.
    pub task: TaskId,
    /// Since it was submitted, by the store's clock.
    pub age: Duration,
}

/// What a store did since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreStats {
    /// Writes that were carried out, refused ones included.
    pub writes: u64,
    /// Commits that they were put together into.
    pub groups: u64,
    /// Writes of the largest group.
    pub largest_group: u64,
    /// Groups that were not committed.
    pub rolled_back: u64,
    /// Relaxed writes in them: their callers had gone on.
    pub relaxed_lost: u64,
    /// Reads.
    pub reads: u64,
    /// Reads that had to wait for a reader.
    pub reader_waits: u64,
    /// Readers that were opened.
    pub readers: u64,
    /// Outputs that went because an agent had too many.
    pub outputs_dropped: u64,
    /// Time that callers waited until their writes were answered, all together: for the writer, for the others
    /// of their group, and, if durable, for the disk.
    pub write_waited: Duration,
    /// The longest of these.
    pub write_longest: Duration,
    /// Waits of the writer for other processes.
    pub busy: WaitStats,
    /// Waits of reads for a reader; `reader_waits` of them began.
    pub reader: WaitStats,
}

/// Waits of one kind, whose time limit follows what they take: between a tenth of what the host allows and all
/// of it, the moving mean and four moving mean deviations of those that ended well, doubled with each one that
/// was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WaitStats {
    /// Waits that began.
    pub waits: u64,
    /// Those that were given up, because the limit was over.
    pub expired: u64,
    /// Looks in vain between the first one of a wait and its end, with pauses between them that double.
    pub looks: u64,
    /// How long all of them together took that have ended.
    pub waited: Duration,
    /// The longest of these.
    pub longest: Duration,
    /// The limit of the next one.
    pub limit: Duration,
}

/// Tasks, plans, outputs and documents that outlive the process.
///
/// Every method may wait for the disk and for other processes. Texts and names are checked against the
/// limits of this module before anything is written.
///
/// # Errors
/// Every method returns [`StoreError`] when the database cannot be read or written; what else each refuses
/// stands beside it. What is refused changes nothing.
pub trait Store: Send + Sync {
    /// Stores a plan with all its tasks, or nothing.
    ///
    /// # Errors
    /// [`StoreError::Circular`] names the tasks that wait for each other; a dependency that is not in the
    /// plan and a key that is there twice are errors as well.
    fn create_plan(
        &self,
        name: &str,
        tasks: &[NewTask],
        durability: Durability,
    ) -> Result<PlanId, StoreError>;

    /// All plans, in the order in which they were created.
    ///
    /// # Errors
    /// See [`Store`].
    fn plans(&self) -> Result<Vec<Plan>, StoreError>;

    /// The tasks of a plan, in its order.
    ///
    /// # Errors
    /// See [`Store`].
    fn tasks(&self, plan: PlanId) -> Result<Vec<Task>, StoreError>;

    /// How many tasks of a plan, or of all plans, are where.
    ///
    /// # Errors
    /// See [`Store`].
    fn task_counts(&self, plan: Option<PlanId>) -> Result<TaskCounts, StoreError>;

    /// Of the tasks of a plan, or of all plans, that could be claimed now, the one that was submitted first, and
    /// how long ago that was. One that came back from an agent counts from its submission on, too.
    ///
    /// # Errors
    /// See [`Store`].
    fn oldest_pending(&self, plan: Option<PlanId>) -> Result<Option<TaskAge>, StoreError>;

    /// Claims the first task that `agent` may do: highest priority first, of equals the oldest, of its own
    /// type or of any. One atomic operation: no task is claimed twice. Claims whose lease has ended are
    /// taken back first.
    ///
    /// # Errors
    /// See [`Store`].
    fn claim(
        &self,
        agent: &str,
        agent_type: &str,
        lease: Duration,
        durability: Durability,
    ) -> Result<Option<Claim>, StoreError>;

    /// Claims the first task of one plan that `agent` may do, as [`claim`](Self::claim) does of all plans.
    ///
    /// # Errors
    /// See [`Store`].
    fn claim_in(
        &self,
        plan: PlanId,
        agent: &str,
        agent_type: &str,
        lease: Duration,
        durability: Durability,
    ) -> Result<Option<Claim>, StoreError>;

    /// The agent begins to work: assigned becomes in progress.
    ///
    /// # Errors
    /// [`StoreError::StaleClaim`], [`StoreError::Status`].
    fn start(&self, claim: &Claim, durability: Durability) -> Result<(), StoreError>;

    /// Prolongs a lease, from now on. Returns when it ends.
    ///
    /// # Errors
    /// [`StoreError::StaleClaim`].
    fn renew(
        &self,
        claim: &Claim,
        lease: Duration,
        durability: Durability,
    ) -> Result<u64, StoreError>;

    /// The task is done: in progress becomes completed, and what waits for it may run. A result that comes
    /// after the lease has ended counts, unless the task was taken back meanwhile.
    ///
    /// # Errors
    /// [`StoreError::StaleClaim`], [`StoreError::Status`].
    fn complete(
        &self,
        claim: &Claim,
        result: &str,
        durability: Durability,
    ) -> Result<(), StoreError>;

    /// The task is given up: in progress becomes failed, and whatever waits for it, directly or not, is
    /// skipped with a reason that names it. Returns how many those were.
    ///
    /// # Errors
    /// [`StoreError::StaleClaim`], [`StoreError::Status`].
    fn fail(
        &self,
        claim: &Claim,
        reason: &str,
        durability: Durability,
    ) -> Result<usize, StoreError>;

    /// The end of a task, completed or failed, together with everything that the turn leaves behind: its
    /// changes and tool calls as a changeset of their own, which is sealed and returned, its edits of
    /// documents and its output. One atomic operation, which the claim fences: of all attempts at a task the
    /// effects of one are stored, once. A changeset that others had open is the newest no more.
    ///
    /// # Errors
    /// [`StoreError::StaleClaim`], [`StoreError::Status`]; [`StoreError::Version`] when a document is not
    /// what an edit expects; [`StoreError::Name`], [`StoreError::TooLarge`].
    fn finish(
        &self,
        claim: &Claim,
        finish: &Finish,
        durability: Durability,
    ) -> Result<ChangesetId, StoreError>;

    /// Gives a task back: it is pending again, and its next attempt has the next number.
    ///
    /// # Errors
    /// [`StoreError::StaleClaim`].
    fn release(&self, claim: &Claim, durability: Durability) -> Result<(), StoreError>;

    /// Takes back the claims whose lease has ended, and those of `gone`, an agent that is known to be gone.
    /// Returns the tasks.
    ///
    /// # Errors
    /// See [`Store`].
    fn take_back(
        &self,
        gone: Option<&str>,
        durability: Durability,
    ) -> Result<Vec<TaskId>, StoreError>;

    /// A mark for [`wait_for_work`](Self::wait_for_work), to be taken before a claim that finds nothing.
    ///
    /// # Errors
    /// See [`Store`].
    fn work_seen(&self) -> Result<WorkSeen, StoreError>;

    /// Waits until there may be new work since `seen`, of this process or another one, or until the time
    /// is over. True when there may be. A lease that ends wakes nobody: choose the time accordingly.
    ///
    /// # Errors
    /// See [`Store`].
    fn wait_for_work(&self, seen: WorkSeen, at_most: Duration) -> Result<bool, StoreError>;

    /// Starts a changeset; records go into it from now on. It is there even if nothing is ever recorded.
    ///
    /// # Errors
    /// [`StoreError::UnknownPlan`].
    fn start_changeset(
        &self,
        plan: PlanId,
        title: &str,
        durability: Durability,
    ) -> Result<ChangesetId, StoreError>;

    /// Records changes in the newest changeset, all or none. Returns which one it was.
    ///
    /// # Errors
    /// [`StoreError::NoChangeset`] before any was started, and when the newest is sealed.
    fn record_changes(
        &self,
        plan: PlanId,
        changes: &[Change],
        durability: Durability,
    ) -> Result<ChangesetId, StoreError>;

    /// Records a tool call in the newest changeset. Returns which one it was.
    ///
    /// # Errors
    /// [`StoreError::NoChangeset`].
    fn record_tool_call(
        &self,
        plan: PlanId,
        call: &ToolCall,
        durability: Durability,
    ) -> Result<ChangesetId, StoreError>;

    /// Closes the newest changeset: whoever reads it now has read everything.
    ///
    /// # Errors
    /// [`StoreError::NoChangeset`].
    fn seal_changeset(
        &self,
        plan: PlanId,
        durability: Durability,
    ) -> Result<ChangesetId, StoreError>;

    /// The changesets of a plan, oldest first.
    ///
    /// # Errors
    /// See [`Store`].
    fn changesets(&self, plan: PlanId) -> Result<Vec<Changeset>, StoreError>;

    /// Stores what an agent has put out. When it has too many, its oldest goes.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`].
    fn add_output(
        &self,
        agent: &str,
        task: Option<TaskId>,
        text: &str,
        durability: Durability,
    ) -> Result<(), StoreError>;

    /// The newest outputs of an agent, at most `newest`, oldest first.
    ///
    /// # Errors
    /// See [`Store`].
    fn outputs(&self, agent: &str, newest: usize) -> Result<Vec<Output>, StoreError>;

    /// Writes a document whole, if what is there is what is expected. Returns its version.
    ///
    /// # Errors
    /// [`StoreError::Version`], [`StoreError::TooLarge`].
    fn put_document(
        &self,
        scope: &Scope,
        key: &str,
        content: &[u8],
        expect: Expect,
        durability: Durability,
    ) -> Result<u64, StoreError>;

    /// Reads a document whole.
    ///
    /// # Errors
    /// See [`Store`].
    fn document(&self, scope: &Scope, key: &str) -> Result<Option<Document>, StoreError>;

    /// Names and versions of the documents of a scope, by name.
    ///
    /// # Errors
    /// See [`Store`].
    fn documents(&self, scope: &Scope) -> Result<Vec<(String, u64)>, StoreError>;

    /// Removes a document. False when there was none.
    ///
    /// # Errors
    /// See [`Store`].
    fn remove_document(
        &self,
        scope: &Scope,
        key: &str,
        durability: Durability,
    ) -> Result<bool, StoreError>;

    /// What it did since it was opened.
    fn stats(&self) -> StoreStats;
}
