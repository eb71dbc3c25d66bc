//! A task queue as a sequential object.
//!
//! A task's word is one step for each of its changes. Around it there are indexes, of which the queue's
//! documentation says how far they may lag: a task that is claimable during a whole call is found, one that
//! becomes so meanwhile may be overlooked; a slot that is free during a whole call is found; a task that
//! waits begins when the call has returned that ended what it waited for, or before; a forgotten task's slot
//! is free when nobody reads its record any more. So a search remembers which slots it has, at some instant of
//! its call, seen without what it wants, and ends with nothing when that was so for each.
//!
//! A claim's lease is a word of its own, changed after the task's.

mod record;
mod state;

pub(crate) use self::record::Shared;

use self::state::{LEASE, Lane, Lease, Phase, SLOTS, State};
use crate::checker::{Call, Spec};

/// A task: its slot, and the generation of that.
pub(crate) type Id = (usize, u32);

/// A claim: task, worker and attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hold {
    task: Id,
    worker: u16,
    attempt: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Waiting,
    Pending,
    Assigned { worker: u16, attempt: u16 },
    InProgress { worker: u16, attempt: u16 },
    Completed,
    Reported { worker: u16, attempt: u16 },
    UsedUp { attempts: u16 },
    DependencyFailed(Id),
}

/// What a thread did, and what it was told.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    /// `None`: there was no slot.
    Submit {
        lane: Lane,
        answer: Option<Id>,
    },
    /// Two tasks, the second of which waits for the first.
    SubmitPair {
        lane: Lane,
        answer: Option<[Id; 2]>,
    },
    Claim {
        worker: u16,
        agent_type: u8,
        answer: Option<Hold>,
    },
    Step {
        hold: Hold,
        step: Step,
        answer: Stepped,
    },
    Renew {
        hold: Hold,
        now: u64,
        answer: Stepped,
    },
    ReclaimExpired {
        now: u64,
        answer: Vec<Hold>,
    },
    ReclaimWorker {
        worker: u16,
        answer: Vec<Hold>,
    },
    Status {
        task: Id,
        answer: Option<Status>,
    },
    Forget {
        task: Id,
        answer: Forgotten,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Start,
    Complete,
    Fail,
    GiveBack,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stepped {
    Done,
    Lost { now: Option<Status> },
    NotAStep { now: Status },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forgotten {
    Done,
    Unknown,
    NotOver { now: Status },
}

/// Where an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Stage {
    #[default]
    Begun,
    /// A search has seen these slots without what it wants.
    Seen(u8),
    /// Slots are the submit's: so many of those that it got.
    Taken(usize),
    /// The second of two tasks is written.
    Half,
    /// A pair that will be refused has this slot yet, and has seen those without a task.
    Holding { slot: usize, seen: u8 },
    /// A claim has no lease yet.
    Unleased,
    /// A renewal is refused, and will look why.
    Refused,
    /// A claim is over, and its task will be looked at once more.
    Lost,
    /// A walk over the slots has come so far, and taken so many claims back.
    At { slot: usize, taken: usize },
    /// It has ended a lease there.
    Expired { slot: usize, taken: usize },
}

const ALL: u8 = (1 << SLOTS) - 1;

pub(crate) struct Queue;

type Ways = Vec<(State, Option<Stage>)>;

impl Spec for Queue {
    type Operation = Operation;
    type State = State;
    type Stage = Stage;

    fn step(
        &self,
        state: &State,
        stage: &Stage,
        call: &Call<Operation>,
        pending: &[&Call<Operation>],
    ) -> Ways {
        let mut state = state.clone();
        state.settle(call.invoked);
        // Whoever is under way when this call ends may be reading a record until it ends itself.
        let beside = pending.iter().filter(|other| other.invoked <= call.responded);
        let read_until = beside.map(|other| other.responded).fold(call.responded, u64::max);
        let until = call.responded;
        let step = |state: State| match &call.operation {
            Operation::Submit { lane, answer: Some(id) } => {
                submit(state, *stage, *lane, &[*id], until)
            }
            Operation::SubmitPair { lane, answer: Some(ids) } => {
                submit(state, *stage, *lane, ids, until)
            }
            Operation::Submit { answer: None, .. } => find_no_slot(state, *stage),
            Operation::SubmitPair { answer: None, .. } => find_no_two_slots(state, *stage),
            Operation::Claim { worker, agent_type, answer } => {
                claim(state, *stage, call, (*worker, *agent_type), *answer)
            }
            Operation::Step { hold, step, answer } => {
                take_step(state, *stage, *hold, *step, *answer, until)
            }
            Operation::Renew { hold, now, answer } => renew(state, *stage, *hold, *now, *answer),
            Operation::ReclaimExpired { now, answer } => {
                reclaim_expired(state, *stage, *now, answer, until)
            }
            Operation::ReclaimWorker { worker, answer } => {
                reclaim_worker(state, *stage, *worker, answer, until)
            }
            Operation::Status { task, answer } => {
                if state.status(*task) == *answer {
                    vec![(state, None)]
                } else {
                    Vec::new()
                }
            }
            Operation::Forget { task, answer } => forget(state, *task, *answer, read_until),
        };
        state.ways().into_iter().flat_map(step).collect()
    }
}

fn submit(mut state: State, stage: Stage, lane: Lane, ids: &[Id], until: u64) -> Ways {
    let taken = match stage {
        Stage::Taken(taken) => taken,
        Stage::Half => ids.len(),
        _ => 0,
    };
    if let Some((slot, generation)) = ids.get(taken) {
        let slot = &mut state.slots[*slot];
        if slot.phase == Phase::Leaving {
            slot.free();
        }
        if slot.phase != Phase::Free || slot.generation != *generation {
            return Vec::new();
        }
        slot.phase = Phase::Taken;
        return vec![(state, Some(Stage::Taken(taken + 1)))];
    }
    let written = |state: &mut State, at: usize, phase, dependency| {
        let slot = &mut state.slots[at];
        (slot.phase, slot.lane, slot.worker, slot.attempt) = (phase, lane, 0, 0);
        (slot.dependency, slot.told, slot.until, slot.announced) = (dependency, None, until, false);
    };
    if let (Stage::Taken(_), [first, second]) = (stage, ids) {
        // The one that waits goes first.
        written(&mut state, second.0, Phase::Waiting, Some(*first));
        return vec![(state, Some(Stage::Half))];
    }
    written(&mut state, ids[0].0, Phase::Pending, None);
    vec![(state, None)]
}

/// Slots that are not free for certain.
fn used(state: &State) -> u8 {
    let bit = |(i, slot): (usize, &state::Slot)| u8::from(slot.phase != Phase::Free) << i;
    state.slots.iter().enumerate().map(bit).sum()
}

/// One more look of a search that wants to have seen every slot without what it looks for.
fn look(state: &State, before: u8, now: u8) -> Option<(State, Option<Stage>)> {
    let seen = before | now;
    (seen != before).then(|| (state.clone(), Some(Stage::Seen(seen))))
}

fn seen(stage: Stage) -> u8 {
    if let Stage::Seen(seen) = stage { seen } else { 0 }
}

fn find_no_slot(state: State, stage: Stage) -> Ways {
    let (before, now) = (seen(stage), used(&state));
    if before | now == ALL {
        return vec![(state, None)];
    }
    look(&state, before, now).into_iter().collect()
}

/// A pair needs two: with one in hand it finds no other, and gives it back.
fn find_no_two_slots(state: State, stage: Stage) -> Ways {
    if let Stage::Holding { slot, seen } = stage {
        // The look comes first, and then it is given back: two pairs may stand in each other's way.
        if seen == ALL {
            let mut state = state;
            state.slots[slot].phase = Phase::Free;
            return vec![(state, None)];
        }
        let more = Stage::Holding { slot, seen: seen | used(&state) };
        return if more == stage { Vec::new() } else { vec![(state, Some(more))] };
    }
    let free = (0..SLOTS).filter(|i| matches!(state.slots[*i].phase, Phase::Free | Phase::Leaving));
    let hold = |slot: usize| {
        let mut state = state.clone();
        if state.slots[slot].phase == Phase::Leaving {
            state.slots[slot].free();
        }
        state.slots[slot].phase = Phase::Taken;
        (state, Some(Stage::Holding { slot, seen: 0 }))
    };
    let mut ways: Ways = free.map(hold).collect();
    ways.extend(find_no_slot(state, stage));
    ways
}

fn claim(
    mut state: State,
    stage: Stage,
    call: &Call<Operation>,
    (worker, agent_type): (u16, u8),
    answer: Option<Hold>,
) -> Ways {
    if let (Stage::Unleased, Some(hold)) = (stage, answer) {
        let unleased = state.clone();
        let slot = &mut state.slots[hold.task.0];
        if slot.is_of((hold.task.1, worker, hold.attempt)) && slot.lease == Lease::Unset {
            slot.lease = Lease::Until(LEASE);
        }
        // The lease may be that of a late claimer before, and this one's is left to who looks for it.
        let late = (hold.attempt > 1 && unleased != state).then_some((unleased, None));
        return late.into_iter().chain([(state, None)]).collect();
    }
    let rank = |slot: &state::Slot| {
        slot.lane.rank_for(agent_type).filter(|_| slot.phase == Phase::Pending)
    };
    let wanted = match answer {
        Some(hold) => state.slots[hold.task.0].lane.rank_for(agent_type),
        None => None,
    };
    let without = |slot: &state::Slot| {
        // It was made claimable by a call that had not ended when this one began.
        let lags = slot.until >= call.invoked && (answer.is_some() || !slot.announced);
        rank(slot).is_none_or(|rank| wanted.is_some_and(|wanted| rank <= wanted)) || lags
    };
    let now = (0..SLOTS).map(|i| u8::from(without(&state.slots[i])) << i).sum();
    let before = seen(stage);
    let mut ways: Ways = look(&state, before, now).into_iter().collect();
    if before | now != ALL {
        return ways;
    }
    let Some(hold) = answer else {
        ways.push((state, None));
        return ways;
    };
    let slot = &mut state.slots[hold.task.0];
    let next = Hold { task: (hold.task.0, slot.generation), worker, attempt: slot.attempt + 1 };
    if rank(slot).is_some() && next == hold {
        (slot.phase, slot.worker, slot.attempt) = (Phase::Assigned, worker, next.attempt);
        slot.lease = Lease::Unset;
        ways.push((state, Some(Stage::Unleased)));
    }
    ways
}

/// The task is looked at once more by who is told that its claim is over.
fn lost(state: State, hold: Hold, answer: Stepped) -> Ways {
    let now = state.status(hold.task);
    if answer == (Stepped::Lost { now }) { vec![(state, None)] } else { Vec::new() }
}

fn take_step(
    mut state: State,
    stage: Stage,
    hold: Hold,
    step: Step,
    answer: Stepped,
    until: u64,
) -> Ways {
    if stage == Stage::Lost {
        return lost(state, hold, answer);
    }
    let at = hold.task.0;
    let slot = &mut state.slots[at];
    let Some(now) = slot.status().filter(|_| slot.is_of((hold.task.1, hold.worker, hold.attempt)))
    else {
        return vec![(state, Some(Stage::Lost))];
    };
    let done = match (step, slot.phase) {
        (Step::Start, Phase::Assigned) => {
            slot.phase = Phase::InProgress;
            true
        }
        (Step::Complete, Phase::InProgress) => {
            slot.phase = Phase::Completed;
            state.tell(at, true, until);
            true
        }
        (Step::Fail, Phase::InProgress) => {
            slot.phase = Phase::Reported;
            state.tell(at, false, until);
            true
        }
        (Step::GiveBack, Phase::Assigned | Phase::InProgress) => {
            state.take_back(at, until);
            true
        }
        _ => false,
    };
    let right = if done { answer == Stepped::Done } else { answer == Stepped::NotAStep { now } };
    if right { vec![(state, None)] } else { Vec::new() }
}

fn renew(mut state: State, stage: Stage, hold: Hold, now: u64, answer: Stepped) -> Ways {
    let slot = &mut state.slots[hold.task.0];
    let is_of = slot.is_of((hold.task.1, hold.worker, hold.attempt));
    match stage {
        Stage::Lost => lost(state, hold, answer),
        Stage::Refused => match slot.status().filter(|_| is_of && !slot.is_claimed()) {
            Some(now) if answer == (Stepped::NotAStep { now }) => vec![(state, None)],
            Some(_) => Vec::new(),
            None => vec![(state, Some(Stage::Lost))],
        },
        _ if !is_of || !slot.is_claimed() || slot.lease == Lease::Expired => {
            vec![(state, Some(Stage::Refused))]
        }
        _ => {
            let end = if let Lease::Until(end) = slot.lease { end } else { 0 };
            slot.lease = Lease::Until(end.max(now + LEASE));
            if answer == Stepped::Done { vec![(state, None)] } else { Vec::new() }
        }
    }
}

/// Where a walk over the slots is, and whether it has ended the lease there.
fn walk(stage: Stage) -> (usize, usize, bool) {
    match stage {
        Stage::At { slot, taken } => (slot, taken, false),
        Stage::Expired { slot, taken } => (slot, taken, true),
        _ => (0, 0, false),
    }
}

/// Takes a claim back, if the answer says so next.
fn reclaim(mut state: State, at: usize, taken: usize, answer: &[Hold], until: u64) -> Ways {
    let slot = &state.slots[at];
    let hold = Hold { task: (at, slot.generation), worker: slot.worker, attempt: slot.attempt };
    if answer.get(taken) != Some(&hold) {
        return Vec::new();
    }
    state.take_back(at, until);
    vec![(state, Some(Stage::At { slot: at + 1, taken: taken + 1 }))]
}

fn reclaim_expired(mut state: State, stage: Stage, now: u64, answer: &[Hold], until: u64) -> Ways {
    let (at, taken, expired) = walk(stage);
    if at == SLOTS {
        return if taken == answer.len() { vec![(state, None)] } else { Vec::new() };
    }
    let slot = &mut state.slots[at];
    let next = Stage::At { slot: at + 1, taken };
    if !slot.is_claimed() {
        return vec![(state, Some(next))];
    }
    match slot.lease {
        Lease::Expired if expired => reclaim(state, at, taken, answer, until),
        Lease::Until(end) if now <= end => vec![(state, Some(next))],
        Lease::Unset => {
            slot.lease = Lease::Until(now + LEASE);
            vec![(state, Some(next))]
        }
        Lease::Until(_) | Lease::Expired => {
            slot.lease = Lease::Expired;
            vec![(state, Some(Stage::Expired { slot: at, taken }))]
        }
    }
}

fn reclaim_worker(state: State, stage: Stage, worker: u16, answer: &[Hold], until: u64) -> Ways {
    let (at, taken, _) = walk(stage);
    if at == SLOTS {
        return if taken == answer.len() { vec![(state, None)] } else { Vec::new() };
    }
    if state.slots[at].is_claimed() && state.slots[at].worker == worker {
        return reclaim(state, at, taken, answer, until);
    }
    vec![(state, Some(Stage::At { slot: at + 1, taken }))]
}

fn forget(mut state: State, task: Id, answer: Forgotten, until: u64) -> Ways {
    let right = match state.status(task) {
        None => answer == Forgotten::Unknown,
        Some(_) if state.slots[task.0].is_over() => {
            // Those that wait for it know how it ended before it is gone.
            state.told_all(task.0);
            let slot = &mut state.slots[task.0];
            (slot.phase, slot.until) = (Phase::Leaving, until);
            answer == Forgotten::Done
        }
        Some(now) => answer == Forgotten::NotOver { now },
    };
    if right { vec![(state, None)] } else { Vec::new() }
}
