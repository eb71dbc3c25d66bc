//! One thread writes, in groups.
//!
//! SQLite has one writer at a time. Threads that each begin a transaction of their own wait for each other
//! in a loop of sleeps, and each commit syncs the disk. So callers hand their writes to one thread. It
//! carries out all that have come, each so that it can be taken back alone, commits them together, and answers:
//! durable callers after the commit, relaxed ones before it. While the disk syncs, the next group gathers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use super::super::clock::{Clock, Offset};
use super::super::{Durability, StoreError};
use super::failure::Failures;
use super::waits::Waits;
use super::work::WorkBell;
use crate::process::Birthplace;

/// Writes that may wait for the thread; more callers wait to hand theirs over.
const QUEUE: usize = 1_024;
/// Writes of one group: one slow group must not hold up everybody.
const GROUP: usize = 512;
/// How long the thread waits for the callers of the last group to come back, at most. Less than a sync takes,
/// and nothing where they are back already or were alone.
const GATHER: Duration = Duration::from_micros(150);

/// What a write may use besides the database.
pub(super) struct Writing<'a> {
    pub(super) db: &'a Connection,
    /// The store's time, in milliseconds.
    pub(super) now: u64,
    /// A number that no other claim of any process has.
    pub(super) nonce: i64,
    /// Set when there may be work that was not there before.
    pub(super) work: bool,
    /// Set when no claim is left whose lease is over by now.
    pub(super) swept: bool,
    /// Outputs that went.
    pub(super) dropped: u64,
    pub(super) failed: &'a Failures,
}

impl<'a> Writing<'a> {
    pub(super) fn new(db: &'a Connection, now: u64, failed: &'a Failures) -> Self {
        Self { db, now, nonce: 0, work: false, swept: false, dropped: 0, failed }
    }

    pub(super) fn error(&self, error: &rusqlite::Error) -> StoreError {
        self.failed.of(error)
    }
}

#[derive(Debug, Default)]
pub(super) struct WriteCounts {
    pub(super) writes: AtomicU64,
    pub(super) groups: AtomicU64,
    pub(super) largest: AtomicU64,
    pub(super) rolled_back: AtomicU64,
    pub(super) relaxed_lost: AtomicU64,
    pub(super) outputs_dropped: AtomicU64,
    /// Nanoseconds that callers waited for answers, and the longest.
    pub(super) waited: AtomicU64,
    pub(super) longest: AtomicU64,
}

/// The thread, as long as this lives; then it commits what it has and ends.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Option<SyncSender<Box<dyn Write>>>,
    thread: Option<JoinHandle<()>>,
    pub(super) counts: Arc<WriteCounts>,
    pub(super) busy: Arc<Waits>,
    birthplace: Birthplace,
}

/// A write that somebody waits for.
trait Write: Send {
    fn durability(&self) -> Durability;
    fn undo(&self) -> Undo;
    /// Carries it out. True when it may stay.
    fn run(&mut self, writing: &mut Writing<'_>) -> bool;
    /// Tells the caller, once: how it went, or why it was taken back.
    fn answer(&mut self, taken_back: Option<&dyn Fn() -> StoreError>);
}

/// What takes a write back that is refused or fails, without the rest of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undo {
    /// A savepoint around it.
    Savepoint,
    /// SQLite, which takes back a statement that fails: for a write whose statements may each stand alone.
    Statement,
}

/// Why a group was not committed.
enum GroupFailure {
    Database(rusqlite::Error),
    /// One of its writes ended the whole transaction, and says why itself.
    Ended,
}

impl From<rusqlite::Error> for GroupFailure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

struct Call<T, F> {
    durability: Durability,
    undo: Undo,
    work: Option<F>,
    outcome: Option<Result<T, StoreError>>,
    reply: Option<SyncSender<Result<T, StoreError>>>,
}

impl<T, F> Write for Call<T, F>
where
    T: Send,
    F: FnOnce(&mut Writing<'_>) -> Result<T, StoreError> + Send,
{
    fn durability(&self) -> Durability {
        self.durability
    }

    fn undo(&self) -> Undo {
        self.undo
    }

    fn run(&mut self, writing: &mut Writing<'_>) -> bool {
        let Some(work) = self.work.take() else { return false };
        let outcome = work(writing);
        let stays = outcome.is_ok();
        self.outcome = Some(outcome);
        stays
    }

    fn answer(&mut self, taken_back: Option<&dyn Fn() -> StoreError>) {
        let Some(reply) = self.reply.take() else { return };
        let outcome = match (self.outcome.take(), taken_back) {
            // A refusal is one, whatever became of the others.
            (Some(Err(error)), _) => Err(error),
            (_, Some(error)) => Err(error()),
            (Some(outcome), None) => outcome,
            (None, None) => Err(StoreError::Closed),
        };
        // A caller that has gone needs no answer.
        let _gone = reply.send(outcome);
    }
}

impl Writer {
    pub(super) fn start(
        connection: Connection,
        clock: Arc<dyn Clock>,
        patience: Duration,
        failed: Failures,
        bell: Arc<WorkBell>,
    ) -> Result<Self, StoreError> {
        let counts = Arc::new(WriteCounts::default());
        let (queue, calls) = sync_channel(QUEUE);
        let thread_counts = Arc::clone(&counts);
        let busy = Arc::new(Waits::new(patience));
        let mut desk = Desk {
            connection,
            clock,
            failed,
            bell,
            counts: thread_counts,
            patience,
            busy: Arc::clone(&busy),
            offset: Offset::default(),
            nonce: super::random(),
            last_group: 0,
            full_sync: true,
        };
        let thread = thread::Builder::new()
            .name("latchless-store".into())
            .spawn(move || desk.serve(&calls))
            .map_err(|source| StoreError::Io { doing: "starting the writer", source })?;
        let birthplace = Birthplace::here();
        Ok(Self { queue: Some(queue), thread: Some(thread), counts, busy, birthplace })
    }

    /// Hands over a write, and waits for the answer.
    pub(super) fn write<T: Send + 'static>(
        &self,
        durability: Durability,
        undo: Undo,
        work: impl FnOnce(&mut Writing<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.birthplace.check()?;
        let (reply, answer) = sync_channel(1);
        let call = Call { durability, undo, work: Some(work), outcome: None, reply: Some(reply) };
        let queue = self.queue.as_ref().ok_or(StoreError::Closed)?;
        let begun = Instant::now();
        match queue.try_send(Box::new(call)) {
            Ok(()) => {}
            Err(TrySendError::Full(call)) => queue.send(call).map_err(|_| StoreError::Closed)?,
            Err(TrySendError::Disconnected(_)) => return Err(StoreError::Closed),
        }
        let outcome = answer.recv().unwrap_or(Err(StoreError::Closed));
        let waited = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.counts.waited.fetch_add(waited, Ordering::Relaxed);
        self.counts.longest.fetch_max(waited, Ordering::Relaxed);
        outcome
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Without a sender the thread finds the end of the queue behind what is in it.
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ended = self.birthplace.join(thread);
        }
    }
}

/// The thread's own.
struct Desk {
    connection: Connection,
    clock: Arc<dyn Clock>,
    failed: Failures,
    bell: Arc<WorkBell>,
    counts: Arc<WriteCounts>,
    patience: Duration,
    busy: Arc<Waits>,
    offset: Offset,
    nonce: i64,
    last_group: usize,
    full_sync: bool,
}

impl Desk {
    fn serve(&mut self, calls: &Receiver<Box<dyn Write>>) {
        while let Ok(first) = calls.recv() {
            self.group(first, calls);
        }
    }

    /// One transaction, from the first call to all that have come meanwhile.
    fn group(&mut self, first: Box<dyn Write>, calls: &Receiver<Box<dyn Write>>) {
        let mut group = vec![first];
        self.gather(&mut group, calls);
        // A group that nobody waits for need not be synced; the next durable one syncs it too.
        let durable = group.iter().any(|call| call.durability() == Durability::Durable);
        let begun = self.begin(durable).map_err(GroupFailure::from);
        let outcome = begun.and_then(|now| self.carry_out(&mut group, now));
        let (work, dropped) = match outcome {
            Ok(done) => done,
            Err(error) => return self.take_back(&mut group, &error),
        };
        self.counts.writes.fetch_add(group.len() as u64, Ordering::Relaxed);
        self.counts.groups.fetch_add(1, Ordering::Relaxed);
        self.counts.largest.fetch_max(group.len() as u64, Ordering::Relaxed);
        self.counts.outputs_dropped.fetch_add(dropped, Ordering::Relaxed);
        self.last_group = group.len();
        if work {
            self.bell.ring();
        }
        for call in &mut group {
            call.answer(None);
        }
    }

    /// Takes what is there, and waits a little for the callers of the last group. It does not sleep meanwhile:
    /// each of them would have to wake it, and would run after it.
    fn gather(&self, group: &mut Vec<Box<dyn Write>>, calls: &Receiver<Box<dyn Write>>) {
        let until = Instant::now() + GATHER;
        while group.len() < GROUP {
            match calls.try_recv() {
                Ok(call) => group.push(call),
                Err(TryRecvError::Empty)
                    if group.len() < self.last_group && Instant::now() < until =>
                {
                    thread::yield_now();
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
    }

    fn begin(&mut self, durable: bool) -> rusqlite::Result<u64> {
        if durable != self.full_sync {
            let level = if durable { "FULL" } else { "NORMAL" };
            self.connection.pragma_update(None, "synchronous", level)?;
            self.full_sync = durable;
        }
        // SQLite's own wait is not used here: it knows no limit but one that is set.
        self.connection.busy_timeout(Duration::ZERO)?;
        let begun = self.begin_immediate();
        super::open::wait_at_most(&self.connection, self.patience)?;
        begun?;
        let mut read =
            self.connection.prepare_cached("SELECT value FROM marks WHERE name = 'clock'")?;
        let stored: i64 = read.query_row([], |row| row.get(0))?;
        let stored = stored as u64;
        let now = self.offset.now(self.clock.now_ms(), stored);
        // Once a second is enough: leases are longer.
        if now >= stored.saturating_add(1_000) {
            let mut write = self
                .connection
                .prepare_cached("UPDATE marks SET value = ? WHERE name = 'clock'")?;
            write.execute([now as i64])?;
        }
        Ok(now)
    }

    /// Waits for other processes, as long as such waits take and the host allows.
    fn begin_immediate(&mut self) -> rusqlite::Result<()> {
        let mut waiting: Option<(Instant, Duration)> = None;
        for looks in 0.. {
            let begun = self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([]);
            let Err(error) = begun else { break };
            if error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) {
                return Err(error);
            }
            let (since, limit) = *waiting.get_or_insert_with(|| {
                self.busy.begin();
                (Instant::now(), self.busy.limit())
            });
            let waited = since.elapsed();
            let Some(pause) = self.busy.pause(looks, waited, limit) else {
                self.busy.give_up(waited, limit);
                self.failed.waited(limit);
                return Err(error);
            };
            thread::sleep(pause);
        }
        if let Some((since, _)) = waiting {
            self.busy.end(since.elapsed());
        }
        Ok(())
    }

    /// Runs every call, takes back what is refused, and commits. Relaxed callers go on meanwhile.
    fn carry_out(
        &mut self,
        group: &mut [Box<dyn Write>],
        now: u64,
    ) -> Result<(bool, u64), GroupFailure> {
        let db = &self.connection;
        let mut writing = Writing::new(db, now, &self.failed);
        for call in group {
            self.nonce = self.nonce.wrapping_add(1);
            writing.nonce = self.nonce;
            let savepoint = call.undo() == Undo::Savepoint;
            if savepoint {
                db.prepare_cached("SAVEPOINT call")?.execute([])?;
            }
            let stays = call.run(&mut writing);
            // A full disk ends the whole transaction: then there is nothing to go back to.
            if !stays && db.is_autocommit() {
                return Err(GroupFailure::Ended);
            }
            if savepoint {
                if !stays {
                    db.prepare_cached("ROLLBACK TO call")?.execute([])?;
                    // What it had swept is there again.
                    writing.swept = false;
                }
                db.prepare_cached("RELEASE call")?.execute([])?;
            }
            if call.durability() == Durability::Relaxed {
                call.answer(None);
            }
        }
        let (work, dropped) = (writing.work, writing.dropped);
        if work {
            // For those who wait in other processes.
            let ring = "UPDATE marks SET value = value + 1 WHERE name = 'work'";
            db.prepare_cached(ring)?.execute([])?;
        }
        db.prepare_cached("COMMIT")?.execute([])?;
        Ok((work, dropped))
    }

    fn take_back(&mut self, group: &mut [Box<dyn Write>], failure: &GroupFailure) {
        if !self.connection.is_autocommit() {
            // The connection is of no use if even this fails; the next begin tells its callers so.
            let _failed = self.connection.execute_batch("ROLLBACK");
        }
        self.last_group = 0;
        let error = || match failure {
            GroupFailure::Database(error) => match self.failed.of(error) {
                StoreError::Database { reason, .. } => StoreError::RolledBack { reason },
                typed => typed,
            },
            GroupFailure::Ended => {
                let reason = "another write of its group failed, such as on a full disk".into();
                StoreError::RolledBack { reason }
            }
        };
        tracing::warn!(writes = group.len(), error = %error(), "a group was rolled back");
        self.counts.rolled_back.fetch_add(1, Ordering::Relaxed);
        let relaxed = group.iter().filter(|call| call.durability() == Durability::Relaxed).count();
        self.counts.relaxed_lost.fetch_add(relaxed as u64, Ordering::Relaxed);
        for call in group {
            call.answer(Some(&error));
        }
    }
}
