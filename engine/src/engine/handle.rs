//! The engine as its hosts see it.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use latchless::{AgentHandle, AgentId, BlockPool, Directory, Inbox, PoolConfig, RequestId};

use super::config::{EngineConfig, blocks_of};
use super::control::Control;
use super::error::{AgentError, DrainTimeout, EngineError};
use super::lane::Lane;
use super::shared::Shared;
use crate::backend::{Backend, Limits, Model};

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

/// Shuts down when the last handle is gone; the lane holds `Shared` without it.
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        shutdown(&self.0);
    }
}

impl Engine {
    /// An engine, and the lane that the host steps itself or [spawns](Lane::spawn).
    ///
    /// # Errors
    /// [`EngineError`] when a setting is zero or the pool cannot be made.
    pub fn new<B: Backend>(
        backend: B,
        config: EngineConfig,
    ) -> Result<(Self, Lane<B>), EngineError> {
        let limits = backend.limits();
        config.validate(limits)?;
        let model = backend.model();
        let blocks = config.blocks.unwrap_or_else(|| blocks_of(model.spec(), limits));
        let pool = PoolConfig::new(blocks, model.spec().clone()).max_agents(config.max_agents);
        let pool = Arc::new(BlockPool::new(pool)?);
        let shared = Arc::new(Shared {
            control: Arc::new(Control::new(config.max_requests)),
            directory: Directory::new(Arc::clone(&pool)),
            inbox: Inbox::with_capacity(config.max_requests as usize),
            model,
            limits,
            pool,
            max_requests: config.max_requests,
            stream_events: config.stream_events,
            broken: AtomicBool::new(false),
            thread_id: OnceLock::new(),
            thread: Mutex::new(None),
        });
        let lane = Lane::new(backend, Arc::clone(&shared), config);
        Ok((Self(Arc::new(Handle(shared))), lane))
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.0.0
    }

    /// An engine whose lane has a thread of its own.
    ///
    /// # Errors
    /// As [`Engine::new`], and [`EngineError::Thread`].
    pub fn start<B: Backend>(backend: B, config: EngineConfig) -> Result<Self, EngineError> {
        let (engine, lane) = Self::new(backend, config)?;
        lane.spawn()?;
        Ok(engine)
    }

    /// The handle of the agent with this name; registers it when it is new. For once per agent, not for
    /// every request.
    ///
    /// # Errors
    /// [`AgentError`] when the name is empty or too long, or the directory is full.
    pub fn agent(&self, name: &str) -> Result<AgentHandle, AgentError> {
        Ok(self.shared().directory.get_or_register(&AgentId::new(name)?)?)
    }

    /// Asks the lane to end a request, and returns at once. The acknowledgement is a
    /// [`Completion`](super::Completion) with the reason `Cancelled` and the number of blocks freed,
    /// unless the request ended before it was seen. `false` when it has ended or never was.
    pub fn cancel(&self, request: RequestId) -> bool {
        self.shared().control.cancel(request)
    }

    /// The requests that are waiting or running, oldest first.
    pub fn pending(&self) -> Vec<RequestId> {
        self.shared().control.roster.inside()
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
        let before = self.shared().control.gate.inside();
        if self.shared().control.gate.drain(timeout) {
            return Ok(before);
        }
        Err(DrainTimeout { pending: self.pending() })
    }

    /// Refuses submits from now on, ends what is waiting or running as
    /// [`Shutdown`](super::FinishReason::Shutdown), and waits for the lane's thread, which ends after the
    /// decode it is in. May be called any number of times. To let requests finish,
    /// [`drain`](Self::drain) before.
    ///
    /// A host that steps the lane itself finds everything ended by its next step.
    pub fn shutdown(&self) {
        shutdown(self.shared());
    }

    /// The pool that requests take their blocks from.
    pub fn pool(&self) -> &Arc<BlockPool> {
        &self.shared().pool
    }

    /// The agents.
    pub fn directory(&self) -> &Directory {
        &self.shared().directory
    }

    /// The model.
    pub fn model(&self) -> &Arc<dyn Model> {
        &self.shared().model
    }

    /// What the context can hold.
    pub fn limits(&self) -> Limits {
        self.shared().limits
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("model", &self.shared().model.name())
            .field("limits", &self.shared().limits)
            .field("requests", &self.shared().control.gate.inside())
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
                match self.next_deadline() {
                    None => bell.sleep(heard),
                    Some(deadline) => bell.sleep_until(heard, deadline),
                }
            }
        });
        *thread = Some(lane.map_err(EngineError::Thread)?);
        Ok(())
    }
}

fn shutdown(shared: &Shared) {
    shared.control.gate.close();
    shared.control.bell.ring();
    // A waker that shuts down, or drops the last handle, runs on the lane's own thread.
    if shared.thread_id.get() == Some(&thread::current().id()) {
        return;
    }
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
