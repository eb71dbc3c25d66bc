//! A state machine as a sequential object, and what threads do to one: to a new one in each window.

use latchless::AgentState::{self, Assistant, Response, ToolExecution, UserInput};
use latchless::{StateMachine, StateSnapshot, TransitionError};

use crate::checker::{Call, Spec};
use crate::windows::{Clerk, Subject};

/// A machine at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    state: AgentState,
    flag: bool,
    version: u64,
}

impl From<StateSnapshot> for Seen {
    fn from(snapshot: StateSnapshot) -> Self {
        Self {
            state: snapshot.state(),
            flag: snapshot.completion_detected(),
            version: snapshot.version(),
        }
    }
}

/// What a thread did, and what it was told.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operation {
    Look(Seen),
    Go { to: AgentState, answer: Answer },
    GoFrom { seen: Seen, to: AgentState, answer: Answer },
    Flag { detected: bool, now: Seen },
    FlagFrom { seen: Seen, detected: bool, answer: Answer },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Done(Seen),
    Refused { from: AgentState },
    Overtaken { now: Seen },
}

/// An operation that was overtaken looks at the machine once more to say how it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Stage {
    #[default]
    Begun,
    Overtaken,
}

pub(crate) struct Machine;

impl Seen {
    /// The edges of the behaviour, written out once more.
    fn after(self, to: AgentState) -> Option<Self> {
        let edges = [
            (UserInput, Assistant),
            (Assistant, ToolExecution),
            (Assistant, Response),
            (ToolExecution, Response),
            (Response, Assistant),
        ];
        let flag = self.flag && self.state != Response;
        let next = Self { state: to, flag, version: self.version + 1 };
        edges.contains(&(self.state, to)).then_some(next)
    }

    fn flagged(self, flag: bool) -> Self {
        Self { flag, version: self.version + 1, ..self }
    }
}

impl Spec for Machine {
    type Operation = Operation;
    type State = Seen;
    type Stage = Stage;

    fn step(
        &self,
        state: &Seen,
        stage: &Stage,
        call: &Call<Operation>,
        _: &[&Call<Operation>],
    ) -> Vec<(Seen, Option<Stage>)> {
        let is_now = |now: Seen| (now == *state).then_some((*state, None));
        // What it becomes if the answer says that it was done.
        let change = |to: Seen, answer| (answer == Answer::Done(to)).then_some((to, None));
        // The same for who had seen it before, and was overtaken if that is not how it is.
        let change_from = |seen: Seen, to: Seen, answer| match (stage, answer) {
            (Stage::Overtaken, Answer::Overtaken { now }) => is_now(now),
            (Stage::Begun, Answer::Overtaken { .. }) if seen != *state => {
                Some((*state, Some(Stage::Overtaken)))
            }
            (Stage::Begun, Answer::Done(_)) if seen == *state => change(to, answer),
            _ => None,
        };
        let way = match call.operation {
            Operation::Look(now) => is_now(now),
            Operation::Go { to, answer } => match (state.after(to), answer) {
                (Some(next), Answer::Done(_)) => change(next, answer),
                (None, Answer::Refused { from }) if from == state.state => Some((*state, None)),
                _ => None,
            },
            Operation::GoFrom { seen, to, answer } => match (seen.after(to), answer) {
                (Some(next), Answer::Done(_) | Answer::Overtaken { .. }) => {
                    change_from(seen, next, answer)
                }
                // It is no edge, whatever the machine is doing.
                (None, Answer::Refused { from }) if from == seen.state => Some((*state, None)),
                _ => None,
            },
            Operation::Flag { detected, now } if state.flag == detected => is_now(now),
            Operation::Flag { detected, now } => change(state.flagged(detected), Answer::Done(now)),
            Operation::FlagFrom { seen, detected, answer } => {
                change_from(seen, seen.flagged(detected), answer)
            }
        };
        way.into_iter().collect()
    }
}

/// A machine for each window.
pub(crate) struct Shared(Vec<StateMachine>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A transition that was refused is said to have been made.
    EdgeThatIsNone,
    /// A transition that was made is refused.
    SpuriousRefusal,
    /// What the thread saw last is said to be so still.
    StaleLook,
    /// Who was overtaken is told that it succeeded.
    TwoWinners,
    /// Leaving RESPONSE keeps the flag.
    FlagOutlivesTurn,
    /// A change is not counted.
    SameVersion,
}

impl Subject for Shared {
    type Model = Machine;
    type Fault = Fault;
    /// The last snapshot of this window's machine.
    type Hand<'a> = Option<StateSnapshot>;

    const NAME: &'static str = "state machines";
    const FAULTS: &'static [Fault] = &[
        Fault::EdgeThatIsNone,
        Fault::SpuriousRefusal,
        Fault::StaleLook,
        Fault::TwoWinners,
        Fault::FlagOutlivesTurn,
        Fault::SameVersion,
    ];

    fn new(windows: usize) -> Self {
        Self((0..windows).map(|_| StateMachine::new()).collect())
    }

    fn model() -> (Machine, Seen) {
        (Machine, Seen { state: UserInput, flag: false, version: 0 })
    }

    fn hand(&self, _: usize) -> Self::Hand<'_> {
        None
    }

    fn operate(&self, window: usize, hand: &mut Option<StateSnapshot>, clerk: &mut Clerk<Self>) {
        let machine = &self.0[window];
        let to = AgentState::ALL[clerk.random.usize(..4)];
        let detected = clerk.random.bool();
        match (clerk.random.u32(..10), *hand) {
            (0..4, _) => clerk.call(
                || machine.transition(to),
                |clerk, result| {
                    let before = hand.map(Seen::from);
                    *hand = result.ok().or(*hand);
                    let answer = match result {
                        Ok(now) => Answer::Done(now.into()),
                        Err(refused) => Answer::Refused { from: refused.from },
                    };
                    Operation::Go { to, answer: distorted(answer, to, before, clerk) }
                },
            ),
            (4 | 5, Some(seen)) => clerk.call(
                || machine.transition_from(seen, to),
                |clerk, result| {
                    let answer = match result {
                        Ok(now) => Answer::Done(now.into()),
                        Err(TransitionError::Refused(refused)) => {
                            Answer::Refused { from: refused.from }
                        }
                        Err(TransitionError::Overtaken(by)) => {
                            Answer::Overtaken { now: by.now.into() }
                        }
                    };
                    let seen = Seen::from(seen);
                    Operation::GoFrom { seen, to, answer: won(answer, seen.after(to), clerk) }
                },
            ),
            (6, Some(seen)) => clerk.call(
                || machine.set_completion_from(seen, detected),
                |clerk, result| {
                    let answer = match result {
                        Ok(now) => Answer::Done(now.into()),
                        Err(by) => Answer::Overtaken { now: by.now.into() },
                    };
                    let seen = Seen::from(seen);
                    let answer = won(answer, Some(seen.flagged(detected)), clerk);
                    Operation::FlagFrom { seen, detected, answer }
                },
            ),
            (7, _) => clerk.call(
                || machine.set_completion(detected),
                |_, now| Operation::Flag { detected, now: now.into() },
            ),
            _ => clerk.call(
                || machine.snapshot(),
                |clerk, now| {
                    let stale = hand.filter(|_| clerk.shows(Fault::StaleLook));
                    *hand = Some(now);
                    Operation::Look(stale.unwrap_or(now).into())
                },
            ),
        }
    }

    fn tidy(&self, hand: &mut Option<StateSnapshot>) {
        *hand = None;
    }
}

fn distorted(
    answer: Answer,
    to: AgentState,
    before: Option<Seen>,
    clerk: &mut Clerk<Shared>,
) -> Answer {
    match answer {
        Answer::Refused { from } if clerk.shows(Fault::EdgeThatIsNone) => {
            let version = before.map_or(1, |seen| seen.version + 1);
            Answer::Done(Seen { state: to, flag: from == Response, version })
        }
        Answer::Done(now) if clerk.shows(Fault::SpuriousRefusal) => {
            Answer::Refused { from: now.state }
        }
        Answer::Done(now) if clerk.shows(Fault::SameVersion) => {
            Answer::Done(Seen { version: now.version - 1, ..now })
        }
        // Into ASSISTANT the flag comes along from nowhere.
        Answer::Done(now) if to == Assistant && clerk.shows(Fault::FlagOutlivesTurn) => {
            Answer::Done(Seen { flag: true, ..now })
        }
        answer => answer,
    }
}

/// With a fault, who was overtaken has what it wanted.
fn won(answer: Answer, next: Option<Seen>, clerk: &mut Clerk<Shared>) -> Answer {
    match (answer, next) {
        (Answer::Overtaken { .. }, Some(next)) if clerk.shows(Fault::TwoWinners) => {
            Answer::Done(next)
        }
        _ => answer,
    }
}
