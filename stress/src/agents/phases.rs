//! What a thread decides to do with the agents' structures, by phase.

use fastrand::Rng;

use crate::fault::{Fault, Rates};
use crate::mix::{self, Mix};
use crate::phase::Phase;

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
    /// Publishes an agent's block table, larger or smaller, in place of its last one.
    ReplaceTable,
    /// Reads the block table of another thread's agent.
    ReadTable,
    /// Takes an agent's block table away.
    RemoveTable,
}

const MIX: Mix<Action, 27> = Mix([
    (Action::Submit, "submit", [100, 200, 400, 100, 60, 60, 40]),
    (Action::SubmitChain, "submit-chain", [10, 20, 40, 10, 80, 10, 5]),
    (Action::Claim, "claim", [120, 200, 60, 120, 140, 60, 40]),
    (Action::Complete, "complete", [120, 160, 40, 80, 140, 60, 40]),
    (Action::Fail, "fail", [5, 5, 2, 10, 20, 2, 2]),
    (Action::GiveBack, "give-back", [5, 5, 2, 10, 5, 2, 2]),
    (Action::Renew, "renew", [10, 5, 5, 20, 10, 5, 5]),
    // Where no claim may be lost, nobody takes one.
    (Action::ReclaimWorker, "reclaim-worker", [0, 1, 1, 3, 1, 0, 0]),
    (Action::ReclaimExpired, "reclaim-expired", [0, 1, 1, 3, 1, 0, 0]),
    (Action::Tick, "tick", [10, 10, 10, 20, 10, 5, 5]),
    (Action::JumpClock, "jump-clock", [0, 0, 0, 5, 0, 0, 0]),
    (Action::StartChangeset, "start-changeset", [5, 5, 5, 10, 20, 5, 60]),
    (Action::Record, "record", [100, 150, 100, 50, 100, 400, 200]),
    (Action::Seal, "seal", [5, 5, 5, 10, 20, 5, 60]),
    (Action::Transition, "transition", [50, 20, 20, 30, 20, 100, 200]),
    (Action::TransitionFrom, "transition-from", [20, 10, 10, 20, 10, 60, 100]),
    (Action::Detect, "detect-completion", [10, 5, 5, 10, 5, 30, 50]),
    (Action::Push, "push", [80, 300, 150, 50, 80, 150, 100]),
    (Action::Pop, "pop", [80, 250, 30, 50, 80, 150, 100]),
    (Action::Reserve, "reserve", [40, 60, 200, 60, 40, 20, 20]),
    (Action::Release, "release", [40, 60, 40, 40, 40, 20, 20]),
    (Action::Die, "die", [2, 2, 2, 20, 2, 1, 1]),
    (Action::CleanUp, "clean-up", [4, 4, 4, 40, 4, 2, 2]),
    (Action::Unwind, "unwind", [2, 2, 2, 5, 2, 1, 1]),
    (Action::ReplaceTable, "replace-table", [10, 10, 20, 20, 20, 20, 200]),
    (Action::ReadTable, "read-table", [20, 20, 20, 20, 20, 400, 100]),
    (Action::RemoveTable, "remove-table", [2, 2, 2, 10, 2, 2, 20]),
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
        Action::Unwind => Some(Fault::Panic),
        Action::JumpClock => Some(Fault::Clock),
        Action::Die | Action::ReclaimWorker => Some(Fault::Die),
        _ => None,
    }
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

/// The next decision.
pub(super) fn decide(deck: &Deck, phase: Phase, rng: &mut Rng) -> Decision {
    let action = deck.draw(phase, rng);
    Decision { action, pick: rng.usize(..), other: rng.usize(..) }
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
