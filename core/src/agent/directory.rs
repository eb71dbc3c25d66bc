//! The directory: a host's names for its agents, to their handles in a pool.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use dashmap::try_result::TryResult;
use thiserror::Error;

use crate::contention::Tally;
use crate::id::AgentId;
use crate::mutant::mutant;
use crate::pool::{AgentHandle, BlockPool, TooManyAgents};

/// Names of agents, in a sharded map.
///
/// It is for registering, unregistering and looking up by name, and its shards have locks: no path that
/// allocates, frees or steps goes through it, those carry an [`AgentHandle`]. No guard of the map leaves
/// a method, and none is held across a call to anything but the map.
///
/// ```
/// use std::sync::Arc;
/// use latchless::{AgentId, BlockPool, Directory, ModelSpec, PoolConfig};
///
/// let pool = Arc::new(BlockPool::new(PoolConfig::new(100, ModelSpec::new(4, 8, 128, 16)?))?);
/// let directory = Directory::new(Arc::clone(&pool));
/// let planner = AgentId::new("planner")?;
/// let handle = directory.register(planner.clone())?;
/// assert_eq!(directory.get(&planner), Some(handle));
/// assert_eq!(directory.unregister(&planner), Some(0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Directory {
    pool: Arc<BlockPool>,
    handles: DashMap<AgentId, AgentHandle>,
    met: Tally<EVENTS>,
}

/// What is counted.
enum Event {
    Wait,
    WaitedNanos,
}

const EVENTS: usize = Event::WaitedNanos as usize + 1;

/// How often threads had to wait for each other at a directory, since it was made: see
/// [`Directory::contention`].
///
/// ```
/// use std::sync::Arc;
/// use latchless::{AgentId, BlockPool, Directory, DirectoryContention, ModelSpec, PoolConfig};
///
/// let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(2, 8, 128, 16)?))?;
/// let directory = Directory::new(Arc::new(pool));
/// directory.register(AgentId::new("planner")?)?;
/// let DirectoryContention { waits, .. } = directory.contention();
/// assert_eq!(waits, 0, "nobody else was there");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DirectoryContention {
    /// Calls that found the lock of their shard taken, those that wait now included.
    pub waits: u64,
    /// How long all of them together waited for it that have got it.
    pub waited: Duration,
}

/// An agent was not registered.
///
/// ```
/// use std::sync::Arc;
/// use latchless::{AgentId, BlockPool, Directory, ModelSpec, PoolConfig, RegisterError};
///
/// let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(2, 8, 128, 16)?))?;
/// let directory = Directory::new(Arc::new(pool));
/// let id = AgentId::new("planner")?;
/// let first = directory.register(id.clone())?;
/// let refused = directory.register(id.clone()).unwrap_err();
/// assert_eq!(refused, RegisterError::Taken { id, handle: first });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RegisterError {
    /// The name is taken.
    #[error("agent {id:?} is registered already; look it up, or choose another name", id = .id.as_str())]
    Taken {
        /// The name.
        id: AgentId,
        /// The agent that has it.
        handle: AgentHandle,
    },
    /// The pool has no account left.
    #[error(transparent)]
    TooManyAgents(#[from] TooManyAgents),
}

impl Directory {
    /// An empty directory of the agents of `pool`.
    pub fn new(pool: Arc<BlockPool>) -> Self {
        Self { pool, handles: DashMap::new(), met: Tally::new() }
    }

    /// The pool that the agents have their accounts in.
    pub fn pool(&self) -> &Arc<BlockPool> {
        &self.pool
    }

    /// Registers an agent under a name.
    ///
    /// # Errors
    /// [`RegisterError`] when the name is taken or the pool is full of agents; nothing is registered
    /// then.
    pub fn register(&self, id: AgentId) -> Result<AgentHandle, RegisterError> {
        let handle = self.pool.open_account()?;
        let taken = match self.entry(&id) {
            Entry::Vacant(entry) => {
                entry.insert(handle);
                return Ok(handle);
            }
            Entry::Occupied(entry) => *entry.get(),
        };
        if !mutant("directory.refused-keeps-account") {
            self.pool.close_account(handle);
        }
        Err(RegisterError::Taken { id, handle: taken })
    }

    /// The agent of a name, registered if it is not yet.
    ///
    /// # Errors
    /// [`TooManyAgents`] when it is not and the pool is full of agents.
    pub fn get_or_register(&self, id: &AgentId) -> Result<AgentHandle, TooManyAgents> {
        if let Some(handle) = self.get(id) {
            return Ok(handle);
        }
        match self.register(id.clone()) {
            Ok(handle) | Err(RegisterError::Taken { handle, .. }) => Ok(handle),
            Err(RegisterError::TooManyAgents(error)) => Err(error),
        }
    }

    /// The agent of a name.
    pub fn get(&self, id: &AgentId) -> Option<AgentHandle> {
        let handle = match self.handles.try_get(id) {
            TryResult::Present(handle) => Some(handle),
            TryResult::Absent => None,
            TryResult::Locked => self.waited(|| self.handles.get(id)),
        };
        handle.as_deref().copied()
    }

    /// Unregisters an agent and takes all its blocks; returns how many it had, `None` for a name that
    /// nobody has. See [`BlockPool::free_agent`] for its leases.
    pub fn unregister(&self, id: &AgentId) -> Option<u32> {
        let handle = match self.entry(id) {
            Entry::Occupied(entry) => entry.remove(),
            Entry::Vacant(_) => return None,
        };
        self.pool.close_account(handle)
    }

    /// Takes all blocks from the agent of a name, which stays registered; 0 for a name that nobody has.
    pub fn free_agent(&self, id: &AgentId) -> u32 {
        self.get(id).map_or(0, |handle| self.pool.free_agent(handle))
    }

    /// The place of a name, whose shard is locked until it is dropped.
    fn entry(&self, id: &AgentId) -> Entry<'_, AgentId, AgentHandle> {
        let entry = self.handles.try_entry(id.clone());
        entry.unwrap_or_else(|| self.waited(|| self.handles.entry(id.clone())))
    }

    /// Takes a lock that was not free.
    #[cold]
    fn waited<R>(&self, lock: impl FnOnce() -> R) -> R {
        self.met.count(Event::Wait as usize);
        let begun = Instant::now();
        let locked = lock();
        let nanoseconds = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.met.add(Event::WaitedNanos as usize, nanoseconds);
        locked
    }

    /// How often threads had to wait for each other. Wait-free: counters that are read one after another.
    pub fn contention(&self) -> DirectoryContention {
        DirectoryContention {
            waits: self.met.sum(Event::Wait as usize),
            waited: Duration::from_nanos(self.met.sum(Event::WaitedNanos as usize)),
        }
    }

    /// Number of agents.
    pub fn len(&self) -> usize {
        self.handles.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.handles.is_empty()
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;
    use crate::model::ModelSpec;
    use crate::pool::PoolConfig;

    fn directory(agents: u32) -> Directory {
        let spec = ModelSpec::new(1, 1, 1, 1).unwrap();
        let config = PoolConfig::new(10, spec).max_agents(agents);
        Directory::new(Arc::new(BlockPool::new(config).unwrap()))
    }

    fn id(name: &str) -> AgentId {
        AgentId::new(name).unwrap()
    }

    #[test]
    fn a_name_is_given_once() {
        let directory = directory(2);
        let handle = directory.register(id("a")).unwrap();
        assert_eq!(directory.register(id("a")), Err(RegisterError::Taken { id: id("a"), handle }));
        let other = directory.register(id("b")).expect("the refused one took no account");
        assert_ne!(handle, other);
        let full = RegisterError::TooManyAgents(TooManyAgents { max_agents: 2 });
        assert_eq!(directory.register(id("c")), Err(full));
        assert_eq!(directory.len(), 2);
    }

    /// Case 6 of the behaviour: an unknown agent frees nothing.
    #[test]
    fn unknown_names_are_nobody() {
        let directory = directory(1);
        assert_eq!(directory.get(&id("nobody")), None);
        assert_eq!(directory.free_agent(&id("nobody")), 0);
        assert_eq!(directory.unregister(&id("nobody")), None);
    }

    #[test]
    fn who_waits_for_a_shard_is_counted() {
        let directory = &directory(1);
        directory.register(id("a")).unwrap();
        assert_eq!(directory.contention(), DirectoryContention::default());
        std::thread::scope(|scope| {
            let inside = directory.entry(&id("a"));
            let waiting = scope.spawn(|| directory.get(&id("a")));
            while directory.contention().waits == 0 {
                std::thread::yield_now();
            }
            assert_eq!(directory.contention().waited, Duration::ZERO, "it waits still");
            drop(inside);
            assert!(waiting.join().unwrap().is_some());
        });
        let contention = directory.contention();
        assert!(contention.waits == 1 && contention.waited > Duration::ZERO, "{contention:?}");
    }

    #[test]
    fn ten_threads_register_one_name() {
        let directory = directory(16);
        let handles: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..10)
                .map(|_| scope.spawn(|| directory.get_or_register(&id("same")).unwrap()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(handles.iter().all(|handle| *handle == handles[0]));
        assert_eq!(directory.unregister(&id("same")), Some(0));
        let free = std::iter::from_fn(|| directory.pool().open_account().ok()).count();
        assert_eq!(free, 16, "an account was lost");
    }
}
