//! How a request ended.

use std::fmt;
use std::time::Duration;

use latchless::{AgentHandle, RequestId};

use super::error::RequestError;

/// The last thing that a request's stream gives. When it is there, the request's blocks are free, and its
/// sequence is cleared, or idle: what it keeps goes when somebody needs the room.
///
/// ```
/// use latchless_engine::{Completion, Engine, EngineConfig, Request};
/// # use latchless_engine::backend::scripted::{Script, ScriptedBackend};
/// # let backend = || ScriptedBackend::builder(Script::Text("Because.".into())).build();
/// # let engine = Engine::start(backend(), EngineConfig::default())?;
/// # let agent = engine.agent("planner")?;
/// let Completion { reason, usage, blocks_freed, .. } =
///     engine.submit(agent, Request::text("Why?"))?.wait().completion;
/// println!("{reason} after {} tokens, {blocks_freed} blocks freed", usage.generated_tokens);
/// assert!(blocks_freed > 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// The request.
    pub request: RequestId,
    /// Whose request it was.
    pub agent: AgentHandle,
    /// The model that answered: 0 for the engine's first, one more with each
    /// [swap](super::Engine::swap).
    pub generation: u64,
    /// Why it ended.
    pub reason: FinishReason,
    /// Tokens read and written.
    pub usage: Usage,
    /// Where the time went.
    pub timings: Timings,
    /// Blocks that it gave back. One that was shared is free when its last holder gives it back.
    pub blocks_freed: u32,
}

/// Why a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FinishReason {
    /// The model ended its answer; the token that says so is not part of it.
    EndOfGeneration,
    /// `max_tokens` were generated, or the sequence is full.
    Length,
    /// A stop string was generated; the text ends before it.
    Stop {
        /// Its index among the request's stop strings.
        index: usize,
    },
    /// It was cancelled, or its stream was dropped.
    Cancelled,
    /// Its deadline passed.
    Deadline,
    /// The engine was shut down.
    Shutdown,
    /// Something failed.
    Failed(RequestError),
}

impl FinishReason {
    /// Whether the answer is as long as it was meant to be: the model, a limit or a stop string ended it.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::EndOfGeneration | Self::Length | Self::Stop { .. })
    }
}

impl fmt::Display for FinishReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EndOfGeneration => f.write_str("end of generation"),
            Self::Length => f.write_str("length"),
            Self::Stop { index } => write!(f, "stop string {index}"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Deadline => f.write_str("deadline"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::Failed(error) => write!(f, "failed: {error}"),
        }
    }
}

/// Tokens of one request.
///
/// ```
/// use latchless_engine::{Engine, EngineConfig, Request, Usage};
/// # use latchless_engine::backend::scripted::{Script, ScriptedBackend};
/// # let backend = || ScriptedBackend::builder(Script::Text("Because.".into())).build();
/// # let engine = Engine::start(backend(), EngineConfig::default())?;
/// # let agent = engine.agent("planner")?;
/// let Usage { prompt_tokens, cached_tokens, generated_tokens, .. } =
///     engine.submit(agent, Request::text("Why?"))?.wait().completion.usage;
/// assert_eq!((cached_tokens, generated_tokens), (0, 8));
/// # assert_eq!(prompt_tokens, 5, "with one that begins every text");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Of these, tokens that a sequence kept already, or the disk, so that they were not computed.
    pub cached_tokens: u32,
    /// Of the cached ones, tokens that came from [disk](super::CacheConfig).
    pub resumed_tokens: u32,
    /// Tokens that were computed once more, because the request gave way to others and there was no
    /// [memory](super::EngineConfig::parked_bytes) to keep its state.
    pub recomputed_tokens: u32,
    /// Tokens that were generated; the one that ends a generation is not counted.
    pub generated_tokens: u32,
}

/// Where a request's time went, from its submit on.
///
/// ```
/// use latchless_engine::{Engine, EngineConfig, Request, Timings};
/// # use latchless_engine::backend::scripted::{Script, ScriptedBackend};
/// # let backend = || ScriptedBackend::builder(Script::Text("Because.".into())).build();
/// # let engine = Engine::start(backend(), EngineConfig::default())?;
/// # let agent = engine.agent("planner")?;
/// let Timings { queued, first_token, total } =
///     engine.submit(agent, Request::text("Why?"))?.wait().completion.timings;
/// assert!(queued <= first_token && first_token <= Some(total));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    /// Until the lane gave it a sequence; `None` when it never had one.
    pub queued: Option<Duration>,
    /// Until its first token; `None` when there is none.
    pub first_token: Option<Duration>,
    /// Until it ended.
    pub total: Duration,
}
