//! What threads do to a queue: to a new one in each window.

use latchless::{
    AgentType, Claim, ClaimError, Failure, ForgetError, NewTask, Priority, TaskGraph, TaskId,
    TaskQueue, TaskQueueConfig, TaskStatus, Tick, WorkerId,
};

use super::state::{LEASE, Lane, MAX_ATTEMPTS, SLOTS, State};
use super::{Forgotten, Hold, Id, Operation, Queue, Status, Step, Stepped};
use crate::windows::{Clerk, Subject};

/// Claims are made at 0.
const NOW: Tick = Tick(0);
/// Within the first lease.
const LATER: Tick = Tick(5);
/// After the first lease, and within a renewed one.
const MUCH_LATER: Tick = Tick(12);

const TYPES: u8 = 2;

/// A queue for each window.
pub(crate) struct Shared(Vec<TaskQueue<()>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A claim that found nothing gets what the thread claimed before.
    ClaimedTwice,
    /// A claim that found a task says that there is none.
    Overlooked,
    /// A task for one type is given to another.
    WrongType,
    /// Another attempt has the number of the last one.
    NoAttempt,
    /// A late result is accepted.
    LateResult,
    /// A step that is none is made.
    AnyStep,
    /// A claim is taken back, and nobody is told.
    UntoldReclaim,
    /// A task that waits is said to be claimable.
    DependencyIgnored,
    /// There is a slot, and the submit is refused.
    SpuriousRefusal,
}

#[derive(Default)]
pub(crate) struct Hand {
    claims: Vec<Claim<()>>,
    tasks: Vec<TaskId>,
}

impl Subject for Shared {
    type Model = Queue;
    type Fault = Fault;
    type Hand<'a> = Hand;

    const NAME: &'static str = "task queues";
    const FAULTS: &'static [Fault] = &[
        Fault::ClaimedTwice,
        Fault::Overlooked,
        Fault::WrongType,
        Fault::NoAttempt,
        Fault::LateResult,
        Fault::AnyStep,
        Fault::UntoldReclaim,
        Fault::DependencyIgnored,
        Fault::SpuriousRefusal,
    ];

    fn new(windows: usize) -> Self {
        let config = TaskQueueConfig::new(SLOTS).agent_types(TYPES);
        let config = config.max_attempts(MAX_ATTEMPTS).lease(LEASE);
        Self((0..windows).map(|_| TaskQueue::new(config).unwrap()).collect())
    }

    fn model() -> (Queue, State) {
        (Queue, State::new())
    }

    fn hand(&self, _: usize) -> Hand {
        Hand::default()
    }

    fn operate(&self, window: usize, hand: &mut Hand, clerk: &mut Clerk<Self>) {
        let queue = &self.0[window];
        let claim = hand.claims.get(clerk.random.usize(..4)).or(hand.claims.last()).cloned();
        let task = hand.tasks.get(clerk.random.usize(..4)).or(hand.tasks.last()).copied();
        match (clerk.random.u32(..30), claim, task) {
            (0..8, Some(held), _) => {
                let step = if clerk.random.bool() { Step::Start } else { Step::Complete };
                take_step(queue, step, &held, clerk);
            }
            (8, Some(held), _) => take_step(queue, Step::Fail, &held, clerk),
            (9, Some(held), _) => take_step(queue, Step::GiveBack, &held, clerk),
            (10, Some(held), _) => clerk.call(
                || queue.renew(&held, LATER),
                |_, result| Operation::Renew {
                    hold: hold(&held),
                    now: LATER.0,
                    answer: stepped(result),
                },
            ),
            (11, Some(_), _) => reclaim_expired(queue, clerk),
            (12, Some(_), _) => reclaim_worker(queue, clerk),
            (13 | 14, _, Some(task)) => status(queue, task, clerk),
            (15..18, _, Some(task)) => forget(queue, task, clerk),
            (18..24, _, _) => submit(queue, hand, clerk),
            (24, _, _) => submit_pair(queue, hand, clerk),
            _ => make_claim(queue, hand, clerk),
        }
    }

    fn tidy(&self, hand: &mut Hand) {
        *hand = Hand::default();
    }
}

fn lane(clerk: &mut Clerk<Shared>) -> Lane {
    let priority = clerk.random.u8(..2);
    let agent_type = clerk.random.bool().then(|| clerk.random.u8(..TYPES));
    Lane { priority, agent_type }
}

fn new_task(lane: Lane) -> NewTask<()> {
    let task = NewTask::new(()).priority(Priority::ALL[usize::from(lane.priority)]);
    lane.agent_type.map(AgentType).into_iter().fold(task, NewTask::for_type)
}

fn submit(queue: &TaskQueue<()>, hand: &mut Hand, clerk: &mut Clerk<Shared>) {
    let lane = lane(clerk);
    clerk.call(
        || queue.submit(new_task(lane)),
        |clerk, result| {
            hand.tasks.extend(result.as_ref().ok());
            let refused = clerk.shows(Fault::SpuriousRefusal);
            let answer = result.ok().filter(|_| !refused).map(id);
            Operation::Submit { lane, answer }
        },
    );
}

fn submit_pair(queue: &TaskQueue<()>, hand: &mut Hand, clerk: &mut Clerk<Shared>) {
    let lane = lane(clerk);
    let mut graph = TaskGraph::new();
    graph.add("first", new_task(lane), [""; 0]).add("second", new_task(lane), ["first"]);
    clerk.call(
        || queue.submit_graph(graph),
        |_, result| {
            let answer = result.ok().map(|tasks| {
                hand.tasks.extend(&tasks);
                [id(tasks[0]), id(tasks[1])]
            });
            Operation::SubmitPair { lane, answer }
        },
    );
}

fn make_claim(queue: &TaskQueue<()>, hand: &mut Hand, clerk: &mut Clerk<Shared>) {
    let (worker, agent_type) = (clerk.thread as u16, clerk.random.u8(..TYPES));
    clerk.call(
        || queue.claim(WorkerId(worker), AgentType(agent_type), NOW),
        |clerk, claim| {
            let mut answer = claim.as_ref().map(hold);
            let mut agent_type = agent_type;
            if answer.is_some() && clerk.shows(Fault::Overlooked) {
                answer = None;
            } else if answer.is_none() && clerk.shows(Fault::ClaimedTwice) {
                answer = hand.claims.last().map(hold);
            } else if answer.is_some() && clerk.shows(Fault::WrongType) {
                agent_type = TYPES - 1 - agent_type;
            }
            if let Some(held) = &mut answer
                && held.attempt > 1
                && clerk.shows(Fault::NoAttempt)
            {
                held.attempt -= 1;
            }
            hand.tasks.extend(claim.as_ref().map(Claim::task));
            hand.claims.extend(claim);
            Operation::Claim { worker, agent_type, answer }
        },
    );
}

fn take_step(queue: &TaskQueue<()>, step: Step, held: &Claim<()>, clerk: &mut Clerk<Shared>) {
    clerk.call(
        || match step {
            Step::Start => queue.start(held),
            Step::Complete => queue.complete(held),
            Step::Fail => queue.fail(held),
            Step::GiveBack => queue.give_back(held),
        },
        |clerk, result| {
            let answer = match stepped(result) {
                Stepped::Lost { .. } if clerk.shows(Fault::LateResult) => Stepped::Done,
                Stepped::NotAStep { .. } if clerk.shows(Fault::AnyStep) => Stepped::Done,
                answer => answer,
            };
            Operation::Step { hold: hold(held), step, answer }
        },
    );
}

fn reclaim_expired(queue: &TaskQueue<()>, clerk: &mut Clerk<Shared>) {
    clerk.call(
        || queue.reclaim_expired(MUCH_LATER),
        |clerk, taken| Operation::ReclaimExpired { now: MUCH_LATER.0, answer: told(&taken, clerk) },
    );
}

/// Its own claims: somebody thinks that this thread is dead.
fn reclaim_worker(queue: &TaskQueue<()>, clerk: &mut Clerk<Shared>) {
    let worker = clerk.thread as u16;
    clerk.call(
        || queue.reclaim_worker(WorkerId(worker)),
        |clerk, taken| Operation::ReclaimWorker { worker, answer: told(&taken, clerk) },
    );
}

fn told(taken: &[latchless::Reclaimed], clerk: &mut Clerk<Shared>) -> Vec<Hold> {
    let mut taken: Vec<_> = taken
        .iter()
        .map(|back| Hold { task: id(back.task), worker: back.worker.0, attempt: back.attempt })
        .collect();
    if clerk.shows(Fault::UntoldReclaim) {
        taken.pop();
    }
    taken
}

fn status(queue: &TaskQueue<()>, task: TaskId, clerk: &mut Clerk<Shared>) {
    clerk.call(
        || queue.status(task),
        |clerk, now| {
            let answer = match now.map(seen) {
                Some(Status::Waiting) if clerk.shows(Fault::DependencyIgnored) => {
                    Some(Status::Pending)
                }
                answer => answer,
            };
            Operation::Status { task: id(task), answer }
        },
    );
}

fn forget(queue: &TaskQueue<()>, task: TaskId, clerk: &mut Clerk<Shared>) {
    clerk.call(
        || queue.forget(task),
        |_, result| {
            let answer = match result {
                Ok(()) => Forgotten::Done,
                Err(ForgetError::Unknown { .. }) => Forgotten::Unknown,
                Err(ForgetError::NotOver { now, .. }) => Forgotten::NotOver { now: seen(now) },
            };
            Operation::Forget { task: id(task), answer }
        },
    );
}

fn hold(claim: &Claim<()>) -> Hold {
    Hold { task: id(claim.task()), worker: claim.worker().0, attempt: claim.attempt() }
}

fn stepped(result: Result<(), ClaimError>) -> Stepped {
    match result {
        Ok(()) => Stepped::Done,
        Err(ClaimError::Lost { now, .. }) => Stepped::Lost { now: now.map(seen) },
        Err(ClaimError::NotAStep { now, .. }) => Stepped::NotAStep { now: seen(now) },
    }
}

/// Slot and generation, which an id shows.
fn id(task: TaskId) -> Id {
    let shown = task.to_string();
    let (slot, generation) = shown.split_once('.').expect("slot and generation");
    (slot.parse().unwrap(), generation.parse().unwrap())
}

fn seen(status: TaskStatus) -> Status {
    match status {
        TaskStatus::Waiting => Status::Waiting,
        TaskStatus::Pending => Status::Pending,
        TaskStatus::Assigned { worker, attempt } => Status::Assigned { worker: worker.0, attempt },
        TaskStatus::InProgress { worker, attempt } => {
            Status::InProgress { worker: worker.0, attempt }
        }
        TaskStatus::Completed => Status::Completed,
        TaskStatus::Failed(Failure::Reported { worker, attempt }) => {
            Status::Reported { worker: worker.0, attempt }
        }
        TaskStatus::Failed(Failure::AttemptsUsedUp { attempts }) => Status::UsedUp { attempts },
        TaskStatus::Failed(Failure::DependencyFailed { dependency }) => {
            Status::DependencyFailed(id(dependency))
        }
    }
}
