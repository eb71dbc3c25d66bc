//! What a host may choose about the files.

use std::path::PathBuf;
use std::time::Duration;

use super::super::error::EngineError;

/// Where agents' sequences are kept when the context has no room for them, and when the process ends.
///
/// One process has a folder at a time. Keys and values are large: SmolLM2-135M takes 23 kB a token, an
/// 8-billion model 128 kB.
///
/// ```
/// use latchless_engine::backend::scripted::{Script, ScriptedBackend};
/// use latchless_engine::{CacheConfig, Engine, EngineConfig, Request};
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let cache = CacheConfig::new(folder, 10 << 30);
/// let config = EngineConfig::default().cache(cache);
/// let start = || Engine::start(ScriptedBackend::builder(Script::Echo).build(), config.clone());
/// let asked = Request::text("a question that takes a while to read");
///
/// let engine = start()?;
/// engine.submit(engine.agent("planner")?, asked.clone())?.wait();
/// drop(engine);
///
/// // Another process, later: nothing of the prompt is computed but its last token.
/// let engine = start()?;
/// let usage = engine.submit(engine.agent("planner")?, asked)?.wait().completion.usage;
/// assert_eq!(usage.resumed_tokens, usage.prompt_tokens - 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheConfig {
    pub(super) folder: PathBuf,
    pub(super) budget: u64,
    pub(super) waiting_bytes: u64,
    pub(super) patience: Duration,
}

impl CacheConfig {
    /// Files in `folder`, which is made if need be, of at most `budget` bytes together.
    pub fn new(folder: impl Into<PathBuf>, budget: u64) -> Self {
        let waiting_bytes = 512 << 20;
        Self { folder: folder.into(), budget, waiting_bytes, patience: Duration::from_secs(10) }
    }

    /// Bytes of states that may wait in memory for the disk; 512 MiB by default. Beyond them a sequence
    /// stays unsaved until there is room, or is forgotten.
    #[must_use]
    pub fn waiting_bytes(mut self, bytes: u64) -> Self {
        self.waiting_bytes = bytes;
        self
    }

    /// How long a request waits for its state to be read before it is computed instead; 10 s by default.
    #[must_use]
    pub fn patience(mut self, time: Duration) -> Self {
        self.patience = time;
        self
    }

    pub(super) fn validate(&self) -> Result<(), EngineError> {
        let settings = [("cache budget", self.budget), ("cache waiting_bytes", self.waiting_bytes)];
        match settings.into_iter().find(|(_, value)| *value == 0) {
            Some((setting, _)) => Err(EngineError::Zero { setting }),
            None => Ok(()),
        }
    }
}
