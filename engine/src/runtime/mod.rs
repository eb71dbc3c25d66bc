//! Agents at work: one task from its claim to its end, tools, documents, and what becomes of it when
//! anything fails.
//!
//! - [`tools`] are what an agent may do besides writing: a trait, a set of them, and calls that read at the
//!   same time and write alone;
//! - [`protocol`] is how a model asks for them, in lines that a small model can write;
//! - [`Documents`] is what a turn sees of the store's documents, with its own edits on top; [`Context`] is
//!   how a host reads and changes them;
//! - [`spawner`] limits how many agents run, takes back the slots of those that give no sign of life, and
//!   starts agents as threads and as processes whose output is kept;
//! - [`turn`] is what becomes of one claim: a model or a program does the task, and everything is given back
//!   on every path;
//! - [`flow`] lets several agents do the tasks of a plan, until all have ended, whatever happens meanwhile;
//! - [`Cancel`] ends what should not go on.

mod agent;
mod cancel;
mod context;
pub mod crash;
mod documents;
pub mod flow;
mod limit;
pub mod protocol;
pub mod spawner;
pub mod tools;
pub mod turn;

pub use self::agent::Agent;
pub use self::cancel::{Cancel, CancelReason, OnCancel};
pub use self::context::Context;
pub use self::documents::Documents;

#[cfg(test)]
mod fixture;
