//! What a host may choose about an engine.

use std::time::Duration;

use latchless::ModelSpec;

use super::error::EngineError;
use super::warm::CacheConfig;
use crate::backend::Limits;

/// The most requests that an engine can be made for: each takes 16 bytes a lane, waiting or not.
const MOST_REQUESTS: u32 = 1 << 20;

/// The sizes of an engine. The defaults fit a server with tens of agents.
///
/// ```
/// use latchless_engine::EngineConfig;
/// let config = EngineConfig::default().max_requests(64).prefill_rows(128);
/// # let _ = config;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineConfig {
    pub(crate) blocks: Option<u32>,
    pub(crate) max_agents: u32,
    pub(crate) max_requests: u32,
    pub(crate) stream_events: u32,
    pub(crate) prefill_rows: Option<u32>,
    pub(crate) idle_tokens: u32,
    pub(crate) token_interval: Option<Duration>,
    pub(crate) parked_bytes: u64,
    pub(crate) cache: Option<CacheConfig>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            blocks: None,
            max_agents: 1024,
            max_requests: 1024,
            stream_events: 256,
            prefill_rows: None,
            idle_tokens: u32::MAX,
            token_interval: None,
            parked_bytes: 1 << 30,
            cache: None,
        }
    }
}

impl EngineConfig {
    /// Blocks of the pool. By default as many as the context's cells hold. With more, requests are
    /// accepted that the context may have no room for: they wait in the lane, or fail there.
    #[must_use]
    pub fn blocks(mut self, blocks: u32) -> Self {
        self.blocks = Some(blocks);
        self
    }

    /// Agents that can be registered at once; 1024 by default.
    #[must_use]
    pub fn max_agents(mut self, agents: u32) -> Self {
        self.max_agents = agents;
        self
    }

    /// Requests that can be waiting and running together, up to 1,048,576; 1024 by default. A submit beyond them is
    /// refused, never delayed.
    #[must_use]
    pub fn max_requests(mut self, requests: u32) -> Self {
        self.max_requests = requests;
        self
    }

    /// Tokens that a stream keeps for a reader that is behind; 256 by default. When they are used up the
    /// request pauses until its reader takes one; the others go on.
    #[must_use]
    pub fn stream_events(mut self, events: u32) -> Self {
        self.stream_events = events;
        self
    }

    /// Rows of one batch that prompts may take at most; all that the decodes leave by default.
    #[must_use]
    pub fn prefill_rows(mut self, rows: u32) -> Self {
        self.prefill_rows = Some(rows);
        self
    }

    /// The time between two tokens of running requests that is to hold while prompts are computed: each
    /// batch takes as much of the prompts as fits into it, by what batches took so far. It is also how
    /// long a cancel waits for the batch that is being computed. While nobody generates, batches are
    /// longer. By default there is none, and batches are full.
    ///
    /// A target below what the decodes take alone cannot hold; prompts then get a row a batch.
    #[must_use]
    pub fn token_interval(mut self, target: Duration) -> Self {
        self.token_interval = Some(target);
        self
    }

    /// Tokens that sequences without a request keep together, for the next turn of their agents and for
    /// prompts that begin alike; as many as there are cells by default. They go when the room is needed.
    /// With 0 a sequence is cleared when its request ends. Where sequences share their cells, rows pass
    /// over the cells of others, too: what is kept and never used again costs everybody a little.
    #[must_use]
    pub fn idle_tokens(mut self, tokens: u32) -> Self {
        self.idle_tokens = tokens;
        self
    }

    /// Host memory, in bytes and for each lane, for the states of requests that gave way to others when the
    /// context had no cell left; 1 GiB by default. A request that gives way when it is used up is dropped
    /// from the context, and what it had is computed again in its turn: it takes longer, and says the same.
    #[must_use]
    pub fn parked_bytes(mut self, bytes: u64) -> Self {
        self.parked_bytes = bytes;
        self
    }

    /// Keeps agents' sequences on disk, too: those that the context has no room for, and all when the lane
    /// ends. A later turn of the agent, also in another process, begins with them. By default what the
    /// context forgets is computed again.
    #[must_use]
    pub fn cache(mut self, cache: CacheConfig) -> Self {
        self.cache = Some(cache);
        self
    }

    pub(crate) fn validate(&self, limits: Limits) -> Result<(), EngineError> {
        let settings = [
            ("blocks", self.blocks.unwrap_or(1)),
            ("max_agents", self.max_agents),
            ("max_requests", self.max_requests),
            ("stream_events", self.stream_events),
            ("prefill_rows", self.prefill_rows.unwrap_or(1)),
            ("token_interval", u32::from(self.token_interval != Some(Duration::ZERO))),
        ];
        if let Some((setting, _)) = settings.into_iter().find(|(_, value)| *value == 0) {
            return Err(EngineError::Zero { setting });
        }
        if self.max_requests > MOST_REQUESTS {
            return Err(EngineError::TooMany {
                setting: "max_requests",
                value: self.max_requests,
                most: MOST_REQUESTS,
            });
        }
        // A prompt of one token and one generated token.
        if limits.sequences == 0 || limits.batch_rows == 0 || limits.tokens_per_sequence < 2 {
            return Err(EngineError::Context { limits });
        }
        Ok(())
    }
}

/// Blocks that the cells of a context hold, however they are divided among its sequences.
///
/// Rounded down to whole blocks: a sequence's blocks never stand for cells that are not there.
pub(crate) fn blocks_of(spec: &ModelSpec, limits: Limits) -> u32 {
    let whole = |tokens: u32| spec.blocks_for(tokens - tokens % spec.block_tokens());
    // With sliding windows, many short sequences take more than one long one.
    let one_long = whole(limits.cells);
    let many_short =
        whole(limits.cells / limits.sequences.max(1)).saturating_mul(limits.sequences.into());
    let blocks = one_long.max(many_short).max(spec.blocks_for(1));
    u32::try_from(blocks).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use latchless::Attention;

    use super::*;

    const LIMITS: Limits =
        Limits { cells: 1_000, tokens_per_sequence: 1_000, sequences: 4, batch_rows: 64 };

    #[test]
    fn blocks_never_stand_for_cells_that_are_not_there() {
        let spec = ModelSpec::new(3, 1, 8, 32).unwrap();
        assert_eq!(blocks_of(&spec, LIMITS), 3 * 31);
        assert_eq!(blocks_of(&spec, Limits { cells: 3, ..LIMITS }), 3);
        let sliding = vec![Attention::Full, Attention::Full, Attention::Sliding { window: 64 }];
        let spec = spec.with_attention(sliding).unwrap();
        assert_eq!(blocks_of(&spec, LIMITS), 31 + 31 + 2);
        assert_eq!(blocks_of(&spec, Limits { sequences: 8, ..LIMITS }), 8 * (3 + 3 + 2));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        assert!(EngineConfig::default().validate(LIMITS).is_ok());
        let refused = EngineConfig::default().max_requests(0).validate(LIMITS).unwrap_err();
        assert!(refused.to_string().contains("max_requests"), "{refused}");
        let refused = EngineConfig::default().max_requests(u32::MAX).validate(LIMITS).unwrap_err();
        assert!(refused.to_string().contains("at most 1048576"), "{refused}");
        let refused = EngineConfig::default().validate(Limits { sequences: 0, ..LIMITS });
        assert!(matches!(refused, Err(EngineError::Context { .. })));
    }
}
