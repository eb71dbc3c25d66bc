//! Block tables under load: each thread replaces its own agent's, all threads read all of them. A reader has
//! one that was published, whole, and never an older one than it had.

use std::sync::Arc;

use latchless::{
    AgentBlocks, AgentHandle, BlockLease, BlockPool, BlockTables, ModelSpec, PoolConfig,
    TableAccess,
};

use crate::violation::Violation;

const LAYERS: usize = 3;
const BLOCK_TOKENS: u32 = 16;
/// Tokens of the largest table.
const MOST_TOKENS: u32 = 400;

/// The tables of a round, and the blocks that they name.
pub(super) struct Tables {
    pool: BlockPool,
    spec: ModelSpec,
    published: Arc<BlockTables>,
    /// One of each thread.
    agents: Vec<AgentHandle>,
}

/// What one thread has to do with tables.
pub(super) struct TableHand<'a> {
    access: TableAccess,
    /// The blocks of the table that its agent has.
    lease: Option<BlockLease<'a>>,
    /// The last version read of each agent.
    seen: Vec<u64>,
}

impl Tables {
    pub(super) fn new(threads: u16) -> Result<Self, Violation> {
        let failed =
            |error: &dyn std::error::Error| Violation::answer("block tables", error.to_string());
        let spec = ModelSpec::new(LAYERS, 1, 64, BLOCK_TOKENS).map_err(|error| failed(&error))?;
        // For each thread the table that it has, and the one that it is about to publish.
        let each = 2 * LAYERS as u32 * MOST_TOKENS.div_ceil(BLOCK_TOKENS);
        let blocks = u32::from(threads) * each;
        let config = PoolConfig::new(blocks, spec.clone()).max_agents(threads.into());
        let pool = BlockPool::new(config).map_err(|error| failed(&error))?;
        let agents = (0..threads).map(|_| pool.open_account()).collect::<Result<_, _>>();
        let agents = agents.map_err(|error| failed(&error))?;
        let published = Arc::new(BlockTables::new(&pool, threads.into()));
        Ok(Self { pool, spec, published, agents })
    }

    /// For the calling thread.
    pub(super) fn enter(&self) -> Result<TableHand<'_>, Violation> {
        let access = self.published.access();
        let access =
            access.map_err(|error| Violation::answer("an access for each thread", error))?;
        Ok(TableHand { access, lease: None, seen: vec![0; self.agents.len()] })
    }

    pub(super) fn replace<'a>(
        &'a self,
        thread: u16,
        hand: &mut TableHand<'a>,
        other: usize,
    ) -> Result<(), Violation> {
        let agent = self.agents[usize::from(thread)];
        let tokens = 1 + other as u32 % MOST_TOKENS;
        let lease = self.pool.allocate_sequence(agent, tokens);
        let lease = lease.map_err(|error| Violation::answer("there are blocks for all", error))?;
        let blocks = AgentBlocks::of_sequence(&self.spec, &lease, tokens, tokens);
        let blocks = blocks.map_err(|error| Violation::answer("a table of its lease", error))?;
        let version = hand.access.replace(blocks);
        let version = version.map_err(|error| Violation::answer("a table of an agent", error))?;
        let seen = &mut hand.seen[usize::from(thread)];
        if version <= *seen {
            return Err(Violation::answer("a version grows", (*seen, version)));
        }
        *seen = version;
        // The blocks of the one before wait for no reader of it.
        hand.lease = Some(lease);
        Ok(())
    }

    /// `true`: there was one.
    pub(super) fn read(&self, hand: &mut TableHand<'_>, pick: usize) -> Result<bool, Violation> {
        let of = pick % self.agents.len();
        let Some(table) = hand.access.read(self.agents[of]) else { return Ok(false) };
        let tokens = table.layers().first().map_or(0, latchless::LayerBlocks::tokens);
        let whole = table.agent() == self.agents[of]
            && table.layers().len() == LAYERS
            && table.layers().iter().all(|layer| {
                layer.tokens() == tokens && layer.len() == tokens.div_ceil(BLOCK_TOKENS)
            });
        let seen = &mut hand.seen[of];
        if !whole || table.version() < *seen {
            return Err(Violation::answer("a table that was published", (*seen, table)));
        }
        *seen = table.version();
        Ok(true)
    }

    pub(super) fn remove(&self, thread: u16, hand: &mut TableHand<'_>) -> Result<(), Violation> {
        let removed = hand.access.remove(self.agents[usize::from(thread)]);
        if removed != hand.lease.is_some() {
            return Err(Violation::answer("a table was there to be removed", removed));
        }
        hand.lease = None;
        Ok(())
    }

    /// Nobody runs: no thread is inside, and no block is left.
    pub(super) fn settle(&self) -> Result<(), Violation> {
        let pins = self.published.pins();
        Violation::count("accesses to tables", 0_u64, (pins.accesses + pins.pinned) as u64)?;
        Violation::count("blocks of tables", 0_u32, self.pool.usage().used)
    }
}
