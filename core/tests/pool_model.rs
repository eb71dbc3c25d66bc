//! Random sequences of operations against a sequential model of the pool: conservation, round trips,
//! isolation of agents, quotas and reserves, exact refusals. Case 13 of the behaviour.
#![cfg(not(any(latchless_loom, latchless_shuttle)))]

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use latchless::{
    AgentHandle, AgentLimits, AllocateError, BlockId, BlockLease, BlockPool, LayerId, ModelSpec,
    PoolConfig, ReserveError, TransferError,
};
use proptest::prelude::*;

const BLOCKS: u32 = 300;
const AGENTS: usize = 3;
const LAYER: LayerId = LayerId(0);

#[derive(Debug, Clone)]
enum Step {
    Allocate { agent: usize, blocks: u32 },
    Drop { lease: usize },
    SplitOff { lease: usize, percent: u32 },
    Merge { into: usize, from: usize },
    Transfer { lease: usize, to: usize },
    Share { lease: usize, with: usize },
    FreeByHandles { lease: usize, percent: u32 },
    FreeAgent { agent: usize },
    Rejoin { agent: usize },
    ForceClear,
    SetQuota { agent: usize, quota: Option<u32> },
    SetReserve { agent: usize, blocks: u32 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..AGENTS, 1..150_u32).prop_map(|(agent, blocks)| Step::Allocate { agent, blocks }),
        4 => any::<usize>().prop_map(|lease| Step::Drop { lease }),
        4 => (any::<usize>(), 1..=100_u32)
            .prop_map(|(lease, percent)| Step::SplitOff { lease, percent }),
        3 => any::<(usize, usize)>().prop_map(|(into, from)| Step::Merge { into, from }),
        3 => (any::<usize>(), 0..AGENTS).prop_map(|(lease, to)| Step::Transfer { lease, to }),
        4 => (any::<usize>(), 0..AGENTS).prop_map(|(lease, with)| Step::Share { lease, with }),
        3 => (any::<usize>(), 0..=100_u32)
            .prop_map(|(lease, percent)| Step::FreeByHandles { lease, percent }),
        1 => (0..AGENTS).prop_map(|agent| Step::FreeAgent { agent }),
        1 => (0..AGENTS).prop_map(|agent| Step::Rejoin { agent }),
        1 => Just(Step::ForceClear),
        1 => (0..AGENTS, prop::option::of(0..250_u32))
            .prop_map(|(agent, quota)| Step::SetQuota { agent, quota }),
        3 => (0..AGENTS, prop_oneof![Just(0), 1..200_u32])
            .prop_map(|(agent, blocks)| Step::SetReserve { agent, blocks }),
    ];
    prop::collection::vec(step, 1..100)
}

/// A shared block and which sharing of it is meant.
type Shared = (BlockId, u32);

/// What a lease holds, beside what it was once given.
#[derive(Debug)]
struct Held {
    agent: AgentHandle,
    /// The agent's number: whoever has it when blocks are freed has them in its reserve first.
    number: usize,
    tenure: u32,
    sole: BTreeSet<BlockId>,
    shared: BTreeSet<Shared>,
}

const NO_LIMITS: AgentLimits = AgentLimits { quota: None, reserve: 0, reserve_free: 0 };

/// A pool without threads: sets and counts.
struct Model {
    tenures: BTreeMap<usize, u32>,
    holders: BTreeMap<Shared, u32>,
    sharings: u32,
    limits: [AgentLimits; AGENTS],
}

struct World<'pool> {
    pool: &'pool BlockPool,
    agents: Vec<AgentHandle>,
    leases: Vec<(BlockLease<'pool>, Held)>,
    model: Model,
}

impl Model {
    fn new() -> Self {
        let (tenures, holders) = (BTreeMap::new(), BTreeMap::new());
        Self { tenures, holders, sharings: 0, limits: [NO_LIMITS; AGENTS] }
    }

    /// A lease ends.
    fn release(&mut self, held: Held) {
        let mut freed = held.sole.len() as u32;
        for block in held.shared {
            if let Some(holders) = self.holders.get_mut(&block) {
                *holders -= 1;
                if *holders == 0 {
                    self.holders.remove(&block);
                    freed += 1;
                }
            }
        }
        self.refund(held.number, freed);
    }

    /// Freed blocks fill the reserve up first.
    fn refund(&mut self, agent: usize, blocks: u32) {
        let AgentLimits { reserve, reserve_free, .. } = &mut self.limits[agent];
        *reserve_free = (*reserve_free + blocks).min(*reserve);
    }

    fn reserved(&self) -> u32 {
        self.limits.iter().map(|limits| limits.reserve_free).sum()
    }
}

impl<'pool> World<'pool> {
    fn new(pool: &'pool BlockPool) -> Self {
        let agents = (0..AGENTS).map(|_| pool.open_account().unwrap()).collect();
        Self { pool, agents, leases: Vec::new(), model: Model::new() }
    }

    fn tenure(&self, agent: AgentHandle) -> Option<u32> {
        let i = self.agents.iter().position(|other| *other == agent)?;
        Some(self.model.tenures.get(&i).copied().unwrap_or(0))
    }

    /// Blocks that are free and reserved for nobody.
    fn available(&self) -> u32 {
        BLOCKS - self.out() - self.model.reserved()
    }

    /// The quota of an agent and what it has, when it may not have `blocks` more.
    fn over_quota(&self, agent: usize, blocks: u32) -> Option<(u32, u32)> {
        let (used, quota) = (self.used_by(self.agents[agent]), self.model.limits[agent].quota?);
        (blocks > quota.saturating_sub(used)).then_some((used, quota))
    }

    /// What a lease may not be passed on for; else the blocks that have to make up for it in the giver's
    /// reserve.
    fn passes_on(&self, lease: usize, to: usize) -> Result<u32, TransferError> {
        let (lease, held) = &self.leases[lease];
        let requested = lease.len();
        if let Some((used, quota)) = self.over_quota(to, requested) {
            return Err(TransferError::QuotaExceeded { requested, used, quota });
        }
        let limits = self.model.limits[held.number];
        let needed = (held.sole.len() as u32).min(limits.reserve - limits.reserve_free);
        let available = self.available();
        if needed > available {
            return Err(TransferError::ReserveUncovered { needed, available });
        }
        Ok(needed)
    }

    fn used_by(&self, agent: AgentHandle) -> u32 {
        let tenure = self.tenure(agent);
        let held = self.leases.iter().map(|(_, held)| held);
        held.filter(|held| held.agent == agent && Some(held.tenure) == tenure)
            .map(|held| (held.sole.len() + held.shared.len()) as u32)
            .sum()
    }

    fn out(&self) -> u32 {
        let sole: usize = self.leases.iter().map(|(_, held)| held.sole.len()).sum();
        (sole + self.model.holders.len()) as u32
    }

    fn pick(&self, lease: usize) -> Option<usize> {
        lease.checked_rem(self.leases.len())
    }

    /// Ends an agent's tenure: what it holds alone is gone. One without blocks goes on.
    fn end_tenure(&mut self, i: usize) {
        let agent = self.agents[i];
        if self.used_by(agent) == 0 {
            return;
        }
        for (_, held) in self.leases.iter_mut().filter(|(_, held)| held.agent == agent) {
            self.model.refund(i, mem::take(&mut held.sole).len() as u32);
        }
        *self.model.tenures.entry(i).or_default() += 1;
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Allocate { agent, blocks } => self.allocate(agent, blocks),
            Step::Drop { lease } => {
                let Some(i) = self.pick(lease) else { return };
                let (lease, held) = self.leases.swap_remove(i);
                drop(lease);
                self.model.release(held);
            }
            Step::SplitOff { lease, percent } => self.split_off(lease, percent),
            Step::Merge { into, from } => self.merge(into, from),
            Step::Transfer { lease, to } => self.transfer(lease, to),
            Step::Share { lease, with } => self.share(lease, with),
            Step::FreeByHandles { lease, percent } => self.free_by_handles(lease, percent),
            Step::FreeAgent { agent } => {
                let had = self.used_by(self.agents[agent]);
                assert_eq!(self.pool.free_agent(self.agents[agent]), had);
                self.end_tenure(agent);
            }
            Step::Rejoin { agent } => {
                let had = self.used_by(self.agents[agent]);
                assert_eq!(self.pool.close_account(self.agents[agent]), Some(had));
                self.end_tenure(agent);
                self.model.limits[agent] = NO_LIMITS;
                self.agents[agent] = self.pool.open_account().unwrap();
            }
            Step::ForceClear => {
                let used: Vec<_> = self.agents.iter().map(|agent| self.used_by(*agent)).collect();
                let cleared = self.pool.force_clear();
                let having = used.iter().filter(|used| **used > 0).count() as u32;
                assert_eq!((cleared.agents, cleared.blocks), (having, used.iter().sum()));
                (0..AGENTS).for_each(|i| self.end_tenure(i));
                self.model.holders.clear();
            }
            Step::SetQuota { agent, quota } => {
                assert_eq!(self.pool.set_quota(self.agents[agent], quota), Ok(()));
                self.model.limits[agent].quota = quota;
            }
            Step::SetReserve { agent, blocks } => self.set_reserve(agent, blocks),
        }
    }

    /// A lease becomes handles; a part of them is freed, the others become a lease again.
    fn free_by_handles(&mut self, lease: usize, percent: u32) {
        let Some(i) = self.pick(lease) else { return };
        let (lease, mut held) = self.leases.swap_remove(i);
        let layer = lease.layer();
        let handles = lease.into_handles();
        let blocks: BTreeSet<_> = handles.iter().map(|handle| handle.block()).collect();
        assert_eq!(blocks, held.sole);
        let (freed, kept) = handles.split_at(handles.len() * percent as usize / 100);
        assert_eq!(self.pool.free(held.agent, freed), Ok(freed.len() as u32));
        let again = self.pool.lease_from_handles(held.agent, layer, kept).unwrap();
        let sole: BTreeSet<_> = again.blocks().collect();
        assert!(again.layer() == layer && sole.iter().eq(held.sole.iter().skip(freed.len())));
        if let Some(gone) = freed.first().or(kept.first()) {
            assert!(self.pool.free(held.agent, &[*gone]).is_err(), "a handle is good for once");
        }
        let kept = Held { sole, shared: BTreeSet::new(), ..held };
        held.sole.retain(|block| !kept.sole.contains(block));
        self.model.release(held);
        if again.len() > 0 {
            self.leases.push((again, kept));
        }
    }

    fn set_reserve(&mut self, agent: usize, blocks: u32) {
        let available = self.available();
        let AgentLimits { reserve, reserve_free, .. } = &mut self.model.limits[agent];
        let missing = blocks.saturating_sub(*reserve);
        let set = self.pool.set_reserve(self.agents[agent], blocks);
        if missing > available {
            let short = ReserveError::Exhausted { requested: blocks, missing, available };
            assert_eq!(set, Err(short));
        } else {
            assert_eq!(set, Ok(()));
            *reserve = blocks;
            *reserve_free = (*reserve_free + missing).min(blocks);
        }
    }

    fn allocate(&mut self, number: usize, blocks: u32) {
        let agent = self.agents[number];
        let over_quota = self.over_quota(number, blocks);
        let from_reserve = self.model.limits[number].reserve_free.min(blocks);
        let free = self.available() + from_reserve;
        match self.pool.allocate(agent, LAYER, blocks) {
            Ok(lease) => {
                assert!(blocks <= free && over_quota.is_none());
                self.model.limits[number].reserve_free -= from_reserve;
                let sole: BTreeSet<_> = lease.blocks().collect();
                assert_eq!(sole.len() as u32, blocks, "a block twice in one lease");
                let tenure = self.tenure(agent).unwrap();
                let held = Held { agent, number, tenure, sole, shared: BTreeSet::new() };
                self.leases.push((lease, held));
            }
            Err(error) => {
                let exact = match over_quota {
                    Some((used, quota)) => {
                        AllocateError::QuotaExceeded { requested: blocks, used, quota }
                    }
                    None => AllocateError::Exhausted {
                        requested: blocks,
                        available: free,
                        total: BLOCKS,
                        allocated: BLOCKS - free,
                    },
                };
                assert!(over_quota.is_some() || blocks > free);
                assert_eq!(error, exact);
            }
        }
    }

    fn split_off(&mut self, lease: usize, percent: u32) {
        let Some(i) = self.pick(lease) else { return };
        let (lease, held) = &mut self.leases[i];
        let len = lease.len();
        let Ok(off) = lease.split_off((len * percent / 100).max(1)) else {
            assert_eq!(len, 0);
            return;
        };
        assert_eq!(lease.len() + off.len(), len);
        let blocks: BTreeSet<_> = off.blocks().collect();
        assert_eq!(blocks.len() as u32, off.len());
        let split = |block: &BlockId| blocks.contains(block);
        let other = Held {
            sole: held.sole.extract_if(.., split).collect(),
            shared: held.shared.extract_if(.., |(block, _)| split(block)).collect(),
            ..*held
        };
        self.leases.push((off, other));
    }

    fn merge(&mut self, into: usize, from: usize) {
        let Some(from) = self.pick(from) else { return };
        let (lease, mut other) = self.leases.swap_remove(from);
        let Some(into) = self.pick(into) else {
            self.leases.push((lease, other));
            return;
        };
        let (target, held) = &mut self.leases[into];
        let blocks: BTreeSet<_> = target.blocks().collect();
        if lease.blocks().any(|block| blocks.contains(&block)) {
            // Two parts in one shared block, or an inert lease: sets cannot tell them apart.
            self.leases.push((lease, other));
            return;
        }
        let alike = (held.agent, held.tenure) == (other.agent, other.tenure);
        if let Err(error) = target.merge(lease) {
            assert!(!alike);
            self.leases.push((error.0, other));
            return;
        }
        assert!(alike);
        held.sole.append(&mut other.sole);
        held.shared.append(&mut other.shared);
    }

    fn transfer(&mut self, lease: usize, number: usize) {
        let Some(i) = self.pick(lease) else { return };
        let to = self.agents[number];
        let tenure = self.tenure(to).unwrap();
        let covered = self.passes_on(i, number);
        let (lease, held) = &mut self.leases[i];
        let transferred = lease.transfer(to);
        if held.agent == to {
            assert_eq!(transferred, Ok(()));
            return;
        }
        assert_eq!(transferred, covered.map(|_| ()));
        if let Ok(covered) = covered {
            self.model.refund(held.number, covered);
            (held.agent, held.number, held.tenure) = (to, number, tenure);
            assert_eq!(lease.len() as usize, held.sole.len() + held.shared.len());
        }
    }

    fn share(&mut self, lease: usize, number: usize) {
        let Some(i) = self.pick(lease) else { return };
        let with = self.agents[number];
        let tenure = self.tenure(with).unwrap();
        let covered = self.passes_on(i, number);
        let (lease, held) = &mut self.leases[i];
        let copy = match (lease.share(with), covered) {
            (Ok(copy), Ok(covered)) => {
                self.model.refund(held.number, covered);
                copy
            }
            (shared, covered) => {
                assert_eq!(shared.err(), covered.err());
                return;
            }
        };
        // Blocks of a sharing that a force-clear ended are not shared on.
        let mut shared: BTreeSet<_> = held
            .shared
            .iter()
            .copied()
            .filter(|block| self.model.holders.contains_key(block))
            .collect();
        for block in &shared {
            *self.model.holders.get_mut(block).unwrap() += 1;
        }
        self.model.sharings += 1;
        for block in mem::take(&mut held.sole) {
            let block = (block, self.model.sharings);
            self.model.holders.insert(block, 2);
            held.shared.insert(block);
            shared.insert(block);
        }
        assert_eq!(copy.len() as usize, shared.len());
        let held = Held { agent: with, number, tenure, sole: BTreeSet::new(), shared };
        self.leases.push((copy, held));
    }

    fn check(&self) {
        let census = self.pool.census();
        assert_eq!(census.in_flight, []);
        assert_eq!(census.free, BLOCKS - self.out());
        let usage = self.pool.usage();
        assert_eq!((usage.free, usage.reserved), (census.free, self.model.reserved()));
        assert_eq!(census.shared as usize, self.model.holders.len());
        for (agent, limits) in self.agents.iter().zip(self.model.limits) {
            assert_eq!(self.pool.used_by(*agent), self.used_by(*agent), "{agent:?}");
            assert_eq!(self.pool.limits(*agent), Some(limits), "{agent:?}");
            // What is missing comes back: the agent has it, and nobody else.
            let own = self.leases.iter().filter(|(_, held)| held.agent == *agent);
            let sole = own.map(|(_, held)| held.sole.len() as u32).sum::<u32>();
            assert!(limits.reserve - limits.reserve_free <= sole, "{agent:?} waits in vain");
        }
        let mut seen = BTreeSet::new();
        let sole = self.leases.iter().flat_map(|(_, held)| &held.sole);
        let shared = self.model.holders.keys().map(|(block, _)| block);
        assert!(sole.chain(shared).all(|block| seen.insert(*block)), "a block in two hands");
    }
}

proptest! {
    #[test]
    fn the_pool_is_its_sequential_model(steps in steps(), stripes in 1..5_usize) {
        let spec = ModelSpec::new(1, 8, 128, 16).unwrap();
        let config = PoolConfig::new(BLOCKS, spec).max_agents(AGENTS as u32).stripes(stripes);
        let pool = BlockPool::new(config).unwrap();
        let mut world = World::new(&pool);
        for step in &steps {
            world.step(step);
            world.check();
        }
        world.leases.clear();
        let census = pool.census();
        prop_assert_eq!((census.free, census.in_flight.len()), (BLOCKS, 0));
        prop_assert!(pool.reconfigure(&pool.model().spec).is_ok());
    }
}
