//! What a child's thread decides to do with the store, by phase.

use fastrand::Rng;

use crate::fault::{Fault, Rates};
use crate::mix::{self, Mix};
use crate::phase::Phase;

/// What a thread does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Stores a plan with its tasks.
    CreatePlan,
    /// Claims a task and ends it with all that a turn leaves behind.
    Finish,
    /// Claims a task and gives it up.
    Fail,
    /// Claims a task and gives it back.
    GiveBack,
    /// Claims a task, and prolongs the lease again and again before it ends it.
    Renew,
    /// Claims a task and forgets it: its lease has to end.
    Abandon,
    /// Takes back what another agent has claimed, as if it were gone.
    TakeBack,
    StartChangeset,
    /// Records changes that belong together.
    Record,
    Seal,
    /// Adds to a document that all share, if nobody else has since it was read.
    Note,
    PutOut,
    /// Counts tasks in two ways.
    Count,
    /// The clock jumps, ahead or back.
    JumpClock,
    /// Writes more than the database may have.
    Overfill,
    /// The system refuses every write for a moment.
    BreakDisk,
    /// The system gives no descriptor for a moment.
    BreakOpen,
    /// A panic with a claim in hand.
    Unwind,
}

const MIX: Mix<Action, 18> = Mix([
    (Action::CreatePlan, "create-plan", [5, 5, 40, 5, 5, 5, 40]),
    (Action::Finish, "finish", [100, 200, 60, 60, 100, 60, 40]),
    (Action::Fail, "fail", [2, 4, 2, 10, 2, 2, 2]),
    (Action::GiveBack, "give-back", [5, 5, 5, 20, 5, 5, 5]),
    (Action::Renew, "renew", [10, 5, 5, 10, 5, 5, 5]),
    (Action::Abandon, "abandon", [0, 1, 1, 10, 1, 1, 1]),
    // Where nothing may be lost, nobody takes a claim.
    (Action::TakeBack, "take-back", [0, 1, 1, 10, 1, 1, 1]),
    (Action::StartChangeset, "start-changeset", [5, 5, 5, 5, 5, 5, 60]),
    (Action::Record, "record", [40, 80, 60, 20, 60, 60, 80]),
    (Action::Seal, "seal", [5, 5, 5, 5, 5, 5, 60]),
    (Action::Note, "note", [10, 10, 10, 10, 10, 150, 10]),
    (Action::PutOut, "put-out", [20, 60, 60, 10, 40, 20, 10]),
    (Action::Count, "count", [10, 5, 5, 10, 5, 10, 5]),
    (Action::JumpClock, "jump-clock", [0, 2, 2, 10, 2, 2, 2]),
    (Action::Overfill, "overfill", [2, 2, 10, 2, 10, 2, 2]),
    (Action::BreakDisk, "break-disk", [2, 2, 2, 2, 2, 2, 2]),
    (Action::BreakOpen, "break-open", [2, 2, 2, 2, 2, 2, 2]),
    (Action::Unwind, "unwind", [0, 1, 1, 5, 1, 1, 1]),
]);

impl Action {
    /// How many there are.
    pub(super) const COUNT: usize = MIX.0.len();

    /// Names, in the order of the actions.
    pub(super) const NAMES: [&str; Self::COUNT] = MIX.names();
}

/// What decisions are drawn from.
pub(super) type Deck = mix::Deck<Action, { Action::COUNT }>;

pub(super) fn deck(rates: &Rates) -> Deck {
    MIX.deck(rates, fault)
}

/// The faults that a thread decides on. Others strike whole lives.
fn fault(action: Action) -> Option<Fault> {
    match action {
        Action::Unwind => Some(Fault::Panic),
        Action::JumpClock => Some(Fault::Clock),
        Action::Abandon | Action::TakeBack => Some(Fault::Die),
        _ => None,
    }
}

/// Bytes of a document or an output.
pub(super) fn size(phase: Phase, rng: &mut Rng) -> usize {
    match phase {
        Phase::BigAndSmall if rng.u8(0..4) == 0 => rng.usize(50_000..300_000),
        Phase::BigAndSmall => 1,
        Phase::NearExhaustion => rng.usize(2_000..20_000),
        _ => rng.usize(10..2_000),
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
