//! What a keeper decides to do with the cache, by phase.

use fastrand::Rng;

use crate::fault::Rates;
use crate::mix::{self, Mix};
use crate::phase::Phase;

/// Bytes of a state at most, about.
pub(super) const STATE: usize = 24 << 10;

/// What a keeper does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Action {
    Save,
    /// Loads what an agent of its own has.
    Load,
    /// Loads what an agent of another thread has, which may save meanwhile.
    LoadAnothers,
    /// Asks what there is, without the disk.
    Look,
    Forget,
    /// Saves on a disk that has no room left somewhere in the file.
    FillDisk,
    /// Saves on a disk that takes nothing.
    BreakSave,
    /// Loads without a descriptor to be had.
    BreakLoad,
}

const MIX: Mix<Action, 8> = Mix([
    (Action::Save, "cache-save", [40, 80, 80, 40, 60, 60, 100]),
    (Action::Load, "cache-load", [30, 20, 20, 30, 30, 20, 20]),
    (Action::LoadAnothers, "cache-load-another's", [10, 10, 10, 10, 10, 80, 10]),
    (Action::Look, "cache-look", [20, 10, 10, 20, 10, 20, 10]),
    (Action::Forget, "cache-forget", [4, 4, 4, 30, 4, 4, 20]),
    (Action::FillDisk, "cache-fill-disk", [6, 6, 10, 6, 6, 6, 6]),
    (Action::BreakSave, "cache-break-save", [4, 4, 4, 4, 4, 4, 4]),
    (Action::BreakLoad, "cache-break-load", [4, 4, 4, 4, 4, 4, 4]),
]);

impl Action {
    /// How many there are.
    pub(in crate::store) const COUNT: usize = MIX.0.len();

    /// Names, in the order of the actions.
    pub(in crate::store) const NAMES: [&str; Self::COUNT] = MIX.names();
}

/// What decisions are drawn from. The faults among them strike whole lives, which rates are about.
pub(in crate::store) type Deck = mix::Deck<Action, { Action::COUNT }>;

pub(in crate::store) fn deck() -> Deck {
    MIX.deck(&Rates::default(), |_| None)
}

/// Bytes of a state.
pub(super) fn size(phase: Phase, rng: &mut Rng) -> usize {
    match phase {
        Phase::BigAndSmall if rng.bool() => 1,
        Phase::BigAndSmall => STATE,
        _ => rng.usize(STATE / 2..STATE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_is_in_order_and_drawn_by_its_weights() {
        MIX.check(|action| action as usize, |_| None);
    }
}
