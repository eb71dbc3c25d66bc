//! Making the lanes of a generation.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use latchless::{BlockPool, PoolConfig};

use super::accounts::{Accounts, SPARE_ACCOUNTS};
use super::config::{EngineConfig, blocks_of};
use super::control::{Control, Front};
use super::error::EngineError;
use super::generation::{Generation, Presence};
use super::lane::Lane;
use super::mailbox::Mailbox;
use super::shared::Shared;
use super::warm::{OnDisk, Warm};
use crate::backend::Backend;

/// What all lanes of an engine are made of.
pub(crate) struct Maker<'a> {
    pub(crate) front: &'a Arc<Front>,
    pub(crate) config: &'a EngineConfig,
    /// What the generation before has on disk; `None` for the first, which opens the folder.
    pub(crate) warm: Option<&'a Arc<Warm>>,
    /// The pool that the engine's agents are registered in; `None` for the first to become it.
    pub(crate) home: Option<&'a Arc<BlockPool>>,
    pub(crate) lane_numbers: &'a AtomicU32,
}

impl Maker<'_> {
    /// A lane for each context.
    ///
    /// # Errors
    /// [`EngineError`]; nobody has heard of the generation then.
    pub(crate) fn generation<B: Backend>(
        &self,
        number: u64,
        contexts: impl IntoIterator<Item = B>,
    ) -> Result<(Generation, Vec<Lane<B>>), EngineError> {
        let mut made = Vec::new();
        let mut home = self.home.cloned();
        for backend in contexts {
            let shared = Arc::new(self.shared(number, &backend, home.as_ref())?);
            home.get_or_insert_with(|| Arc::clone(&shared.pool));
            made.push((backend, shared));
        }
        if made.is_empty() {
            return Err(EngineError::NoLanes);
        }
        let on_disk = self.on_disk(&made)?;
        let lanes = made.iter().map(|(_, shared)| Arc::clone(shared)).collect();
        let generation = Generation::new(number, lanes, self.config.max_agents, on_disk);
        let lanes = made
            .into_iter()
            .enumerate()
            .map(|(index, (backend, shared))| {
                let watch = Arc::clone(generation.watch());
                let presence = Presence::new(Arc::clone(self.front), watch);
                let on_disk = generation.on_disk();
                let warm = on_disk.and_then(|on_disk| on_disk.lane(index, &shared.control));
                Lane::new(backend, shared, self.config, warm, presence)
            })
            .collect();
        Ok((generation, lanes))
    }

    /// Opens the folder of the configuration, or takes over that of the generation before.
    fn on_disk<B: Backend>(
        &self,
        made: &[(B, Arc<Shared>)],
    ) -> Result<Option<OnDisk>, EngineError> {
        let (Some(config), Some((_, first))) = (&self.config.cache, made.first()) else {
            return Ok(None);
        };
        let tags = made.iter().map(|(backend, _)| backend.state_tag());
        let tags = tags.collect::<Result<Vec<_>, _>>().map_err(EngineError::StateTag)?;
        let warm = match self.warm {
            Some(warm) => Arc::clone(warm),
            None => Arc::new(Warm::open(config, tags[0].clone(), first.pool.max_agents())?),
        };
        Ok(Some(OnDisk::new(warm, &tags)))
    }

    fn shared<B: Backend>(
        &self,
        generation: u64,
        backend: &B,
        home: Option<&Arc<BlockPool>>,
    ) -> Result<Shared, EngineError> {
        let config = self.config;
        let limits = backend.limits();
        config.validate(limits)?;
        let model = backend.model();
        let blocks = config.blocks.unwrap_or_else(|| blocks_of(model.spec(), limits));
        let spare = if home.is_some() { SPARE_ACCOUNTS } else { 0 };
        let agents = config.max_agents.saturating_add(spare);
        let pool = PoolConfig::new(blocks, model.spec().clone()).max_agents(agents);
        // Relaxed: a number is taken once, and nothing else hangs on it.
        let lane = self.lane_numbers.fetch_add(1, Ordering::Relaxed);
        let front = Arc::clone(self.front);
        Ok(Shared {
            control: Arc::new(Control::new(front, config.max_requests, lane, generation)),
            inbox: Mailbox::with_capacity(config.max_requests as usize),
            model,
            limits,
            pool: Arc::new(BlockPool::new(pool)?),
            accounts: home.map_or(Accounts::AtHome, |home| Accounts::abroad(Arc::clone(home))),
            max_requests: config.max_requests,
            stream_events: config.stream_events,
            broken: AtomicBool::new(false),
            thread_id: OnceLock::new(),
            thread: Mutex::new(None),
        })
    }
}
