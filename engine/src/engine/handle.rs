//! The engine as its hosts see it.

use std::fmt;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arc_swap::ArcSwap;
use latchless::{AgentHandle, AgentId, BlockPool, Directory, RequestId};

use super::config::EngineConfig;
use super::control::Front;
use super::error::{AgentError, DrainTimeout, EngineError};
use super::generation::Generation;
use super::lane::Lane;
use super::make::Maker;
use super::shared::Shared;
use super::warm::OnDisk;
use crate::backend::{Backend, Limits, Model};
use crate::cache::{WarmCache, WriterReport};

/// Many agents' way to one context: submit from any thread, read tokens from a stream.
///
/// A handle is cheap to clone, `Send` and `Sync`. [`submit`](Self::submit) and [`cancel`](Self::cancel)
/// never wait for a decode. When the last handle is dropped the engine is
/// [shut down](Self::shutdown).
///
/// ```
/// use latchless_engine::backend::scripted::{Script, ScriptedBackend};
/// use latchless_engine::{Engine, EngineConfig, FinishReason, Request};
///
/// let backend = ScriptedBackend::builder(Script::Text("Because.".into())).build();
/// let engine = Engine::start(backend, EngineConfig::default())?;
/// let agent = engine.agent("planner")?;
/// let answer = engine.submit(agent, Request::text("Why?"))?.wait();
/// assert_eq!(answer.text, "Because.");
/// assert_eq!(answer.completion.reason, FinishReason::EndOfGeneration);
/// assert_eq!(engine.pool().usage().used, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Engine(Arc<Handle>);

/// Shuts down when the last `Engine` is gone; lanes do not hold it.
pub(crate) struct Handle {
    pub(crate) front: Arc<Front>,
    /// The model in force.
    pub(crate) live: ArcSwap<Generation>,
    directory: Directory,
    config: EngineConfig,
    /// Numbers of lanes, over all generations.
    lanes: AtomicU32,
    pub(crate) swapping: Mutex<()>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        shutdown(self);
    }
}

impl Engine {
    /// An engine with one lane, which the host steps itself or [spawns](Lane::spawn).
    ///
    /// # Errors
    /// [`EngineError`] when a setting is zero or the pool cannot be made.
    pub fn new<B: Backend>(
        backend: B,
        config: EngineConfig,
    ) -> Result<(Self, Lane<B>), EngineError> {
        let (engine, mut lanes) = Self::with_lanes([backend], config)?;
        let lane = lanes.pop().ok_or(EngineError::NoLanes)?;
        Ok((engine, lane))
    }

    /// An engine with a lane for each context of one model. Each has its own pool, its own thread if it is
    /// [spawned](Lane::spawn), and its own agents: an agent's requests go where its first one went. That
    /// is the lane with the fewest requests and agents, or one where other agents' prompts began the same,
    /// when computing that again would cost more than the company. A lane that fails takes its own requests along, and its
    /// agents go to others.
    ///
    /// # Errors
    /// [`EngineError`] when there is no context, a setting is zero or a pool cannot be made.
    pub fn with_lanes<B: Backend>(
        contexts: impl IntoIterator<Item = B>,
        config: EngineConfig,
    ) -> Result<(Self, Vec<Lane<B>>), EngineError> {
        let front = Arc::new(Front::new(config.max_requests));
        let lane_numbers = AtomicU32::new(0);
        let maker = Maker {
            front: &front,
            config: &config,
            warm: None,
            home: None,
            lane_numbers: &lane_numbers,
        };
        let (generation, lanes) = maker.generation(0, contexts)?;
        let home = Arc::clone(&generation.lanes()[0].pool);
        let handle = Handle {
            front,
            live: ArcSwap::from_pointee(generation),
            directory: Directory::new(home),
            config,
            lanes: lane_numbers,
            swapping: Mutex::new(()),
        };
        Ok((Self(Arc::new(handle)), lanes))
    }

    /// An engine whose lane has a thread of its own.
    ///
    /// # Errors
    /// As [`Engine::new`], and [`EngineError::Thread`].
    pub fn start<B: Backend>(backend: B, config: EngineConfig) -> Result<Self, EngineError> {
        Self::start_lanes([backend], config)
    }

    /// An engine with a lane for each context, each with a thread of its own; see
    /// [`with_lanes`](Self::with_lanes).
    ///
    /// # Errors
    /// As [`Engine::with_lanes`], and [`EngineError::Thread`].
    pub fn start_lanes<B: Backend>(
        contexts: impl IntoIterator<Item = B>,
        config: EngineConfig,
    ) -> Result<Self, EngineError> {
        let (engine, lanes) = Self::with_lanes(contexts, config)?;
        lanes.into_iter().try_for_each(Lane::spawn)?;
        Ok(engine)
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.0
    }

    /// The handle of the agent with this name; registers it when it is new. For once per agent, not for
    /// every request. Only an agent that was asked for here has a name in the
    /// [cache](EngineConfig::cache): one that was registered in the [`directory`](Self::directory) itself
    /// keeps nothing on disk.
    ///
    /// # Errors
    /// [`AgentError`] when the name is empty or too long, or the directory is full.
    pub fn agent(&self, name: &str) -> Result<AgentHandle, AgentError> {
        self.0.front.birthplace.check()?;
        let id = AgentId::new(name)?;
        let agent = self.0.directory.get_or_register(&id)?;
        if let Some(on_disk) = self.0.live.load().on_disk() {
            on_disk.warm().names.note(agent, &id);
        }
        Ok(agent)
    }

    /// Asks the lane to end a request, and returns at once. The acknowledgement is a
    /// [`Completion`](super::Completion) with the reason `Cancelled` and the number of blocks freed,
    /// unless the request ended before it was seen. `false` when it has ended or never was.
    pub fn cancel(&self, request: RequestId) -> bool {
        self.0.any_lane(|lane| {
            lane.control.roster.is_owner_of(request) && lane.control.cancel(request)
        })
    }

    /// The requests that are waiting or running, those of each lane oldest first.
    pub fn pending(&self) -> Vec<RequestId> {
        let mut inside = Vec::new();
        self.0.any_lane(|lane| {
            inside.extend(lane.control.roster.inside());
            false
        });
        inside
    }

    /// Waits until all requests have ended, at most `timeout`; meanwhile submits are refused, and
    /// afterwards they are accepted again. Returns how many requests it waited for, which is 0, at once,
    /// for an idle engine.
    ///
    /// A host that steps the lane itself calls it from another thread. When it returns, every request's
    /// blocks are free, and its completion is in its stream or on the way there.
    ///
    /// # Errors
    /// [`DrainTimeout`] names the requests that have not ended.
    pub fn drain(&self, timeout: Duration) -> Result<u32, DrainTimeout> {
        let front = &self.0.front;
        let (before, forked) = (front.gate.inside(), front.birthplace.check().err());
        let timeout = if forked.is_some() { Duration::ZERO } else { timeout };
        if front.gate.drain(timeout) {
            return Ok(before);
        }
        Err(DrainTimeout { pending: self.pending(), forked })
    }

    /// Refuses submits from now on, ends what is waiting or running as
    /// [`Shutdown`](super::FinishReason::Shutdown), and waits for the lane's thread, which ends after the
    /// decode it is in, and for what it hands over to the disk. May be called any number of times. To let requests finish,
    /// [`drain`](Self::drain) before.
    ///
    /// A host that steps the lane itself finds everything ended by its next step. On a lane's thread, where
    /// wakers run, it waits for nothing.
    pub fn shutdown(&self) {
        shutdown(&self.0);
    }

    /// The pool that requests take their blocks from: that of the first lane of the model in force.
    pub fn pool(&self) -> Arc<BlockPool> {
        Arc::clone(&self.0.first_lane().pool)
    }

    /// The pools of all lanes of the model in force.
    pub fn pools(&self) -> Vec<Arc<BlockPool>> {
        let generation = self.0.live.load();
        generation.lanes().iter().map(|lane| Arc::clone(&lane.pool)).collect()
    }

    /// The agents.
    pub fn directory(&self) -> &Directory {
        &self.0.directory
    }

    /// The model in force.
    pub fn model(&self) -> Arc<dyn Model> {
        Arc::clone(&self.0.first_lane().model)
    }

    /// What agents have on disk, as the model in force sees it: to pin them, to remove what they have, or to
    /// look. Its methods wait for the disk. `None` without a [cache](EngineConfig::cache).
    pub fn cache(&self) -> Option<WarmCache> {
        self.0.live.load().on_disk().map(|on_disk| on_disk.cache().clone())
    }

    /// Waits until the sequences that the lanes have handed over are on disk, and says what was written so
    /// far. `None` without a [cache](EngineConfig::cache).
    ///
    /// A lane hands over what is new when it has nothing to compute, when it needs the room, and when it
    /// ends.
    pub fn flush_cache(&self) -> Option<WriterReport> {
        let live = self.0.live.load_full();
        if self.0.front.birthplace.was_left() {
            return None;
        }
        live.on_disk().map(|on_disk| on_disk.warm().flush())
    }

    /// How often the model was [replaced](Self::swap).
    pub fn generation(&self) -> u64 {
        self.0.live.load().number
    }

    /// What the context of the first lane can hold.
    pub fn limits(&self) -> Limits {
        self.0.first_lane().limits
    }
}

impl Handle {
    pub(crate) fn max_requests(&self) -> u32 {
        self.config.max_requests
    }

    fn first_lane(&self) -> Arc<Shared> {
        Arc::clone(&self.live.load().lanes()[0])
    }

    /// A generation of as many lanes as there are contexts.
    pub(crate) fn generation<B: Backend>(
        &self,
        number: u64,
        contexts: impl IntoIterator<Item = B>,
    ) -> Result<(Generation, Vec<Lane<B>>), EngineError> {
        let live = self.live.load();
        let maker = Maker {
            front: &self.front,
            config: &self.config,
            warm: live.on_disk().map(OnDisk::warm),
            home: Some(self.directory.pool()),
            lane_numbers: &self.lanes,
        };
        maker.generation(number, contexts)
    }

    /// Asks every lane, also those of a model that was replaced, until one says yes.
    fn any_lane(&self, ask: impl FnMut(&Arc<Shared>) -> bool) -> bool {
        let live = self.live.load_full();
        // After the live one: a swap notes what it replaces before it publishes what replaces it.
        let retiring = self.front.retiring.load_full();
        let other = retiring.iter().filter(|retiring| !Arc::ptr_eq(retiring, &live));
        other.flat_map(|other| other.lanes()).chain(live.lanes()).any(ask)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let generation = self.0.live.load();
        f.debug_struct("Engine")
            .field("generation", &generation.number)
            .field("lanes", &generation.lanes())
            .field("requests", &self.0.front.gate.inside())
            .finish_non_exhaustive()
    }
}

impl<B: Backend> Lane<B> {
    /// Gives the lane a thread, which steps it while there is something to do and sleeps otherwise, until
    /// the engine is shut down. If the backend panics, the thread ends, the engine is closed, and every
    /// stream ends with [`RequestError::LaneGone`](super::RequestError::LaneGone).
    ///
    /// # Errors
    /// [`EngineError::Thread`]; the lane is dropped, and the engine closed.
    pub fn spawn(mut self) -> Result<(), EngineError> {
        let shared = Arc::clone(&self.shared);
        let mut thread = lock(&shared.thread);
        let lane = thread::Builder::new().name("latchless-lane".to_owned()).spawn(move || {
            let _ = self.shared.thread_id.set(thread::current().id());
            loop {
                let heard = self.shared.control.bell.heard();
                let report = self.step();
                if report.closed {
                    break;
                }
                if report.progressed() {
                    continue;
                }
                let bell = &self.shared.control.bell;
                match self.next_end() {
                    None => bell.sleep(heard),
                    Some(deadline) => bell.sleep_until(heard, deadline),
                }
            }
        });
        *thread = Some(lane.map_err(EngineError::Thread)?);
        Ok(())
    }
}

pub(crate) fn shutdown(handle: &Handle) {
    handle.front.gate.close();
    let mut lanes = Vec::new();
    handle.any_lane(|lane| {
        lanes.push(Arc::clone(lane));
        false
    });
    if !end_lanes(&lanes) {
        return;
    }
    if let Some(on_disk) = handle.live.load().on_disk() {
        on_disk.warm().flush();
    }
}

/// Has lanes end, and waits for their threads. Not on the thread of one of them, where a waker may shut down
/// or drop the last handle: a lane waits neither for itself nor for another one, which may wait for it, nor for
/// the disk. Nor in a child of the process that made them, where there is no thread to wait for, and any lock may
/// be that of one that is not there. `false` then.
pub(crate) fn end_lanes(lanes: &[Arc<Shared>]) -> bool {
    for lane in lanes {
        lane.control.gate.close();
        lane.control.bell.ring();
    }
    let waits = !lanes.iter().any(|lane| is_own_thread(lane) || is_elsewhere(lane));
    if waits {
        for lane in lanes {
            join(lane);
        }
    }
    waits
}

/// Whether the calling thread steps the lane.
fn is_own_thread(lane: &Shared) -> bool {
    lane.thread_id.get() == Some(&thread::current().id())
}

/// Whether this is a child of the process that the lane's thread is in.
fn is_elsewhere(lane: &Shared) -> bool {
    lane.control.birthplace().was_left()
}

/// Waits for the thread of a lane that was told to end.
fn join(shared: &Shared) {
    // The second of two callers waits here for the first, and so for the lane.
    let mut thread = lock(&shared.thread);
    if let Some(lane) = thread.take()
        && lane.join().is_err()
    {
        tracing::error!("the lane's thread panicked; its requests ended as failed");
    }
}

/// Nothing is left half-done under this lock, so a panic under it means nothing to the next.
fn lock(thread: &Mutex<Option<JoinHandle<()>>>) -> MutexGuard<'_, Option<JoinHandle<()>>> {
    thread.lock().unwrap_or_else(PoisonError::into_inner)
}
