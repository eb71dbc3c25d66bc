//! Why an engine was not made, why a request was not accepted, and why an accepted one failed.

use std::io;

use latchless::{AgentIdError, AllocateError, PoolConfigError, RequestId, TooManyAgents};

use crate::backend::{BackendError, DecodeError, Limits, Token};
use crate::cache::CacheError;
use crate::process::Forked;

/// An engine was not made.
///
/// ```
/// use latchless_engine::backend::scripted::{Script, ScriptedBackend};
/// use latchless_engine::{Engine, EngineConfig, EngineError};
///
/// let backend = ScriptedBackend::builder(Script::Echo).build();
/// let refused = Engine::start(backend, EngineConfig::default().max_requests(0));
/// assert!(matches!(refused, Err(EngineError::Zero { setting: "max_requests" })));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A setting that must be at least one is zero.
    #[error("the engine's setting {setting} is 0; give it at least 1")]
    Zero {
        /// The setting's name.
        setting: &'static str,
    },
    /// A setting for which memory would be taken that nobody has.
    #[error("the engine's setting {setting} is {value}; give it at most {most}")]
    TooMany {
        /// The setting's name.
        setting: &'static str,
        /// What was asked for.
        value: u32,
        /// The most that can be.
        most: u32,
    },
    /// A context that cannot answer anything.
    #[error(
        "a context of {} sequences, {} tokens a sequence and {} rows a batch answers nothing; make it with \
         at least 1, 2 and 1",
        .limits.sequences, .limits.tokens_per_sequence, .limits.batch_rows
    )]
    Context {
        /// What the backend said of itself.
        limits: Limits,
    },
    /// The pool was not made.
    #[error(transparent)]
    Pool(#[from] PoolConfigError),
    /// No context was given.
    #[error("an engine without a context; give it at least one")]
    NoLanes,
    /// The operating system gave no thread for a lane or the disk.
    #[error("no thread for the lane: {0}; end other threads, or step the lane yourself")]
    Thread(#[source] io::Error),
    /// The folder for agents' sequences cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// It cannot be told which model the sequences on disk would belong to.
    #[error("no tag for the model's states: {0}; give the engine no cache, or mend that")]
    StateTag(#[source] BackendError),
}

/// A generation that was replaced has not finished.
///
/// ```
/// use latchless_engine::{Draining, Engine, EngineConfig, Request};
/// # use latchless_engine::backend::scripted::{Script, ScriptedBackend};
/// # let backend = || ScriptedBackend::builder(Script::Text("Because.".into())).build();
/// # let (engine, lane) = Engine::new(backend(), EngineConfig::default())?;
/// # let agent = engine.agent("planner")?;
/// use std::time::Duration;
///
/// let stream = engine.submit(agent, Request::text("Why?"))?;
/// let (old, _lanes) = engine.swap_stepped([backend()])?;
/// assert_eq!(old.wait(Duration::ZERO), Err(Draining { remaining: 1 }));
/// # drop((stream, lane));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the model before has {remaining} requests to finish; wait for them or cancel them")]
pub struct Draining {
    /// Requests of it that have not ended; 0 when only its memory is still to be freed.
    pub remaining: u32,
}

/// The model was not replaced. The one before serves on, and everything is as it was.
///
/// ```
/// use latchless_engine::{Engine, EngineConfig, SwapError};
/// # use latchless_engine::backend::scripted::{Script, ScriptedBackend};
/// # let backend = || ScriptedBackend::builder(Script::Text("Because.".into())).build();
/// # let engine = Engine::start(backend(), EngineConfig::default())?;
/// # let agent = engine.agent("planner")?;
/// let missing = || Err::<[_; 0], _>(std::io::Error::other("no such file"));
/// let refused = engine.swap::<ScriptedBackend, _, _>(missing);
/// assert!(matches!(refused, Err(SwapError::Load(_))), "the model before serves on");
/// # let _ = agent;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SwapError<E> {
    /// The new one could not be loaded.
    #[error("the new model was not loaded, the old one serves on: {0}")]
    Load(#[source] E),
    /// The model that was replaced last has not finished, and three at once are too many.
    #[error(transparent)]
    Draining(Draining),
    /// Another thread is loading one.
    #[error("another thread is replacing the model; try again when it is done")]
    Swapping,
    /// No engine can be made of the new one.
    #[error("the new model cannot serve, the old one serves on: {0}")]
    Engine(#[source] EngineError),
    /// The engine was shut down.
    #[error("the engine is closed; make a new one")]
    Closed,
    /// The engine belongs to another process.
    #[error("the engine: {0}")]
    Forked(Forked),
}

/// An agent was not registered.
///
/// ```
/// use latchless_engine::{AgentError, Engine, EngineConfig};
/// # use latchless_engine::backend::scripted::{Script, ScriptedBackend};
/// # let backend = || ScriptedBackend::builder(Script::Text("Because.".into())).build();
/// # let engine = Engine::start(backend(), EngineConfig::default())?;
/// assert!(matches!(engine.agent(""), Err(AgentError::Name(_))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The name cannot be an agent's.
    #[error(transparent)]
    Name(#[from] AgentIdError),
    /// As many agents are registered as the engine was made for.
    #[error(transparent)]
    Agents(#[from] TooManyAgents),
    /// The engine belongs to another process.
    #[error("the engine: {0}")]
    Forked(#[from] Forked),
}

/// A request was not accepted. Nothing was taken: blocks, ids and memory are as before.
///
/// ```
/// use latchless_engine::{Engine, EngineConfig, Request, SubmitError};
/// # use latchless_engine::backend::scripted::{Script, ScriptedBackend};
/// # let backend = || ScriptedBackend::builder(Script::Text("Because.".into())).build();
/// # let engine = Engine::start(backend(), EngineConfig::default())?;
/// # let agent = engine.agent("planner")?;
/// let refused = engine.submit(agent, Request::text("Why?").max_tokens(0));
/// assert!(matches!(refused, Err(SubmitError::ZeroMaxTokens)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The prompt is empty, or is no token.
    #[error("the prompt is empty; give it at least one token")]
    EmptyPrompt,
    /// No token was asked for.
    #[error("max_tokens is 0; ask for at least one token")]
    ZeroMaxTokens,
    /// A stop string is empty: it would stop before the first token.
    #[error("stop string {index} is empty; leave it out")]
    EmptyStop {
        /// Its index among the request's stop strings.
        index: usize,
    },
    /// A sampling parameter is out of range.
    #[error(transparent)]
    Sampling(BackendError),
    /// A token of the prompt is not in the vocabulary.
    #[error("token {} is not in the vocabulary of {vocabulary}; use this model's tokens", .token.0)]
    UnknownToken {
        /// The token.
        token: Token,
        /// Tokens of the vocabulary.
        vocabulary: u32,
    },
    /// The prompt leaves no room for an answer in a sequence.
    #[error(
        "the prompt has {prompt_tokens} tokens, and a sequence of this context holds {sequence_tokens}, \
         one of them generated; shorten the prompt or make the context larger"
    )]
    PromptTooLong {
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Tokens that one sequence can hold.
        sequence_tokens: u32,
    },
    /// The prompt could not be turned into tokens.
    #[error("the prompt cannot be read: {0}")]
    Prompt(#[source] BackendError),
    /// The pool has no blocks for the prompt and its answer, or does not know the agent.
    #[error(transparent)]
    Blocks(#[from] AllocateError),
    /// As many requests as the engine was made for are waiting or running.
    #[error(
        "{limit} requests are waiting or running, as many as the engine takes; wait for one to end"
    )]
    TooManyRequests {
        /// [`EngineConfig::max_requests`](super::EngineConfig::max_requests).
        limit: u32,
    },
    /// Somebody drains the engine.
    #[error("the engine is draining; submit again when it is done")]
    Draining,
    /// The engine was shut down, or its lane is gone.
    #[error("the engine is closed; make a new one")]
    Closed,
    /// The engine belongs to another process.
    #[error("the engine: {0}")]
    Forked(#[from] Forked),
}

/// Why an accepted request failed. Others are not affected.
///
/// ```
/// use latchless_engine::RequestError;
/// // A stream whose lane panicked ends with this reason.
/// assert!(RequestError::LaneGone.to_string().contains("made anew"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The backend did not make the request's sampler.
    #[error("no sampler: {0}")]
    Sampler(#[source] BackendError),
    /// The request's rows failed, in a batch with others and alone.
    #[error("decode: {0}")]
    Decode(#[source] DecodeError),
    /// No token could be drawn.
    #[error("sample: {0}")]
    Sample(#[source] BackendError),
    /// The request's sequence could not be brought back to where it was before a failed decode.
    #[error("the sequence cannot be restored after a failed decode: {0}")]
    Restore(#[source] BackendError),
    /// The backend keeps another number of tokens than it was given.
    #[error("the sequence keeps {found} tokens instead of {expected}; submit the request again")]
    SequenceChanged {
        /// Tokens that were decoded.
        expected: u32,
        /// Tokens that the backend says it keeps.
        found: u32,
    },
    /// The request gave way to others, and does not fit any more, not even alone.
    #[error("the request was parked and cannot be brought back: {0}; submit it again")]
    Unpark(#[source] BackendError),
    /// No sequence of the context can be used, because the backend refuses to clear them.
    #[error("no usable sequence: {0}; make the context anew")]
    NoSequence(#[source] BackendError),
    /// The lane panicked.
    #[error(
        "the lane panicked; its thread's panic message says why, and the engine is to be made anew"
    )]
    LaneGone,
    /// The stream belongs to another process: the lane that would go on with it is not here.
    #[error("the stream: {0}")]
    Forked(#[from] Forked),
}

/// A drain ran out of time, or there is nobody here to end the requests.
///
/// ```
/// use latchless_engine::{DrainTimeout, Engine, EngineConfig, Request};
/// # use latchless_engine::backend::scripted::{Script, ScriptedBackend};
/// # let backend = || ScriptedBackend::builder(Script::Text("Because.".into())).build();
/// # let (engine, lane) = Engine::new(backend(), EngineConfig::default())?;
/// # let agent = engine.agent("planner")?;
/// use std::time::Duration;
///
/// // Nobody steps the lane: a drain waits in vain.
/// let stream = engine.submit(agent, Request::text("Why?"))?;
/// let DrainTimeout { pending, .. } = engine.drain(Duration::ZERO).unwrap_err();
/// assert_eq!(pending, [stream.id()]);
/// # drop(lane);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} requests have not ended: {pending:?}; {}", .pending.len(), advice(*.forked))]
#[non_exhaustive]
pub struct DrainTimeout {
    /// The requests that are waiting or running, oldest first.
    pub pending: Vec<RequestId>,
    /// The engine belongs to another process: no time would have been enough.
    pub forked: Option<Forked>,
}

fn advice(forked: Option<Forked>) -> String {
    forked.map_or("cancel them or drain longer".to_owned(), |forked| forked.to_string())
}
