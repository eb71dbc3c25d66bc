//! One llama.cpp context for many agents: continuous batching whose submit and cancel never wait for a
//! decode.
//!
//! [`Engine`] is the handle that a host's threads share, [`Lane`] is what computes, and
//! [`backend`] is what a lane computes with: llama.cpp or a
//! [script](backend::scripted). Blocks come from the pool of the crate [`latchless`].
//!
//! ```
//! use latchless_engine::backend::scripted::{Script, ScriptedBackend};
//! use latchless_engine::{Engine, EngineConfig, Event, Request};
//!
//! // With a model: a `LlamaContext` in place of the script.
//! let backend = ScriptedBackend::builder(Script::Text("It scatters.".into())).build();
//! let engine = Engine::start(backend, EngineConfig::default())?;
//!
//! let agent = engine.agent("physicist")?;
//! let mut stream = engine.submit(agent, Request::text("Why is the sky blue?").max_tokens(32))?;
//! for event in stream.events() {
//!     match event {
//!         Event::Finished(completion) => println!("\n{}", completion.reason),
//!         event => print!("{}", event.text()),
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

pub mod backend;
#[cfg(doctest)]
mod book;
pub mod cache;
mod engine;
pub mod observe;
pub mod prelude;
mod process;
#[cfg(feature = "runtime")]
pub mod runtime;
#[cfg(feature = "store")]
pub mod store;
mod sync;

pub use self::backend::{ChatMessage, Draw, Penalties, Sampling, Token};
pub use self::engine::{
    AgentError, Answer, Blocking, CacheConfig, Completion, DrainTimeout, Draining, EndedRequests,
    Engine, EngineConfig, EngineError, EngineSnapshot, Event, FinishReason, Lane, LaneSnapshot,
    Piece, Priority, Prompt, RefusedSubmits, Request, RequestError, Retiring, RunReport,
    StepReport, SubmitError, SwapError, Timings, TokenStream, TryRecvError, Usage,
};
pub use self::process::Forked;

/// The README's examples are compiled, and those of them that need no model run.
#[cfg(all(doctest, feature = "llama"))]
#[doc = include_str!("../../README.md")]
struct Readme;

/// So is that of this crate's own.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct CrateReadme;
