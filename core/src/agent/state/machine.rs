//! The machine itself: one word, and the compare-and-swap that moves it.

use std::fmt;

use thiserror::Error;

use super::AgentState;
use crate::mutant::{mutant, weaker};
use crate::sync::{AtomicU64, Ordering, pause};
// Not `crate::sync`'s: a number to look at, by which nothing is decided.
use std::sync::atomic::AtomicU64 as Count;

const COMPLETE: u64 = 1 << 2;
const VERSION_SHIFT: u32 = 3;

/// A machine at an instant: its state, whether completion was detected, and how many changes there were
/// before. The three belong together: they were read in one load.
///
/// ```
/// use latchless::{AgentState, StateMachine, StateSnapshot};
///
/// let agent = StateMachine::new();
/// let before: StateSnapshot = agent.snapshot();
/// let after = agent.transition(AgentState::Assistant)?;
/// assert_eq!((before.state(), after.state()), (AgentState::UserInput, AgentState::Assistant));
/// assert!(after.version() > before.version());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
// `version (61) | completion detected (1) | state (2)`.
pub struct StateSnapshot(u64);

impl StateSnapshot {
    /// What the agent was doing.
    #[inline]
    pub const fn state(self) -> AgentState {
        AgentState::from_bits(self.0)
    }

    /// Whether completion was detected in this turn.
    #[inline]
    pub const fn completion_detected(self) -> bool {
        self.0 & COMPLETE != 0
    }

    /// Whether the agent's task is completed: completion was detected, and the answer is there.
    #[inline]
    pub const fn is_completed(self) -> bool {
        self.completion_detected() && matches!(self.state(), AgentState::Response)
    }

    /// Changes before this instant. It wraps after 2^61 of them.
    #[inline]
    pub const fn version(self) -> u64 {
        self.0 >> VERSION_SHIFT
    }

    /// After a transition. Leaving RESPONSE ends the turn, and the flag with it.
    #[inline]
    fn in_state(self, to: AgentState) -> Self {
        let turn_ends =
            matches!(self.state(), AgentState::Response) && !mutant("state.flag-outlives-turn");
        let flag = if turn_ends { 0 } else { self.0 & COMPLETE };
        Self(self.next_version() | flag | to as u64)
    }

    #[inline]
    fn with_completion(self, detected: bool) -> Self {
        let flag = if detected { COMPLETE } else { 0 };
        Self(self.next_version() | flag | self.state() as u64)
    }

    fn next_version(self) -> u64 {
        let next = u64::from(!mutant("state.no-version"));
        (self.0 >> VERSION_SHIFT).wrapping_add(next) << VERSION_SHIFT
    }
}

impl fmt::Debug for StateSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateSnapshot")
            .field("state", &self.state())
            .field("completion_detected", &self.completion_detected())
            .field("version", &self.version())
            .finish()
    }
}

/// A transition that is no edge. The machine is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "an agent in {from} cannot go to {to}; from there it goes to {}", Followers(*.from)
)]
pub struct TransitionRefused {
    /// The state at the instant of the refusal.
    pub from: AgentState,
    /// What was asked for.
    pub to: AgentState,
}

/// Names the ways out of a state.
struct Followers(AgentState);

impl fmt::Display for Followers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, state) in self.0.followers().iter().enumerate() {
            write!(f, "{}{state}", if i == 0 { "" } else { " or " })?;
        }
        Ok(())
    }
}

/// The machine was changed after the caller looked at it. It is as the other one left it.
///
/// ```
/// use latchless::{AgentState, StateMachine, Overtaken};
///
/// let agent = StateMachine::new();
/// let seen = agent.snapshot();
/// let now = agent.transition(AgentState::Assistant)?;
/// assert_eq!(agent.set_completion_from(seen, true).unwrap_err(), Overtaken { seen, now });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "the agent was seen in {} (version {}) and is in {} (version {}) now; decide again from there",
    .seen.state(), .seen.version(), .now.state(), .now.version()
)]
pub struct Overtaken {
    /// What the caller had seen.
    pub seen: StateSnapshot,
    /// How the machine is now.
    pub now: StateSnapshot,
}

/// Why [`StateMachine::transition_from`] changed nothing.
///
/// ```
/// use latchless::{AgentState, StateMachine, TransitionError};
///
/// let agent = StateMachine::new();
/// let seen = agent.snapshot();
/// agent.transition(AgentState::Assistant)?;
/// let refused = agent.transition_from(seen, AgentState::Assistant).unwrap_err();
/// assert!(matches!(refused, TransitionError::Overtaken(_)), "another thread was faster");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TransitionError {
    /// It is no edge.
    #[error(transparent)]
    Refused(#[from] TransitionRefused),
    /// Somebody else was faster.
    #[error(transparent)]
    Overtaken(#[from] Overtaken),
}

/// An agent's state machine, which any number of threads may look at and move.
///
/// It begins in [`AgentState::UserInput`]. Every change is one compare-and-swap on one word: lock-free, without
/// allocation and without system calls. 16 bytes; give it a cache line of its own where agents' machines
/// lie side by side and are busy.
///
/// ```
/// use latchless::{AgentState, StateMachine, TransitionRefused};
///
/// let agent = StateMachine::new();
/// agent.transition(AgentState::Assistant)?;
/// agent.set_completion(true);
/// assert!(!agent.snapshot().is_completed(), "the answer is not there yet");
/// assert!(agent.transition(AgentState::Response)?.is_completed());
///
/// let refused = agent.transition(AgentState::ToolExecution).unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "an agent in RESPONSE cannot go to TOOL_EXECUTION; from there it goes to ASSISTANT"
/// );
///
/// // The next turn begins without the flag of the last one.
/// assert!(!agent.transition(AgentState::Assistant)?.completion_detected());
/// # Ok::<(), TransitionRefused>(())
/// ```
#[derive(Debug)]
pub struct StateMachine {
    word: AtomicU64,
    /// Changes that another one came before. Beside the word, because whoever counts has its line.
    retries: Count,
}

impl Default for StateMachine {
    fn default() -> Self {
        Self::new()
    }
}

impl StateMachine {
    /// A machine in [`AgentState::UserInput`], completion not detected, version 0.
    pub fn new() -> Self {
        Self { word: AtomicU64::new(AgentState::UserInput as u64), retries: Count::new(0) }
    }

    /// The machine at this instant. Wait-free: one load.
    #[inline]
    pub fn snapshot(&self) -> StateSnapshot {
        // Acquire: who sees a state may act on what its agent did before.
        let acquire = weaker("state.snapshot-relaxed", Ordering::Acquire);
        StateSnapshot(self.word.load(acquire))
    }

    /// Goes to `to`, from whatever state the machine is in at the instant of the change.
    ///
    /// # Errors
    /// [`TransitionRefused`] when that is no edge at the instant of the refusal.
    #[inline]
    pub fn transition(&self, to: AgentState) -> Result<StateSnapshot, TransitionRefused> {
        let mut now = self.snapshot();
        let first = now.state();
        loop {
            let from = now.state();
            let checked = if mutant("state.edge-checked-once") { first } else { from };
            if !checked.may_become(to) {
                return Err(TransitionRefused { from, to });
            }
            match self.replace(now, now.in_state(to)) {
                Ok(new) => return Ok(new),
                Err(()) => now = self.look_again(),
            }
        }
    }

    /// Goes to `to` if nothing has changed since `seen` was seen: for whoever decided by it. Of several
    /// threads that decide by the same snapshot, one succeeds. Wait-free: one attempt.
    ///
    /// # Errors
    /// [`TransitionError`] when it is no edge or somebody was faster.
    pub fn transition_from(
        &self,
        seen: StateSnapshot,
        to: AgentState,
    ) -> Result<StateSnapshot, TransitionError> {
        let from = seen.state();
        if !from.may_become(to) {
            return Err(TransitionRefused { from, to }.into());
        }
        Ok(self.replace_seen(seen, seen.in_state(to))?)
    }

    /// Says whether completion was detected, in whatever state and turn the machine is. A flag that
    /// stands so already is no change.
    pub fn set_completion(&self, detected: bool) -> StateSnapshot {
        let mut now = self.snapshot();
        loop {
            if now.completion_detected() == detected {
                return now;
            }
            match self.replace(now, now.with_completion(detected)) {
                Ok(new) => return new,
                Err(()) => now = self.look_again(),
            }
        }
    }

    /// As [`set_completion`](Self::set_completion), if nothing has changed since `seen` was seen: so that
    /// what was detected in one turn is not said of the next one. Wait-free: one attempt.
    ///
    /// # Errors
    /// [`Overtaken`] when something has.
    pub fn set_completion_from(
        &self,
        seen: StateSnapshot,
        detected: bool,
    ) -> Result<StateSnapshot, Overtaken> {
        self.replace_seen(seen, seen.with_completion(detected))
    }

    /// Whether the agent's task is completed: see [`StateSnapshot::is_completed`].
    pub fn is_completed(&self) -> bool {
        self.snapshot().is_completed()
    }

    /// Changes that somebody else's change came before, since the machine was made: they were tried again, or
    /// their callers were told that they were [overtaken](Overtaken). Wait-free: one load.
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    fn replace_seen(
        &self,
        seen: StateSnapshot,
        new: StateSnapshot,
    ) -> Result<StateSnapshot, Overtaken> {
        let by = if mutant("state.seen-ignored") { self.snapshot() } else { seen };
        self.replace(by, new).map_err(|()| Overtaken { seen, now: self.snapshot() })
    }

    /// One attempt. The version makes every word of a machine's life a different one, so there is no ABA.
    #[inline]
    fn replace(&self, now: StateSnapshot, new: StateSnapshot) -> Result<StateSnapshot, ()> {
        // AcqRel: passes on what the agent did in the state that it leaves.
        let acq_rel = weaker("state.change-relaxed", Ordering::AcqRel);
        let swap = self.word.compare_exchange(now.0, new.0, acq_rel, Ordering::Relaxed);
        if swap.is_err() {
            self.retries.fetch_add(1, Ordering::Relaxed);
            return Err(());
        }
        Ok(new)
    }

    /// Somebody else moved the machine. A moment's pause lets him have the line for his next step too,
    /// instead of tearing it back and forth; it is of fixed length and waits for nobody.
    #[cold]
    fn look_again(&self) -> StateSnapshot {
        pause();
        self.snapshot()
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    #[test]
    fn who_was_overtaken_is_counted() {
        let machine = StateMachine::new();
        let seen = machine.snapshot();
        machine.transition(AgentState::Assistant).unwrap();
        assert_eq!(machine.retries(), 0);
        for count in 1..=3 {
            assert!(machine.set_completion_from(seen, true).is_err());
            assert_eq!(machine.retries(), count);
        }
    }

    use super::*;
    use crate::agent::state::AgentState::{Assistant, Response, ToolExecution, UserInput};

    /// A machine that was brought to `state` by edges.
    fn machine_in(state: AgentState) -> StateMachine {
        let machine = StateMachine::new();
        let way: &[_] = match state {
            UserInput => &[],
            Assistant => &[Assistant],
            ToolExecution => &[Assistant, ToolExecution],
            Response => &[Assistant, Response],
        };
        for state in way {
            machine.transition(*state).unwrap();
        }
        machine
    }

    #[test]
    fn case_28_every_pair_is_made_or_refused_with_from_and_to() {
        for from in AgentState::ALL {
            for to in AgentState::ALL {
                let machine = machine_in(from);
                let before = machine.snapshot();
                let result = machine.transition(to);
                if from.may_become(to) {
                    let after = result.unwrap();
                    assert_eq!((after.state(), after.version()), (to, before.version() + 1));
                    assert_eq!(machine.snapshot(), after);
                } else {
                    assert_eq!(result, Err(TransitionRefused { from, to }));
                    assert_eq!(machine.snapshot(), before, "a refusal changes nothing");
                }
            }
        }
    }

    #[test]
    fn case_28_completed_only_in_response_with_the_flag_set() {
        for state in AgentState::ALL {
            let machine = machine_in(state);
            assert!(!machine.is_completed());
            let flagged = machine.set_completion(true);
            assert_eq!((flagged.state(), flagged.is_completed()), (state, state == Response));
            assert_eq!(machine.set_completion(true), flagged, "no change, no version");
            assert!(!machine.set_completion(false).is_completed());
        }
    }

    /// The old system's flag survived into the next turn.
    #[test]
    fn case_28_the_flag_ends_with_its_turn_and_not_before() {
        let machine = machine_in(Assistant);
        machine.set_completion(true);
        for to in [ToolExecution, Response] {
            assert!(
                machine.transition(to).unwrap().completion_detected(),
                "lost on the way to {to}"
            );
        }
        assert!(machine.is_completed());
        assert!(!machine.transition(Assistant).unwrap().completion_detected());
        assert!(!machine.transition(Response).unwrap().is_completed());
    }

    #[test]
    fn who_decided_by_an_old_snapshot_is_told_so() {
        let machine = machine_in(Assistant);
        let seen = machine.snapshot();
        let now = machine.transition(Response).unwrap();
        let overtaken = Overtaken { seen, now };
        assert_eq!(machine.transition_from(seen, ToolExecution), Err(overtaken.into()));
        assert_eq!(machine.set_completion_from(seen, true), Err(overtaken));
        let refused = TransitionRefused { from: Assistant, to: UserInput };
        assert_eq!(machine.transition_from(seen, UserInput), Err(refused.into()));
        // The same state again, a turn later, is not the same snapshot.
        let turn_later = machine.transition_from(now, Assistant).unwrap();
        assert_eq!(turn_later.state(), seen.state());
        assert!(machine.transition_from(seen, Response).is_err());
        assert!(machine.transition_from(turn_later, Response).is_ok());
    }

    #[test]
    fn errors_say_what_to_do() {
        let refused = machine_in(Assistant).transition(UserInput).unwrap_err().to_string();
        assert_eq!(
            refused,
            "an agent in ASSISTANT cannot go to USER_INPUT; from there it goes to TOOL_EXECUTION or \
             RESPONSE"
        );
        let machine = machine_in(UserInput);
        let seen = machine.snapshot();
        machine.transition(Assistant).unwrap();
        let overtaken = machine.transition_from(seen, Assistant).unwrap_err().to_string();
        assert!(overtaken.contains("USER_INPUT (version 0)"), "{overtaken}");
        assert!(overtaken.ends_with("decide again from there"), "{overtaken}");
    }

    #[test]
    fn the_version_wraps_without_touching_state_or_flag() {
        let last = StateSnapshot(u64::MAX << VERSION_SHIFT | Assistant as u64);
        let next = last.with_completion(true);
        assert_eq!(
            (next.version(), next.state(), next.completion_detected()),
            (0, Assistant, true)
        );
    }
}
