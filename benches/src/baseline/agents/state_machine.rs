//! The prototypes' state machine, with its lock.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use latchless::AgentState;

use super::lock;

/// A state and a flag behind a lock; the rules are a map of sets, and every transition looks its edge up
/// there while it holds the lock.
#[derive(Debug)]
pub struct LockedStateMachine {
    rules: HashMap<AgentState, HashSet<AgentState>>,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    state: AgentState,
    completion_detected: bool,
}

impl Default for LockedStateMachine {
    fn default() -> Self {
        let edges = |from: AgentState| (from, from.followers().iter().copied().collect());
        let current = Current { state: AgentState::UserInput, completion_detected: false };
        Self { rules: AgentState::ALL.map(edges).into(), current: Mutex::new(current) }
    }
}

impl LockedStateMachine {
    /// Goes to `to`.
    ///
    /// # Errors
    /// The state that the machine is in, when that is no edge.
    pub fn transition_to(&self, to: AgentState) -> Result<(), AgentState> {
        let mut current = lock(&self.current);
        if !self.rules.get(&current.state).is_some_and(|followers| followers.contains(&to)) {
            return Err(current.state);
        }
        current.state = to;
        Ok(())
    }

    /// Says whether completion was detected.
    pub fn set_completion_detected(&self, detected: bool) {
        lock(&self.current).completion_detected = detected;
    }

    /// Whether the task is completed.
    pub fn is_completed(&self) -> bool {
        let current = lock(&self.current);
        current.state == AgentState::Response && current.completion_detected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_the_edges() {
        let machine = LockedStateMachine::default();
        assert_eq!(machine.transition_to(AgentState::Response), Err(AgentState::UserInput));
        machine.transition_to(AgentState::Assistant).unwrap();
        machine.set_completion_detected(true);
        assert!(!machine.is_completed());
        machine.transition_to(AgentState::Response).unwrap();
        assert!(machine.is_completed());
    }
}
