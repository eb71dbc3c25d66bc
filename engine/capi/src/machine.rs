//! What an agent is doing: four states, five edges.

use latchless::{AgentState, StateMachine, StateSnapshot, TransitionError};

use crate::arguments::{out, value};
use crate::call::call;
use crate::handles::latchless_machine;
use crate::pool::write_if_wanted;
use crate::status::{Failure, latchless_status};

/// What is behind a `latchless_machine`.
pub struct Machine(StateMachine);

/// It has a prompt that is not submitted yet.
pub const LATCHLESS_STATE_USER_INPUT: u32 = 0;
/// The model generates.
pub const LATCHLESS_STATE_ASSISTANT: u32 = 1;
/// The tools run that the model asked for.
pub const LATCHLESS_STATE_TOOL_EXECUTION: u32 = 2;
/// The answer of this turn is there.
pub const LATCHLESS_STATE_RESPONSE: u32 = 3;

/// A machine at one instant: all fields belong together.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct latchless_snapshot {
    /// Changes before this instant.
    pub version: u64,
    /// One of `LATCHLESS_STATE_...`.
    pub state: u32,
    /// Whether completion was detected in this turn: 1 or 0.
    pub completion_detected: u32,
}

impl From<StateSnapshot> for latchless_snapshot {
    fn from(snapshot: StateSnapshot) -> Self {
        let state = match snapshot.state() {
            AgentState::UserInput => LATCHLESS_STATE_USER_INPUT,
            AgentState::Assistant => LATCHLESS_STATE_ASSISTANT,
            AgentState::ToolExecution => LATCHLESS_STATE_TOOL_EXECUTION,
            AgentState::Response => LATCHLESS_STATE_RESPONSE,
        };
        let completion_detected = snapshot.completion_detected().into();
        Self { version: snapshot.version(), state, completion_detected }
    }
}

fn state(state: u32) -> Result<AgentState, Failure> {
    match state {
        LATCHLESS_STATE_USER_INPUT => Ok(AgentState::UserInput),
        LATCHLESS_STATE_ASSISTANT => Ok(AgentState::Assistant),
        LATCHLESS_STATE_TOOL_EXECUTION => Ok(AgentState::ToolExecution),
        LATCHLESS_STATE_RESPONSE => Ok(AgentState::Response),
        state => Err(Failure::Value {
            what: "the state",
            value: state.into(),
            allowed: "one of LATCHLESS_STATE_...",
        }),
    }
}

/// Makes a machine in USER_INPUT.
///
/// Owner: the caller, who ends it with latchless_machine_destroy(). Threads: any. Real-time: yes, up to 64
/// machines at a time; it allocates for more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_machine_create(
    machine: *mut latchless_machine,
) -> latchless_status {
    call(|| {
        // SAFETY: the caller's promise.
        let machine = unsafe { out(machine, "machine") }?;
        machine.write(latchless_machine::of(Machine(StateMachine::new()))?);
        Ok(())
    })
}

/// Ends a machine.
///
/// Threads: any. Real-time: yes.
#[unsafe(no_mangle)]
pub extern "C" fn latchless_machine_destroy(machine: latchless_machine) -> latchless_status {
    call(|| machine.close())
}

/// The machine at this instant.
///
/// Threads: any. Real-time: yes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_machine_snapshot(
    machine: latchless_machine,
    snapshot: *mut latchless_snapshot,
) -> latchless_status {
    call(|| {
        let machine = machine.get()?;
        // SAFETY: the caller's promise.
        let snapshot = unsafe { out(snapshot, "snapshot") }?;
        snapshot.write(machine.0.snapshot().into());
        Ok(())
    })
}

/// Goes to a state, from whatever state the machine is in at the instant of the change. `now`, which may be
/// NULL, gets how it is afterwards. The edges: USER_INPUT to ASSISTANT; ASSISTANT to TOOL_EXECUTION or
/// RESPONSE; TOOL_EXECUTION to RESPONSE; RESPONSE to ASSISTANT, the next turn.
///
/// Threads: any. Real-time: yes. Errors: NO_EDGE, and the text says from and to; INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_machine_transition(
    machine: latchless_machine,
    to: u32,
    now: *mut latchless_snapshot,
) -> latchless_status {
    call(|| {
        let machine = machine.get()?;
        let after = machine.0.transition(state(to)?)?;
        // SAFETY: the caller's promise.
        unsafe { write_if_wanted(now, after.into(), "now") }
    })
}

/// Goes to a state if nothing has changed since `seen`: of several threads that decide by the same snapshot
/// one succeeds. `now`, which may be NULL, gets how the machine is afterwards.
///
/// Threads: any. Real-time: yes. Errors: NO_EDGE, OVERTAKEN, INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_machine_transition_from(
    machine: latchless_machine,
    seen: *const latchless_snapshot,
    to: u32,
    now: *mut latchless_snapshot,
) -> latchless_status {
    call(|| {
        let machine = machine.get()?;
        // SAFETY: the caller's promise; any bits are a `latchless_snapshot`.
        let seen = unsafe { value(seen, "seen") }?;
        let to = state(to)?;
        // Equal to what was seen means the same word: the version alone tells every change.
        let current = machine.0.snapshot();
        if latchless_snapshot::from(current) != seen {
            return Err(Failure::OvertakenBefore { seen: seen.version, now: current.version() });
        }
        let after = machine.0.transition_from(current, to).map_err(|error| match error {
            TransitionError::Refused(refused) => Failure::from(refused),
            TransitionError::Overtaken(overtaken) => overtaken.into(),
        })?;
        // SAFETY: the caller's promise.
        unsafe { write_if_wanted(now, after.into(), "now") }
    })
}

/// Says whether completion was detected in this turn: 0, or anything else. The flag goes when the turn ends. `now`, which
/// may be NULL, gets how the machine is afterwards.
///
/// Threads: any. Real-time: yes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_machine_set_completion(
    machine: latchless_machine,
    detected: u32,
    now: *mut latchless_snapshot,
) -> latchless_status {
    call(|| {
        let machine = machine.get()?;
        let after = machine.0.set_completion(detected != 0);
        // SAFETY: the caller's promise.
        unsafe { write_if_wanted(now, after.into(), "now") }
    })
}
