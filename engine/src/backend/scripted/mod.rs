//! A deterministic backend that needs no model: what it says is written in a [`Script`], what goes
//! wrong in a list of faults, and when a decode returns is up to the host that holds its [`Gate`].
//!
//! It is as strict as a real context: positions continue each sequence, rows and sequences are in
//! range, cells run out, and a sample needs a row with logits. It is stricter where llama.cpp cannot
//! be: a sequence that does not end with the token drawn last is an error, so a lane that feeds back
//! the wrong token, or mixes two sequences up, fails its test instead of producing other text.
//!
//! The next token is a pure function of the sequence's tokens and of how many were drawn, never of
//! the time, the batch's composition or the sequence's number. Nothing here sleeps, unless
//! [`ScriptedBuilder::pace`] asks for it.
//!
//! ```
//! use latchless_engine::backend::scripted::{Script, ScriptedBackend};
//! use latchless_engine::backend::{Backend, Batch, BatchRow, Sampling, SequenceId, Token};
//!
//! let mut backend = ScriptedBackend::builder(Script::Text("hi".into())).build();
//! let mut sampler = backend.sampler(&Sampling::greedy())?;
//! let mut batch = Batch::with_capacity(1);
//! let (token, sequence) = (Token(i32::from(b'?')), SequenceId(0));
//! batch.push(BatchRow { token, sequence, position: 0, logits: true })?;
//! backend.decode(&batch)?;
//! assert_eq!(backend.sample(0, &mut sampler)?, Token(i32::from(b'h')));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod builder;
mod context;
mod fault;
mod gate;
mod model;
mod probe;
mod script;
mod store;

pub use self::builder::ScriptedBuilder;
pub use self::context::{ScriptedBackend, ScriptedParked, ScriptedSampler};
pub use self::fault::{DecodeFault, DecodeTrigger, SampleTrigger};
pub use self::gate::Gate;
pub use self::model::ScriptedModel;
pub use self::probe::Probe;
pub use self::script::{CustomScript, Script};
