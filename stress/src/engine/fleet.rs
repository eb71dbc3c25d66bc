//! What answers: backends of a script, which are cheap, fail on demand and are known to the letter, or a real
//! model, which is neither, and of which every invariant but the answers' letters is watched.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;
use latchless_engine::EngineConfig;
use latchless_engine::backend::Backend;

use super::backends;
use super::talk::Talk;
use crate::fault::Rates;

/// Where the part's backends come from.
pub(super) trait Fleet: Send + Sync + 'static {
    type Backend: Backend;

    /// Backends of the next generation.
    fn make(&self, rng: &mut Rng) -> Result<Made<Self::Backend>, Refused>;

    /// Tries to load what cannot be loaded.
    fn fail_to_load(&self) -> Result<Vec<Self::Backend>, Refused>;

    /// What is asked, and what must be answered where that is known.
    fn talk(&self) -> anyhow::Result<Talk>;

    /// Sizes of the engine that suit these backends.
    fn sizes(&self, config: EngineConfig) -> EngineConfig;

    /// Bytes of the cache's folder: so few that files go.
    fn cache_bytes(&self) -> u64;

    /// Of so many decisions of the script's hosts, those of this one's make one.
    fn slowness(&self) -> u64;

    /// How long a request with a deadline has at most.
    fn longest_deadline(&self) -> Duration;
}

/// A generation's backends, and whether they keep their word.
pub(super) struct Made<B> {
    pub(super) backends: Vec<B>,
    pub(super) is_sound: bool,
}

/// Why there are no backends.
#[derive(Debug)]
pub(super) struct Refused(pub(super) String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// Backends of a script.
pub(super) struct Scripted {
    /// If they fail, how often.
    pub(super) faults: Option<Rates>,
}

impl Fleet for Scripted {
    type Backend = latchless_engine::backend::scripted::ScriptedBackend;

    fn make(&self, rng: &mut Rng) -> Result<Made<Self::Backend>, Refused> {
        Ok(backends::make(rng, self.faults.as_ref()))
    }

    fn fail_to_load(&self) -> Result<Vec<Self::Backend>, Refused> {
        Err(Refused("no such model".to_owned()))
    }

    fn talk(&self) -> anyhow::Result<Talk> {
        Talk::new()
    }

    fn sizes(&self, config: EngineConfig) -> EngineConfig {
        // Fewer blocks than the hosts want.
        config.blocks(200).idle_tokens(200).parked_bytes(1 << 20)
    }

    fn cache_bytes(&self) -> u64 {
        64 << 10
    }

    fn slowness(&self) -> u64 {
        1
    }

    fn longest_deadline(&self) -> Duration {
        Duration::from_millis(2)
    }
}
