//! What a thread decides to do with the engine, by phase.

use fastrand::Rng;

use crate::fault::{Fault, Rates};
use crate::mix::{self, Mix};
use crate::phase::Phase;

/// What a thread does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Submit,
    /// Reads what is there of a stream.
    Read,
    /// Reads a stream to its end.
    Finish,
    /// The same with a waker that panics at every event.
    PanickingWaker,
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
    /// An agent leaves the engine, whatever it has asked, and comes back under its name.
    Leave,
}

const MIX: Mix<Action, 12> = Mix([
    (Action::Submit, "submit", [200, 500, 500, 250, 250, 300, 200]),
    (Action::Read, "read", [300, 200, 100, 250, 250, 300, 300]),
    (Action::Finish, "finish", [150, 50, 20, 100, 100, 150, 100]),
    (Action::PanickingWaker, "panicking-waker", [15, 5, 5, 10, 10, 15, 10]),
    (Action::Cancel, "cancel", [20, 60, 20, 30, 20, 20, 20]),
    (Action::CancelById, "cancel-by-id", [10, 30, 10, 20, 10, 10, 10]),
    (Action::Vanish, "vanish", [10, 40, 20, 60, 10, 10, 10]),
    (Action::BadRequest, "bad-request", [10, 10, 10, 10, 40, 10, 10]),
    (Action::Swap, "swap", [1, 1, 1, 1, 1, 1, 60]),
    (Action::FailedLoad, "failed-load", [1, 1, 1, 1, 1, 1, 10]),
    (Action::Spoil, "spoil", [2, 2, 2, 2, 2, 5, 5]),
    (Action::Leave, "leave", [1, 1, 1, 40, 1, 1, 1]),
]);

impl Action {
    /// How many there are.
    pub(crate) const COUNT: usize = MIX.0.len();

    /// Names, in the order of the actions.
    pub(crate) const NAMES: [&str; Self::COUNT] = MIX.names();
}

/// What decisions are drawn from.
pub(super) type Deck = mix::Deck<Action, { Action::COUNT }>;

pub(super) fn deck(rates: &Rates) -> Deck {
    MIX.deck(rates, fault)
}

fn fault(action: Action) -> Option<Fault> {
    match action {
        Action::PanickingWaker => Some(Fault::Panic),
        Action::Cancel | Action::CancelById => Some(Fault::Cancel),
        Action::Vanish => Some(Fault::Vanish),
        Action::FailedLoad => Some(Fault::Load),
        Action::Spoil => Some(Fault::Spoil),
        _ => None,
    }
}

/// Streams that a thread has at most before it reads instead of submitting.
pub(super) fn most_held(phase: Phase) -> usize {
    match phase {
        Phase::Calm => 2,
        Phase::Burst => 24,
        Phase::NearExhaustion => 64,
        Phase::AgentChurn | Phase::BigAndSmall | Phase::SharedPrefixes | Phase::SwapAfterSwap => 6,
    }
}

/// Tokens that a request may generate.
pub(super) fn max_tokens(phase: Phase, rng: &mut Rng) -> u32 {
    match phase {
        // They keep what they have until they end.
        Phase::NearExhaustion => 40,
        Phase::BigAndSmall if rng.bool() => 1,
        _ => rng.u32(1..40),
    }
}

/// How many of a hundred decisions are a fault, by phase.
#[cfg(test)]
pub(crate) fn percent(what: Fault) -> Option<[f64; crate::phase::PHASES]> {
    MIX.percent(what, fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_is_in_order_and_drawn_by_its_weights() {
        MIX.check(|action| action as usize, fault);
    }
}
