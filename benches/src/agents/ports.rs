//! The prototypes' systems, as they stand.

use latchless::AgentState;

use super::{BACKLOG, CHANGES_A_SET, Change, LOCKED, OUTPUT, Work};
use crate::baseline::agents::{
    LockedOutputs, LockedPlanContext, LockedStateMachine, LockedTaskQueue, Status,
};

/// As [`Transitions`](super::Transitions), with a lock.
#[derive(Debug)]
pub struct LockedTransitions(LockedStateMachine);

impl Work for LockedTransitions {
    const OPERATION: &'static str = "transition";
    const BACKEND: &'static str = LOCKED;
    type Hand<'work> = AgentState;

    fn new() -> Self {
        Self(LockedStateMachine::default())
    }

    fn hand(&self, _: usize) -> AgentState {
        AgentState::UserInput
    }

    #[inline]
    fn step(&self, believed: &mut AgentState) {
        let to = believed.followers()[0];
        *believed = match self.0.transition_to(to) {
            Ok(()) => to,
            Err(from) => from,
        };
    }
}

/// As [`Claims`](super::Claims), with locks.
#[derive(Debug)]
pub struct LockedClaims(LockedTaskQueue);

impl Work for LockedClaims {
    const OPERATION: &'static str = "claim";
    const BACKEND: &'static str = LOCKED;
    type Hand<'work> = String;

    fn new() -> Self {
        let queue = LockedTaskQueue::default();
        for i in 0..BACKLOG {
            queue.add_task(i as u64, 1);
        }
        Self(queue)
    }

    fn hand(&self, thread: usize) -> String {
        format!("agent-{thread}")
    }

    #[inline]
    fn step(&self, agent: &mut String) {
        self.0.add_task(1, 1);
        let (id, _) = self.0.get_and_assign_next_task(agent).expect("there is a backlog");
        for status in [Status::InProgress, Status::Completed] {
            assert!(self.0.update_status(&id, status), "it was just assigned");
        }
        assert!(self.0.delete(&id), "it was just completed");
    }
}

/// As [`Changes`](super::Changes), with locks.
#[derive(Debug)]
pub struct LockedChanges(LockedPlanContext<Change>);

impl Work for LockedChanges {
    const OPERATION: &'static str = "record";
    const BACKEND: &'static str = LOCKED;
    /// The last change, and the changeset that the thread started last.
    type Hand<'work> = (Change, Option<String>);

    fn new() -> Self {
        let plan = LockedPlanContext::default();
        plan.start_changeset();
        Self(plan)
    }

    fn hand(&self, thread: usize) -> (Change, Option<String>) {
        (Change { file: thread as u32, line: 0 }, None)
    }

    #[inline]
    fn step(&self, (change, last): &mut (Change, Option<String>)) {
        change.line += 1;
        // False when another thread has just taken the changeset that was the newest when this looked: the
        // model's defect, which is not measured.
        std::hint::black_box(self.0.record_change(*change));
        if change.line.is_multiple_of(CHANGES_A_SET) {
            let newest = self.0.start_changeset();
            if let Some(last) = last.replace(newest) {
                drop(self.0.take(&last));
            }
        }
    }
}

/// As [`Output`](super::Output), with one lock for all agents.
#[derive(Debug)]
pub struct LockedOutput(LockedOutputs<u64>);

impl Work for LockedOutput {
    const OPERATION: &'static str = "output";
    const BACKEND: &'static str = LOCKED;
    type Hand<'work> = String;

    fn new() -> Self {
        let outputs = LockedOutputs::new(OUTPUT);
        for thread in 0..8 {
            outputs.add_agent(&format!("agent-{thread}"));
        }
        Self(outputs)
    }

    fn hand(&self, thread: usize) -> String {
        format!("agent-{}", thread % 8)
    }

    #[inline]
    fn step(&self, agent: &mut String) {
        assert!(self.0.push(agent, 1), "it was registered");
    }
}
