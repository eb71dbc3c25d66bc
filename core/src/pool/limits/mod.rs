//! Limits: the most blocks that an agent may have, and those that are always there for it.
//!
//! # Quota
//!
//! The CAS that charges blocks to an agent decides; see [`accounts`](super::accounts). An allocation
//! looks before it takes anything, so that an agent at its quota costs the others nothing.
//!
//! # Reserve
//!
//! A reserve is permits that were taken out of the pool and lie in the account: nobody else can have
//! them, and none is ever promised twice, because each is in one word at a time. An agent's allocations
//! take from its reserve first, and the blocks that are freed as the agent's fill it up first.
//!
//! So what is missing in a reserve is never more than the blocks that its agent holds alone: these come
//! back to it whatever happens. Blocks that leave the agent in another way (a transfer, or sharing, after
//! which somebody else may be the one who frees them) would break that, so that the pool has to cover them
//! at that moment, or the lease stays as it is.
//!
//! # Why a refusal is exact
//!
//! An agent with a reserve looks at two words or more: the reserve, which is found empty, then the
//! pool's permits, which are refused. Blocks may come into the reserve and leave it between the two. So
//! the reserve is looked at once more: unchanged, by its stamp, it was empty at the very instant at which
//! the permits were too few. Otherwise somebody else got on, and the attempt is repeated. This look is a
//! CAS that changes nothing, because a load may be late: taking permits publishes nothing, so that
//! whoever sees them gone need not see what their taker did before.
//!
//! Permits that another allocation of the same agent has in hand at that instant are not free, even if
//! that one is going to be refused and put them back.

mod words;

#[cfg(all(test, latchless_loom))]
mod loom_models;

pub(super) use self::words::{NO_QUOTA, Quota, Reserve, ReserveWord};

use super::BlockPool;
use super::accounts::{AgentHandle, NotCharged, Tenure};
use super::counters::Event;
use super::error::{AllocateError, NoSuchAgent, ReserveError, TransferError};
use super::lease::RawLease;
use super::owners::{Hold, Run};
use super::permits::Refused;
use crate::mutant::mutant;
use crate::sync::thread_index;

/// An agent's limits, as [`BlockPool::limits`] reads them.
///
/// ```
/// use latchless::{AgentLimits, BlockPool, LayerId, ModelSpec, PoolConfig};
/// # let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(2, 8, 128, 16)?))?;
/// # let agent = pool.open_account()?;
/// pool.set_quota(agent, Some(10))?;
/// pool.set_reserve(agent, 4)?;
/// let _lease = pool.allocate(agent, LayerId(0), 1)?;
/// let limits = AgentLimits { quota: Some(10), reserve: 4, reserve_free: 3 };
/// assert_eq!(pool.limits(agent), Some(limits), "the reserve goes first");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentLimits {
    /// The most blocks that the agent may have; `None` for any number.
    pub quota: Option<u32>,
    /// Blocks that are kept for the agent.
    pub reserve: u32,
    /// Those of them that are free now.
    pub reserve_free: u32,
}

impl BlockPool {
    /// Sets the most blocks that an agent may have, shared ones counted for each time that it holds them;
    /// `None` for any number. An agent that has more keeps them, and gets none until it has fewer.
    ///
    /// No charge that comes after this returned goes by an earlier quota.
    ///
    /// # Errors
    /// [`NoSuchAgent`] when the agent has left.
    ///
    /// ```
    /// use latchless::{AllocateError, BlockPool, LayerId, ModelSpec, PoolConfig};
    ///
    /// let pool = BlockPool::new(PoolConfig::new(100, ModelSpec::new(4, 8, 128, 16)?))?;
    /// let agent = pool.open_account()?;
    /// pool.set_quota(agent, Some(10))?;
    /// let lease = pool.allocate(agent, LayerId(0), 8)?;
    /// assert_eq!(
    ///     pool.allocate(agent, LayerId(0), 3).unwrap_err(),
    ///     AllocateError::QuotaExceeded { requested: 3, used: 8, quota: 10 },
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_quota(&self, agent: AgentHandle, quota: Option<u32>) -> Result<(), NoSuchAgent> {
        let set = self.accounts.set_quota(agent, quota.unwrap_or(NO_QUOTA));
        set.then_some(()).ok_or(NoSuchAgent)
    }

    /// Keeps `blocks` blocks for an agent: nobody else's allocation can have them, and they stay the
    /// agent's until its reserve is set again or it leaves. 0 for none.
    ///
    /// The agent's allocations take from its reserve first. The blocks that it frees fill its reserve up
    /// first, so that all of it may be free although the agent has other blocks. The blocks that an agent
    /// has already when its reserve is set do not count: a reserve that grows takes what it grows by out
    /// of the pool, all of it or nothing. Blocks that came out of the reserve and are transferred or shared
    /// are replaced in it from the pool at that moment.
    ///
    /// A request that is larger than what the reserve has counts what another allocation of the same
    /// agent has just taken out of it as used, even if that one is going to be refused and put it back.
    ///
    /// # Errors
    /// [`ReserveError`] when too few blocks are free, or the agent has left; the reserve is as it was.
    ///
    /// ```
    /// use latchless::{BlockPool, LayerId, ModelSpec, PoolConfig};
    ///
    /// let pool = BlockPool::new(PoolConfig::new(100, ModelSpec::new(4, 8, 128, 16)?))?;
    /// let (planner, crowd) = (pool.open_account()?, pool.open_account()?);
    /// pool.set_reserve(planner, 30)?;
    /// let all_others = pool.allocate(crowd, LayerId(0), 70)?;
    /// assert!(pool.allocate(crowd, LayerId(0), 1).is_err());
    /// assert_eq!(pool.allocate(planner, LayerId(0), 30)?.len(), 30);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_reserve(&self, agent: AgentHandle, blocks: u32) -> Result<(), ReserveError> {
        let home = thread_index();
        if blocks > 0 {
            self.accounts.expect_reserves();
        }
        let mut in_hand = 0;
        let set = loop {
            let Some(now) = self.accounts.reserve_of(agent) else {
                break Err(ReserveError::UnknownAgent);
            };
            let missing = blocks.saturating_sub(now.size());
            if missing > in_hand {
                if let Err(Refused { available, .. }) =
                    self.permits.acquire(missing - in_hand, home)
                {
                    let available = available + in_hand;
                    break Err(ReserveError::Exhausted { requested: blocks, missing, available });
                }
                in_hand = missing;
            }
            let next = now.with(blocks, (now.free() + missing).min(blocks));
            if self.accounts.reserve(agent.slot()).change(now, next) {
                in_hand += now.free();
                in_hand -= next.free();
                // Lost only to the end of the agent, which ends its reserve too.
                let there = self.accounts.announce_limits(agent);
                break there.then_some(()).ok_or(ReserveError::UnknownAgent);
            }
        };
        if in_hand > 0 {
            self.permits.release(in_hand, home);
        }
        set
    }

    /// An agent's limits; `None` for one that has left.
    pub fn limits(&self, agent: AgentHandle) -> Option<AgentLimits> {
        let quota = self.accounts.quota(agent)?;
        let reserve = self.accounts.reserve_of(agent)?;
        Some(AgentLimits {
            quota: (quota != NO_QUOTA).then_some(quota),
            reserve: reserve.size(),
            reserve_free: reserve.free(),
        })
    }

    /// Takes permits for an agent that has limits: from its reserve, then from the pool.
    #[cold]
    pub(super) fn acquire_limited(
        &self,
        agent: AgentHandle,
        n: u32,
        home: usize,
    ) -> Result<(), AllocateError> {
        self.accounts.check_quota(agent, n).map_err(|refused| {
            self.permits.counters().add(Event::QuotaRefusal);
            not_allocated(refused, n)
        })?;
        let mut in_hand = 0;
        let refused = loop {
            let Some((taken, left)) = self.take_reserved(agent, n - in_hand) else {
                break AllocateError::UnknownAgent;
            };
            in_hand += taken;
            if in_hand == n {
                return Ok(());
            }
            let Err(refused) = self.permits.acquire(n - in_hand, home) else {
                return Ok(());
            };
            // See "why a refusal is exact".
            if mutant("limits.refused-at-first-look")
                || self.accounts.reserve(agent.slot()).change(left, left)
            {
                let available = refused.available + in_hand;
                break self.exhausted(n, Refused { available, ..refused });
            }
        };
        self.refund(agent.slot(), in_hand, home);
        Err(refused)
    }

    /// Takes up to `n` permits out of an agent's reserve, and returns what is left there.
    fn take_reserved(&self, agent: AgentHandle, n: u32) -> Option<(u32, ReserveWord)> {
        loop {
            let now = self.accounts.reserve_of(agent)?;
            let taken = n.min(now.free());
            if taken == 0 {
                return Some((0, now));
            }
            let left = now.with(now.size(), now.free() - taken);
            if self.accounts.reserve(agent.slot()).change(now, left) {
                return Some((taken, left));
            }
            self.accounts.counters().add(Event::AccountRetry);
        }
    }

    /// Gives permits of blocks that were a slot's back: its reserve comes first, then the pool.
    ///
    /// If the slot has another agent by now it is that one's reserve, which is as right as the pool: no
    /// reserve ever has more than its size.
    #[cold]
    pub(super) fn refund(&self, slot: u32, n: u32, home: usize) {
        let reserve = self.accounts.reserve(slot);
        loop {
            let now = reserve.load();
            let kept = if mutant("limits.refund-past-reserve") { 0 } else { n.min(now.missing()) };
            if kept == 0 || reserve.change(now, now.with(now.size(), now.free() + kept)) {
                if n > kept {
                    self.permits.release(n - kept, home);
                }
                if kept > 0 {
                    // Nobody is granted what a reserve gets back; the agent itself may wait for it.
                    self.permits.wake_waiters();
                }
                return;
            }
            self.accounts.counters().add(Event::AccountRetry);
        }
    }

    /// Charges the blocks of a lease to another agent, which is going to have or to share them, and
    /// covers what the giver's reserve would miss then: permits to be [refunded](Self::refund) to the giver
    /// when the blocks have passed on.
    pub(super) fn charge_receiver(
        &self,
        raw: &RawLease,
        to: AgentHandle,
    ) -> Result<(Tenure, u32), TransferError> {
        let refused = |refused| not_transferred(refused, raw.len);
        // Before the pool is asked to cover anything.
        self.accounts.check_quota(to, raw.len).map_err(refused)?;
        let home = thread_index();
        let covered = self.cover_reserve(raw, home)?;
        let regions = raw.runs.iter().map(|run| self.blocks.regions(run.span(), run.spans()));
        self.accounts.mark(to.slot(), regions.fold(0, |all, regions| all | regions));
        let charged = self.charge_now(to, raw.len).map_err(refused);
        if charged.is_err() && covered > 0 {
            self.permits.release(covered, home);
        }
        charged.map(|tenure| (tenure, covered))
    }

    /// Takes permits out of the pool for the blocks of a lease that the reserve of its agent would miss if
    /// they left the agent now.
    fn cover_reserve(&self, raw: &RawLease, home: usize) -> Result<u32, TransferError> {
        let standing = self.accounts.standing(raw.agent);
        if !standing.is_some_and(|standing| standing.limited && standing.tenure == raw.tenure) {
            return Ok(0);
        }
        let sole = raw.runs.iter().filter(|run| run.hold() == Hold::Sole);
        let leaving = sole.map(Run::len).sum::<u32>();
        let reserve = self.accounts.reserve(raw.agent.slot());
        loop {
            let now = reserve.load();
            let needed = leaving.min(now.missing());
            if needed == 0 || mutant("limits.transfer-uncovered") {
                return Ok(0);
            }
            match self.permits.acquire(needed, home) {
                Ok(()) => return Ok(needed),
                Err(Refused { available, .. }) if reserve.change(now, now) => {
                    return Err(TransferError::ReserveUncovered { needed, available });
                }
                Err(_) => {}
            }
        }
    }

    /// Takes every permit of every reserve; `outside` are the permits that the caller has of the pool.
    /// Err with all given back, and with the number of those that were out, when these are not all.
    pub(super) fn empty_reserves(&self, outside: u32, home: usize) -> Result<Vec<(u32, u32)>, u32> {
        let mut taken = Vec::new();
        let mut missing = self.permits.total() - outside;
        for (slot, _) in self.accounts.reserved() {
            let free = self.accounts.reserve(slot).update(|now| now.with(now.size(), 0)).free();
            taken.push((slot, free));
            missing -= free;
        }
        if missing == 0 {
            return Ok(taken);
        }
        self.refund_all(&taken, home);
        Err(missing)
    }

    /// Undoes [`empty_reserves`](Self::empty_reserves).
    pub(super) fn refund_all(&self, taken: &[(u32, u32)], home: usize) {
        for (slot, free) in taken {
            self.refund(*slot, *free, home);
        }
    }
}

/// A charge that was refused for good, as the answer to an allocation.
pub(super) fn not_allocated(refused: NotCharged, requested: u32) -> AllocateError {
    match refused {
        NotCharged::OverQuota { used, quota } => {
            AllocateError::QuotaExceeded { requested, used, quota }
        }
        NotCharged::NoSuchAgent | NotCharged::TenureOver => AllocateError::UnknownAgent,
    }
}

/// The same as the answer to a transfer.
fn not_transferred(refused: NotCharged, requested: u32) -> TransferError {
    match refused {
        NotCharged::OverQuota { used, quota } => {
            TransferError::QuotaExceeded { requested, used, quota }
        }
        NotCharged::NoSuchAgent | NotCharged::TenureOver => TransferError::UnknownAgent,
    }
}
