//! What threads do to a pool. They have given everything back at the end of a window, so that each begins
//! with a whole pool.

use latchless::{
    AgentHandle, AllocateError, BlockLease, BlockPool, LayerId, ModelSpec, PoolConfig,
};

use super::{AGENTS, Answer, BLOCKS, LeaseId, Operation, Pool, State};
use crate::windows::{Clerk, Subject};

/// A pool and its agents.
pub(crate) struct Shared {
    pool: BlockPool,
    agents: [AgentHandle; AGENTS],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An allocation that got its blocks is refused.
    SpuriousRefusal,
    /// A refusal says one block more than there was.
    WrongNumber,
    /// An allocation gets the blocks of another lease.
    DoubleGrant,
    /// A lease ends, and its blocks do not come back.
    Leak,
    /// An agent is freed, and one block too few is counted.
    Miscount,
    /// A quota is reported to be in force that is not.
    StaleQuota,
}

pub(crate) struct Hand<'a> {
    leases: Vec<(LeaseId, BlockLease<'a>)>,
    /// Leases that a fault keeps until the window is over.
    leaked: Vec<BlockLease<'a>>,
    given: LeaseId,
}

impl Subject for Shared {
    type Model = Pool;
    type Fault = Fault;
    type Hand<'a> = Hand<'a>;

    const NAME: &'static str = "the pool";
    const FAULTS: &'static [Fault] = &[
        Fault::SpuriousRefusal,
        Fault::WrongNumber,
        Fault::DoubleGrant,
        Fault::Leak,
        Fault::Miscount,
        Fault::StaleQuota,
    ];

    fn new(_: usize) -> Self {
        let spec = ModelSpec::new(1, 1, 1, 1).unwrap();
        let config = PoolConfig::new(BLOCKS, spec).max_agents(AGENTS as u32).stripes(4);
        let pool = BlockPool::new(config).unwrap();
        let agents = [(); AGENTS].map(|()| pool.open_account().unwrap());
        Self { pool, agents }
    }

    fn model() -> (Pool, State) {
        (Pool, State::new())
    }

    fn hand(&self, _: usize) -> Hand<'_> {
        Hand { leases: Vec::new(), leaked: Vec::new(), given: 0 }
    }

    fn operate<'a>(&'a self, _: usize, hand: &mut Hand<'a>, clerk: &mut Clerk<Self>) {
        let agent = clerk.random.usize(..AGENTS);
        let handle = self.agents[agent];
        match clerk.random.u32(..20) {
            0..5 if !hand.leases.is_empty() => {
                let at = clerk.random.usize(..hand.leases.len());
                end_lease(hand, at, clerk);
            }
            0..15 => self.allocate(agent, hand, clerk),
            15 => clerk.call(
                || self.pool.free_agent(handle),
                |clerk, had| {
                    let off = u32::from(clerk.shows(Fault::Miscount));
                    Operation::FreeAgent { agent, had: had.saturating_sub(off) }
                },
            ),
            16 | 17 => {
                let quota = clerk.random.bool().then(|| clerk.random.u32(2..12));
                self.set_quota(quota, clerk);
            }
            _ => clerk.call(
                || self.pool.used_by(handle),
                |_, blocks| Operation::UsedBy { agent, blocks },
            ),
        }
    }

    fn end<'a>(&'a self, _: usize, hand: &mut Hand<'a>, clerk: &mut Clerk<Self>) {
        while !hand.leases.is_empty() {
            end_lease(hand, 0, clerk);
        }
        self.set_quota(None, clerk);
    }

    fn tidy(&self, hand: &mut Hand<'_>) {
        hand.leaked.clear();
    }
}

impl Shared {
    fn allocate<'a>(&'a self, agent: usize, hand: &mut Hand<'a>, clerk: &mut Clerk<Self>) {
        let blocks = clerk.random.u32(1..=10);
        hand.given += 1;
        let lease = (clerk.thread as LeaseId) << 16 | hand.given;
        clerk.call(
            || self.pool.allocate(self.agents[agent], LayerId(0), blocks),
            |clerk, result| {
                let answer = match &result {
                    Ok(lease) => Answer::Granted(mask(lease)),
                    Err(AllocateError::Exhausted { available, allocated, .. }) => {
                        Answer::Exhausted { available: *available, allocated: *allocated }
                    }
                    Err(AllocateError::QuotaExceeded { used, quota, .. }) => {
                        Answer::OverQuota { used: *used, quota: *quota }
                    }
                    Err(error) => panic!("{error}"),
                };
                let answer = distorted(answer, hand, clerk);
                if let (Ok(granted), Answer::Granted(_)) = (result, answer) {
                    hand.leases.push((lease, granted));
                }
                Operation::Allocate { agent, lease, blocks, answer }
            },
        );
    }

    /// Of the agent with the thread's own number: nobody else sets that.
    fn set_quota(&self, quota: Option<u32>, clerk: &mut Clerk<Self>) {
        let agent = clerk.thread;
        clerk.call(
            || self.pool.set_quota(self.agents[agent], quota).unwrap(),
            |_, ()| Operation::SetQuota { agent, quota: quota.unwrap_or(u32::MAX) },
        );
    }
}

fn distorted(answer: Answer, hand: &Hand<'_>, clerk: &mut Clerk<Shared>) -> Answer {
    match answer {
        Answer::Granted(_) if clerk.shows(Fault::SpuriousRefusal) => {
            Answer::Exhausted { available: 0, allocated: BLOCKS }
        }
        Answer::Granted(_) if clerk.shows(Fault::StaleQuota) => {
            Answer::OverQuota { used: 1, quota: 1 }
        }
        Answer::Granted(blocks) if clerk.shows(Fault::DoubleGrant) => {
            let same = |(_, other): &&(_, BlockLease)| other.len() == blocks.count_ones();
            Answer::Granted(hand.leases.iter().find(same).map_or(blocks, |(_, other)| mask(other)))
        }
        Answer::Exhausted { available, allocated } if clerk.shows(Fault::WrongNumber) => {
            Answer::Exhausted { available: available + 1, allocated: allocated - 1 }
        }
        answer => answer,
    }
}

fn end_lease(hand: &mut Hand<'_>, at: usize, clerk: &mut Clerk<Shared>) {
    let (lease, held) = hand.leases.swap_remove(at);
    let held = if clerk.shows(Fault::Leak) {
        hand.leaked.push(held);
        None
    } else {
        Some(held)
    };
    clerk.call(|| drop(held), |_, ()| Operation::Drop { lease });
}

fn mask(lease: &BlockLease) -> u64 {
    lease.blocks().fold(0, |mask, block| mask | 1 << block.0)
}
