//! A plan's changesets as a sequential object, and what threads do to them: to a new plan in each window.
//!
//! A record is not one step. It looks for the newest changeset, and goes there if that is open yet, also
//! when a newer one was started meanwhile; if it finds it sealed, it looks again, and is refused when that
//! is still the newest one.

use latchless::{ChangesetId, PlanContext, RecordError, SealError};

use crate::checker::{Call, Spec};
use crate::windows::{Clerk, Subject};

/// What a thread did, and what it was told.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    Start { id: u64 },
    Record { change: u32, answer: Recorded },
    Seal { id: u64, answer: Sealed },
    Newest(Option<u64>),
    IsSealed { id: u64, answer: Option<bool> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recorded {
    In(u64),
    NotStarted,
    NewestIsSealed(u64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sealed {
    /// With these records, in this order.
    Now(Vec<u32>),
    Before,
    NotStarted {
        started: u64,
    },
}

/// Each changeset's records, `None` once it is sealed.
type State = Vec<Option<Vec<u32>>>;

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Stage {
    #[default]
    Begun,
    /// It goes to this changeset.
    BoundFor(u64),
    /// It found it sealed.
    SentBack(u64),
}

pub(crate) struct Plan;

impl Spec for Plan {
    type Operation = Operation;
    type State = State;
    type Stage = Stage;

    fn step(
        &self,
        state: &State,
        stage: &Stage,
        call: &Call<Operation>,
        _: &[&Call<Operation>],
    ) -> Vec<(State, Option<Stage>)> {
        let started = state.len() as u64;
        let newest = started.checked_sub(1);
        let unchanged = |right: bool| right.then(|| (state.clone(), None));
        let way = match &call.operation {
            Operation::Start { id } => (*id == started).then(|| {
                let mut state = state.clone();
                state.push(Some(Vec::new()));
                (state, None)
            }),
            Operation::Record { change, answer } => record(state, *stage, *change, *answer),
            Operation::Seal { id, answer } => match (state.get(*id as usize), answer) {
                (Some(Some(records)), Sealed::Now(taken)) if records == taken => {
                    let mut state = state.clone();
                    state[*id as usize] = None;
                    Some((state, None))
                }
                (Some(None), Sealed::Before) => unchanged(true),
                (None, Sealed::NotStarted { started: told }) => unchanged(*told == started),
                _ => None,
            },
            Operation::Newest(id) => unchanged(*id == newest),
            Operation::IsSealed { id, answer } => {
                let sealed = state.get(*id as usize).map(Option::is_none);
                unchanged(sealed == *answer)
            }
        };
        way.into_iter().collect()
    }
}

fn record(
    state: &State,
    stage: Stage,
    change: u32,
    answer: Recorded,
) -> Option<(State, Option<Stage>)> {
    let newest = state.len().checked_sub(1).map(|id| id as u64);
    let state = state.clone();
    match (stage, newest) {
        (Stage::Begun, None) => (answer == Recorded::NotStarted).then_some((state, None)),
        (Stage::SentBack(id), Some(newest)) if newest == id => {
            (answer == Recorded::NewestIsSealed(id)).then_some((state, None))
        }
        (Stage::Begun | Stage::SentBack(_), Some(newest)) => {
            Some((state, Some(Stage::BoundFor(newest))))
        }
        (Stage::BoundFor(id), _) => {
            let mut state = state;
            match &mut state[id as usize] {
                None => Some((state, Some(Stage::SentBack(id)))),
                Some(records) => {
                    records.push(change);
                    (answer == Recorded::In(id)).then_some((state, None))
                }
            }
        }
        (Stage::SentBack(_), None) => None,
    }
}

/// A plan for each window.
pub(crate) struct Shared(Vec<PlanContext<u32>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A record is said to be in the changeset before.
    StaleChangeset,
    /// A sealed changeset comes without its last record.
    LostRecord,
    /// Its records come in another order.
    OutOfOrder,
    /// A changeset is sealed by two.
    SealedTwice,
    /// A record is refused although its changeset is open.
    SpuriousRefusal,
    /// A changeset that is open is said to be sealed.
    SealedTooEarly,
}

impl Subject for Shared {
    type Model = Plan;
    type Fault = Fault;
    /// Changes that the thread has recorded, over all windows.
    type Hand<'a> = u32;

    const NAME: &'static str = "changesets";
    const FAULTS: &'static [Fault] = &[
        Fault::StaleChangeset,
        Fault::LostRecord,
        Fault::OutOfOrder,
        Fault::SealedTwice,
        Fault::SpuriousRefusal,
        Fault::SealedTooEarly,
    ];

    fn new(windows: usize) -> Self {
        Self((0..windows).map(|_| PlanContext::new()).collect())
    }

    fn model() -> (Plan, State) {
        (Plan, Vec::new())
    }

    fn hand(&self, thread: usize) -> u32 {
        (thread as u32) << 24
    }

    fn operate(&self, window: usize, recorded: &mut u32, clerk: &mut Clerk<Self>) {
        let plan = &self.0[window];
        // Of those that there may be, and one that there is not.
        let id = clerk.random.u64(..4);
        match clerk.random.u32(..20) {
            0..4 => clerk.call(|| plan.start().unwrap(), |_, id| Operation::Start { id: id.0 }),
            4..12 => {
                *recorded += 1;
                let change = *recorded;
                clerk.call(
                    || plan.record(change),
                    |clerk, result| {
                        let answer = match result {
                            Ok(id) => Recorded::In(id.0),
                            Err(RecordError::NotStarted(_)) => Recorded::NotStarted,
                            Err(RecordError::Sealed(_, id)) => Recorded::NewestIsSealed(id.0),
                        };
                        Operation::Record { change, answer: misplaced(answer, clerk) }
                    },
                );
            }
            12..16 => seal(plan, id, clerk),
            16 | 17 => clerk.call(|| plan.newest(), |_, id| Operation::Newest(id.map(|id| id.0))),
            _ => clerk.call(
                || plan.is_sealed(ChangesetId(id)),
                |clerk, answer| {
                    let early = answer == Some(false) && clerk.shows(Fault::SealedTooEarly);
                    Operation::IsSealed { id, answer: answer.map(|sealed| sealed || early) }
                },
            ),
        }
    }

    /// What is left in open changesets is seen too.
    fn end(&self, window: usize, _: &mut u32, clerk: &mut Clerk<Self>) {
        let plan = &self.0[window];
        let started = plan.newest().map_or(0, |id| id.0 + 1);
        (0..started).for_each(|id| seal(plan, id, clerk));
    }
}

fn seal(plan: &PlanContext<u32>, id: u64, clerk: &mut Clerk<Shared>) {
    clerk.call(
        || plan.seal(ChangesetId(id)).map(Iterator::collect),
        |clerk, result| {
            let answer = match result {
                Ok(records) => Sealed::Now(mangled(records, clerk)),
                Err(SealError::Sealed { .. }) if clerk.shows(Fault::SealedTwice) => {
                    Sealed::Now(Vec::new())
                }
                Err(SealError::Sealed { .. }) => Sealed::Before,
                Err(SealError::Unknown { started, .. }) => Sealed::NotStarted { started },
            };
            Operation::Seal { id, answer }
        },
    );
}

fn misplaced(answer: Recorded, clerk: &mut Clerk<Shared>) -> Recorded {
    match answer {
        Recorded::In(id) if id > 0 && clerk.shows(Fault::StaleChangeset) => Recorded::In(id - 1),
        Recorded::In(id) if clerk.shows(Fault::SpuriousRefusal) => Recorded::NewestIsSealed(id),
        answer => answer,
    }
}

fn mangled(mut records: Vec<u32>, clerk: &mut Clerk<Shared>) -> Vec<u32> {
    if clerk.shows(Fault::LostRecord) {
        records.pop();
    }
    if clerk.shows(Fault::OutOfOrder) {
        records.reverse();
    }
    records
}
