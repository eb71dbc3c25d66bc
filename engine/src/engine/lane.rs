//! The lane: one context, stepped by one thread.
//!
//! A step looks at control first (cancels, shutdown), admits, assembles one batch, computes it, draws a
//! token from every row that asked for one, and takes out what is over. Nothing in it waits for another
//! thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::assemble::{Assembler, Demand, Share};
use super::completion::FinishReason;
use super::error::RequestError;
use super::queue::Queue;
use super::running::Running;
use super::shared::Shared;
use crate::backend::{Backend, BackendError, Batch, Model, SequenceId};

/// Drives a backend for one engine. Whoever owns it calls [`step`](Self::step), or hands it to a thread
/// with [`spawn`](Self::spawn).
///
/// Dropping a lane closes its engine and ends all its requests. A lane whose step panicked is good for
/// nothing else.
#[must_use = "dropping the lane closes its engine"]
pub struct Lane<B: Backend> {
    pub(super) backend: B,
    pub(super) shared: Arc<Shared>,
    pub(super) model: Arc<dyn Model>,
    pub(super) running: Vec<Running<B::Sampler>>,
    pub(super) batch: Batch,
    queue: Queue,
    free: Vec<SequenceId>,
    /// Sequences that the backend refused to clear, tried again before each admission.
    dirty: Vec<SequenceId>,
    assembler: Assembler,
    demands: Vec<Demand>,
    shares: Vec<Share>,
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StepReport {
    /// Requests that got a sequence.
    pub admitted: u32,
    /// Rows of prompts that were computed.
    pub prefill_rows: u32,
    /// Rows of drawn tokens that were computed.
    pub decode_rows: u32,
    /// Decodes that the backend failed.
    pub failed_decodes: u32,
    /// Requests that ended.
    pub ended: u32,
    /// Requests that have a sequence after the step.
    pub running: u32,
    /// Requests that wait for one.
    pub waiting: u32,
    /// The engine is closed and everything has ended: no step will do anything.
    pub closed: bool,
}

impl StepReport {
    /// Whether anything moved. When not, the lane has nothing to do until somebody submits, cancels or
    /// reads from a full stream.
    pub fn progressed(&self) -> bool {
        self.admitted + self.prefill_rows + self.decode_rows + self.ended > 0
    }
}

/// What several steps did together.
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
    pub(super) fn new(backend: B, shared: Arc<Shared>, prefill_rows: u32) -> Self {
        let limits = shared.limits;
        Self {
            model: Arc::clone(&shared.model),
            running: Vec::with_capacity(limits.sequences as usize),
            batch: Batch::with_capacity(limits.batch_rows as usize),
            queue: Queue::default(),
            // The lowest is used first.
            free: (0..limits.sequences).rev().map(SequenceId).collect(),
            dirty: Vec::new(),
            assembler: Assembler::new(limits.batch_rows, prefill_rows),
            demands: Vec::new(),
            shares: Vec::new(),
            backend,
            shared,
        }
    }

    /// One step: at most one batch, or a few smaller ones when the backend fails it. Returns at once
    /// when there is nothing to do.
    pub fn step(&mut self) -> StepReport {
        let mut report = StepReport::default();
        if self.shared.control.gate.is_closed() {
            report.ended = self.close();
            report.closed = true;
            return report;
        }
        self.take_arrivals(&mut report);
        self.take_cancels(&mut report);
        self.take_deadlines(&mut report);
        self.admit(&mut report);
        self.compute(&mut report);
        self.take_out_ended(&mut report);
        report.running = self.running.len() as u32;
        report.waiting = self.queue.len() as u32;
        report
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

    fn take_arrivals(&mut self, report: &mut StepReport) {
        for arrival in self.shared.inbox.take_all() {
            // Cancelled before it was in the inbox: that news may have been taken already.
            if arrival.ticket.is_cancelled() {
                arrival.end(FinishReason::Cancelled);
                report.ended += 1;
            } else {
                self.queue.push(arrival);
            }
        }
    }

    fn take_cancels(&mut self, report: &mut StepReport) {
        if !self.shared.control.roster.take_news() {
            return;
        }
        let ended = &mut report.ended;
        self.queue.take_out(
            |arrival| arrival.ticket.is_cancelled(),
            |arrival| {
                arrival.end(FinishReason::Cancelled);
                *ended += 1;
            },
        );
        for running in &mut self.running {
            if running.ticket().is_cancelled() {
                running.end(FinishReason::Cancelled);
            }
        }
        // Their sequences may be what the first in the queue waits for.
        self.take_out_ended(report);
    }

    /// Ends what is too late.
    fn take_deadlines(&mut self, report: &mut StepReport) {
        let Some(next) = self.next_deadline() else { return };
        let now = Instant::now();
        if now < next {
            return;
        }
        let late = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        let ended = &mut report.ended;
        self.queue.take_out(
            |arrival| late(arrival.deadline),
            |arrival| {
                arrival.end(FinishReason::Deadline);
                *ended += 1;
            },
        );
        for running in self.running.iter_mut().filter(|running| late(running.deadline)) {
            running.end(FinishReason::Deadline);
        }
        self.take_out_ended(report);
    }

    /// The first deadline of any request.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let running = self.running.iter().filter_map(|running| running.deadline).min();
        running.into_iter().chain(self.queue.next_deadline()).min()
    }

    /// Gives free sequences to the first in the queue.
    fn admit(&mut self, report: &mut StepReport) {
        if self.queue.is_empty() {
            return;
        }
        let mut refused = self.clean_sequences();
        let now = Instant::now();
        while !self.queue.is_empty() {
            let Some(sequence) = self.free.pop() else { break };
            if let Err(error) = self.check_clear(sequence) {
                self.dirty.push(sequence);
                refused = Some(error);
                continue;
            }
            let Some(arrival) = self.queue.take() else { break };
            match self.backend.sampler(&arrival.sampling) {
                Ok(sampler) => {
                    tracing::debug!(request = %arrival.ticket.id(), sequence = sequence.0, "admitted");
                    self.running.push(Running::new(arrival, sequence, sampler, now));
                    report.admitted += 1;
                }
                Err(error) => {
                    self.free.push(sequence);
                    let reason = FinishReason::Failed(RequestError::Sampler(error));
                    arrival.end(reason);
                    report.ended += 1;
                }
            }
        }
        // Nobody runs who could free a sequence, and none can be cleared: waiting would be for ever.
        if let (true, Some(error)) = (self.running.is_empty(), refused)
            && let Some(arrival) = self.queue.take()
        {
            let reason = FinishReason::Failed(RequestError::NoSequence(error));
            arrival.end(reason);
            report.ended += 1;
        }
    }

    /// A free sequence keeps nothing. If it does, its tokens are nobody's: they are logged and cleared.
    fn check_clear(&mut self, sequence: SequenceId) -> Result<(), BackendError> {
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
    fn retire(&mut self, sequence: SequenceId) -> Result<(), BackendError> {
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
    fn clean_sequences(&mut self) -> Option<BackendError> {
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
        self.assembler.assemble(&self.demands, &mut shares);
        if !shares.is_empty() {
            self.decode(&shares, report);
        }
        self.shares = shares;
    }

    /// Clears, frees and publishes what is over, in this order.
    fn take_out_ended(&mut self, report: &mut StepReport) {
        let mut index = 0;
        while index < self.running.len() {
            if !self.running[index].is_over() {
                index += 1;
                continue;
            }
            // Order is kept: it is the order of the rows in a batch, and of age.
            let over = self.running.remove(index);
            // A refusal is logged there, and changes nothing for the request: its answer is whole.
            let _ = self.retire(over.sequence);
            over.finish();
            report.ended += 1;
        }
    }

    /// Ends everything as [`FinishReason::Shutdown`]. The gate is closed.
    fn close(&mut self) -> u32 {
        let mut report = StepReport { ended: self.shared.end_arrivals(), ..StepReport::default() };
        self.queue.take_out_all(|arrival| {
            arrival.end(FinishReason::Shutdown);
            report.ended += 1;
        });
        for running in &mut self.running {
            running.end(FinishReason::Shutdown);
        }
        self.take_out_ended(&mut report);
        report.ended
    }
}

impl<B: Backend> Drop for Lane<B> {
    fn drop(&mut self) {
        let panicking = std::thread::panicking();
        if panicking {
            // Published by the close below.
            self.shared.broken.store(true, Ordering::Relaxed);
        }
        self.shared.control.gate.close();
        if panicking {
            // The backend may be what panicked: it is asked for nothing more. Tickets that are dropped
            // end as `LaneGone`, as those do that were on the stack; here, because the backend goes
            // before the other fields and may take its time.
            self.running.clear();
            self.queue.clear();
            self.shared.end_arrivals();
        } else {
            self.close();
        }
    }
}

impl<B: Backend> std::fmt::Debug for Lane<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane")
            .field("running", &self.running.len())
            .field("waiting", &self.queue.len())
            .field("limits", &self.shared.limits)
            .finish_non_exhaustive()
    }
}
