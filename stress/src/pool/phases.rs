//! Phases: what a thread decides to do next, and how large.

use fastrand::Rng;

use crate::mix::{Mix, phase_of};

/// A kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Every thread keeps within its share of the pool: no request may be refused.
    Calm,
    /// All threads want more than there is.
    NearExhaustion,
    /// Agents come and go, with their blocks.
    AgentChurn,
    /// Single blocks beside requests for a good part of the pool.
    BigAndSmall,
}

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

const MIX: Mix<Action, 26> = Mix([
    (Action::Pair, "pair", [150, 150, 100, 100]),
    (Action::Allocate, "allocate", [120, 300, 80, 150]),
    (Action::AllocateHandles, "allocate-handles", [40, 60, 30, 40]),
    (Action::AllocateSequence, "allocate-sequence", [60, 100, 40, 80]),
    // Common agents are freed by other threads, whose frees end at another instant than their owner's
    // books say: not where no request may be refused.
    (Action::AllocateCommon, "allocate-common", [0, 30, 200, 20]),
    (Action::Split, "split", [50, 50, 40, 60]),
    (Action::Merge, "merge", [50, 50, 40, 60]),
    (Action::Transfer, "transfer", [40, 30, 40, 30]),
    (Action::TransferToCommon, "transfer-to-common", [0, 10, 60, 10]),
    (Action::Share, "share", [20, 20, 20, 20]),
    (Action::ShareWithCommon, "share-with-common", [0, 5, 20, 5]),
    (Action::HandOver, "hand-over", [0, 20, 20, 20]),
    (Action::HandOverShare, "hand-over-share", [0, 10, 10, 10]),
    (Action::Receive, "receive", [0, 30, 30, 30]),
    (Action::Free, "free", [180, 150, 120, 200]),
    (Action::Unwind, "unwind", [5, 5, 5, 5]),
    (Action::IntoHandles, "into-handles", [30, 30, 30, 20]),
    (Action::LeaseAgain, "lease-again", [15, 15, 15, 10]),
    (Action::FreeBadHandles, "free-bad-handles", [10, 10, 20, 10]),
    (Action::FreeAgent, "free-agent", [5, 5, 30, 5]),
    (Action::Reregister, "reregister", [5, 5, 40, 5]),
    (Action::FreeCommon, "free-common", [0, 5, 30, 5]),
    (Action::UnregisterCommon, "unregister-common", [0, 5, 30, 5]),
    (Action::Reconfigure, "reconfigure", [0, 2, 2, 2]),
    (Action::BadRequest, "bad-request", [5, 5, 5, 5]),
    (Action::CheckBooks, "check-books", [30, 30, 30, 30]),
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

impl Phase {
    pub(crate) const ALL: [Self; 4] =
        [Self::Calm, Self::NearExhaustion, Self::AgentChurn, Self::BigAndSmall];

    /// The phase of a round.
    pub(crate) fn of_round(round: u64) -> Self {
        Self::ALL[phase_of(round)]
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::NearExhaustion => "near exhaustion",
            Self::AgentChurn => "agent churn",
            Self::BigAndSmall => "big and small",
        }
    }

    /// Blocks at which a thread begins to free instead of taking more.
    pub(crate) fn target(self, scale: Scale) -> u32 {
        let share = scale.blocks / u32::from(scale.threads);
        match self {
            Self::Calm => share,
            Self::AgentChurn => share / 2,
            Self::NearExhaustion | Self::BigAndSmall => scale.blocks,
        }
    }

    /// The next decision.
    pub(crate) fn decide(self, rng: &mut Rng, scale: Scale) -> Decision {
        let action = MIX.draw(self as usize, rng);
        Decision {
            action,
            blocks: self.size(rng, scale),
            pick: rng.usize(..),
            other: rng.usize(..),
        }
    }

    fn size(self, rng: &mut Rng, Scale { blocks, threads }: Scale) -> u32 {
        // Large pools are filled by larger requests, not by ever more of them.
        let filling = (blocks / (u32::from(threads) * 128)).max(1);
        let most = match self {
            Self::Calm => 16 * filling,
            // Short operations on few agents: the more often one meets the end of its agent.
            Self::AgentChurn => 4,
            Self::NearExhaustion => 64 * filling,
            Self::BigAndSmall if rng.u8(0..4) == 0 => blocks / 4,
            Self::BigAndSmall => 1,
        };
        rng.u32(1..=most.clamp(1, blocks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCALE: Scale = Scale { blocks: 4_096, threads: 4 };

    #[test]
    fn the_mix_is_in_order_and_drawn_by_its_weights() {
        MIX.check(|action| action as usize);
        assert_eq!(Phase::ALL.map(|phase| phase as usize), [0, 1, 2, 3]);
    }

    #[test]
    fn nobody_asks_for_more_than_there_is() {
        let mut rng = Rng::with_seed(1);
        for phase in Phase::ALL {
            let sizes = (0..20_000).map(|_| phase.decide(&mut rng, SCALE).blocks);
            assert!(sizes.into_iter().all(|blocks| (1..=SCALE.blocks).contains(&blocks)));
        }
    }

    #[test]
    fn the_smallest_pool_has_sizes_too() {
        let mut rng = Rng::with_seed(1);
        for phase in Phase::ALL {
            let scale = Scale { blocks: 1, threads: 64 };
            assert_eq!(phase.decide(&mut rng, scale).blocks, 1);
        }
    }
}
