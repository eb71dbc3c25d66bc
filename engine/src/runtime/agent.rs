//! What can be seen of an agent from outside while it works.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use latchless::{AgentState, Outbox, OutboxCapacity, StateMachine, StateSnapshot};

/// Pieces of text that are kept for who looks on; the oldest go.
const PIECES: usize = 1_024;

/// An agent at work, for whoever looks on: its state, what it puts out, and what it has done. Looking never
/// holds the agent up.
pub struct Agent {
    name: String,
    kind: String,
    state: StateMachine,
    output: Outbox<String>,
    task: Mutex<Option<String>>,
    tokens: AtomicU64,
    turns: AtomicU64,
}

impl Agent {
    /// An agent that does tasks of type `kind`, and of any.
    ///
    /// # Errors
    /// None at present: the capacity is a constant.
    pub fn new(name: impl Into<String>, kind: impl Into<String>) -> Result<Self, OutboxCapacity> {
        Ok(Self {
            name: name.into(),
            kind: kind.into(),
            state: StateMachine::new(),
            output: Outbox::new(PIECES)?,
            task: Mutex::default(),
            tokens: AtomicU64::new(0),
            turns: AtomicU64::new(0),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What kind of tasks it does.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What it is doing.
    pub fn state(&self) -> StateSnapshot {
        self.state.snapshot()
    }

    /// The key of the task that it works at.
    pub fn task(&self) -> Option<String> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The oldest piece of text that nobody has taken; the oldest go when there are too many.
    pub fn output(&self) -> Option<String> {
        self.output.pop()
    }

    /// Tokens, or lines of a process, that it has put out.
    pub fn tokens(&self) -> u64 {
        self.tokens.load(Ordering::Relaxed)
    }

    /// Turns that it has ended.
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    pub(crate) fn machine(&self) -> &StateMachine {
        &self.state
    }

    pub(crate) fn say(&self, text: &str) {
        self.tokens.fetch_add(1, Ordering::Relaxed);
        if !text.is_empty() {
            drop(self.output.push(text.to_owned()));
        }
    }

    pub(crate) fn begin(&self, task: &str) -> AtWork<'_> {
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.to_owned());
        AtWork(self)
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("state", &self.state())
            .field("task", &self.task())
            .finish_non_exhaustive()
    }
}

/// A turn under way; however it ends, the agent is left where the next one can begin.
pub(crate) struct AtWork<'a>(&'a Agent);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let agent = self.0;
        // From ASSISTANT and TOOL_EXECUTION it goes to RESPONSE; where it is USER_INPUT or RESPONSE already
        // this is refused, and both are where a turn begins.
        let _there = agent.state.transition(AgentState::Response);
        *agent.task.lock().unwrap_or_else(PoisonError::into_inner) = None;
        agent.turns.fetch_add(1, Ordering::Relaxed);
    }
}
