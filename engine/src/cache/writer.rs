//! Saving without waiting: a lane hands a state over, a thread writes it down.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle, Thread};

use latchless::{AgentId, Inbox, InboxFull};
use thiserror::Error;

use super::{SavedSequence, WarmCache};
use crate::backend::Token;
use crate::process::Birthplace;

/// A sequence to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaveJob {
    /// Whose it is.
    pub agent: AgentId,
    /// Its tokens.
    pub tokens: Vec<Token>,
    /// What the model remembers of them.
    pub state: Vec<u8>,
}

/// What a writer has taken on, for whoever needs it before it is on disk. It keeps nothing in memory.
#[derive(Debug, Clone)]
pub struct Unwritten(Weak<SavedSequence>);

impl Unwritten {
    /// The sequence, until it is written or superseded. By then [`peek`](WarmCache::peek) finds it, or what
    /// took its place, unless the disk failed.
    pub fn get(&self) -> Option<Arc<SavedSequence>> {
        self.0.upgrade()
    }

    /// Whether it is still there.
    pub fn is_there(&self) -> bool {
        self.0.strong_count() > 0
    }
}

/// A job that was not taken on. Dropping it is fine: the agent starts cold, or with what was saved before.
#[derive(Debug, Error)]
#[error("the state of agent {} is not saved: {reason}", job.agent)]
pub struct NotQueued {
    /// The job.
    pub job: SaveJob,
    /// Why.
    pub reason: Refusal,
}

/// Why a job was not taken on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refusal {
    /// As many jobs wait as may.
    #[error("the queue is full; the disk is slower than the agents")]
    Jobs,
    /// The states that wait take as much memory as they may.
    #[error("{waiting} bytes wait for the disk, at most {most} may")]
    Bytes {
        /// Bytes that wait.
        waiting: u64,
        /// Bytes that may.
        most: u64,
    },
    /// The writer was dropped.
    #[error("its writer has ended")]
    Ended,
}

/// What a writer did so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriterReport {
    /// Jobs that are on disk.
    pub saved: u64,
    /// Jobs that were dropped for a newer one of the same agent.
    pub superseded: u64,
    /// Jobs that the cache refused or the disk failed.
    pub failed: u64,
    /// Why the last of them failed.
    pub last_failure: Option<String>,
}

/// A thread that writes what lanes hand over. When it is dropped, it first writes what it has taken on.
#[derive(Debug)]
pub struct CacheWriter {
    shared: Arc<Shared>,
    cache: WarmCache,
    thread: Option<JoinHandle<()>>,
    birthplace: Birthplace,
}

/// Hands jobs for one model to a [`CacheWriter`], from any thread.
#[derive(Debug, Clone)]
pub struct CacheHandle {
    shared: Arc<Shared>,
    writer: Thread,
    cache: WarmCache,
    notice: Option<Notice>,
}

/// What is called when a job is done with.
#[derive(Clone)]
struct Notice(Arc<dyn Fn() + Send + Sync>);

impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notice")
    }
}

/// A job that was taken on.
#[derive(Debug)]
struct Taken {
    cache: WarmCache,
    agent: AgentId,
    sequence: Arc<SavedSequence>,
    notice: Option<Notice>,
}

#[derive(Debug)]
struct Shared {
    /// Each with the cache that it goes to: all are of one folder, and see it as their models do.
    inbox: Inbox<Taken>,
    most_bytes: u64,
    /// Of states that wait or are being written.
    bytes: AtomicU64,
    ended: AtomicBool,
    taken: AtomicU64,
    /// The writer's, and read by whoever waits for it: never touched by a `save`.
    report: Mutex<WriterReport>,
    progress: Condvar,
}

impl CacheWriter {
    /// Starts the thread. At most `jobs` wait for it, with states of at most `bytes` bytes together,
    /// including the one that is being written.
    ///
    /// # Errors
    /// The system has no thread to spare.
    pub fn start(cache: WarmCache, jobs: usize, bytes: u64) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            inbox: Inbox::with_capacity(jobs),
            most_bytes: bytes,
            bytes: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            taken: AtomicU64::new(0),
            report: Mutex::default(),
            progress: Condvar::new(),
        });
        let worker = Arc::clone(&shared);
        let builder = thread::Builder::new().name("latchless-cache".into());
        let thread = Some(builder.spawn(move || worker.run())?);
        Ok(Self { shared, cache, thread, birthplace: Birthplace::here() })
    }

    /// What lanes hold.
    pub fn handle(&self) -> CacheHandle {
        let thread = self.thread.as_ref().map(|thread| thread.thread().clone());
        let writer = thread.unwrap_or_else(thread::current);
        let (shared, cache) = (Arc::clone(&self.shared), self.cache.clone());
        CacheHandle { shared, writer, cache, notice: None }
    }

    /// Waits until everything that was taken on before this call is written, or has failed.
    pub fn flush(&self) -> WriterReport {
        // Acquire: pairs with the release in `save`, so that what this thread saw taken on counts.
        let until = self.shared.taken.load(Ordering::Acquire);
        let mut report = self.shared.report();
        while report.saved + report.superseded + report.failed < until {
            let woken = self.shared.progress.wait(report);
            report = woken.unwrap_or_else(PoisonError::into_inner);
        }
        report.clone()
    }

    /// What it did so far.
    pub fn report(&self) -> WriterReport {
        self.shared.report().clone()
    }
}

impl Drop for CacheWriter {
    fn drop(&mut self) {
        // Release: jobs that this thread handed over are seen by whoever sees the end.
        self.shared.ended.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It panics only when the system's allocator does; there is nobody left to tell.
            let _ended = self.birthplace.join(thread);
        }
    }
}

impl CacheHandle {
    /// The same for states of another model: what the handle takes goes to `cache`, which is a
    /// [`for_model`](WarmCache::for_model) of the writer's.
    #[must_use]
    pub fn to(mut self, cache: WarmCache) -> Self {
        self.cache = cache;
        self
    }

    /// The same, and `notice` is called on the writer's thread whenever a job of this handle is done with: then
    /// there is room for another one. It should only wake somebody.
    #[must_use]
    pub fn noticed(mut self, notice: impl Fn() + Send + Sync + 'static) -> Self {
        self.notice = Some(Notice(Arc::new(notice)));
        self
    }

    /// Where it goes.
    pub fn cache(&self) -> &WarmCache {
        &self.cache
    }

    /// Hands over a job. Never waits: two nodes on the heap, and a wake of the writer. What it returns finds
    /// the sequence until it is written.
    ///
    /// # Errors
    /// [`NotQueued`] with the job.
    // The error is as large as the job that it gives back.
    #[allow(clippy::result_large_err)]
    pub fn save(&self, job: SaveJob) -> Result<Unwritten, NotQueued> {
        let Shared { inbox, most_bytes, bytes, ended, taken, .. } = &*self.shared;
        if ended.load(Ordering::Acquire) {
            return Err(NotQueued { job, reason: Refusal::Ended });
        }
        let len = job.state.len() as u64;
        // Relaxed: the counter only bounds; the job is published by the inbox.
        let waiting = bytes.fetch_add(len, Ordering::Relaxed);
        if waiting.saturating_add(len) > *most_bytes {
            bytes.fetch_sub(len, Ordering::Relaxed);
            let reason = Refusal::Bytes { waiting, most: *most_bytes };
            return Err(NotQueued { job, reason });
        }
        let SaveJob { agent, tokens, state } = job;
        let sequence = Arc::new(SavedSequence { tokens, state });
        let unwritten = Unwritten(Arc::downgrade(&sequence));
        let (cache, notice) = (self.cache.clone(), self.notice.clone());
        let taking = Taken { cache, agent, sequence, notice };
        if let Err(InboxFull(Taken { agent, sequence, .. })) = inbox.push(taking) {
            bytes.fetch_sub(len, Ordering::Relaxed);
            // Nobody else has it: no copy is made.
            let SavedSequence { tokens, state } = Arc::unwrap_or_clone(sequence);
            let job = SaveJob { agent, tokens, state };
            return Err(NotQueued { job, reason: Refusal::Jobs });
        }
        // Release: whoever flushes after this call waits for this job. Counted behind the push, so that
        // nobody waits for a job that was refused.
        taken.fetch_add(1, Ordering::Release);
        self.writer.unpark();
        Ok(unwritten)
    }

    /// Bytes of states that wait or are being written.
    pub fn waiting_bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// Bytes that may be added now.
    pub fn room(&self) -> u64 {
        self.shared.most_bytes.saturating_sub(self.waiting_bytes())
    }
}

impl Shared {
    fn run(&self) {
        loop {
            // Looked at before the inbox: what was handed over before the end is still written.
            let ended = self.ended.load(Ordering::Acquire);
            let jobs: Vec<_> = self.inbox.take_all().collect();
            if !jobs.is_empty() {
                self.write(jobs);
            } else if ended {
                return;
            } else {
                // A wake between the look and this call makes it return at once.
                thread::park();
            }
        }
    }

    /// Of several jobs of an agent only the newest counts; the others give their memory back first.
    fn write(&self, jobs: Vec<Taken>) {
        let mut seen = HashSet::new();
        let mut newest = Vec::new();
        for job in jobs.into_iter().rev() {
            if seen.insert(job.agent.clone()) {
                newest.push(job);
            } else {
                self.done(job, |report| report.superseded += 1);
            }
        }
        for job in newest.into_iter().rev() {
            let Taken { cache, agent, sequence, .. } = &job;
            let saved = cache.save(agent, &sequence.tokens, &sequence.state);
            match saved {
                Ok(()) => self.done(job, |report| report.saved += 1),
                Err(error) => {
                    tracing::warn!(%agent, %error, "a sequence was not saved");
                    self.done(job, |report| {
                        report.failed += 1;
                        report.last_failure = Some(error.to_string());
                    });
                }
            }
        }
    }

    fn done(&self, job: Taken, note: impl FnOnce(&mut WriterReport)) {
        let Taken { sequence, notice, .. } = job;
        let len = sequence.state.len() as u64;
        drop(sequence);
        // Behind the drop: what the counter admits next finds the memory free, unless a lane has found the
        // sequence and is about to copy it in.
        self.bytes.fetch_sub(len, Ordering::Relaxed);
        note(&mut self.report());
        self.progress.notify_all();
        if let Some(Notice(notice)) = notice {
            notice();
        }
    }

    fn report(&self) -> MutexGuard<'_, WriterReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use latchless::ModelSpec;

    use super::*;
    use crate::cache::ModelTag;

    fn cache(folder: &tempfile::TempDir, budget: u64) -> WarmCache {
        let tag = ModelTag::new("b 1", "m", &ModelSpec::new(1, 1, 1, 1).unwrap(), 9);
        WarmCache::open(folder.path(), tag, budget).unwrap()
    }

    fn job(agent: &str, byte: u8) -> SaveJob {
        let agent = AgentId::new(agent).unwrap();
        SaveJob { agent, tokens: vec![Token(byte.into())], state: vec![byte; 1_000] }
    }

    #[test]
    fn what_is_handed_over_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(&folder, 1 << 20);
        let writer = CacheWriter::start(cache.clone(), 64, 1 << 20).unwrap();
        let handle = writer.handle();
        for byte in 0..40 {
            let name = format!("agent {}", byte % 4);
            handle.save(job(&name, byte)).unwrap();
        }
        let report = writer.flush();
        assert_eq!(report.saved + report.superseded, 40, "{report:?}");
        assert_eq!((cache.len(), handle.waiting_bytes()), (4, 0));
        for last in 36..40 {
            let agent = AgentId::new(format!("agent {}", last % 4)).unwrap();
            assert_eq!(cache.load(&agent).unwrap().state, vec![last; 1_000], "the newest counts");
        }
    }

    /// With a writer that cannot go on: what is not written is found, and afterwards it is on disk and not in
    /// memory.
    #[test]
    fn what_is_not_written_yet_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(&folder, 1 << 20);
        let writer = CacheWriter::start(cache.clone(), 64, 1 << 20).unwrap();
        let frozen = cache.freeze();
        let unwritten = writer.handle().save(job("a", 1)).unwrap();
        assert_eq!(unwritten.get().unwrap().state, vec![1; 1_000]);
        drop(frozen);
        writer.flush();
        assert!(unwritten.get().is_none() && !unwritten.is_there());
        assert!(cache.has(&AgentId::new("a").unwrap(), &[Token(1)]));
    }

    #[test]
    fn jobs_beyond_the_bounds_are_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(&folder, 1 << 20);
        let none = CacheWriter::start(cache.clone(), 0, 1 << 20).unwrap();
        let refused = none.handle().save(job("a", 1)).unwrap_err();
        assert_eq!((refused.reason, refused.job), (Refusal::Jobs, job("a", 1)));
        let small = CacheWriter::start(cache.clone(), 9, 999).unwrap();
        let refused = small.handle().save(job("a", 1)).unwrap_err();
        assert_eq!(refused.reason, Refusal::Bytes { waiting: 0, most: 999 });
        assert_eq!(small.handle().waiting_bytes(), 0);
        let handle = small.handle();
        drop(small);
        assert_eq!(handle.save(job("a", 1)).unwrap_err().reason, Refusal::Ended);
        assert!(cache.is_empty());
    }

    #[test]
    fn dropping_the_writer_writes_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(&folder, 1 << 20);
        let writer = CacheWriter::start(cache.clone(), 64, 1 << 20).unwrap();
        for byte in 0..9 {
            writer.handle().save(job(&byte.to_string(), byte)).unwrap();
        }
        drop(writer);
        assert_eq!(cache.len(), 9);
    }

    #[test]
    fn failures_are_counted_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let writer = CacheWriter::start(cache(&folder, 500), 64, 1 << 20).unwrap();
        writer.handle().save(job("a", 1)).unwrap();
        writer.handle().save(job("../a", 1)).unwrap();
        let report = writer.flush();
        assert_eq!((report.saved, report.failed), (0, 2));
        assert!(report.last_failure.unwrap().contains("path separator"));
    }
}
