//! The lane: one context, stepped by one thread.
//!
//! A step looks at control first (cancels, deadlines, shutdown), brings back who gave way, admits, assembles
//! one batch, computes it, draws a token from every row that asked for one, and takes out what is over.
//! Nothing in it waits for another thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use latchless::RequestId;

use super::assemble::{Assembler, Demand, Share};
use super::completion::FinishReason;
use super::config::EngineConfig;
use super::generation::Presence;
use super::idle::{Idle, IdleSequences};
use super::pace::Pacer;
use super::pressure::{Parked, State};
use super::queue::Queue;
use super::running::Running;
use super::shared::Shared;
use super::warm::LaneWarm;
use crate::backend::{Backend, BackendError, Batch, Model, SequenceId};

/// Drives a backend for one engine. Whoever owns it calls [`step`](Self::step), or hands it to a thread
/// with [`spawn`](Self::spawn).
///
/// Dropping a lane ends all its requests; an engine without another one is closed. A lane whose step panicked is
/// good for nothing: its next step, or its drop, ends all its requests as
/// [`LaneGone`](super::RequestError::LaneGone), and asks the backend for nothing more.
///
/// ```
/// use latchless_engine::{Engine, EngineConfig, Lane, Request};
/// # use latchless_engine::backend::scripted::{Script, ScriptedBackend};
/// # let backend = || ScriptedBackend::builder(Script::Text("Because.".into())).build();
/// let (engine, mut lane): (_, Lane<ScriptedBackend>) = Engine::new(backend(), EngineConfig::default())?;
/// let agent = engine.agent("planner")?;
/// let stream = engine.submit(agent, Request::text("Why?"))?;
/// while lane.step().progressed() {}
/// assert_eq!(stream.wait().text, "Because.");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping the lane closes its engine"]
pub struct Lane<B: Backend> {
    pub(super) backend: B,
    pub(super) shared: Arc<Shared>,
    pub(super) model: Arc<dyn Model>,
    pub(super) running: Vec<Running<B::Sampler>>,
    pub(super) batch: Batch,
    pub(super) queue: Queue,
    pub(super) free: Vec<SequenceId>,
    /// Sequences that the backend refused to clear, tried again before each admission.
    pub(super) dirty: Vec<SequenceId>,
    pub(super) idle: IdleSequences,
    /// What idle sequences may keep together.
    idle_tokens: usize,
    /// Where they go when they have to; without it they are forgotten.
    pub(super) warm: Option<LaneWarm>,
    /// Requests that gave way.
    pub(super) parked: Vec<Parked<B>>,
    /// The states of requests that were parked in this step.
    pub(super) states: Vec<(RequestId, State<B>)>,
    /// Host memory that states of parked requests may take.
    pub(super) most_parked_bytes: u64,
    /// Something ended since the parked were looked at.
    pub(super) room_changed: bool,
    assembler: Assembler,
    pacer: Pacer,
    demands: Vec<Demand>,
    shares: Vec<Share>,
    /// A step began and has not come to its end: between steps, that it panicked.
    in_step: bool,
    /// The last field: gone when everything else is.
    _presence: Presence,
}

/// What one step did.
///
/// ```
/// use latchless_engine::{Engine, EngineConfig, Request, StepReport};
/// # use latchless_engine::backend::scripted::{Script, ScriptedBackend};
/// # let backend = || ScriptedBackend::builder(Script::Text("Because.".into())).build();
/// # let (engine, mut lane) = Engine::new(backend(), EngineConfig::default())?;
/// # let agent = engine.agent("planner")?;
/// let stream = engine.submit(agent, Request::text("Why?"))?;
/// let StepReport { admitted, prefill_rows, running, .. } = lane.step();
/// assert_eq!((admitted, running), (1, 1));
/// assert!(prefill_rows > 0);
/// # drop(stream);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StepReport {
    /// Requests that got a sequence.
    pub admitted: u32,
    /// Rows of prompts that were not computed, because a sequence kept them, or the disk.
    pub reused_rows: u32,
    /// Of these, rows that came from disk.
    pub resumed_rows: u32,
    /// Rows of prompts that were computed.
    pub prefill_rows: u32,
    /// Rows of drawn tokens that were computed.
    pub decode_rows: u32,
    /// Decodes that the backend failed.
    pub failed_decodes: u32,
    /// Idle sequences that were cleared for the room that they took.
    pub evicted: u32,
    /// Requests that gave way: their state went to host memory.
    pub parked: u32,
    /// Of these, requests whose state was dropped, because that memory is used up.
    pub dropped: u32,
    /// Requests that came back from there.
    pub brought_back: u32,
    /// Sequences that were handed over to be written to disk.
    pub saved: u32,
    /// Requests that ended.
    pub ended: u32,
    /// Requests that have a sequence after the step.
    pub running: u32,
    /// Requests that wait for one, parked ones included.
    pub waiting: u32,
    /// The engine is closed, or the lane's model was replaced, and everything has ended: no step will do
    /// anything, and the lane is to be dropped.
    pub closed: bool,
}

impl StepReport {
    /// Whether anything moved. When not, the lane has nothing to do until somebody submits, cancels or
    /// reads from a full stream, or the disk has read what a request waits for.
    pub fn progressed(&self) -> bool {
        let moved = self.evicted + self.parked + self.brought_back + self.saved;
        self.admitted + self.prefill_rows + self.decode_rows + self.ended + moved > 0
    }
}

/// What several steps did together.
///
/// ```
/// use latchless_engine::{Engine, EngineConfig, Request, RunReport};
/// # use latchless_engine::backend::scripted::{Script, ScriptedBackend};
/// # let backend = || ScriptedBackend::builder(Script::Text("Because.".into())).build();
/// # let (engine, mut lane) = Engine::new(backend(), EngineConfig::default())?;
/// # let agent = engine.agent("planner")?;
/// let stream = engine.submit(agent, Request::text("Why?"))?;
/// let RunReport { ended, unfinished, .. } = lane.run_until_idle(1_000);
/// assert_eq!((ended, unfinished), (1, 0));
/// # drop(stream);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RunReport {
    /// Steps that were made.
    pub steps: usize,
    /// Requests that ended.
    pub ended: u32,
    /// Requests that are waiting or running after the last step.
    pub unfinished: u32,
}

impl<B: Backend> Lane<B> {
    pub(super) fn new(
        backend: B,
        shared: Arc<Shared>,
        config: &EngineConfig,
        warm: Option<LaneWarm>,
        presence: Presence,
    ) -> Self {
        let limits = shared.limits;
        Self {
            model: Arc::clone(&shared.model),
            running: Vec::with_capacity(limits.sequences as usize),
            batch: Batch::with_capacity(limits.batch_rows as usize),
            queue: Queue::default(),
            // The lowest is used first.
            free: (0..limits.sequences).rev().map(SequenceId).collect(),
            dirty: Vec::new(),
            idle: IdleSequences::default(),
            idle_tokens: config.idle_tokens as usize,
            warm,
            parked: Vec::new(),
            states: Vec::new(),
            most_parked_bytes: config.parked_bytes,
            room_changed: false,
            assembler: Assembler::new(limits.batch_rows),
            pacer: Pacer::new(
                config.token_interval,
                config.prefill_rows.unwrap_or(limits.batch_rows),
            ),
            demands: Vec::new(),
            shares: Vec::new(),
            in_step: false,
            backend,
            shared,
            _presence: presence,
        }
    }

    /// One step: at most one batch, or a few smaller ones when the backend fails it. Returns at once
    /// when there is nothing to do.
    pub fn step(&mut self) -> StepReport {
        if self.in_step {
            return StepReport { ended: self.give_up(), closed: true, ..StepReport::default() };
        }
        self.in_step = true;
        let report = self.step_through();
        self.in_step = false;
        report
    }

    fn step_through(&mut self) -> StepReport {
        let mut report = StepReport::default();
        let gate = &self.shared.control.gate;
        if gate.is_closed() || gate.is_deserted() {
            report.ended = self.close();
            report.closed = true;
            self.note(&report);
            return report;
        }
        self.take_arrivals(&mut report);
        self.take_cancels(&mut report);
        self.take_deadlines(&mut report);
        self.take_loaded();
        self.bring_back(&mut report);
        self.admit(&mut report);
        self.follow_leaders(&mut report);
        self.compute(&mut report);
        self.take_out_parked();
        self.take_out_ended(&mut report);
        self.keep_one(&mut report);
        report.running = self.running.len() as u32;
        report.waiting = (self.queue.len() + self.parked.len()) as u32;
        self.note(&report);
        report
    }

    /// For whoever looks at the engine.
    fn note(&self, report: &StepReport) {
        let totals = &self.shared.control.totals;
        totals.stepped(report, self.idle.len(), self.idle.tokens());
    }

    /// Steps until nothing moves any more, at most `max_steps` times.
    pub fn run_until_idle(&mut self, max_steps: usize) -> RunReport {
        let mut total = RunReport::default();
        while total.steps < max_steps {
            let report = self.step();
            total.steps += 1;
            total.ended += report.ended;
            total.unfinished = report.running + report.waiting;
            if !report.progressed() {
                break;
            }
        }
        total
    }

    /// The backend, to look at.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// A free sequence keeps nothing. If it does, its tokens are nobody's: they are logged and cleared.
    pub(super) fn check_clear(&mut self, sequence: SequenceId) -> Result<(), BackendError> {
        let leftover = self.backend.sequence_len(sequence);
        if leftover == 0 {
            return Ok(());
        }
        tracing::warn!(
            sequence = sequence.0,
            tokens = leftover,
            "a free sequence kept tokens of nobody"
        );
        self.backend.truncate(sequence, 0)
    }

    /// Clears a sequence that has no request any more. One that cannot be cleared is kept away from
    /// requests, and tried again before each admission.
    pub(super) fn retire(&mut self, sequence: SequenceId) -> Result<(), BackendError> {
        let cleared = self.backend.truncate(sequence, 0);
        match &cleared {
            Ok(()) => self.free.push(sequence),
            Err(error) => {
                tracing::warn!(sequence = sequence.0, %error, "a sequence was not cleared");
                self.dirty.push(sequence);
            }
        }
        cleared
    }

    /// Tries again to clear what could not be cleared. Returns the last refusal.
    pub(super) fn clean_sequences(&mut self) -> Option<BackendError> {
        let mut refused = None;
        for _ in 0..self.dirty.len() {
            let sequence = self.dirty.remove(0);
            refused = self.retire(sequence).err().or(refused);
        }
        refused
    }

    /// Assembles one batch and computes it.
    fn compute(&mut self, report: &mut StepReport) {
        self.demands.clear();
        self.demands.extend(self.running.iter().map(Running::demand));
        let mut shares = std::mem::take(&mut self.shares);
        let pacer = &self.pacer;
        let prefill_rows = |decodes| pacer.prefill_rows(decodes);
        self.assembler.assemble(&self.demands, prefill_rows, &mut shares);
        if !shares.is_empty() {
            let lane = self.shared.control.roster.owner();
            let _span = tracing::trace_span!("batch", lane, sequences = shares.len()).entered();
            let start = Instant::now();
            self.decode(&shares, report);
            let took = start.elapsed();
            self.shared.control.totals.computed(took);
            // What took several attempts says nothing of a batch.
            if report.failed_decodes == 0 {
                self.pacer.observe(report.decode_rows, report.prefill_rows, took);
            }
        }
        self.shares = shares;
    }

    /// Clears, frees and publishes what is over, in this order.
    pub(super) fn take_out_ended(&mut self, report: &mut StepReport) {
        let mut index = 0;
        while index < self.running.len() {
            if !self.running[index].is_over() {
                index += 1;
                continue;
            }
            // Order is kept: it is the order of the rows in a batch, and of age.
            let mut over = self.running.remove(index);
            self.leave(&mut over, report);
            over.finish();
            report.ended += 1;
            self.room_changed = true;
        }
    }

    /// What becomes of the sequence of a request that is over: its agent's idle one, or a free one.
    fn leave(&mut self, over: &mut Running<B::Sampler>, report: &mut StepReport) {
        let (sequence, agent) = (over.sequence, over.ticket().agent());
        let Some(tokens) = over.take_kept().filter(|tokens| !tokens.is_empty()) else {
            // A refusal is logged there, and changes nothing for the request: its answer is whole.
            return drop(self.retire(sequence));
        };
        let too_long = tokens.len() > self.idle_tokens;
        let unsaved = over.take_name();
        self.idle.keep(Idle { sequence, agent, tokens, unsaved });
        if too_long {
            let newest = self.idle.len() - 1;
            self.keep(newest, report);
            self.idle.take(newest);
            return drop(self.retire(sequence));
        }
        while self.idle.tokens() > self.idle_tokens && self.evict_idle(report) {}
    }

    /// Ends everything as [`FinishReason::Shutdown`]. The gate is closed.
    fn close(&mut self) -> u32 {
        let mut report = StepReport { ended: self.shared.end_arrivals(), ..StepReport::default() };
        self.queue.take_out_all(|arrival| {
            arrival.end(FinishReason::Shutdown);
            report.ended += 1;
        });
        self.end_parked(|_| Some(FinishReason::Shutdown), &mut report);
        for running in &mut self.running {
            running.end(FinishReason::Shutdown);
        }
        self.take_out_ended(&mut report);
        // What is kept is kept for nobody.
        while self.evict_idle(&mut report) {}
        report.ended
    }

    /// Ends everything as [`RequestError::LaneGone`](super::RequestError::LaneGone), after a panic.
    ///
    /// The backend may be what panicked: it is asked for nothing more. Tickets that are dropped say so, as those
    /// do that were on the stack; here, because the backend goes before the other fields and may take its time.
    fn give_up(&mut self) -> u32 {
        // Published by the close below.
        self.shared.broken.store(true, Ordering::Relaxed);
        self.shared.control.gate.close();
        let ended = self.running.len() + self.parked.len() + self.queue.len();
        self.running.clear();
        self.parked.clear();
        self.queue.clear();
        ended as u32 + self.shared.end_arrivals()
    }
}

impl<B: Backend> Drop for Lane<B> {
    fn drop(&mut self) {
        if self.in_step || std::thread::panicking() {
            self.give_up();
        } else {
            self.shared.control.gate.close();
            self.close();
        }
    }
}

impl<B: Backend> std::fmt::Debug for Lane<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane")
            .field("running", &self.running.len())
            .field("waiting", &self.queue.len())
            .field("parked", &self.parked.len())
            .field("idle", &self.idle.len())
            .field("limits", &self.shared.limits)
            .finish_non_exhaustive()
    }
}
