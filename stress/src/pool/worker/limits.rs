//! Quotas and reserves of the own agents that come and go. The steady one has none: others hand over to it, and
//! the books do not say what it has.

use latchless::{AgentLimits, AllocateError, ReserveError, TransferError};

use super::agents::one_that_goes;
use super::held::Place;
use super::{OWN_AGENTS, STEADY, Worker};
use crate::pool::Came;
use crate::pool::commons::Sweeps;
use crate::violation::Violation;

/// The limits that were set for an agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Limits {
    quota: Option<u32>,
    reserve: u32,
}

impl Limits {
    pub(super) fn has_quota(&self) -> bool {
        self.quota.is_some()
    }
}

/// What its limits say of an agent's next request. Nothing of one that has none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bounds {
    quota: Option<Quota>,
    kept: Option<Kept>,
}

/// Blocks that an agent may have, and those that it has by the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Quota {
    quota: u32,
    used: u32,
}

/// Blocks that are free for an agent alone, as long as nobody begins to reconfigure.
#[derive(Debug, Clone, Copy)]
struct Kept {
    blocks: u32,
    reconfigures: u64,
}

impl Bounds {
    /// Judges that so many blocks were given.
    pub(super) fn given(&self, blocks: u32) -> Result<(), Violation> {
        match self.quota {
            Some(Quota { quota, used }) if blocks > quota.saturating_sub(used) => {
                Err(Violation::answer("more than a quota was given", (blocks, self.quota)))
            }
            _ => Ok(()),
        }
    }

    /// Judges that so many blocks were not to be had. Nothing is said while somebody reconfigures: that has every
    /// reserve in its hands for a moment.
    pub(super) fn exhausted(&self, blocks: u32, reconfigures: &Sweeps) -> Result<(), Violation> {
        match self.kept {
            Some(Kept { blocks: kept, reconfigures: before })
                if blocks <= kept && reconfigures.stand_at(before) =>
            {
                Err(Violation::answer("a reserve has what was refused", (blocks, kept)))
            }
            _ => Ok(()),
        }
    }

    /// Judges a refusal of so many blocks because an agent that has `used` may have `quota`.
    pub(super) fn over_quota(&self, blocks: u32, used: u32, quota: u32) -> Result<(), Violation> {
        let said = Quota { quota, used };
        if self.quota == Some(said) && blocks > quota.saturating_sub(used) {
            return Ok(());
        }
        Err(Violation::answer("a refusal for a quota", (blocks, said, self.quota)))
    }
}

impl Worker<'_, '_> {
    /// The bounds of an own agent's next request: read before anything is taken out of the books.
    pub(super) fn bounds(&self, agent: usize) -> Bounds {
        let Limits { quota, reserve } = self.own[agent].limits;
        let quota = quota.map(|quota| Quota { quota, used: self.booked(agent) });
        let kept = (reserve > 0).then(|| self.kept(agent)).flatten();
        Bounds { quota, kept }
    }

    /// What is free in an own agent's reserve: only this thread takes of it, and whoever reconfigures.
    fn kept(&self, agent: usize) -> Option<Kept> {
        let reconfigures = self.world.reconfigures.settled()?;
        let limits = self.world.pool.limits(self.own[agent].handle)?;
        Some(Kept { blocks: limits.reserve_free, reconfigures })
    }

    pub(super) fn over_quota(
        &mut self,
        bounds: &Bounds,
        blocks: u32,
        refused: &AllocateError,
    ) -> Result<(), Violation> {
        match *refused {
            AllocateError::QuotaExceeded { requested, used, quota } if requested == blocks => {
                bounds.over_quota(blocks, used, quota)?;
                self.counts.outcomes[Came::OverQuota as usize] += 1;
                Ok(())
            }
            error => Err(Violation::answer("an allocation for a registered agent", error)),
        }
    }

    /// Judges a transfer of so many blocks, or their sharing, from where they are to an agent of such bounds;
    /// whether it was done.
    pub(super) fn moved(
        &mut self,
        from: Place,
        to: &Bounds,
        blocks: u32,
        moved: Result<(), TransferError>,
    ) -> Result<bool, Violation> {
        match moved {
            Ok(()) => to.given(blocks).map(|()| true),
            Err(TransferError::QuotaExceeded { requested, used, quota }) if requested == blocks => {
                to.over_quota(blocks, used, quota)?;
                self.counts.outcomes[Came::OverQuota as usize] += 1;
                Ok(false)
            }
            Err(TransferError::ReserveUncovered { needed, available })
                if available < needed && needed <= blocks.min(self.reserve_of(from)) =>
            {
                self.counts.outcomes[Came::Uncovered as usize] += 1;
                Ok(false)
            }
            Err(error) => Err(Violation::answer("a transfer to a registered agent", error)),
        }
    }

    fn reserve_of(&self, place: Place) -> u32 {
        match place {
            Place::Own { agent, .. } => self.own[agent].limits.reserve,
            Place::Common => 0,
        }
    }

    /// Two times of three it may have any number again.
    pub(super) fn set_quota(
        &mut self,
        blocks: u32,
        pick: usize,
        other: usize,
    ) -> Result<(), Violation> {
        let agent = one_that_goes(other);
        // Also less than it has.
        let quota = pick.is_multiple_of(3).then(|| blocks.saturating_mul(1 + other as u32 % 4));
        self.limit_quota(agent, quota)?;
        self.check_limits(agent)
    }

    /// Two times of three it has none any more.
    pub(super) fn set_reserve(
        &mut self,
        blocks: u32,
        pick: usize,
        other: usize,
    ) -> Result<(), Violation> {
        let agent = one_that_goes(other);
        let scale = self.world.scale;
        // So few that all reserves together leave half of the pool to everybody.
        let most = scale.blocks / (u32::from(scale.threads) * 4);
        let reserve = if pick.is_multiple_of(3) { blocks.min(most) } else { 0 };
        self.limit_reserve(agent, reserve)?;
        self.check_limits(agent)
    }

    /// Before a round ends; with nothing held, all of a reserve must be there.
    pub(super) fn lift_limits(&mut self) -> Result<(), Violation> {
        for agent in STEADY + 1..OWN_AGENTS {
            self.check_limits(agent)?;
            self.limit_quota(agent, None)?;
            self.limit_reserve(agent, 0)?;
            self.check_limits(agent)?;
        }
        Ok(())
    }

    /// An agent that came anew has no limits, whatever it had.
    pub(super) fn forget_limits(&mut self, agent: usize) -> Result<(), Violation> {
        self.own[agent].limits = Limits::default();
        self.check_limits(agent)
    }

    /// The pool's limits of an own agent against those that were set; and what is missing in a reserve is never
    /// more than the agent has.
    pub(super) fn check_limits(&self, agent: usize) -> Result<(), Violation> {
        let own = &self.own[agent];
        let kept = self.kept(agent);
        let Some(AgentLimits { quota, reserve, reserve_free }) = self.world.pool.limits(own.handle)
        else {
            return Err(Violation::answer("a registered agent has limits", &own.id));
        };
        if (Limits { quota, reserve }) != own.limits || reserve_free > reserve {
            return Err(Violation::answer(
                "an agent's limits",
                (&own.id, own.limits, reserve, reserve_free),
            ));
        }
        match kept {
            Some(Kept { blocks, reconfigures })
                if reserve > blocks + self.booked(agent)
                    && self.world.reconfigures.stand_at(reconfigures) =>
            {
                Err(Violation::answer(
                    "a reserve misses more than its agent has",
                    (&own.id, reserve, blocks, self.booked(agent)),
                ))
            }
            _ => Ok(()),
        }
    }

    fn limit_quota(&mut self, agent: usize, quota: Option<u32>) -> Result<(), Violation> {
        let own = &mut self.own[agent];
        let set = self.world.pool.set_quota(own.handle, quota);
        set.map_err(|error| Violation::answer("a quota of a registered agent", error))?;
        own.limits.quota = quota;
        Ok(())
    }

    fn limit_reserve(&mut self, agent: usize, reserve: u32) -> Result<(), Violation> {
        let own = &mut self.own[agent];
        let grows_by = reserve.saturating_sub(own.limits.reserve);
        match self.world.pool.set_reserve(own.handle, reserve) {
            Ok(()) => {
                own.limits.reserve = reserve;
                Ok(())
            }
            Err(ReserveError::Exhausted { requested, missing, available })
                if requested == reserve && missing == grows_by && available < missing =>
            {
                Ok(())
            }
            Err(error) => Err(Violation::answer("a reserve of a registered agent", error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(quota: u32, used: u32) -> Bounds {
        Bounds { quota: Some(Quota { quota, used }), kept: None }
    }

    #[test]
    fn more_than_a_quota_is_seen() {
        assert_eq!(bounds(10, 7).given(3), Ok(()));
        assert!(bounds(10, 7).given(4).is_err());
        assert!(bounds(5, 7).given(1).is_err(), "lowered below what the agent has");
        assert_eq!(Bounds::default().given(u32::MAX), Ok(()));
    }

    #[test]
    fn a_refusal_of_what_a_reserve_has_is_seen() {
        let reconfigures = Sweeps::default();
        let kept = Some(Kept { blocks: 5, reconfigures: 0 });
        let bounds = Bounds { quota: None, kept };
        assert!(bounds.exhausted(5, &reconfigures).is_err());
        assert_eq!(bounds.exhausted(6, &reconfigures), Ok(()));
        assert_eq!(Bounds::default().exhausted(1, &reconfigures), Ok(()));
        reconfigures.sweep(|| assert_eq!(bounds.exhausted(5, &reconfigures), Ok(())));
        assert_eq!(bounds.exhausted(5, &reconfigures), Ok(()), "it was there in between");
    }

    #[test]
    fn a_refusal_for_a_quota_with_room_is_seen() {
        assert_eq!(bounds(10, 7).over_quota(4, 7, 10), Ok(()));
        assert_eq!(bounds(5, 7).over_quota(1, 7, 5), Ok(()));
        assert!(bounds(10, 7).over_quota(3, 7, 10).is_err(), "it fits");
        assert!(bounds(10, 7).over_quota(4, 8, 10).is_err(), "it has less");
        assert!(Bounds::default().over_quota(1, 0, 0).is_err(), "it has no quota");
    }
}
