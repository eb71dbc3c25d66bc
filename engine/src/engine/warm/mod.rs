//! What agents said and heard, on disk: a turn begins with it although the context has forgotten it, or
//! another process computed it.
//!
//! ```text
//!  lane                                   other threads
//!  idle sequence ── copied out ──► inbox ──► writer ──► file     keep.rs
//!  waiting request ── asked ────► inbox ──► reader ──► bytes ──► inbox, bell ──► lane: copied in   fetch.rs
//! ```
//!
//! A state that is handed over and not written yet is found where it lies, in memory.
//!
//! The lane waits for neither thread. What is on disk it learns from a value that the writer replaces whole;
//! what it hands over and gets back goes through stacks that are taken whole. A reader that is frozen costs
//! the requests that asked it their patience, and nobody else anything; then they are computed.

mod config;
mod fetch;
mod keep;
mod names;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use latchless::{Inbox, RequestId};

pub use self::config::CacheConfig;
use self::fetch::Loaded;
pub(crate) use self::fetch::{Look, Stored};
use self::names::Names;
use super::control::Control;
use super::error::EngineError;
use super::idle::common_prefix;
use crate::backend::Token;
use crate::cache::{
    CacheHandle, CacheReader, CacheWriter, ModelTag, ReaderHandle, SavedSequence, Unwritten,
    WarmCache, WriterReport,
};

/// States that may wait for the writer, and loads that may wait for the reader.
const JOBS: usize = 1024;

/// An engine's folder and the threads that use it; ends with the last lane and the engine. What was handed
/// over by then is written.
#[derive(Debug)]
pub(crate) struct Warm {
    pub(crate) cache: WarmCache,
    pub(crate) names: Names,
    writer: CacheWriter,
    reader: CacheReader,
    patience: Duration,
}

impl Warm {
    /// Opens the folder, for agents with slots below `agents`.
    ///
    /// # Errors
    /// [`EngineError::Cache`], [`EngineError::Thread`], [`EngineError::Zero`].
    pub(crate) fn open(
        config: &CacheConfig,
        tag: ModelTag,
        agents: u32,
    ) -> Result<Self, EngineError> {
        config.validate()?;
        let cache = WarmCache::open(&config.folder, tag, config.budget)?;
        let report = cache.report();
        tracing::info!(
            folder = %cache.folder().display(),
            usable = report.usable, foreign = report.foreign, damaged = report.damaged.len(),
            "the cache's folder was opened"
        );
        let bytes = config.waiting_bytes;
        let writer = CacheWriter::start(cache.clone(), JOBS, bytes).map_err(EngineError::Thread)?;
        let reader = CacheReader::start(JOBS).map_err(EngineError::Thread)?;
        Ok(Self { cache, names: Names::new(agents), writer, reader, patience: config.patience })
    }

    /// Waits until what was handed over is written.
    pub(crate) fn flush(&self) -> WriterReport {
        self.writer.flush()
    }

    /// What was written so far.
    pub(crate) fn report(&self) -> WriterReport {
        self.writer.report()
    }
}

/// A generation's part: what its lanes' contexts take.
#[derive(Debug)]
pub(crate) struct OnDisk {
    warm: Arc<Warm>,
    /// By the lanes' indices.
    caches: Vec<WarmCache>,
}

impl OnDisk {
    /// For lanes whose states have these tags.
    pub(crate) fn new(warm: Arc<Warm>, tags: &[ModelTag]) -> Self {
        let caches = tags.iter().map(|tag| warm.cache.for_model(tag)).collect();
        Self { warm, caches }
    }

    pub(crate) fn warm(&self) -> &Arc<Warm> {
        &self.warm
    }

    /// What the first lane's context takes.
    pub(crate) fn cache(&self) -> &WarmCache {
        self.caches.first().unwrap_or(&self.warm.cache)
    }

    /// For the lane at `index`.
    pub(crate) fn lane(&self, index: usize, control: &Arc<Control>) -> Option<LaneWarm> {
        let cache = self.caches.get(index)?.clone();
        Some(LaneWarm::new(Arc::clone(&self.warm), cache, Arc::clone(control)))
    }

    /// Another generation has taken the place of this one: what this one saves from now on would be of
    /// no use, unless it is of the same model.
    pub(crate) fn replaced_by(&self, new: &Self) {
        for old in &self.caches {
            if new.caches.iter().all(|new| new.tag() != old.tag()) {
                old.supersede();
            }
        }
    }
}

/// A lane's part.
#[derive(Debug)]
pub(crate) struct LaneWarm {
    /// What this lane's context takes.
    pub(crate) cache: WarmCache,
    writer: CacheHandle,
    /// What this lane handed over, as long as the writer has it in memory.
    unwritten: Vec<Unwritten>,
    reader: ReaderHandle,
    patience: Duration,
    /// What was asked for, and until when it is waited for.
    asked: Vec<(RequestId, Instant)>,
    loaded: Arc<Inbox<Loaded>>,
    control: Arc<Control>,
    /// Steps since a state was copied out.
    steps: u32,
    /// Dropped last: with the last one the threads end.
    _warm: Arc<Warm>,
}

impl LaneWarm {
    /// For a lane whose states are `cache`'s.
    fn new(warm: Arc<Warm>, cache: WarmCache, control: Arc<Control>) -> Self {
        // What the writer has no room for now is handed over when it has, also when nobody asks for anything.
        let lane = Arc::clone(&control);
        let writer = warm.writer.handle().to(cache.clone()).noticed(move || lane.bell.ring());
        Self {
            writer,
            cache,
            unwritten: Vec::new(),
            reader: warm.reader.handle(),
            patience: warm.patience,
            asked: Vec::new(),
            loaded: Arc::new(Inbox::with_capacity(JOBS)),
            control,
            steps: 0,
            _warm: warm,
        }
    }

    /// Notes what was handed over, and forgets what is written.
    fn note_unwritten(&mut self, unwritten: Unwritten) {
        self.unwritten.retain(Unwritten::is_there);
        self.unwritten.push(unwritten);
    }

    /// What begins most like `prompt` of what is not written yet, with the number of tokens that they have in
    /// common; of equals what was handed over last.
    fn longest_unwritten(&self, prompt: &[Token]) -> Option<(u32, Arc<SavedSequence>)> {
        let there = self.unwritten.iter().filter_map(Unwritten::get);
        let common = there.map(|saved| (common_prefix(&saved.tokens, prompt), saved));
        common.max_by_key(|found| found.0)
    }

    /// When somebody has waited long enough for the disk.
    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.asked.iter().map(|(_, until)| *until).min()
    }
}
