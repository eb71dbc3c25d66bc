//! The same with a single event queue: a thread owns what the ports guard by locks.

use latchless::AgentState;

use super::{BACKLOG, CHANGES_A_SET, Change, EVENT_QUEUE, OUTPUT, Work};
use crate::baseline::agents::{Changesets, EventSender, Outputs, Owner, Status, Tasks};

/// As [`Transitions`](super::Transitions), with a thread that owns the machine.
#[derive(Debug)]
pub struct EventTransitions(Owner<AgentState, Result<(), AgentState>>);

impl Work for EventTransitions {
    const OPERATION: &'static str = "transition";
    const BACKEND: &'static str = EVENT_QUEUE;
    type Hand<'work> = (AgentState, EventSender<AgentState, Result<(), AgentState>>);

    fn new() -> Self {
        Self(Owner::new(AgentState::UserInput, |state, to| {
            if !state.may_become(to) {
                return Err(*state);
            }
            *state = to;
            Ok(())
        }))
    }

    fn hand(&self, _: usize) -> Self::Hand<'_> {
        (AgentState::UserInput, self.0.sender())
    }

    #[inline]
    fn step(&self, (believed, machine): &mut Self::Hand<'_>) {
        let to = believed.followers()[0];
        *believed = match machine.ask(to) {
            Ok(()) => to,
            Err(from) => from,
        };
    }
}

/// What is done to tasks.
#[derive(Debug)]
pub enum TaskEvent {
    /// A task is added.
    Add,
    /// The first one is assigned to this agent.
    Assign(String),
    /// A task has this status now.
    Update(String, Status),
    /// A task is deleted.
    Delete(String),
}

/// As [`Claims`](super::Claims), with a thread that owns the tasks. The answer names the task; `None` when
/// there is none.
#[derive(Debug)]
pub struct EventClaims(Owner<TaskEvent, Option<String>>);

impl Work for EventClaims {
    const OPERATION: &'static str = "claim";
    const BACKEND: &'static str = EVENT_QUEUE;
    type Hand<'work> = (String, EventSender<TaskEvent, Option<String>>);

    fn new() -> Self {
        let mut tasks = Tasks::default();
        for i in 0..BACKLOG {
            tasks.add(i as u64, 1);
        }
        Self(Owner::new(tasks, |tasks, event| match event {
            TaskEvent::Add => Some(tasks.add(1, 1)),
            TaskEvent::Assign(agent) => tasks.assign_next(&agent).map(|(id, _)| id),
            TaskEvent::Update(id, status) => tasks.update_status(&id, status).then_some(id),
            TaskEvent::Delete(id) => tasks.delete(&id).then_some(id),
        }))
    }

    fn hand(&self, thread: usize) -> Self::Hand<'_> {
        (format!("agent-{thread}"), self.0.sender())
    }

    #[inline]
    fn step(&self, (agent, tasks): &mut Self::Hand<'_>) {
        tasks.ask(TaskEvent::Add).expect("there is room");
        let mut id = tasks.ask(TaskEvent::Assign(agent.clone())).expect("there is a backlog");
        for status in [Status::InProgress, Status::Completed] {
            id = tasks.ask(TaskEvent::Update(id, status)).expect("it was just assigned");
        }
        tasks.ask(TaskEvent::Delete(id)).expect("it was just completed");
    }
}

/// What is done to a plan.
#[derive(Debug)]
pub enum PlanEvent {
    /// A change is recorded.
    Record(Change),
    /// A changeset is started.
    Start,
    /// A changeset is taken.
    Take(String),
}

/// What came of it.
#[derive(Debug)]
pub enum PlanAnswer {
    /// Whether the change was recorded.
    Recorded(bool),
    /// The changeset that was started.
    Started(String),
    /// What was taken.
    Taken(Option<Vec<Change>>),
}

/// As [`Changes`](super::Changes), with a thread that owns the plan.
#[derive(Debug)]
pub struct EventChanges(Owner<PlanEvent, PlanAnswer>);

impl Work for EventChanges {
    const OPERATION: &'static str = "record";
    const BACKEND: &'static str = EVENT_QUEUE;
    /// The last change, the changeset that the thread started last, and its way to the plan.
    type Hand<'work> = (Change, Option<String>, EventSender<PlanEvent, PlanAnswer>);

    fn new() -> Self {
        let mut plan = Changesets::default();
        plan.start();
        Self(Owner::new(plan, |plan, event| match event {
            PlanEvent::Record(change) => PlanAnswer::Recorded(plan.record(change)),
            PlanEvent::Start => PlanAnswer::Started(plan.start()),
            PlanEvent::Take(id) => PlanAnswer::Taken(plan.take(&id)),
        }))
    }

    fn hand(&self, thread: usize) -> Self::Hand<'_> {
        (Change { file: thread as u32, line: 0 }, None, self.0.sender())
    }

    #[inline]
    fn step(&self, (change, last, plan): &mut Self::Hand<'_>) {
        change.line += 1;
        // Of a changeset that another thread has taken, if it is still the newest: the port's defect.
        std::hint::black_box(plan.ask(PlanEvent::Record(*change)));
        if change.line.is_multiple_of(CHANGES_A_SET)
            && let PlanAnswer::Started(newest) = plan.ask(PlanEvent::Start)
            && let Some(last) = last.replace(newest)
        {
            drop(plan.ask(PlanEvent::Take(last)));
        }
    }
}

/// As [`Output`](super::Output), with a thread that owns all outputs.
#[derive(Debug)]
pub struct EventOutput(Owner<(String, u64), bool>);

impl Work for EventOutput {
    const OPERATION: &'static str = "output";
    const BACKEND: &'static str = EVENT_QUEUE;
    type Hand<'work> = (String, EventSender<(String, u64), bool>);

    fn new() -> Self {
        let mut outputs = Outputs::new(OUTPUT);
        for thread in 0..8 {
            outputs.add_agent(&format!("agent-{thread}"));
        }
        Self(Owner::new(outputs, |outputs, (agent, item): (String, u64)| {
            outputs.push(&agent, item)
        }))
    }

    fn hand(&self, thread: usize) -> Self::Hand<'_> {
        (format!("agent-{}", thread % 8), self.0.sender())
    }

    #[inline]
    fn step(&self, (agent, outputs): &mut Self::Hand<'_>) {
        assert!(outputs.ask((agent.clone(), 1)), "it was registered");
    }
}
