//! What a lane did since it was made: counted where it is done, read by whoever looks.
//!
//! A step counts once, at its end, what it did. Only the thread that steps writes these words, so they are loads
//! and stores, and a step that did nothing of a kind does not touch that kind's word. A request counts once,
//! when it ends: by one add on a word that others may add to, because a lane that is closed leaves it to the
//! submitting threads to end what they brought.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use latchless::LatencyHistogram;

use super::completion::{Completion, FinishReason};
use super::lane::StepReport;

/// What is counted at the end of a step.
#[derive(Debug, Clone, Copy)]
enum Step {
    Steps,
    Admitted,
    ReusedRows,
    ResumedRows,
    PrefillRows,
    DecodeRows,
    FailedDecodes,
    Evicted,
    Parked,
    Dropped,
    BroughtBack,
    Saved,
}

const STEPS: usize = Step::Saved as usize + 1;

/// What is counted when a request ends.
#[derive(Debug, Clone, Copy)]
enum Ended {
    EndOfGeneration,
    Length,
    Stop,
    Cancelled,
    Deadline,
    Shutdown,
    Failed,
    PromptTokens,
    CachedTokens,
    RecomputedTokens,
    GeneratedTokens,
}

const ENDS: usize = Ended::GeneratedTokens as usize + 1;

/// What the lane has now.
#[derive(Debug, Clone, Copy)]
enum Level {
    Running,
    Waiting,
    IdleSequences,
    IdleTokens,
}

const LEVELS: usize = Level::IdleTokens as usize + 1;

/// See the module. On lines of its own: it lies beside the words that submitters compare and swap, and is written
/// in every step.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Totals {
    steps: [AtomicU64; STEPS],
    levels: [AtomicU64; LEVELS],
    ends: [AtomicU64; ENDS],
    batch: LatencyHistogram,
    queued: LatencyHistogram,
    first_token: LatencyHistogram,
    total: LatencyHistogram,
}

impl Default for Totals {
    fn default() -> Self {
        let zero = |_| AtomicU64::new(0);
        Self {
            steps: std::array::from_fn(zero),
            levels: std::array::from_fn(zero),
            ends: std::array::from_fn(zero),
            batch: LatencyHistogram::new(),
            queued: LatencyHistogram::new(),
            first_token: LatencyHistogram::new(),
            total: LatencyHistogram::new(),
        }
    }
}

impl Totals {
    /// A step did this, and leaves idle sequences with so many tokens. For the thread that steps.
    pub(crate) fn stepped(&self, report: &StepReport, idle: usize, idle_tokens: usize) {
        let did = [
            (Step::Admitted, report.admitted),
            (Step::ReusedRows, report.reused_rows),
            (Step::ResumedRows, report.resumed_rows),
            (Step::PrefillRows, report.prefill_rows),
            (Step::DecodeRows, report.decode_rows),
            (Step::FailedDecodes, report.failed_decodes),
            (Step::Evicted, report.evicted),
            (Step::Parked, report.parked),
            (Step::Dropped, report.dropped),
            (Step::BroughtBack, report.brought_back),
            (Step::Saved, report.saved),
        ];
        let add = |step: Step, times: u32| {
            let word = &self.steps[step as usize];
            // Relaxed, as everywhere here: numbers to look at, by which nothing is decided. A load and a
            // store, because nobody else writes.
            word.store(word.load(Ordering::Relaxed) + u64::from(times), Ordering::Relaxed);
        };
        add(Step::Steps, 1);
        for (step, times) in did {
            if times > 0 {
                add(step, times);
            }
        }
        let level = |level: Level, value: u64| {
            self.levels[level as usize].store(value, Ordering::Relaxed);
        };
        level(Level::Running, report.running.into());
        level(Level::Waiting, report.waiting.into());
        level(Level::IdleSequences, idle as u64);
        level(Level::IdleTokens, idle_tokens as u64);
    }

    /// A batch took so long to compute.
    pub(crate) fn computed(&self, time: Duration) {
        self.batch.record(time);
    }

    /// A request ended like this.
    pub(crate) fn ended(&self, completion: &Completion) {
        let reason = match completion.reason {
            FinishReason::EndOfGeneration => Ended::EndOfGeneration,
            FinishReason::Length => Ended::Length,
            FinishReason::Stop { .. } => Ended::Stop,
            FinishReason::Cancelled => Ended::Cancelled,
            FinishReason::Deadline => Ended::Deadline,
            FinishReason::Shutdown => Ended::Shutdown,
            FinishReason::Failed(_) => Ended::Failed,
        };
        let add = |end: Ended, times: u32| {
            if times > 0 {
                self.ends[end as usize].fetch_add(times.into(), Ordering::Relaxed);
            }
        };
        let (usage, timings) = (&completion.usage, &completion.timings);
        add(reason, 1);
        add(Ended::PromptTokens, usage.prompt_tokens);
        add(Ended::CachedTokens, usage.cached_tokens);
        add(Ended::RecomputedTokens, usage.recomputed_tokens);
        add(Ended::GeneratedTokens, usage.generated_tokens);
        self.total.record(timings.total);
        timings.queued.into_iter().for_each(|time| self.queued.record(time));
        timings.first_token.into_iter().for_each(|time| self.first_token.record(time));
    }

    /// All of it, for the lane with this number.
    pub(crate) fn snapshot(&self, lane: u32, generation: u64) -> LaneSnapshot {
        let step = |step: Step| self.steps[step as usize].load(Ordering::Relaxed);
        let end = |end: Ended| self.ends[end as usize].load(Ordering::Relaxed);
        let level = |level: Level| self.levels[level as usize].load(Ordering::Relaxed);
        LaneSnapshot {
            lane,
            generation,
            running: level(Level::Running) as u32,
            waiting: level(Level::Waiting) as u32,
            idle_sequences: level(Level::IdleSequences) as u32,
            idle_tokens: level(Level::IdleTokens),
            steps: step(Step::Steps),
            admitted: step(Step::Admitted),
            reused_rows: step(Step::ReusedRows),
            resumed_rows: step(Step::ResumedRows),
            prefill_rows: step(Step::PrefillRows),
            decode_rows: step(Step::DecodeRows),
            failed_decodes: step(Step::FailedDecodes),
            evicted: step(Step::Evicted),
            parked: step(Step::Parked),
            dropped: step(Step::Dropped),
            brought_back: step(Step::BroughtBack),
            saved: step(Step::Saved),
            ended: EndedRequests {
                end_of_generation: end(Ended::EndOfGeneration),
                length: end(Ended::Length),
                stop: end(Ended::Stop),
                cancelled: end(Ended::Cancelled),
                deadline: end(Ended::Deadline),
                shutdown: end(Ended::Shutdown),
                failed: end(Ended::Failed),
            },
            prompt_tokens: end(Ended::PromptTokens),
            cached_tokens: end(Ended::CachedTokens),
            recomputed_tokens: end(Ended::RecomputedTokens),
            generated_tokens: end(Ended::GeneratedTokens),
            batch: self.batch.snapshot(),
            queued: self.queued.snapshot(),
            first_token: self.first_token.snapshot(),
            total: self.total.snapshot(),
        }
    }
}

/// One lane at a glance: what it has, and what it did since it was made. Part of an
/// [`EngineSnapshot`](super::EngineSnapshot).
///
/// ```
/// use latchless_engine::{Engine, EngineConfig, LaneSnapshot, Request};
/// # use latchless_engine::backend::scripted::{Script, ScriptedBackend};
/// # let backend = || ScriptedBackend::builder(Script::Text("Because.".into())).build();
/// # let engine = Engine::start(backend(), EngineConfig::default())?;
/// # let agent = engine.agent("planner")?;
/// engine.submit(agent, Request::text("Why?"))?.wait();
/// let snapshot = engine.snapshot();
/// let lane: &LaneSnapshot = &snapshot.lanes[0];
/// assert!(lane.batch.count() > 0 && lane.first_token.p50() <= lane.total.max());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaneSnapshot {
    /// Its number among all lanes that the engine ever had.
    pub lane: u32,
    /// The model that it computes with.
    pub generation: u64,
    /// Requests that have a sequence, after the last step.
    pub running: u32,
    /// Requests that wait for one, parked ones included, after the last step.
    pub waiting: u32,
    /// Sequences that are kept for nobody's request, after the last step.
    pub idle_sequences: u32,
    /// Tokens in them.
    pub idle_tokens: u64,
    /// Steps.
    pub steps: u64,
    /// Requests that got a sequence.
    pub admitted: u64,
    /// Rows of prompts that were not computed, because a sequence kept them, or the disk.
    pub reused_rows: u64,
    /// Of these, rows that came from disk.
    pub resumed_rows: u64,
    /// Rows of prompts that were computed.
    pub prefill_rows: u64,
    /// Rows of drawn tokens that were computed.
    pub decode_rows: u64,
    /// Decodes that the backend failed.
    pub failed_decodes: u64,
    /// Idle sequences that were cleared for the room that they took.
    pub evicted: u64,
    /// Times that a request gave way.
    pub parked: u64,
    /// Of these, those in which its state was dropped.
    pub dropped: u64,
    /// Requests that came back.
    pub brought_back: u64,
    /// Sequences that were handed over to be written to disk.
    pub saved: u64,
    /// Requests that ended, by reason.
    pub ended: EndedRequests,
    /// Tokens of the prompts of those.
    pub prompt_tokens: u64,
    /// Of these, tokens that were not computed for them.
    pub cached_tokens: u64,
    /// Tokens that were computed once more.
    pub recomputed_tokens: u64,
    /// Tokens that were generated for them.
    pub generated_tokens: u64,
    /// How long a batch took, from its first row to its last token drawn.
    pub batch: latchless::Latencies,
    /// How long a request waited for a sequence.
    pub queued: latchless::Latencies,
    /// From submit to the first token.
    pub first_token: latchless::Latencies,
    /// From submit to the end.
    pub total: latchless::Latencies,
}

/// Requests that ended, by [reason](FinishReason).
///
/// ```
/// use latchless_engine::{EndedRequests, Engine, EngineConfig, Request};
/// # use latchless_engine::backend::scripted::{Script, ScriptedBackend};
/// # let backend = || ScriptedBackend::builder(Script::Text("Because.".into())).build();
/// # let engine = Engine::start(backend(), EngineConfig::default())?;
/// # let agent = engine.agent("planner")?;
/// engine.submit(agent, Request::text("Why?").max_tokens(3))?.wait();
/// let EndedRequests { length, failed, .. } = engine.snapshot().lanes[0].ended;
/// assert_eq!((length, failed), (1, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct EndedRequests {
    /// The model ended its answer.
    pub end_of_generation: u64,
    /// As many tokens as were asked for, or as the sequence holds.
    pub length: u64,
    /// A stop string.
    pub stop: u64,
    /// Cancelled, or the stream was dropped.
    pub cancelled: u64,
    /// The deadline passed.
    pub deadline: u64,
    /// The engine was shut down.
    pub shutdown: u64,
    /// Something failed.
    pub failed: u64,
}

impl EndedRequests {
    /// All of them.
    pub fn all(&self) -> u64 {
        let Self { end_of_generation, length, stop, cancelled, deadline, shutdown, failed } = *self;
        end_of_generation + length + stop + cancelled + deadline + shutdown + failed
    }
}
