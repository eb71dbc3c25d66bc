//! What can turn out to be broken. A run ends at the first of these, with exit code 1.

use std::time::Duration;

use latchless::{BlockId, HandleError, ReconfigureError};
use thiserror::Error;

use crate::pool::canary::Mark;

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Violation {
    /// A block is in two hands.
    #[error("block {block} was given to {taker} while {holder} had it")]
    GivenTwice { block: BlockId, taker: Mark, holder: Mark },
    /// The mark of a block that a thread holds is not its own.
    #[error("block {block} is held by {holder}, and its mark says: {found}")]
    WrongMark { block: BlockId, holder: Mark, found: Mark },
    /// A lease lists another number of blocks than it says, or than was asked for.
    #[error("{what}: {expected} blocks expected, {found} found")]
    WrongCount { what: &'static str, expected: u64, found: u64 },
    /// An agent is charged for other blocks than it has.
    #[error("agent {agent} has {expected} blocks and is charged for {charged}")]
    WrongCharge { agent: String, expected: u32, charged: u32 },
    /// A refusal although there were always enough blocks.
    #[error("{requested} blocks were refused although the threads together never wanted all")]
    SpuriousRefusal { requested: u32 },
    /// A refusal whose numbers contradict each other.
    #[error(
        "a refusal of {requested} blocks says {available} available, {allocated} allocated of {total}"
    )]
    IncoherentRefusal { requested: u32, available: u32, total: u32, allocated: u32 },
    /// An operation that must be refused was carried out, or the other way round.
    #[error("{what}: {found}")]
    WrongAnswer { what: &'static str, found: String },
    /// A snapshot whose parts are not the whole.
    #[error("a {what} of {total} blocks sums up to {sum}")]
    WrongSum { what: &'static str, total: u32, sum: u64 },
    /// Nobody runs, and blocks are not free.
    #[error("after the round {count} blocks are {state}; the first is {first:?}")]
    NotFree { state: &'static str, count: u32, first: Option<BlockId> },
    /// Nobody runs, and the permits cannot be taken together.
    #[error("after the round the pool cannot be reconfigured: {0}")]
    NotReconfigurable(ReconfigureError),
    /// Nobody runs, and a block still has a mark.
    #[error("after the round block {block} is still marked: {mark}")]
    StillMarked { block: BlockId, mark: Mark },
    /// An agent is gone, or one is there that should not be.
    #[error("after the round agent {agent} is {state}")]
    Directory { agent: String, state: &'static str },
    /// What must come out once did not, or came out twice.
    #[error("{what} {item} was {state}")]
    NotOnce { what: &'static str, item: u32, state: &'static str },
    /// What was acknowledged as durable is not there, or not once, or not whole.
    #[error("after {lives} lives of its process the store is broken: {what}")]
    Store { lives: u64, what: String },
    /// What must be flat is not.
    #[error("{what} grows: {slope}; the limit is {limit}")]
    Grows { what: &'static str, slope: String, limit: String },
    /// A thread does not get on, although nobody ever waits.
    #[error("a thread has ended no operation for {}", humantime::format_duration(*.0))]
    Stalled(Duration),
    /// A thread panicked.
    #[error("the thread panicked: {message}")]
    Panicked { message: String },
}

impl Violation {
    /// `what` went another way than it must, and told `found`.
    pub(crate) fn answer(what: &'static str, found: impl std::fmt::Debug) -> Self {
        Self::WrongAnswer { what, found: format!("{found:?}") }
    }

    /// A count that must be another.
    pub(crate) fn count(
        what: &'static str,
        expected: impl Into<u64>,
        found: impl Into<u64>,
    ) -> Result<(), Self> {
        let (expected, found) = (expected.into(), found.into());
        if expected == found { Ok(()) } else { Err(Self::WrongCount { what, expected, found }) }
    }

    /// A list of handles that must be freed was refused.
    pub(crate) fn not_freed(error: HandleError) -> Self {
        Self::answer("handles of blocks that this thread holds were refused", error)
    }
}
