//! The block tables of a pool's agents: one snapshot each, replaced whole.

use std::cell::Cell;
use std::sync::Arc;

use crossbeam_utils::CachePadded;
use thiserror::Error;

use super::blocks::AgentBlocks;
use super::protected::{Access, Cells, Pin};
use crate::mutant::mutant;
use crate::pool::{AgentHandle, BlockPool};
use crate::sync::{AtomicU64, Ordering};

/// The block tables of a pool's agents.
///
/// A table is an immutable [`AgentBlocks`]. There is no way to add to one or to remove from one: who has
/// something new publishes another one, and a reader has the one before or the one after, never a mixture.
/// Readers and writers work through a [`TableAccess`] of their own thread; nobody waits for anybody.
///
/// A table that was replaced is freed when nobody can be about to read it, which an epoch tells. A thread
/// that is frozen in the few instructions of a read holds back every table that is replaced from then on,
/// until it goes on: [`pins`](Self::pins) shows it. The blocks themselves do not wait: they are freed with
/// their leases.
///
/// ```
/// use std::sync::Arc;
/// use latchless::{AgentBlocks, BlockPool, BlockTables, ModelSpec, PoolConfig};
///
/// let spec = ModelSpec::new(4, 8, 128, 16)?;
/// let pool = BlockPool::new(PoolConfig::new(100, spec.clone()))?;
/// let tables = Arc::new(BlockTables::new(&pool, 8));
///
/// let agent = pool.open_account()?;
/// let lease = pool.allocate_sequence(agent, 40)?;
/// let access = tables.access()?;
/// access.replace(AgentBlocks::of_sequence(&spec, &lease, 40, 20)?)?;
///
/// let before = access.read(agent).expect("it was published");
/// access.replace(AgentBlocks::of_sequence(&spec, &lease, 40, 21)?)?;
/// let after = access.read(agent).expect("it was published");
/// assert_eq!((before.layers()[0].tokens(), after.layers()[0].tokens()), (20, 21));
/// assert!(before.version() < after.version());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct BlockTables {
    cells: Arc<Cells<AgentBlocks>>,
    /// The clock: tables that were published so far, and the version of the last one.
    published: CachePadded<AtomicU64>,
    /// What the thread of each access does: see [`State`].
    accesses: Box<[CachePadded<AtomicU64>]>,
}

/// What the word of an access says.
struct State;

impl State {
    const VACANT: u64 = 0;
    const IDLE: u64 = 1;

    /// In a read or a replacement that began when so many tables had been published.
    fn pinned(published: u64) -> u64 {
        published + 2
    }

    fn pinned_since(state: u64) -> Option<u64> {
        state.checked_sub(2)
    }
}

/// Every access is taken.
///
/// ```
/// use latchless::{BlockPool, BlockTables, ModelSpec, PoolConfig, TooManyAccesses};
/// # let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(2, 8, 128, 16)?))?;
/// # let agent = pool.open_account()?;
/// # let tables = std::sync::Arc::new(BlockTables::new(&pool, 1));
/// let access = tables.access()?;
/// assert_eq!(tables.access().unwrap_err(), TooManyAccesses { max: 1 });
/// drop(access);
/// assert!(tables.access().is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("all {max} accesses to the block tables are in use; drop one, or make the tables for more")]
pub struct TooManyAccesses {
    /// Accesses that the tables were made for.
    pub max: usize,
}

/// A table was not published; it is given back here.
///
/// ```
/// use latchless::{AgentBlocks, BlockPool, BlockTables, ModelSpec, NotReplaced, PoolConfig};
/// # let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(2, 8, 128, 16)?))?;
/// # let agent = pool.open_account()?;
/// # let _ = agent;
/// # let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(2, 8, 128, 16)?).max_agents(1))?;
/// # let agent = pool.open_account()?;
/// # let tables = std::sync::Arc::new(BlockTables::new(&pool, 1));
/// let access = tables.access()?;
/// let late = AgentBlocks::new(agent, [])?;
/// pool.close_account(agent);
/// let next = pool.open_account()?;
/// access.replace(AgentBlocks::new(next, [])?)?;
/// let NotReplaced(back) = access.replace(late).unwrap_err();
/// assert_eq!(back.agent(), agent);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "the agent of this table has left, and another one has its place; drop the table, or publish it for \
     that one"
)]
pub struct NotReplaced(pub AgentBlocks);

/// Who reads the block tables, and what that holds back: numbers to watch, read one after another.
///
/// ```
/// use latchless::{BlockPool, BlockTables, ModelSpec, PoolConfig, TablePins};
/// # let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(2, 8, 128, 16)?))?;
/// # let agent = pool.open_account()?;
/// # let tables = std::sync::Arc::new(BlockTables::new(&pool, 1));
/// let _access = tables.access()?;
/// let TablePins { accesses, pinned, .. } = tables.pins();
/// assert_eq!((accesses, pinned), (1, 0), "nobody is inside a read");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TablePins {
    /// Accesses that exist.
    pub accesses: usize,
    /// Those whose thread is inside a read or a replacement.
    pub pinned: usize,
    /// Age of the oldest of these: tables that were published since it began. A thread that is not stuck
    /// is inside for some nanoseconds, in which few are; a number that grows from one look to the next
    /// is a thread that was frozen or killed there.
    pub oldest_age: u64,
    /// Replaced tables that are not freed yet. Up to 64 for each access that replaces are normal: they
    /// are freed in batches.
    pub waiting: u64,
}

impl BlockTables {
    /// Tables for the agents of `pool`, none published, for up to `accesses` threads at a time; 8 bytes
    /// for each agent, 128 for each access, and about 2 KiB for each that is in use.
    pub fn new(pool: &BlockPool, accesses: usize) -> Self {
        Self {
            cells: Arc::new(Cells::new(pool.max_agents() as usize)),
            published: CachePadded::new(AtomicU64::new(0)),
            accesses: (0..accesses)
                .map(|_| CachePadded::new(AtomicU64::new(State::VACANT)))
                .collect(),
        }
    }

    /// A way to the tables for the calling thread: to be made once and kept, since it allocates.
    ///
    /// # Errors
    /// [`TooManyAccesses`] when there are as many as the tables were made for.
    pub fn access(self: &Arc<Self>) -> Result<TableAccess, TooManyAccesses> {
        // Acquire: the last one that had this place is done with it.
        let vacant = |state: &CachePadded<AtomicU64>| {
            let (from, to) = (State::VACANT, State::IDLE);
            state.compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        let place = self.accesses.iter().position(vacant);
        let place = place.ok_or(TooManyAccesses { max: self.accesses.len() })?;
        Ok(TableAccess {
            access: Access::new(&self.cells),
            tables: Arc::clone(self),
            place,
            replaced: Cell::new(0),
        })
    }

    /// Who reads, and what is held back: for a gauge.
    pub fn pins(&self) -> TablePins {
        let mut pins = TablePins { accesses: 0, pinned: 0, oldest_age: 0, waiting: 0 };
        for state in &self.accesses {
            let state = state.load(Ordering::Acquire);
            // After the state, so that it is not behind it.
            let published = self.published.load(Ordering::Acquire);
            pins.accesses += usize::from(state != State::VACANT);
            if let Some(since) = State::pinned_since(state) {
                pins.pinned += 1;
                pins.oldest_age = pins.oldest_age.max(published.saturating_sub(since));
            }
        }
        pins.waiting = self.cells.waiting();
        pins
    }
}

/// One thread's way to the [block tables](BlockTables) of a pool's agents. It stays on its thread.
///
/// ```
/// use latchless::{AgentBlocks, BlockPool, BlockTables, ModelSpec, PoolConfig, TableAccess};
/// # let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(2, 8, 128, 16)?))?;
/// # let agent = pool.open_account()?;
/// # let tables = std::sync::Arc::new(BlockTables::new(&pool, 1));
/// let access: TableAccess = tables.access()?;
/// assert!(access.read(agent).is_none());
/// access.replace(AgentBlocks::new(agent, [])?)?;
/// assert!(access.read(agent).is_some() && access.remove(agent));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TableAccess {
    access: Access<AgentBlocks>,
    tables: Arc<BlockTables>,
    place: usize,
    /// Tables that this thread replaced since it collected.
    replaced: Cell<u32>,
}

/// Tables that a thread replaces between two collections: it takes an allocation and a walk over the
/// accesses, and three of them until a table is freed.
const BATCH: u32 = 16;

impl TableAccess {
    /// The table of an agent; `None` for one that has published none, or has left.
    ///
    /// What is returned is a snapshot: it can be kept, and nothing waits for it. Lock-free, some tens of
    /// nanoseconds; every 128th use of an access also frees some replaced tables.
    pub fn read(&self, agent: AgentHandle) -> Option<Arc<AgentBlocks>> {
        let blocks = self.pin().epoch.load(agent.slot() as usize)?;
        (blocks.agent() == agent || mutant("tables.read-any-tenure")).then_some(blocks)
    }

    /// Publishes a table in place of its agent's last one, and returns its version. Of two threads that
    /// replace one at once, one comes after the other.
    ///
    /// # Errors
    /// [`NotReplaced`] with the table, when its agent's place has a later agent's table, or it is of
    /// another pool with more agents.
    pub fn replace(&self, blocks: AgentBlocks) -> Result<u64, NotReplaced> {
        let agent = blocks.agent();
        if agent.slot() as usize >= self.access.cells().len() {
            return Err(NotReplaced(blocks));
        }
        let mut version = 0;
        let admit = |old: Option<&AgentBlocks>, new: Option<&mut AgentBlocks>| {
            // After the old table was read, whose version was given before it was published: this one
            // is greater.
            version = self.tables.published.fetch_add(1, Ordering::AcqRel) + 1;
            if let Some(new) = new {
                new.set_version(version);
            }
            old.is_none_or(|old| agent.is_or_follows(old.agent()) || mutant("tables.any-agent"))
        };
        let replaced = self.pin().epoch.replace(agent.slot() as usize, Some(blocks), admit);
        if let Err(Some(mut blocks)) = replaced {
            blocks.set_version(0);
            return Err(NotReplaced(blocks));
        }
        self.replaced.set(self.replaced.get() + 1);
        if self.replaced.get() == BATCH {
            self.collect();
        }
        Ok(version)
    }

    /// Takes an agent's table out; false when there is none of this agent.
    pub fn remove(&self, agent: AgentHandle) -> bool {
        let slot = agent.slot() as usize;
        let is_of_agent = |old: Option<&AgentBlocks>, _: Option<&mut _>| {
            old.is_some_and(|old| old.agent() == agent || mutant("tables.remove-any-tenure"))
        };
        slot < self.access.cells().len()
            && self.pin().epoch.replace(slot, None, is_of_agent).is_ok()
    }

    /// Frees replaced tables now, as far as nobody can be about to read them: for idle moments. What was
    /// replaced last takes three calls, if nobody is inside.
    pub fn collect(&self) {
        self.replaced.set(0);
        self.pin().epoch.collect();
    }

    fn pin(&self) -> Inside<'_> {
        let state = &self.tables.accesses[self.place];
        // Relaxed, both: a gauge. The store is before the pin, whose fence makes it visible with it.
        let published = self.tables.published.load(Ordering::Relaxed);
        state.store(State::pinned(published), Ordering::Relaxed);
        Inside { epoch: self.access.pin(), _state: Idle(state) }
    }
}

impl Drop for TableAccess {
    fn drop(&mut self) {
        // Release: pairs with the next one's Acquire.
        self.tables.accesses[self.place].store(State::VACANT, Ordering::Release);
    }
}

/// A thread inside, and the word that says so: the epoch is left first, so that nobody who holds it is
/// missed by the gauge.
struct Inside<'a> {
    epoch: Pin<'a, AgentBlocks>,
    _state: Idle<'a>,
}

/// Says that the thread is outside when this is dropped.
struct Idle<'a>(&'a AtomicU64);

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.0.store(State::IDLE, Ordering::Release);
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;
    use crate::agent::LayerBlocks;
    use crate::id::{BlockId, LayerId};
    use crate::model::ModelSpec;
    use crate::pool::PoolConfig;

    fn pool() -> BlockPool {
        let spec = ModelSpec::new(4, 1, 1, 1).unwrap();
        BlockPool::new(PoolConfig::new(100, spec).max_agents(2)).unwrap()
    }

    /// A table all of whose parts tell the same number.
    fn stamped(agent: AgentHandle, stamp: u32) -> AgentBlocks {
        let layer = |layer| {
            LayerBlocks::new(LayerId(layer), stamp, (stamp..stamp + 1 + stamp % 5).map(BlockId))
        };
        AgentBlocks::new(agent, (0..4).map(layer)).unwrap()
    }

    fn stamp_of(blocks: &AgentBlocks) -> u32 {
        let stamp = blocks.layers()[0].tokens();
        let whole = stamped(blocks.agent(), stamp);
        assert_eq!(blocks.layers(), whole.layers(), "torn");
        stamp
    }

    #[test]
    fn an_access_is_given_back_when_it_is_dropped() {
        let tables = Arc::new(BlockTables::new(&pool(), 2));
        let first = tables.access().unwrap();
        let _second = tables.access().unwrap();
        assert_eq!(tables.access().unwrap_err(), TooManyAccesses { max: 2 });
        assert_eq!((tables.pins().accesses, tables.pins().pinned), (2, 0));
        drop(first);
        assert!(tables.access().is_ok());
    }

    #[test]
    fn a_table_is_its_agents_only() {
        let pool = pool();
        let tables = Arc::new(BlockTables::new(&pool, 1));
        let access = tables.access().unwrap();
        let agent = pool.open_account().unwrap();
        assert_eq!(access.read(agent), None);
        assert_eq!(access.replace(stamped(agent, 7)), Ok(1));
        assert_eq!(access.replace(stamped(agent, 8)), Ok(2));
        assert_eq!(access.read(agent).map(|table| stamp_of(&table)), Some(8));

        pool.close_account(agent).unwrap();
        let next = pool.open_account().unwrap();
        assert_eq!((next.slot(), access.read(next)), (agent.slot(), None));
        assert!(!access.remove(next), "it is not the next one's");
        let version = access.replace(stamped(next, 9)).unwrap();
        assert!(version > 2);
        // The agent that has left comes too late.
        let late = stamped(agent, 10);
        assert_eq!(access.replace(late.clone()), Err(NotReplaced(late)));
        assert!(!access.remove(agent));
        assert_eq!(access.read(next).map(|table| stamp_of(&table)), Some(9));
        assert!(access.remove(next));
        assert_eq!((access.read(next), access.remove(next)), (None, false));
    }

    #[test]
    fn handles_of_a_larger_pool_are_refused() {
        let spec = ModelSpec::new(1, 1, 1, 1).unwrap();
        let larger = BlockPool::new(PoolConfig::new(1, spec).max_agents(3)).unwrap();
        let agents = [(); 3].map(|()| larger.open_account().unwrap());
        let tables = Arc::new(BlockTables::new(&pool(), 1));
        let access = tables.access().unwrap();
        let table = stamped(agents[2], 0);
        assert_eq!(access.replace(table.clone()), Err(NotReplaced(table)));
        assert_eq!((access.read(agents[2]), access.remove(agents[2])), (None, false));
    }

    #[test]
    fn a_snapshot_holds_nothing_else_back() {
        let pool = pool();
        let agent = pool.open_account().unwrap();
        let tables = Arc::new(BlockTables::new(&pool, 1));
        let access = tables.access().unwrap();
        access.replace(stamped(agent, 0)).unwrap();
        let kept = access.read(agent).unwrap();
        for stamp in 1..=1_000 {
            access.replace(stamped(agent, stamp)).unwrap();
        }
        assert!(tables.pins().waiting <= 64, "{:?}", tables.pins());
        for _ in 0..10 {
            access.collect();
        }
        assert_eq!((tables.pins().waiting, stamp_of(&kept)), (0, 0));
        assert_eq!(Arc::strong_count(&kept), 1);
    }

    #[test]
    fn the_gauge_shows_a_thread_that_stays_inside() {
        let pool = pool();
        let agent = pool.open_account().unwrap();
        let tables = Arc::new(BlockTables::new(&pool, 2));
        let [frozen, access] = [(); 2].map(|()| tables.access().unwrap());
        access.replace(stamped(agent, 0)).unwrap();
        let inside = frozen.pin();
        for stamp in 1..=1_000 {
            access.replace(stamped(agent, stamp)).unwrap();
            access.collect();
        }
        let stuck = TablePins { accesses: 2, pinned: 1, oldest_age: 1_000, waiting: 1_000 };
        assert_eq!(tables.pins(), stuck);
        drop(inside);
        for _ in 0..1_000 {
            access.collect();
        }
        let well = TablePins { accesses: 2, pinned: 0, oldest_age: 0, waiting: 0 };
        assert_eq!(tables.pins(), well);
    }

    /// Two writers replace, two readers read: every snapshot is whole, and none is older than the one
    /// before it.
    #[test]
    fn snapshots_are_never_torn_and_never_go_back() {
        const TABLES: u32 = 5_000;
        let pool = pool();
        let agent = pool.open_account().unwrap();
        let tables = Arc::new(BlockTables::new(&pool, 4));
        let threads: Vec<_> = (0..4)
            .map(|i| {
                let tables = Arc::clone(&tables);
                std::thread::spawn(move || {
                    let access = tables.access().unwrap();
                    let mut seen = 0;
                    if i < 2 {
                        for stamp in 0..TABLES {
                            let version = access.replace(stamped(agent, stamp * 2 + i)).unwrap();
                            assert!(version > seen);
                            seen = version;
                        }
                    }
                    let mut stamps = [0; 2];
                    while stamps.iter().all(|stamp| *stamp / 2 < TABLES - 1) {
                        let Some(table) = access.read(agent) else {
                            continue;
                        };
                        assert!(table.version() >= seen, "an older table came back");
                        seen = table.version();
                        let stamp = stamp_of(&table);
                        let last = &mut stamps[stamp as usize % 2];
                        assert!(stamp >= *last, "a writer's tables in another order");
                        *last = stamp;
                        std::thread::yield_now();
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let access = tables.access().unwrap();
        for _ in 0..1_000 {
            access.collect();
        }
        assert_eq!(tables.pins().waiting, 0);
    }
}
