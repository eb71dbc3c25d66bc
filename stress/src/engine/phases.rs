//! What a thread decides to do with the engine, by phase.

use fastrand::Rng;

use crate::mix::{Mix, phase_of};

/// A kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Few requests at a time, read at once.
    Calm,
    /// As many as get in.
    Burst,
    /// Most begin alike, and turns of one agent follow each other.
    Shared,
    /// The model is replaced again and again, and often it cannot be loaded.
    Swaps,
}

/// What a thread does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Submit,
    /// Reads what is there of a stream.
    Read,
    /// Reads a stream to its end.
    Finish,
    Cancel,
    /// By its id, which may be of a request that has ended.
    CancelById,
    /// The reader goes, and its stream with it.
    Vanish,
    /// Requests that are wrong whatever the engine does.
    BadRequest,
    Swap,
    /// A model that cannot be loaded.
    FailedLoad,
    /// A file of the cache is damaged or removed behind the engine's back.
    Spoil,
}

const MIX: Mix<Action, 10> = Mix([
    (Action::Submit, "submit", [200, 500, 300, 200]),
    (Action::Read, "read", [300, 200, 300, 300]),
    (Action::Finish, "finish", [150, 50, 150, 100]),
    (Action::Cancel, "cancel", [20, 60, 20, 20]),
    (Action::CancelById, "cancel-by-id", [10, 30, 10, 10]),
    (Action::Vanish, "vanish", [10, 40, 10, 10]),
    (Action::BadRequest, "bad-request", [10, 10, 10, 10]),
    (Action::Swap, "swap", [1, 1, 1, 20]),
    (Action::FailedLoad, "failed-load", [1, 1, 1, 10]),
    (Action::Spoil, "spoil", [2, 2, 5, 5]),
]);

impl Action {
    /// How many there are.
    pub(crate) const COUNT: usize = MIX.0.len();

    /// Names, in the order of the actions.
    pub(crate) const NAMES: [&str; Self::COUNT] = MIX.names();
}

impl Phase {
    pub(crate) const ALL: [Self; 4] = [Self::Calm, Self::Burst, Self::Shared, Self::Swaps];

    /// The phase of a round.
    pub(crate) fn of_round(round: u64) -> Self {
        Self::ALL[phase_of(round)]
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Burst => "burst",
            Self::Shared => "shared beginnings",
            Self::Swaps => "swap after swap",
        }
    }

    /// The next decision.
    pub(crate) fn decide(self, rng: &mut Rng) -> Action {
        MIX.draw(self as usize, rng)
    }

    /// Streams that a thread has at most before it reads instead of submitting.
    pub(crate) fn most_held(self) -> usize {
        match self {
            Self::Calm => 2,
            Self::Burst => 24,
            Self::Shared | Self::Swaps => 6,
        }
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
