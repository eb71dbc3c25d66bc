//! Loading without waiting: a lane asks for a state, a thread reads it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, Thread};

use latchless::{AgentId, Inbox};

use super::{CacheError, SavedSequence, WarmCache};
use crate::process::Birthplace;

/// A sequence to be read.
pub struct LoadJob {
    /// Of which model.
    pub cache: WarmCache,
    /// Whose it is.
    pub agent: AgentId,
    /// What is done with it, on the reader's thread. Dropped uncalled when the reader ends before.
    pub deliver: Box<dyn FnOnce(Result<SavedSequence, CacheError>) + Send>,
}

impl fmt::Debug for LoadJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadJob").field("agent", &self.agent).finish_non_exhaustive()
    }
}

/// A thread that reads what lanes ask for. A thread of its own: a write syncs, and who waits for a state
/// should not wait for that.
#[derive(Debug)]
pub struct CacheReader {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    birthplace: Birthplace,
}

/// Asks a [`CacheReader`], from any thread.
#[derive(Debug, Clone)]
pub struct ReaderHandle {
    shared: Arc<Shared>,
    reader: Thread,
}

struct Shared {
    inbox: Inbox<LoadJob>,
    ended: AtomicBool,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl CacheReader {
    /// Starts the thread. At most `jobs` wait for it.
    ///
    /// # Errors
    /// The system has no thread to spare.
    pub fn start(jobs: usize) -> io::Result<Self> {
        let inbox = Inbox::with_capacity(jobs);
        let shared = Arc::new(Shared { inbox, ended: AtomicBool::new(false) });
        let worker = Arc::clone(&shared);
        let builder = thread::Builder::new().name("latchless-reader".into());
        let thread = Some(builder.spawn(move || worker.run())?);
        Ok(Self { shared, thread, birthplace: Birthplace::here() })
    }

    /// What lanes hold.
    pub fn handle(&self) -> ReaderHandle {
        // The thread is there as long as the reader is.
        let thread = self.thread.as_ref().map(|thread| thread.thread().clone());
        let reader = thread.unwrap_or_else(thread::current);
        ReaderHandle { shared: Arc::clone(&self.shared), reader }
    }
}

impl Drop for CacheReader {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It panics only when what it delivers to does; there is nobody left to tell.
            let _ended = self.birthplace.join(thread);
        }
    }
}

impl ReaderHandle {
    /// Asks for a state. Never waits: one node on the heap, and a wake of the reader. `false` when as many
    /// jobs wait as may, or the reader has ended: then nothing will be delivered.
    pub fn load(&self, job: LoadJob) -> bool {
        let open = !self.shared.ended.load(Ordering::Acquire);
        let asked = open && self.shared.inbox.push(job).is_ok();
        if asked {
            self.reader.unpark();
        }
        asked
    }
}

impl Shared {
    fn run(&self) {
        loop {
            let ended = self.ended.load(Ordering::Acquire);
            let mut idle = true;
            for LoadJob { cache, agent, deliver } in self.inbox.take_all() {
                idle = false;
                // Nobody waits for more once the reader ends.
                if !self.ended.load(Ordering::Acquire) {
                    deliver(cache.load(&agent));
                }
            }
            if ended {
                return;
            }
            if idle {
                // A wake between the look and this call makes it return at once.
                thread::park();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use latchless::ModelSpec;

    use super::*;
    use crate::backend::Token;
    use crate::cache::ModelTag;

    fn ask(
        handle: &ReaderHandle,
        cache: &WarmCache,
        agent: &str,
    ) -> Receiver<Result<SavedSequence, CacheError>> {
        let (sender, receiver) = channel();
        let agent = AgentId::new(agent).unwrap();
        let deliver = Box::new(move |outcome| drop(sender.send(outcome)));
        handle.load(LoadJob { cache: cache.clone(), agent, deliver });
        receiver
    }

    #[test]
    fn what_is_asked_for_is_delivered_or_told() {
        let folder = tempfile::tempdir().unwrap();
        let tag = ModelTag::new("b 1", "m", &ModelSpec::new(1, 1, 1, 1).unwrap(), 9);
        let cache = WarmCache::open(folder.path(), tag, 1 << 20).unwrap();
        cache.save(&AgentId::new("a").unwrap(), &[Token(1)], b"state").unwrap();
        let reader = CacheReader::start(8).unwrap();
        let handle = reader.handle();
        let found = ask(&handle, &cache, "a").recv().unwrap().unwrap();
        assert_eq!((found.tokens.len(), &found.state[..]), (1, &b"state"[..]));
        let missing = ask(&handle, &cache, "b").recv().unwrap();
        assert!(matches!(missing, Err(CacheError::Missing { .. })));
        drop(reader);
        assert!(ask(&handle, &cache, "a").recv().is_err(), "the reader has ended");
        let full = CacheReader::start(0).unwrap();
        assert!(ask(&full.handle(), &cache, "a").recv().is_err());
    }
}
