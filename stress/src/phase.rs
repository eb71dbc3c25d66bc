//! Phases: the kinds of load that every part goes through, one a round. What a kind means for a part, its
//! mix of decisions says.

use clap::ValueEnum;

/// A kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub(crate) enum Phase {
    /// Everybody keeps within his share: nothing may be refused, and nothing lost.
    Calm,
    /// As much at a time as gets in.
    Burst,
    /// More is wanted than there is.
    NearExhaustion,
    /// Agents come, go, die and are taken for dead.
    AgentChurn,
    /// Large requests beside small ones.
    BigAndSmall,
    /// Many use the same.
    SharedPrefixes,
    /// What all work with is replaced again and again.
    SwapAfterSwap,
}

/// How many there are.
pub(crate) const PHASES: usize = Phase::ALL.len();

impl Phase {
    /// In the order in which they follow each other.
    pub(crate) const ALL: [Self; 7] = [
        Self::Calm,
        Self::Burst,
        Self::NearExhaustion,
        Self::AgentChurn,
        Self::BigAndSmall,
        Self::SharedPrefixes,
        Self::SwapAfterSwap,
    ];

    /// The phase of a round.
    pub(crate) fn of_round(round: u64) -> Self {
        Self::ALL[(round % PHASES as u64) as usize]
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Burst => "burst",
            Self::NearExhaustion => "near exhaustion",
            Self::AgentChurn => "agent churn",
            Self::BigAndSmall => "big and small",
            Self::SharedPrefixes => "shared prefixes",
            Self::SwapAfterSwap => "swap after swap",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_go_through_all_phases() {
        let seven: Vec<_> = (7..14).map(Phase::of_round).collect();
        assert_eq!(seven, Phase::ALL);
        assert_eq!(Phase::ALL.map(|phase| phase as usize), [0, 1, 2, 3, 4, 5, 6]);
    }
}
