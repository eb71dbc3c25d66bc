//! Agents' states under load: only the five edges, and every change counted.

use std::sync::atomic::{AtomicU64, Ordering};

use latchless::{AgentState, StateMachine, TransitionError};

use crate::violation::Violation;

/// Agents whose states all threads change.
const AGENTS: usize = 8;
const STATES: [AgentState; 4] =
    [AgentState::UserInput, AgentState::Assistant, AgentState::ToolExecution, AgentState::Response];

/// Case 28's table, written down once more.
const EDGES: [(AgentState, AgentState); 5] = [
    (AgentState::UserInput, AgentState::Assistant),
    (AgentState::Assistant, AgentState::ToolExecution),
    (AgentState::Assistant, AgentState::Response),
    (AgentState::ToolExecution, AgentState::Response),
    (AgentState::Response, AgentState::Assistant),
];

/// The states of some agents, and how often each was changed.
pub(super) struct Turns {
    agents: Vec<(StateMachine, AtomicU64)>,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self { agents: (0..AGENTS).map(|_| (StateMachine::new(), AtomicU64::new(0))).collect() }
    }

    pub(super) fn transition(&self, pick: usize, other: usize) -> Result<(), Violation> {
        let (machine, changes) = &self.agents[pick % AGENTS];
        let to = STATES[other % STATES.len()];
        match machine.transition(to) {
            // From where it came is not known, but some edge has to lead here.
            Ok(now) if now.state() == to && EDGES.iter().any(|edge| edge.1 == to) => {
                changes.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(refused) if !EDGES.contains(&(refused.from, refused.to)) && refused.to == to => {
                Ok(())
            }
            other => Err(Violation::answer("a transition", (to, other))),
        }
    }

    pub(super) fn transition_from(&self, pick: usize, other: usize) -> Result<(), Violation> {
        let (machine, changes) = &self.agents[pick % AGENTS];
        let to = STATES[other % STATES.len()];
        let seen = machine.snapshot();
        let is_edge = EDGES.contains(&(seen.state(), to));
        match machine.transition_from(seen, to) {
            Ok(now) if is_edge && now.version() == seen.version() + 1 => {
                // Leaving RESPONSE ends the turn, and what was detected in it.
                let kept = seen.completion_detected() && seen.state() != AgentState::Response;
                if now.completion_detected() != kept {
                    return Err(Violation::answer("a completion flag", (seen, now)));
                }
                changes.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(TransitionError::Refused(_)) if !is_edge => Ok(()),
            Err(TransitionError::Overtaken(_)) if is_edge => Ok(()),
            other => Err(Violation::answer("a transition from what was seen", (seen, other))),
        }
    }

    pub(super) fn detect(&self, pick: usize, other: usize) {
        let (machine, changes) = &self.agents[pick % AGENTS];
        let seen = machine.snapshot();
        let detected = other.is_multiple_of(2);
        if machine.set_completion_from(seen, detected).is_ok() {
            changes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Nobody runs: as many changes as there were, and no more.
    pub(super) fn settle(&self) -> Result<(), Violation> {
        self.agents.iter().try_for_each(|(machine, changes)| {
            let counted = changes.load(Ordering::Relaxed);
            Violation::count("changes of a state", counted, machine.snapshot().version())
        })
    }
}
