//! Looking on while a turn is under way.

use std::fmt;

use super::super::agent::Agent;
use super::super::tools::Ended;
use super::TurnError;
use crate::store::{Claim, Finish};

/// What happens in a turn, in this order; replies, calls and responses once a round.
#[derive(Debug)]
#[non_exhaustive]
pub enum Happening<'a> {
    /// A task was claimed.
    Claimed(&'a Claim),
    /// It is in progress.
    Begun,
    /// The engine has taken a request: its blocks are reserved.
    Submitted,
    /// A token's text, which can be empty; or a line of a program.
    Said(&'a str),
    /// The model's reply is whole.
    Replied(&'a str),
    /// The calls of a reply have ended.
    Called(&'a [Ended]),
    /// A round is over.
    Responded,
    /// Everything is put together, and about to be stored.
    Recorded(&'a Finish),
    /// It is stored: this result.
    Finished(&'a str),
    /// The turn did not come to its end. The task goes back, or is given up.
    Stopped(&'a TurnError),
    /// Something panicked. The task goes back, or is given up.
    Panicked(&'a str),
}

/// Looks on. Called on the agent's thread, which waits for it: it should only take note.
pub trait Watch: Sync {
    /// Something happened.
    fn see(&self, agent: &Agent, happening: &Happening<'_>);
}

impl fmt::Debug for dyn Watch + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

/// Looks at nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

impl Watch for Nobody {
    fn see(&self, _agent: &Agent, _happening: &Happening<'_>) {}
}
