//! An engine at a glance.

use std::sync::atomic::{AtomicU64, Ordering};

use latchless::observe::PoolSnapshot;

use super::error::SubmitError;
use super::handle::Engine;
use super::totals::LaneSnapshot;
use crate::cache::WriterReport;

/// Submits that were refused, counted on the way out.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    blocks: AtomicU64,
    requests: AtomicU64,
    draining: AtomicU64,
    closed: AtomicU64,
    invalid: AtomicU64,
}

impl Refusals {
    /// Off the way of those who are accepted.
    #[cold]
    pub(crate) fn count(&self, refused: &SubmitError) {
        let word = match refused {
            SubmitError::Blocks(_) => &self.blocks,
            SubmitError::TooManyRequests { .. } => &self.requests,
            SubmitError::Draining => &self.draining,
            SubmitError::Closed | SubmitError::Forked(_) => &self.closed,
            SubmitError::EmptyPrompt
            | SubmitError::ZeroMaxTokens
            | SubmitError::EmptyStop { .. }
            | SubmitError::Sampling(_)
            | SubmitError::UnknownToken { .. }
            | SubmitError::PromptTooLong { .. }
            | SubmitError::Prompt(_) => &self.invalid,
        };
        // Relaxed: a number to look at.
        word.fetch_add(1, Ordering::Relaxed);
    }

    fn snapshot(&self) -> RefusedSubmits {
        let read = |word: &AtomicU64| word.load(Ordering::Relaxed);
        RefusedSubmits {
            blocks: read(&self.blocks),
            requests: read(&self.requests),
            draining: read(&self.draining),
            closed: read(&self.closed),
            invalid: read(&self.invalid),
        }
    }
}

/// Submits that were refused, by reason.
///
/// ```
/// use latchless_engine::{Engine, EngineConfig, RefusedSubmits, Request};
/// # use latchless_engine::backend::scripted::{Script, ScriptedBackend};
/// # let backend = || ScriptedBackend::builder(Script::Text("Because.".into())).build();
/// # let engine = Engine::start(backend(), EngineConfig::default())?;
/// # let agent = engine.agent("planner")?;
/// assert!(engine.submit(agent, Request::text("")).is_err());
/// let RefusedSubmits { invalid, .. } = engine.snapshot().refused;
/// assert_eq!(invalid, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RefusedSubmits {
    /// The pool had no blocks, or did not know the agent.
    pub blocks: u64,
    /// As many requests as the engine takes were inside.
    pub requests: u64,
    /// Somebody drained.
    pub draining: u64,
    /// The engine was closed, or belongs to another process.
    pub closed: u64,
    /// Nothing that any engine could answer: see [`SubmitError`].
    pub invalid: u64,
}

/// An engine at a glance: see [`Engine::snapshot`].
///
/// ```
/// use latchless_engine::{Engine, EngineConfig, EngineSnapshot};
/// # use latchless_engine::backend::scripted::{Script, ScriptedBackend};
/// # let backend = || ScriptedBackend::builder(Script::Text("Because.".into())).build();
/// # let engine = Engine::start(backend(), EngineConfig::default())?;
/// # let agent = engine.agent("planner")?;
/// let EngineSnapshot { requests, generation, .. } = engine.snapshot();
/// assert_eq!((requests, generation), (0, 0));
/// # let _ = agent;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineSnapshot {
    /// How often the model was replaced.
    pub generation: u64,
    /// Requests that wait or run, of every generation.
    pub requests: u32,
    /// Of these, those of the model before.
    pub retiring: u32,
    /// The most requests that can be inside.
    pub max_requests: u32,
    /// Submits that were refused.
    pub refused: RefusedSubmits,
    /// The lanes of the model in force, and then those of the one before that have not gone.
    pub lanes: Vec<LaneSnapshot>,
    /// The pools of these lanes, in the same order.
    pub pools: Vec<PoolSnapshot>,
    /// What was written to disk; `None` without a [cache](super::EngineConfig::cache).
    pub cache: Option<WriterReport>,
}

impl Engine {
    /// What there is to see, for a display or a recorder of metrics: see [`observe`](crate::observe).
    ///
    /// Reads words that lanes and submitters write anyway; no lane and no submitter waits for it. With a
    /// cache it takes the lock that the thread of the disk holds while it adds one to its report. Allocates
    /// about 60 KiB a lane, most of it the histograms.
    ///
    /// ```
    /// use latchless_engine::backend::scripted::{Script, ScriptedBackend};
    /// use latchless_engine::{Engine, EngineConfig, Request};
    ///
    /// let backend = ScriptedBackend::builder(Script::Text("Because.".into())).build();
    /// let engine = Engine::start(backend, EngineConfig::default())?;
    /// let agent = engine.agent("planner")?;
    /// let answer = engine.submit(agent, Request::text("Why?"))?.wait();
    ///
    /// let snapshot = engine.snapshot();
    /// let lane = &snapshot.lanes[0];
    /// assert_eq!(lane.ended.end_of_generation, 1);
    /// assert_eq!(lane.generated_tokens, u64::from(answer.completion.usage.generated_tokens));
    /// assert_eq!(lane.first_token.count(), 1);
    /// assert_eq!(snapshot.pools[0].usage.used, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn snapshot(&self) -> EngineSnapshot {
        let handle = self.handle();
        let live = handle.live.load_full();
        // After the live one: see `Handle::any_lane`.
        let retiring = handle.front.retiring.load_full();
        let retiring = retiring.filter(|retiring| retiring.number != live.number);
        let lanes = live.lanes().iter().chain(retiring.iter().flat_map(|old| old.lanes()));
        let (mut shown, mut pools) = (Vec::new(), Vec::new());
        for lane in lanes {
            let control = &lane.control;
            shown.push(control.totals.snapshot(control.roster.owner(), control.generation));
            pools.push(lane.pool.snapshot());
        }
        EngineSnapshot {
            generation: live.number,
            requests: handle.front.gate.inside(),
            retiring: retiring.map_or(0, |old| old.watch().remaining()),
            max_requests: handle.max_requests(),
            refused: handle.front.refusals.snapshot(),
            lanes: shown,
            pools,
            // In a child its lock may be held by a thread that is not there.
            cache: live
                .on_disk()
                .filter(|_| !handle.front.birthplace.was_left())
                .map(|on_disk| on_disk.warm().report()),
        }
    }
}
