//! What an agent is doing: four states, five edges, one word.
//!
//! ```text
//! USER_INPUT ──→ ASSISTANT ──→ RESPONSE ──→ ASSISTANT (the next turn)
//!                    └──→ TOOL_EXECUTION ──→ RESPONSE
//! ```
//!
//! State, completion flag and version lie in one word ([`machine`]), so a reader never sees one without
//! the other, and a transition is one compare-and-swap: it is made whole, or it is not made. There is no
//! lock to order and so no deadlock, and a thread that is frozen anywhere in here stops nobody.
//!
//! The other way to make such a machine safe is one thread that owns it and a queue of events; then
//! whoever wants to know whether a transition was allowed has to wait for that thread. The benchmark
//! `agents` measures it beside this one and beside the machine with a lock.

mod machine;

#[cfg(all(test, latchless_loom))]
mod loom_models;

pub use self::machine::{
    Overtaken, StateMachine, StateSnapshot, TransitionError, TransitionRefused,
};

use std::fmt;

/// What an agent is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AgentState {
    /// It has a prompt that is not submitted yet.
    UserInput,
    /// The model generates.
    Assistant,
    /// The tools run that the model asked for.
    ToolExecution,
    /// The answer of this turn is there.
    Response,
}

impl AgentState {
    /// All four.
    pub const ALL: [Self; 4] =
        [Self::UserInput, Self::Assistant, Self::ToolExecution, Self::Response];

    /// The states that may follow this one: of the 16 pairs these are the 5 that are allowed. None
    /// follows itself.
    pub const fn followers(self) -> &'static [Self] {
        match self {
            Self::UserInput | Self::Response => &[Self::Assistant],
            Self::Assistant => &[Self::ToolExecution, Self::Response],
            Self::ToolExecution => &[Self::Response],
        }
    }

    /// Whether `to` may follow this state.
    ///
    /// ```
    /// use latchless::AgentState::{Assistant, Response, ToolExecution};
    /// assert!(Assistant.may_become(ToolExecution));
    /// assert!(!Response.may_become(ToolExecution));
    /// ```
    #[inline]
    pub const fn may_become(self, to: Self) -> bool {
        // A table of bits, a row of four for each state.
        const EDGES: u16 = edges();
        EDGES >> (self as u16 * 4 + to as u16) & 1 == 1
    }

    /// From the two lowest bits.
    #[inline]
    const fn from_bits(bits: u64) -> Self {
        match bits & 3 {
            0 => Self::UserInput,
            1 => Self::Assistant,
            2 => Self::ToolExecution,
            _ => Self::Response,
        }
    }
}

const fn edges() -> u16 {
    let mut edges = 0;
    let mut from = 0;
    while from < AgentState::ALL.len() {
        let followers = AgentState::ALL[from].followers();
        let mut i = 0;
        while i < followers.len() {
            edges |= 1 << (from * 4 + followers[i] as usize);
            i += 1;
        }
        from += 1;
    }
    edges
}

impl fmt::Display for AgentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::UserInput => "USER_INPUT",
            Self::Assistant => "ASSISTANT",
            Self::ToolExecution => "TOOL_EXECUTION",
            Self::Response => "RESPONSE",
        })
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::AgentState::{Assistant, Response, ToolExecution, UserInput};
    use super::*;

    /// Case 28: the table of the behaviour, written out.
    #[test]
    fn five_of_sixteen_pairs_are_edges() {
        let edges = [
            (UserInput, Assistant),
            (Assistant, ToolExecution),
            (Assistant, Response),
            (ToolExecution, Response),
            (Response, Assistant),
        ];
        for from in AgentState::ALL {
            for to in AgentState::ALL {
                assert_eq!(from.may_become(to), edges.contains(&(from, to)), "{from} to {to}");
                assert_eq!(from.may_become(to), from.followers().contains(&to));
            }
            assert_eq!(AgentState::from_bits(from as u64), from);
        }
    }

    #[test]
    fn there_are_five_edges() {
        // A constant elsewhere: once while the program runs.
        assert_eq!(std::hint::black_box(edges()).count_ones(), 5);
    }

    #[test]
    fn states_have_the_names_of_the_protocol() {
        let names = AgentState::ALL.map(|state| state.to_string());
        assert_eq!(names, ["USER_INPUT", "ASSISTANT", "TOOL_EXECUTION", "RESPONSE"]);
    }
}
