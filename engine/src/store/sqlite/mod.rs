//! A store in one SQLite file.

mod failure;
mod finish;
mod open;
mod plans;
mod readers;
mod schema;
mod tasks;
mod waits;
mod work;
mod writer;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use self::failure::Failures;
use self::open::open;
use self::readers::Readers;
use self::work::WorkBell;
use self::writer::{Undo, Writer, Writing};
use super::{
    Change, Changeset, ChangesetId, Claim, Clock, Document, Durability, Expect, Finish, NewTask,
    Output, Plan, PlanId, Scope, Store, StoreError, StoreStats, SystemClock, Task, TaskAge,
    TaskCounts, TaskId, ToolCall, WorkSeen, graph, limits,
};

/// How often a wait for work looks whether another process has committed.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What a host chooses about a [`SqliteStore`].
#[derive(Clone)]
pub struct StoreOptions {
    /// Connections that read, 4 unless chosen.
    pub readers: usize,
    /// How long a read waits for a connection, and a write for another process, at most; 5 seconds unless
    /// chosen. It is less, down to a tenth, where such waits take less: see [`WaitStats`](super::WaitStats).
    pub patience: Duration,
    /// Bytes that the file may have; no limit of its own unless chosen. The log beside it comes on top.
    pub max_bytes: Option<u64>,
    /// Outputs that are kept of each agent, 1,000 unless chosen.
    pub outputs_per_agent: u32,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            readers: 4,
            patience: Duration::from_secs(5),
            max_bytes: None,
            outputs_per_agent: 1_000,
            clock: Arc::new(SystemClock::default()),
        }
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions")
            .field("readers", &self.readers)
            .field("patience", &self.patience)
            .field("max_bytes", &self.max_bytes)
            .field("outputs_per_agent", &self.outputs_per_agent)
            .finish_non_exhaustive()
    }
}

/// A [`Store`] in one file, with its log (`-wal`) and an index of that (`-shm`) beside it.
///
/// Several threads share one; several processes may open one file at the same time: claims are atomic
/// among them too. The file must be on a disk of this machine, because the log is shared in memory.
pub struct SqliteStore {
    // In this order: the writer commits what it has before the readers go.
    writer: Writer,
    readers: Readers,
    bell: Arc<WorkBell>,
    clock: Arc<dyn Clock>,
    outputs_per_agent: u32,
    path: PathBuf,
}

impl SqliteStore {
    /// Opens the database at `path`, which is made if need be, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::CannotOpen`], [`StoreError::NotADatabase`], [`StoreError::Foreign`], [`StoreError::NewerSchema`],
    /// [`StoreError::ReadOnly`], [`StoreError::Busy`]: the file is as it was.
    pub fn open(path: impl AsRef<Path>, options: StoreOptions) -> Result<Self, StoreError> {
        let path = path.as_ref().to_owned();
        let failed = Failures::new(&path).busy(options.patience);
        let connection = open(&path, &options, &failed)?;
        let bell = Arc::new(WorkBell::default());
        let writer = Writer::start(
            connection,
            Arc::clone(&options.clock),
            options.patience,
            failed.clone(),
            Arc::clone(&bell),
        )?;
        let readers = Readers::new(path.clone(), options.readers, options.patience, failed);
        let StoreOptions { clock, outputs_per_agent, .. } = options;
        Ok(Self { writer, readers, bell, clock, outputs_per_agent, path })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks every page of the database, and that nothing refers to what is not there.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] with what is wrong.
    pub fn verify(&self) -> Result<(), StoreError> {
        let said: String = self
            .readers
            .read(|db| db.pragma_query_value(None, "integrity_check", |row| row.get(0)))?;
        let dangling: i64 = self.readers.read(|db| {
            db.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0))
        })?;
        let damaged = |reason| Err(StoreError::Damaged { path: self.path.clone(), reason });
        match (said.as_str(), dangling) {
            ("ok", 0) => Ok(()),
            ("ok", rows) => damaged(format!("{rows} rows refer to something that is not there")),
            (said, _) => damaged(said.into()),
        }
    }

    /// How often any process has committed what may be work.
    fn work_committed(&self) -> Result<i64, StoreError> {
        let read = "SELECT value FROM marks WHERE name = 'work'";
        self.readers.read(|db| db.prepare_cached(read)?.query_row([], |row| row.get(0)))
    }

    /// Of one plan, or of all.
    fn claim_any(
        &self,
        plan: Option<PlanId>,
        [agent, kind]: [&str; 2],
        lease: Duration,
        durability: Durability,
    ) -> Result<Option<Claim>, StoreError> {
        limits::name("agent", agent)?;
        limits::name("agent type", kind)?;
        let (agent, kind) = (agent.to_owned(), kind.to_owned());
        let lease = milliseconds(lease);
        // What has expired is pending whether or not somebody gets it.
        self.writer.write(durability, Undo::Statement, move |writing| {
            tasks::claim(writing, plan, &agent, &kind, lease)
        })
    }

    fn write<T: Send + 'static>(
        &self,
        durability: Durability,
        work: impl FnOnce(&mut Writing<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer.write(durability, Undo::Savepoint, work)
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("path", &self.path)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// A number that no other process has: the hasher's keys come from the system.
fn random() -> i64 {
    RandomState::new().hash_one(Instant::now()) as i64
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Store for SqliteStore {
    fn create_plan(
        &self,
        name: &str,
        tasks: &[NewTask],
        durability: Durability,
    ) -> Result<PlanId, StoreError> {
        limits::name("plan", name)?;
        let edges = graph::resolve(tasks)?;
        let (name, tasks) = (name.to_owned(), tasks.to_vec());
        self.write(durability, move |writing| tasks::create_plan(writing, &name, &tasks, &edges))
    }

    fn plans(&self) -> Result<Vec<Plan>, StoreError> {
        self.readers.read(tasks::plans)
    }

    fn tasks(&self, plan: PlanId) -> Result<Vec<Task>, StoreError> {
        self.readers.read(|db| tasks::tasks(db, plan))
    }

    fn task_counts(&self, plan: Option<PlanId>) -> Result<TaskCounts, StoreError> {
        self.readers.read(|db| tasks::counts(db, plan))
    }

    fn oldest_pending(&self, plan: Option<PlanId>) -> Result<Option<TaskAge>, StoreError> {
        let found = self.readers.read(|db| tasks::oldest_pending(db, plan))?;
        let age = |(task, submitted, seen): (_, u64, u64)| {
            // The database may have seen a later time than a clock that was set back.
            let now = self.clock.now_ms().max(seen);
            TaskAge { task, age: Duration::from_millis(now.saturating_sub(submitted)) }
        };
        Ok(found.map(age))
    }

    fn claim(
        &self,
        agent: &str,
        agent_type: &str,
        lease: Duration,
        durability: Durability,
    ) -> Result<Option<Claim>, StoreError> {
        self.claim_any(None, [agent, agent_type], lease, durability)
    }

    fn claim_in(
        &self,
        plan: PlanId,
        agent: &str,
        agent_type: &str,
        lease: Duration,
        durability: Durability,
    ) -> Result<Option<Claim>, StoreError> {
        self.claim_any(Some(plan), [agent, agent_type], lease, durability)
    }

    fn start(&self, claim: &Claim, durability: Durability) -> Result<(), StoreError> {
        let claim = claim.clone();
        self.write(durability, move |writing| tasks::start(writing, &claim))
    }

    fn renew(
        &self,
        claim: &Claim,
        lease: Duration,
        durability: Durability,
    ) -> Result<u64, StoreError> {
        let (claim, lease) = (claim.clone(), milliseconds(lease));
        self.write(durability, move |writing| tasks::renew(writing, &claim, lease))
    }

    fn complete(
        &self,
        claim: &Claim,
        result: &str,
        durability: Durability,
    ) -> Result<(), StoreError> {
        limits::text("the result", result)?;
        let (claim, result) = (claim.clone(), result.to_owned());
        self.write(durability, move |writing| tasks::complete(writing, &claim, &result))
    }

    fn fail(
        &self,
        claim: &Claim,
        reason: &str,
        durability: Durability,
    ) -> Result<usize, StoreError> {
        limits::text("the reason", reason)?;
        let (claim, reason) = (claim.clone(), reason.to_owned());
        self.write(durability, move |writing| tasks::fail(writing, &claim, &reason))
    }

    fn finish(
        &self,
        claim: &Claim,
        finish: &Finish,
        durability: Durability,
    ) -> Result<ChangesetId, StoreError> {
        limits::finish(finish)?;
        let (claim, finish, most) = (claim.clone(), finish.clone(), self.outputs_per_agent);
        self.write(durability, move |writing| finish::finish(writing, &claim, &finish, most))
    }

    fn release(&self, claim: &Claim, durability: Durability) -> Result<(), StoreError> {
        let claim = claim.clone();
        self.write(durability, move |writing| tasks::release(writing, &claim))
    }

    fn take_back(
        &self,
        gone: Option<&str>,
        durability: Durability,
    ) -> Result<Vec<TaskId>, StoreError> {
        let gone = gone.map(str::to_owned);
        self.write(durability, move |writing| tasks::take_back(writing, gone.as_deref()))
    }

    fn work_seen(&self) -> Result<WorkSeen, StoreError> {
        // The bell first: what is committed between the two is seen twice, not missed.
        let here = self.bell.rung();
        Ok(WorkSeen { here, committed: self.work_committed()? })
    }

    fn wait_for_work(&self, seen: WorkSeen, at_most: Duration) -> Result<bool, StoreError> {
        let begun = Instant::now();
        loop {
            if self.work_committed()? != seen.committed {
                return Ok(true);
            }
            let left = at_most.saturating_sub(begun.elapsed());
            if self.bell.wait(seen.here, left.min(LOOK_AGAIN)) {
                return Ok(true);
            }
            if left.is_zero() {
                return Ok(false);
            }
        }
    }

    fn start_changeset(
        &self,
        plan: PlanId,
        title: &str,
        durability: Durability,
    ) -> Result<ChangesetId, StoreError> {
        limits::text("the title", title)?;
        let title = title.to_owned();
        self.write(durability, move |writing| plans::start_changeset(writing, plan, &title))
    }

    fn record_changes(
        &self,
        plan: PlanId,
        changes: &[Change],
        durability: Durability,
    ) -> Result<ChangesetId, StoreError> {
        changes.iter().try_for_each(limits::change)?;
        let changes = changes.to_vec();
        self.write(durability, move |writing| plans::record_changes(writing, plan, &changes))
    }

    fn record_tool_call(
        &self,
        plan: PlanId,
        call: &ToolCall,
        durability: Durability,
    ) -> Result<ChangesetId, StoreError> {
        limits::tool_call(call)?;
        let call = call.clone();
        self.write(durability, move |writing| plans::record_tool_call(writing, plan, &call))
    }

    fn seal_changeset(
        &self,
        plan: PlanId,
        durability: Durability,
    ) -> Result<ChangesetId, StoreError> {
        self.write(durability, move |writing| plans::seal_changeset(writing, plan))
    }

    fn changesets(&self, plan: PlanId) -> Result<Vec<Changeset>, StoreError> {
        self.readers.read(|db| plans::changesets(db, plan))
    }

    fn add_output(
        &self,
        agent: &str,
        task: Option<TaskId>,
        text: &str,
        durability: Durability,
    ) -> Result<(), StoreError> {
        limits::name("agent", agent)?;
        limits::text("the output", text)?;
        let (agent, text, most) = (agent.to_owned(), text.to_owned(), self.outputs_per_agent);
        self.write(durability, move |writing| plans::add_output(writing, &agent, task, &text, most))
    }

    fn outputs(&self, agent: &str, newest: usize) -> Result<Vec<Output>, StoreError> {
        self.readers.read(|db| plans::outputs(db, agent, newest))
    }

    fn put_document(
        &self,
        scope: &Scope,
        key: &str,
        content: &[u8],
        expect: Expect,
        durability: Durability,
    ) -> Result<u64, StoreError> {
        limits::key(scope, key)?;
        limits::document(content)?;
        let (scope, key, content) = (plans::column(scope), key.to_owned(), content.to_vec());
        self.write(durability, move |writing| {
            plans::put_document(writing, &scope, &key, &content, expect)
        })
    }

    fn document(&self, scope: &Scope, key: &str) -> Result<Option<Document>, StoreError> {
        self.readers.read(|db| plans::document(db, &plans::column(scope), key))
    }

    fn documents(&self, scope: &Scope) -> Result<Vec<(String, u64)>, StoreError> {
        self.readers.read(|db| plans::documents(db, &plans::column(scope)))
    }

    fn remove_document(
        &self,
        scope: &Scope,
        key: &str,
        durability: Durability,
    ) -> Result<bool, StoreError> {
        let (scope, key) = (plans::column(scope), key.to_owned());
        self.write(durability, move |writing| plans::remove_document(writing, &scope, &key))
    }

    fn stats(&self) -> StoreStats {
        let writer = &self.writer.counts;
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        StoreStats {
            writes: load(&writer.writes),
            groups: load(&writer.groups),
            largest_group: load(&writer.largest),
            rolled_back: load(&writer.rolled_back),
            relaxed_lost: load(&writer.relaxed_lost),
            reads: load(&self.readers.reads),
            reader_waits: self.readers.waits.stats().waits,
            readers: self.readers.made() as u64,
            outputs_dropped: load(&writer.outputs_dropped),
            write_waited: Duration::from_nanos(load(&writer.waited)),
            write_longest: Duration::from_nanos(load(&writer.longest)),
            busy: self.writer.busy.stats(),
            reader: self.readers.waits.stats(),
        }
    }
}

#[cfg(test)]
mod tests;
