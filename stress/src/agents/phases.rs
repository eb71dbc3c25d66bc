//! What a thread decides to do with the agents' structures, by phase.

use fastrand::Rng;

use crate::mix::{Mix, phase_of};

/// A kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Everybody ends what he claims: no claim may be lost.
    Calm,
    /// More comes in than goes out, until there is no room.
    Burst,
    /// Workers die, are taken for dead and come back; the clock jumps.
    Churn,
    /// Short turns: states, changes and messages.
    Turns,
}

/// What a thread does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Submit,
    /// A chain of tasks, each after the one before.
    SubmitChain,
    Claim,
    Complete,
    Fail,
    GiveBack,
    Renew,
    /// Tasks of another worker are taken back, as if it were dead.
    ReclaimWorker,
    ReclaimExpired,
    Tick,
    /// The clock jumps far ahead, or back.
    JumpClock,
    StartChangeset,
    Record,
    Seal,
    Transition,
    TransitionFrom,
    Detect,
    Push,
    Pop,
    Reserve,
    Release,
    /// An agent dies without giving its slot back.
    Die,
    CleanUp,
    /// A panic with a claim and a slot in hand.
    Unwind,
}

const MIX: Mix<Action, 24> = Mix([
    (Action::Submit, "submit", [100, 200, 100, 40]),
    (Action::SubmitChain, "submit-chain", [10, 20, 10, 5]),
    (Action::Claim, "claim", [120, 100, 120, 40]),
    (Action::Complete, "complete", [120, 80, 80, 40]),
    (Action::Fail, "fail", [5, 5, 10, 2]),
    (Action::GiveBack, "give-back", [5, 5, 10, 2]),
    (Action::Renew, "renew", [10, 5, 20, 5]),
    // Where no claim may be lost, nobody takes one.
    (Action::ReclaimWorker, "reclaim-worker", [0, 1, 3, 0]),
    (Action::ReclaimExpired, "reclaim-expired", [0, 1, 3, 0]),
    (Action::Tick, "tick", [10, 10, 20, 5]),
    (Action::JumpClock, "jump-clock", [0, 0, 5, 0]),
    (Action::StartChangeset, "start-changeset", [5, 5, 10, 20]),
    (Action::Record, "record", [100, 100, 50, 200]),
    (Action::Seal, "seal", [5, 5, 10, 20]),
    (Action::Transition, "transition", [50, 20, 30, 200]),
    (Action::TransitionFrom, "transition-from", [20, 10, 20, 100]),
    (Action::Detect, "detect-completion", [10, 5, 10, 50]),
    (Action::Push, "push", [80, 150, 50, 200]),
    (Action::Pop, "pop", [80, 50, 50, 150]),
    (Action::Reserve, "reserve", [40, 60, 60, 20]),
    (Action::Release, "release", [40, 40, 40, 20]),
    (Action::Die, "die", [2, 2, 20, 1]),
    (Action::CleanUp, "clean-up", [4, 4, 40, 2]),
    (Action::Unwind, "unwind", [2, 2, 5, 1]),
]);

impl Action {
    /// How many there are.
    pub(crate) const COUNT: usize = MIX.0.len();

    /// Names, in the order of the actions.
    pub(crate) const NAMES: [&str; Self::COUNT] = MIX.names();
}

/// One decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) action: Action,
    /// Chooses among what the thread holds.
    pub(crate) pick: usize,
    /// Chooses the other one: an agent, a type, a priority.
    pub(crate) other: usize,
}

impl Phase {
    pub(crate) const ALL: [Self; 4] = [Self::Calm, Self::Burst, Self::Churn, Self::Turns];

    /// The phase of a round.
    pub(crate) fn of_round(round: u64) -> Self {
        Self::ALL[phase_of(round)]
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Burst => "burst",
            Self::Churn => "churn",
            Self::Turns => "turns",
        }
    }

    /// The next decision.
    pub(crate) fn decide(self, rng: &mut Rng) -> Decision {
        let action = MIX.draw(self as usize, rng);
        Decision { action, pick: rng.usize(..), other: rng.usize(..) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_is_in_order_and_drawn_by_its_weights() {
        MIX.check(|action| action as usize);
        assert_eq!(Phase::ALL.map(|phase| phase as usize), [0, 1, 2, 3]);
    }
}
