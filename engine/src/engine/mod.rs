//! Many requests through one context: submitted from any thread, computed together, streamed back.
//!
//! ```text
//!  host threads                                    the lane's thread
//!  submit: tokens, blocks ──► inbox (one swap) ──► step: cancel, admit, assemble,
//!  cancel: a bit in a word ─► bell (futex)    ──►        decode, draw, finish
//!  TokenStream ◄───────────── ring (rtrb)     ◄───────── tokens, completion
//! ```
//!
//! # What waits for whom
//!
//! A submit, a cancel and a read never wait for the lane or for each other, and the lane never waits for
//! them: what they share are words changed by one atomic operation, a stack taken whole by one swap, and
//! a ring with one writer and one reader. A thread of a host that is frozen in the middle of any of them
//! delays its own request only. What does wait says so: [`TokenStream::recv`], [`Engine::drain`] and
//! [`Engine::shutdown`].
//!
//! # What is given back
//!
//! A request's blocks, its sequence and its place among the requests go back exactly once, whatever ends
//! it, in this order: the sequence is cleared or kept without blocks for the agent's next turn, the blocks
//! are freed, the completion is published. A host that sees the completion finds the blocks free.
//!
//! # Batches
//!
//! Continuous batching as in Orca (Yu et al., OSDI 2022): requests join and leave between steps. Each
//! step computes the last token of every running request and, in what is left of the batch, parts of the
//! prompts that came in. `docs/engine.md` draws a step and tells what becomes of a request on its way.

mod accounts;
mod admit;
mod assemble;
mod attend;
mod bell;
mod completion;
mod config;
mod control;
mod decode;
mod error;
mod event;
mod gate;
mod generation;
mod handle;
mod idle;
mod lane;
#[cfg(all(test, latchless_loom))]
mod loom_models;
mod mailbox;
mod make;
mod pace;
mod piece;
mod pressure;
mod queue;
mod request;
mod roster;
mod route;
mod running;
mod shared;
mod snapshot;
mod stream;
mod submit;
mod swap;
mod text;
mod ticket;
mod totals;
mod wake;
mod warm;

pub use self::completion::{Completion, FinishReason, Timings, Usage};
pub use self::config::EngineConfig;
pub use self::error::{
    AgentError, DrainTimeout, Draining, EngineError, RequestError, SubmitError, SwapError,
};
pub use self::event::Event;
pub use self::handle::Engine;
pub use self::lane::{Lane, RunReport, StepReport};
pub use self::piece::Piece;
pub use self::queue::Priority;
pub use self::request::{Prompt, Request};
pub use self::snapshot::{EngineSnapshot, RefusedSubmits};
pub use self::stream::{Answer, Blocking, TokenStream, TryRecvError};
pub use self::swap::Retiring;
pub use self::totals::{EndedRequests, LaneSnapshot};
pub use self::warm::CacheConfig;
