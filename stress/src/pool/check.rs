//! The check between two rounds: nobody runs, so everything must be free, and nothing is excused.

use latchless::{AgentHandle, AgentId, BlockPool, Directory, ModelSpec};

use crate::pool::canary::Canary;
use crate::pool::worker::{OWN_AGENTS, own_name};
use crate::violation::Violation;

/// What a settled run consists of.
pub(crate) struct Settled<'a> {
    pub(crate) pool: &'a BlockPool,
    pub(crate) directory: &'a Directory,
    pub(crate) canary: &'a Canary,
    pub(crate) commons: &'a [AgentId],
    pub(crate) steady: &'a [(AgentId, AgentHandle)],
}

impl Settled<'_> {
    /// Checks that nothing is out and nobody is charged, unregisters the agents of the round and gives
    /// the pool its next geometry, for which every permit must be had at once.
    pub(crate) fn check(&self, next: &ModelSpec) -> Result<(), Violation> {
        match self.pool.waiters() {
            0 => {}
            waiters => return Err(Violation::answer("nobody waits after a round", waiters)),
        }
        self.no_agent_is_charged()?;
        self.every_block_is_free()?;
        if let Some((block, mark)) = self.canary.first_marked() {
            return Err(Violation::StillMarked { block, mark });
        }
        self.pool.reconfigure(next).map_err(Violation::NotReconfigurable)?;
        self.every_block_is_free()?;
        self.agents_leave()
    }

    /// Unregisters the agents that stayed for the whole run.
    pub(crate) fn end(&self) -> Result<(), Violation> {
        for (id, _) in self.steady {
            self.leave(id)?;
        }
        if self.directory.is_empty() {
            Ok(())
        } else {
            let agent = format!("{} of the directory", self.directory.len());
            Err(Violation::Directory { agent, state: "still registered" })
        }
    }

    fn no_agent_is_charged(&self) -> Result<(), Violation> {
        for id in self.commons.iter().cloned().chain(self.own_names()?) {
            let charged = self.directory.get(&id).map_or(0, |agent| self.pool.used_by(agent));
            not_charged(&id, charged)?;
        }
        for (id, agent) in self.steady {
            if self.directory.get(id) != Some(*agent) {
                return Err(Violation::Directory { agent: id.to_string(), state: "gone" });
            }
            not_charged(id, self.pool.used_by(*agent))?;
        }
        Ok(())
    }

    fn every_block_is_free(&self) -> Result<(), Violation> {
        let not_free = |state, count, first| Err(Violation::NotFree { state, count, first });
        let census = self.pool.census();
        if let Some(block) = census.in_flight.first() {
            return not_free("in flight", census.in_flight.len() as u32, Some(*block));
        }
        if census.owned_total() > 0 {
            return not_free("owned", census.owned_total(), None);
        }
        if census.shared > 0 {
            return not_free("shared", census.shared, None);
        }
        if census.free != census.total {
            return not_free("nowhere", census.total - census.free, None);
        }
        let usage = self.pool.usage();
        match (usage.used, usage.reserved) {
            (0, 0) => Ok(()),
            (0, reserved) => not_free("in a reserve", reserved, None),
            (used, _) => not_free("without a permit", used, None),
        }
    }

    fn agents_leave(&self) -> Result<(), Violation> {
        for id in self.commons.iter().filter(|id| self.directory.get(id).is_some()) {
            self.leave(id)?;
        }
        self.own_names()?.iter().try_for_each(|id| self.leave(id))
    }

    fn leave(&self, id: &AgentId) -> Result<(), Violation> {
        match self.directory.unregister(id) {
            Some(charged) => not_charged(id, charged),
            None => Err(Violation::Directory { agent: id.to_string(), state: "gone" }),
        }
    }

    /// Names of the agents that come and go with a round.
    fn own_names(&self) -> Result<Vec<AgentId>, Violation> {
        (0..self.steady.len() as u16)
            .flat_map(|thread| (1..OWN_AGENTS).map(move |i| own_name(thread, i)))
            .collect()
    }
}

fn not_charged(id: &AgentId, charged: u32) -> Result<(), Violation> {
    match charged {
        0 => Ok(()),
        charged => Err(Violation::WrongCharge { agent: id.to_string(), expected: 0, charged }),
    }
}

#[cfg(test)]
mod tests {
    use std::mem;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Waker};

    use latchless::{BlockId, LayerId, PoolConfig};

    use super::*;
    use crate::pool::canary::Mark;

    /// Checks a pool of which `plant` has done something to the steady agent.
    fn check_after(plant: impl FnOnce(&BlockPool, AgentHandle, &Canary)) -> Result<(), Violation> {
        let spec = ModelSpec::new(1, 1, 1, 1).unwrap();
        let pool = Arc::new(BlockPool::new(PoolConfig::new(100, spec.clone())).unwrap());
        let directory = Directory::new(Arc::clone(&pool));
        let canary = Canary::new(100, 0);
        let id = own_name(0, 0).unwrap();
        let agent = directory.register(id.clone()).unwrap();
        for i in 1..OWN_AGENTS {
            directory.register(own_name(0, i).unwrap()).unwrap();
        }
        plant(&pool, agent, &canary);
        let steady = &[(id, agent)];
        let settled =
            Settled { pool: &pool, directory: &directory, canary: &canary, commons: &[], steady };
        settled.check(&spec)?;
        settled.end()
    }

    #[test]
    fn a_settled_pool_passes() {
        assert_eq!(
            check_after(|pool, agent, _| drop(pool.allocate(agent, LayerId(0), 5).unwrap())),
            Ok(())
        );
    }

    #[test]
    fn a_planted_leak_is_seen() {
        let leaked =
            check_after(|pool, agent, _| mem::forget(pool.allocate(agent, LayerId(0), 5).unwrap()));
        let agent = own_name(0, 0).unwrap().to_string();
        assert_eq!(leaked, Err(Violation::WrongCharge { agent, expected: 0, charged: 5 }));
    }

    #[test]
    fn a_planted_leak_of_a_shared_block_is_seen() {
        let leaked = check_after(|pool, agent, _| {
            let mut lease = pool.allocate(agent, LayerId(0), 1).unwrap();
            mem::forget(lease.share(agent).unwrap());
            drop(lease);
            pool.free_agent(agent);
        });
        assert_eq!(leaked, Err(Violation::NotFree { state: "shared", count: 1, first: None }));
    }

    #[test]
    fn a_reserve_that_was_left_is_seen() {
        let left = check_after(|pool, agent, _| pool.set_reserve(agent, 5).unwrap());
        assert_eq!(left, Err(Violation::NotFree { state: "in a reserve", count: 5, first: None }));
    }

    #[test]
    fn a_place_in_the_queue_that_was_left_is_seen() {
        let left = check_after(|pool, agent, _| {
            let _all = pool.allocate(agent, LayerId(0), 100).unwrap();
            let mut waits = pool.allocate_async(agent, LayerId(0), 1);
            let look = Pin::new(&mut waits).poll(&mut Context::from_waker(Waker::noop()));
            assert!(look.is_pending());
            mem::forget(waits);
        });
        assert_eq!(left, Err(Violation::answer("nobody waits after a round", 1)));
    }

    #[test]
    fn a_planted_mark_is_seen() {
        let marked = check_after(|_, _, canary| canary.take([BlockId(7)], Mark::firm(3)).unwrap());
        let mark = Mark::firm(3);
        assert_eq!(marked, Err(Violation::StillMarked { block: BlockId(7), mark }));
    }
}
