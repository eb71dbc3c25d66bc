//! Freeing whole agents, and the whole pool.

use smallvec::SmallVec;

use super::BlockPool;
use super::accounts::{AgentHandle, Tenure};
use super::owners::{Extent, Kind, Word};
use super::span::{FULL, SPAN_BLOCKS, blocks_of};
use crate::mutant::mutant;
use crate::sync::thread_index;

/// What [`BlockPool::force_clear`] took.
///
/// ```
/// use latchless::{BlockPool, LayerId, ModelSpec, PoolConfig, Cleared};
/// # let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(2, 8, 128, 16)?))?;
/// # let agent = pool.open_account()?;
/// let lease = pool.allocate(agent, LayerId(0), 5)?;
/// assert_eq!(pool.force_clear(), Cleared { agents: 1, blocks: 5 });
/// drop(lease); // inert
/// assert_eq!(pool.usage().free, 20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleared {
    /// Agents that had blocks.
    pub agents: u32,
    /// Blocks they had; a shared one counts for each holder.
    pub blocks: u32,
}

impl BlockPool {
    /// Takes all blocks from an agent, which stays registered, and returns how many it had; 0 for an
    /// agent that has left. Its leases are inert from then on and its handles stale. Blocks that it
    /// shares stop counting for it and are freed with the last lease on them.
    ///
    /// One instant decides: what was allocated before it goes, what comes after it stays. Costs a walk
    /// over those 64ths of the pool in which the agent has had blocks since it was registered.
    pub fn free_agent(&self, agent: AgentHandle) -> u32 {
        let Some((tenure, had)) = self.accounts.sweep(agent) else {
            return 0;
        };
        if had > 0 {
            self.free_before(tenure);
        }
        had
    }

    /// Unregisters an agent, with the same effect on its blocks as [`free_agent`](Self::free_agent). Its
    /// reserve goes back to the pool. `None` when it has left already.
    pub fn close_account(&self, agent: AgentHandle) -> Option<u32> {
        let (tenure, had) = self.accounts.close(agent)?;
        if had > 0 {
            self.free_before(tenure);
        }
        if mutant("sweep.reserve-left-behind") {
            self.accounts.vacate(agent.slot());
            return Some(had);
        }
        let reserved = self.accounts.dissolve_reserve(agent.slot());
        if reserved > 0 {
            self.permits.release(reserved, thread_index());
        }
        self.accounts.vacate(agent.slot());
        Some(had)
    }

    /// Takes all blocks from all agents, shared ones included. Leases are inert from then on, handles
    /// stale. What is allocated while this runs may stay or go.
    pub fn force_clear(&self) -> Cleared {
        let mut cleared = Cleared { agents: 0, blocks: 0 };
        let mut tenures = Vec::new();
        for agent in (0..self.accounts.slots()).filter_map(|slot| self.accounts.at(slot)) {
            if let Some((tenure, had)) = self.accounts.sweep(agent)
                && had > 0
            {
                cleared.agents += 1;
                cleared.blocks += had;
                tenures.push((agent.slot(), tenure));
            }
        }
        self.free_if(u64::MAX, |word| {
            word.kind() == Kind::Shared
                || tenures
                    .binary_search_by_key(&word.value(), |(slot, _)| *slot)
                    .is_ok_and(|i| self.is_before(tenures[i].1, word))
        });
        cleared
    }

    /// Frees what an agent was charged before `tenure`.
    fn free_before(&self, tenure: Tenure) {
        self.free_if(self.accounts.regions(tenure.slot()), |word| {
            (word.kind() != Kind::Shared || mutant("sweep.shared-blocks-too"))
                && word.value() == tenure.slot()
                && self.is_before(tenure, word)
        });
    }

    fn is_before(&self, tenure: Tenure, word: Word) -> bool {
        // The word was read before the account is: if its tag were ambiguous, so many tenures would have
        // begun that we do not judge. Each of them is followed by a walk, and those see everything that this one
        // leaves.
        (tenure.is_after(word.tag()) || mutant("sweep.any-tenure"))
            && self.accounts.can_judge(tenure)
    }

    /// Frees every run, and every single block, of these regions whose owner word says so.
    fn free_if(&self, regions: u64, condemned: impl Fn(Word) -> bool) {
        let home = thread_index();
        for (i, span) in self.blocks.spans_of(regions) {
            let mut freed = self.free_handed(i, &condemned, home);
            for bit in blocks_of(0, FULL & !span.free.load()) {
                let word = span.owners.load(bit);
                let is_run = !matches!(word.kind(), Kind::Free | Kind::Moving | Kind::Handed);
                if !is_run || !condemned(word) {
                    continue;
                }
                let Extent { mask, spans } = span.owners.extent(bit, word);
                if span.owners.revoke(bit, word) {
                    if mask == FULL {
                        self.blocks.free_spans(i, spans as usize, home);
                    } else {
                        self.blocks.free(i, mask, home);
                    }
                    let blocks = mask.count_ones() * spans;
                    if word.kind() != Kind::Shared && self.accounts.is_limited(word.value()) {
                        self.refund(word.value(), blocks, home);
                    } else {
                        freed += blocks;
                    }
                }
            }
            if freed > 0 {
                self.permits.release(freed, home);
            }
        }
    }

    /// Frees the blocks of a span that are out under handles and whose owner word says so. Returns how many
    /// permits are to be released for them: those of agents with limits go to their reserves first.
    fn free_handed(&self, span: usize, condemned: impl Fn(Word) -> bool, home: usize) -> u32 {
        let owners = &self.blocks.spans[span].owners;
        let mask = owners.claim_condemned(condemned);
        if mask == 0 {
            return 0;
        }
        let mut limited: SmallVec<[u32; SPAN_BLOCKS as usize]> = SmallVec::new();
        owners.end_handed(mask, |word| {
            if self.accounts.is_limited(word.value()) {
                limited.push(word.value());
            }
        });
        self.blocks.free(span, mask, home);
        for slot in &limited {
            self.refund(*slot, 1, home);
        }
        mask.count_ones() - limited.len() as u32
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;
    use crate::id::LayerId;
    use crate::model::ModelSpec;
    use crate::pool::PoolConfig;

    /// A thread was frozen between the end of a tenure and the walk. Whoever frees the agent meanwhile finds
    /// nothing charged, and does not walk.
    #[test]
    fn sweeps_of_nothing_do_not_hide_blocks_from_a_walk_that_is_late() {
        let model = ModelSpec::new(2, 8, 128, 16).unwrap();
        let pool = BlockPool::new(PoolConfig::new(100, model)).unwrap();
        for sweeps in [0, 7, 8, 31, 32, 33, 8_191, 8_192] {
            let agent = pool.open_account().unwrap();
            pool.allocate(agent, LayerId(0), 26).unwrap().into_handles();
            let (tenure, had) = pool.accounts.sweep(agent).unwrap();
            for _ in 0..sweeps {
                assert_eq!(pool.free_agent(agent), 0);
            }
            let later = pool.allocate(agent, LayerId(0), 5).unwrap();
            pool.free_before(tenure);
            assert_eq!((had, pool.used_by(agent), pool.usage().used), (26, 5, 5), "{sweeps}");
            drop(later);
            assert_eq!(pool.close_account(agent), Some(0));
        }
    }
}
