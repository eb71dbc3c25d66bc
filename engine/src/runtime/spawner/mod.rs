//! How many agents run, and which of them are still alive.
//!
//! A slot is reserved before anything is started, and given back when the agent ends, however it ends: the
//! guard is dropped, also by a panic; a process is killed and waited for. The slots are the core's
//! [`SpawnSlots`]: there are as many as agents may run, so the limit is never exceeded.
//!
//! An agent gives signs of life ([`AgentSlot::beat`]). [`Spawner::clean_up`] takes back the slots of those
//! that gave none for longer than the spawner waits, and tells them to end. A thread that hangs cannot be
//! ended from outside: it counts no more, and whatever it does later is refused, because its claim is fenced.
//!
//! An [`AgentProcess`] cannot be left behind: it has a process group of its own, which is killed when its
//! guard is dropped, when it is cancelled, and when it has ended and left others running. What it puts out is
//! read all the time, so that it never waits for a reader, and the newest lines are kept. When this process
//! itself is killed, its agents see the end of their input and the loss of their output.

mod capture;
mod process;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use latchless::{AllSlotsTaken, SpawnLimit, SpawnSlot, SpawnSlotId, SpawnSlots, Tick};
use thiserror::Error;

pub use self::capture::{Line, Stream};
pub use self::process::{AgentProcess, Exit};
use super::cancel::{Cancel, CancelReason};
use super::tools::panic_message;

/// Reserves slots for agents, and knows who has them. Cheap to clone; all clones are the same one.
///
/// ```
/// use std::time::Duration;
/// use latchless_engine::runtime::spawner::Spawner;
///
/// let spawner = Spawner::new(2, Duration::from_secs(60))?;
/// let first = spawner.spawn("adder", |_slot| 1 + 1)?;
/// let second = spawner.spawn("singer", |slot| slot.name().len())?;
/// assert_eq!((first.join()?, second.join()?), (2, 6));
/// assert_eq!(spawner.running(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Spawner(Arc<Inner>);

struct Inner {
    slots: SpawnSlots,
    /// When the ticks began.
    since: Instant,
    patience: Duration,
    known: Mutex<Vec<Known>>,
    spawned: AtomicU64,
    refused: AtomicU64,
    silent: AtomicU64,
}

/// An agent that has a slot.
struct Known {
    id: SpawnSlotId,
    name: Arc<str>,
    cancel: Cancel,
}

/// Why an agent was not started, or did not end as it should.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// As many agents run as may.
    #[error(transparent)]
    Slots(#[from] AllSlotsTaken),
    /// The program was not started.
    #[error(
        "the program {program} was not started: {source}; check its path and that it may be run"
    )]
    NotStarted {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// The system gave no thread.
    #[error("no thread for the agent {name}: {source}; run fewer at once")]
    Thread {
        /// The agent.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The process could not be waited for.
    #[error("the process of the agent {name} cannot be waited for: {source}")]
    Wait {
        /// The agent.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The agent panicked.
    #[error("the agent {name} panicked: {message}")]
    Panicked {
        /// The agent.
        name: String,
        /// What it said.
        message: String,
    },
}

/// What a spawner did so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpawnStats {
    /// Slots that were reserved.
    pub spawned: u64,
    /// Reservations that were refused.
    pub refused: u64,
    /// Agents that gave no sign of life, and were cleaned up.
    pub silent: u64,
}

impl Spawner {
    /// For at most `limit` agents, of which each gives a sign of life at least every `patience`.
    ///
    /// # Errors
    /// [`SpawnLimit`] when no such limit can be.
    pub fn new(limit: usize, patience: Duration) -> Result<Self, SpawnLimit> {
        Ok(Self(Arc::new(Inner {
            slots: SpawnSlots::new(limit)?,
            since: Instant::now(),
            patience,
            known: Mutex::default(),
            spawned: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            silent: AtomicU64::new(0),
        })))
    }

    /// A slot for an agent that is to be started. It ends when `parent` does.
    ///
    /// # Errors
    /// [`AllSlotsTaken`].
    pub fn reserve(
        &self,
        name: impl Into<Arc<str>>,
        parent: &Cancel,
    ) -> Result<AgentSlot, AllSlotsTaken> {
        let slot = self.0.slots.reserve(self.0.now()).inspect_err(|_| {
            self.0.refused.fetch_add(1, Ordering::Relaxed);
        })?;
        self.0.spawned.fetch_add(1, Ordering::Relaxed);
        let (name, cancel) = (name.into(), parent.child());
        let known = Known { id: slot.id(), name: Arc::clone(&name), cancel: cancel.clone() };
        self.0.known().push(known);
        Ok(AgentSlot { slot, name, cancel, spawner: self.clone() })
    }

    /// Starts an agent on a thread of its own. Its slot is given back when `work` is over, also by a panic.
    ///
    /// # Errors
    /// [`SpawnError::Slots`], [`SpawnError::Thread`]: nothing was started.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce(&AgentSlot) -> T + Send + 'static,
    ) -> Result<AgentThread<T>, SpawnError> {
        let slot = self.reserve(name, &Cancel::new())?;
        let cancel = slot.cancel().clone();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || work(&slot));
        let failed = |source| SpawnError::Thread { name: name.to_owned(), source };
        Ok(AgentThread { thread: thread.map_err(failed)?, cancel, name: name.to_owned() })
    }

    /// Takes back the slots of agents that gave no sign of life for too long, and tells them to end. Returns
    /// their names.
    pub fn clean_up(&self) -> Vec<Arc<str>> {
        let patience = u64::try_from(self.0.patience.as_millis()).unwrap_or(u64::MAX);
        let gone = self.0.slots.clean_up_silent(self.0.now(), patience);
        self.0.silent.fetch_add(gone.len() as u64, Ordering::Relaxed);
        let mut ended = Vec::new();
        self.0.known().retain(|known| {
            let stays = !gone.contains(&known.id);
            if !stays {
                ended.push((Arc::clone(&known.name), known.cancel.clone()));
            }
            stays
        });
        // Hooks run foreign code: not under the lock.
        let tell = |(name, cancel): (_, Cancel)| {
            cancel.cancel(CancelReason::Silent);
            name
        };
        ended.into_iter().map(tell).collect()
    }

    /// The most agents that may run.
    pub fn limit(&self) -> usize {
        self.0.slots.limit()
    }

    /// Agents that have a slot.
    pub fn running(&self) -> usize {
        self.0.slots.running()
    }

    /// Their names.
    pub fn names(&self) -> Vec<Arc<str>> {
        self.0.known().iter().map(|known| Arc::clone(&known.name)).collect()
    }

    /// What was done so far.
    pub fn stats(&self) -> SpawnStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SpawnStats {
            spawned: load(&self.0.spawned),
            refused: load(&self.0.refused),
            silent: load(&self.0.silent),
        }
    }
}

impl Inner {
    /// Milliseconds.
    fn now(&self) -> Tick {
        Tick(u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn known(&self) -> MutexGuard<'_, Vec<Known>> {
        // Nothing is left half done under it.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Spawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawner")
            .field("limit", &self.limit())
            .field("running", &self.names())
            .finish_non_exhaustive()
    }
}

/// An agent's slot, from before it is started until this is dropped.
#[must_use = "the slot is given back when this is dropped"]
pub struct AgentSlot {
    slot: SpawnSlot,
    name: Arc<str>,
    cancel: Cancel,
    spawner: Spawner,
}

impl AgentSlot {
    /// Whose it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The slot, `0 .. limit`: no two running agents have the same.
    pub fn index(&self) -> u16 {
        self.slot.index()
    }

    /// Says when the agent is to end.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// A sign of life; false when the slot was taken back.
    pub fn beat(&self) -> bool {
        self.slot.beat(self.spawner.0.now())
    }

    /// Whether the slot was not taken back.
    pub fn is_current(&self) -> bool {
        self.slot.is_current()
    }
}

impl Drop for AgentSlot {
    fn drop(&mut self) {
        let id = self.slot.id();
        self.spawner.0.known().retain(|known| known.id != id);
    }
}

impl fmt::Debug for AgentSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentSlot")
            .field("name", &self.name)
            .field("id", &self.slot.id())
            .field("is_current", &self.is_current())
            .finish_non_exhaustive()
    }
}

/// An agent on a thread. Dropping this lets it run on.
#[derive(Debug)]
pub struct AgentThread<T> {
    thread: JoinHandle<T>,
    cancel: Cancel,
    name: String,
}

impl<T> AgentThread<T> {
    /// Tells it to end.
    pub fn cancel(&self, reason: CancelReason) {
        self.cancel.cancel(reason);
    }

    /// Waits for it.
    ///
    /// # Errors
    /// [`SpawnError::Panicked`].
    pub fn join(self) -> Result<T, SpawnError> {
        let Self { thread, name, .. } = self;
        let panicked = |panic: Box<dyn std::any::Any + Send>| SpawnError::Panicked {
            name,
            message: panic_message(&*panic),
        };
        thread.join().map_err(panicked)
    }
}

#[cfg(test)]
mod tests;
