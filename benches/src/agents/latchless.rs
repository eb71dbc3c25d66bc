//! Ours.

use latchless::{
    AgentState, AgentType, ChangesetId, NewTask, Outbox, PlanContext, StateMachine, TaskQueue,
    TaskQueueConfig, Tick, WorkerId,
};

use super::{BACKLOG, CHANGES_A_SET, Change, LATCHLESS, OUTPUT, Work};

/// One agent's state machine, which all threads move.
#[derive(Debug)]
pub struct Transitions(StateMachine);

impl Work for Transitions {
    const OPERATION: &'static str = "transition";
    const BACKEND: &'static str = LATCHLESS;
    /// What the thread believes the machine to be in.
    type Hand<'work> = AgentState;

    fn new() -> Self {
        Self(StateMachine::new())
    }

    fn hand(&self, _: usize) -> AgentState {
        AgentState::UserInput
    }

    #[inline]
    fn step(&self, believed: &mut AgentState) {
        let to = believed.followers()[0];
        *believed = match self.0.transition(to) {
            Ok(now) => now.state(),
            Err(refused) => refused.from,
        };
    }
}

/// A task's way through a queue: submitted, claimed, started, completed, forgotten.
#[derive(Debug)]
pub struct Claims(TaskQueue<u64>);

impl Work for Claims {
    const OPERATION: &'static str = "claim";
    const BACKEND: &'static str = LATCHLESS;
    type Hand<'work> = WorkerId;

    fn new() -> Self {
        let queue = TaskQueue::new(TaskQueueConfig::new(1_024)).expect("a possible queue");
        for i in 0..BACKLOG {
            queue.submit(NewTask::new(i as u64)).expect("there is room");
        }
        Self(queue)
    }

    fn hand(&self, thread: usize) -> WorkerId {
        WorkerId(thread as u16)
    }

    #[inline]
    fn step(&self, worker: &mut WorkerId) {
        self.0.submit(NewTask::new(1)).expect("there is room");
        // `None` is right when the others took every task of the backlog and put in new ones while this
        // thread was not running: no task was there during the whole call.
        let claim = loop {
            if let Some(claim) = self.0.claim(*worker, AgentType(0), Tick(0)) {
                break claim;
            }
        };
        self.0.start(&claim).expect("it was just claimed");
        self.0.complete(&claim).expect("it was just started");
        self.0.forget(claim.task()).expect("it was just completed");
    }
}

/// One plan, into which all threads record.
#[derive(Debug)]
pub struct Changes(PlanContext<Change>);

impl Work for Changes {
    const OPERATION: &'static str = "record";
    const BACKEND: &'static str = LATCHLESS;
    type Hand<'work> = Change;

    fn new() -> Self {
        let plan = PlanContext::new();
        plan.start().expect("the first");
        Self(plan)
    }

    fn hand(&self, thread: usize) -> Change {
        Change { file: thread as u32, line: 0 }
    }

    #[inline]
    fn step(&self, change: &mut Change) {
        change.line += 1;
        self.0.record(*change).expect("the newest is open");
        if change.line.is_multiple_of(CHANGES_A_SET) {
            let newest = self.0.start().expect("there is room for more");
            // Another thread may have sealed it.
            drop(self.0.seal(ChangesetId(newest.0 - 1)));
        }
    }
}

/// Agents' output, an outbox each, which nobody reads: from 1,000 items on the oldest goes.
#[derive(Debug)]
pub struct Output(Vec<Outbox<u64>>);

impl Work for Output {
    const OPERATION: &'static str = "output";
    const BACKEND: &'static str = LATCHLESS;
    type Hand<'work> = &'work Outbox<u64>;

    fn new() -> Self {
        Self((0..8).map(|_| Outbox::new(OUTPUT).expect("a possible outbox")).collect())
    }

    fn hand(&self, thread: usize) -> &Outbox<u64> {
        &self.0[thread % self.0.len()]
    }

    #[inline]
    fn step<'work>(&'work self, outbox: &mut &'work Outbox<u64>) {
        std::hint::black_box(outbox.push(1));
    }
}
