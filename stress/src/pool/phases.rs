//! What a thread decides to do with the pool next, and how large, by phase.

use fastrand::Rng;

use crate::fault::{Fault, Rates};
use crate::mix::{self, Mix};
use crate::phase::Phase;

/// What a thread does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Allocates and frees at once; timed.
    Pair,
    /// Allocates blocks of a layer.
    Allocate,
    /// The same, under handles.
    AllocateHandles,
    /// Allocates a sequence in all layers.
    AllocateSequence,
    /// Allocates for a common agent.
    AllocateCommon,
    Split,
    Merge,
    /// Transfers to another agent of the same thread.
    Transfer,
    /// Transfers to a common agent.
    TransferToCommon,
    /// Shares with another agent of the same thread.
    Share,
    /// Shares with a common agent.
    ShareWithCommon,
    /// Hands a lease over to another thread, transferred to that thread's agent.
    HandOver,
    /// Shares with another thread's agent, and hands its lease over.
    HandOverShare,
    /// Takes what others have handed over.
    Receive,
    /// Drops a lease, or frees its blocks by their handles.
    Free,
    /// Drops a lease while unwinding.
    Unwind,
    /// Allocates, and waits for a moment when there is too little.
    Wait,
    /// The same as a future that is given up after some looks.
    WaitAsync,
    /// The same with a waker that panics.
    PanickingWaker,
    /// Sets the most that an own agent may have, or lifts it.
    SetQuota,
    /// Sets what is kept for an own agent, or lifts it.
    SetReserve,
    IntoHandles,
    /// Makes a lease of handles again.
    LeaseAgain,
    /// Tries to free lists with a bad handle: nothing may be freed.
    FreeBadHandles,
    FreeAgent,
    /// Unregisters an agent and registers it again.
    Reregister,
    FreeCommon,
    UnregisterCommon,
    /// Tries to reconfigure, which must fail while the thread has blocks.
    Reconfigure,
    /// Requests that are wrong whatever the pool holds.
    BadRequest,
    /// Compares the agents' use with the thread's own books.
    CheckBooks,
}

const MIX: Mix<Action, 31> = Mix([
    (Action::Pair, "pair", [150, 100, 150, 100, 100, 80, 150]),
    (Action::Allocate, "allocate", [120, 400, 300, 80, 150, 80, 120]),
    (Action::AllocateHandles, "allocate-handles", [40, 80, 60, 30, 40, 20, 40]),
    (Action::AllocateSequence, "allocate-sequence", [60, 120, 100, 40, 80, 60, 100]),
    // Common agents are freed by other threads, whose frees end at another instant than their owner's
    // books say: not where no request may be refused.
    (Action::AllocateCommon, "allocate-common", [0, 30, 30, 200, 20, 60, 10]),
    (Action::Split, "split", [50, 20, 50, 40, 60, 60, 50]),
    (Action::Merge, "merge", [50, 20, 50, 40, 60, 60, 50]),
    (Action::Transfer, "transfer", [40, 20, 30, 40, 30, 40, 30]),
    (Action::TransferToCommon, "transfer-to-common", [0, 5, 10, 60, 10, 10, 5]),
    (Action::Share, "share", [20, 10, 20, 20, 20, 200, 20]),
    (Action::ShareWithCommon, "share-with-common", [0, 5, 5, 20, 5, 100, 5]),
    (Action::HandOver, "hand-over", [0, 20, 20, 20, 20, 20, 10]),
    (Action::HandOverShare, "hand-over-share", [0, 10, 10, 10, 10, 100, 5]),
    (Action::Receive, "receive", [0, 30, 30, 30, 30, 120, 20]),
    (Action::Free, "free", [180, 120, 150, 120, 200, 200, 180]),
    (Action::Unwind, "unwind", [5, 5, 5, 5, 5, 5, 5]),
    // Who waits does nothing else.
    (Action::Wait, "wait", [1, 1, 1, 1, 1, 1, 1]),
    (Action::WaitAsync, "wait-async", [1, 1, 1, 1, 1, 1, 1]),
    (Action::PanickingWaker, "panicking-waker", [1, 1, 1, 1, 1, 1, 1]),
    // A reserve is not there for others: not where no request may be refused.
    (Action::SetQuota, "set-quota", [0, 2, 2, 2, 2, 2, 2]),
    (Action::SetReserve, "set-reserve", [0, 2, 2, 2, 2, 2, 2]),
    (Action::IntoHandles, "into-handles", [30, 30, 30, 30, 20, 30, 30]),
    (Action::LeaseAgain, "lease-again", [15, 15, 15, 15, 10, 15, 15]),
    (Action::FreeBadHandles, "free-bad-handles", [10, 5, 10, 20, 10, 10, 10]),
    (Action::FreeAgent, "free-agent", [5, 40, 5, 30, 5, 5, 20]),
    (Action::Reregister, "reregister", [5, 5, 5, 40, 5, 5, 10]),
    (Action::FreeCommon, "free-common", [0, 5, 5, 30, 5, 10, 5]),
    (Action::UnregisterCommon, "unregister-common", [0, 5, 5, 30, 5, 10, 5]),
    (Action::Reconfigure, "reconfigure", [0, 2, 2, 2, 2, 2, 100]),
    (Action::BadRequest, "bad-request", [5, 5, 5, 5, 5, 5, 5]),
    (Action::CheckBooks, "check-books", [30, 10, 30, 30, 30, 30, 30]),
]);

impl Action {
    /// How many there are.
    pub(crate) const COUNT: usize = MIX.0.len();

    /// Names, in the order of the actions.
    pub(crate) const NAMES: [&str; Self::COUNT] = MIX.names();
}

/// What decisions are drawn from.
pub(crate) type Deck = mix::Deck<Action, { Action::COUNT }>;

pub(crate) fn deck(rates: &Rates) -> Deck {
    MIX.deck(rates, fault)
}

fn fault(action: Action) -> Option<Fault> {
    matches!(action, Action::Unwind | Action::PanickingWaker).then_some(Fault::Panic)
}

/// One decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) action: Action,
    /// Blocks to ask for, where it is about blocks.
    pub(crate) blocks: u32,
    /// Chooses among what the thread holds.
    pub(crate) pick: usize,
    /// Chooses the other one: an agent, a thread, a layer, another lease.
    pub(crate) other: usize,
}

/// How large requests are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// Blocks of the pool.
    pub(crate) blocks: u32,
    /// Threads that share it.
    pub(crate) threads: u16,
}

/// Blocks at which a thread begins to free instead of taking more.
pub(crate) fn target(phase: Phase, scale: Scale) -> u32 {
    let share = scale.blocks / u32::from(scale.threads);
    match phase {
        Phase::Calm | Phase::SwapAfterSwap => share,
        Phase::AgentChurn | Phase::SharedPrefixes => share / 2,
        Phase::Burst | Phase::NearExhaustion | Phase::BigAndSmall => scale.blocks,
    }
}

/// The next decision.
pub(crate) fn decide(deck: &Deck, phase: Phase, rng: &mut Rng, scale: Scale) -> Decision {
    let action = deck.draw(phase, rng);
    Decision { action, blocks: size(phase, rng, scale), pick: rng.usize(..), other: rng.usize(..) }
}

fn size(phase: Phase, rng: &mut Rng, Scale { blocks, threads }: Scale) -> u32 {
    // Large pools are filled by larger requests, not by ever more of them.
    let filling = (blocks / (u32::from(threads) * 128)).max(1);
    let most = match phase {
        Phase::Calm | Phase::SharedPrefixes | Phase::SwapAfterSwap => 16 * filling,
        Phase::Burst => 8 * filling,
        // Short operations on few agents: the more often one meets the end of its agent.
        Phase::AgentChurn => 4,
        Phase::NearExhaustion => 64 * filling,
        Phase::BigAndSmall if rng.u8(0..4) == 0 => blocks / 4,
        Phase::BigAndSmall => 1,
    };
    rng.u32(1..=most.clamp(1, blocks))
}

/// How many of a hundred decisions are a fault, by phase.
#[cfg(test)]
pub(crate) fn percent(what: Fault) -> Option<[f64; crate::phase::PHASES]> {
    MIX.percent(what, fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCALE: Scale = Scale { blocks: 4_096, threads: 4 };

    #[test]
    fn the_mix_is_in_order_and_drawn_by_its_weights() {
        MIX.check(|action| action as usize, fault);
    }

    #[test]
    fn nobody_asks_for_more_than_there_is() {
        let (deck, mut rng) = (deck(&Rates::default()), Rng::with_seed(1));
        for phase in Phase::ALL {
            let sizes = (0..20_000).map(|_| decide(&deck, phase, &mut rng, SCALE).blocks);
            assert!(sizes.into_iter().all(|blocks| (1..=SCALE.blocks).contains(&blocks)));
        }
    }

    #[test]
    fn the_smallest_pool_has_sizes_too() {
        let (deck, mut rng) = (deck(&Rates::default()), Rng::with_seed(1));
        for phase in Phase::ALL {
            let scale = Scale { blocks: 1, threads: 64 };
            assert_eq!(decide(&deck, phase, &mut rng, scale).blocks, 1);
        }
    }
}
