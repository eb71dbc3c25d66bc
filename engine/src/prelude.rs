//! What most hosts use, by one line: `use latchless_engine::prelude::*`.
//!
//! ```
//! use latchless_engine::backend::scripted::{Script, ScriptedBackend};
//! use latchless_engine::prelude::*;
//!
//! let backend = ScriptedBackend::builder(Script::Text("Yes.".into())).build();
//! let engine = Engine::start(backend, EngineConfig::default())?;
//! let agent: AgentHandle = engine.agent("planner")?;
//! assert_eq!(engine.submit(agent, Request::text("Well?"))?.wait().text, "Yes.");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub use latchless::prelude::*;

pub use crate::{
    Answer, CacheConfig, ChatMessage, Completion, Engine, EngineConfig, EngineError,
    EngineSnapshot, Event, FinishReason, Lane, Priority, Request, RequestError, Sampling,
    StepReport, SubmitError, Token, TokenStream,
};
