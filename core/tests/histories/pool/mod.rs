//! The pool as a sequential object.
//!
//! Blocks, and how many there are, are known to several layers, each of which changes at an instant of
//! its own (see the pool's module `exchange`): an allocation takes permits, then blocks, and is charged; a
//! lease that ends gives its blocks up, takes the charge back, and returns the permits. Each is a step
//! here. All numbers of all answers have to be right at the instant of their step.
//!
//! Freeing an agent is one step for the agent; its permits come back while that call, or another call for
//! the agent that came upon the same blocks, is under way. Until then they are *on their way*: whoever
//! looks may find them or not. When the last of these calls has ended they have to be there.

mod record;

pub(crate) use self::record::Shared;

use crate::checker::{Call, Spec};
use crate::windows::MOST_THREADS;

pub(crate) const BLOCKS: u32 = 24;
/// Each thread sets one's quota.
pub(crate) const AGENTS: usize = MOST_THREADS;

/// A lease, by a number that it has for the checker.
pub(crate) type LeaseId = u32;

/// What a thread did, and what it was told.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    Allocate {
        agent: usize,
        lease: LeaseId,
        blocks: u32,
        answer: Answer,
    },
    Drop {
        lease: LeaseId,
    },
    FreeAgent {
        agent: usize,
        had: u32,
    },
    /// `u32::MAX` for none.
    SetQuota {
        agent: usize,
        quota: u32,
    },
    UsedBy {
        agent: usize,
        blocks: u32,
    },
}

/// What became of an allocation.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    /// These blocks, a bit for each.
    Granted(u64),
    Exhausted {
        available: u32,
        allocated: u32,
    },
    OverQuota {
        used: u32,
        quota: u32,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Agent {
    used: u32,
    tenure: u32,
    /// `u32::MAX` for any number.
    quota: u32,
    /// The quota that is being set: until that has ended either may be gone by.
    next_quota: Option<u32>,
    /// Permits on their way back, until this time at the latest.
    returning: u32,
    until: u64,
    /// When the last call that frees the agent ends.
    freed_until: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Lease {
    id: LeaseId,
    agent: usize,
    tenure: u32,
    blocks: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    free: u32,
    agents: [Agent; AGENTS],
    leases: Vec<Lease>,
}

impl State {
    /// Everything is free, and nobody has a quota.
    pub(crate) fn new() -> Self {
        let agent = Agent {
            used: 0,
            tenure: 0,
            quota: u32::MAX,
            next_quota: None,
            returning: 0,
            until: 0,
            freed_until: 0,
        };
        Self { free: BLOCKS, agents: [agent; AGENTS], leases: Vec::new() }
    }

    /// What must be back by the time `now` is.
    fn settle(&mut self, now: u64) {
        for agent in &mut self.agents {
            if agent.until < now {
                self.free += std::mem::take(&mut agent.returning);
            }
        }
    }

    /// Permits of an agent are on their way from now on.
    fn send_back(&mut self, agent: usize, permits: u32, until: u64) {
        let agent = &mut self.agents[agent];
        agent.returning += permits;
        agent.until = agent.until.max(until).max(agent.freed_until);
    }

    /// Another call for an agent may have come upon what is on its way.
    fn may_hold(&mut self, agent: usize, until: u64) {
        let agent = &mut self.agents[agent];
        if agent.returning > 0 {
            agent.until = agent.until.max(until);
        }
    }

    /// Every way in which `permits` of those on their way can have come back.
    fn arrivals(&self, permits: u32) -> Vec<Self> {
        let mut ways = vec![(self.clone(), permits)];
        for i in 0..AGENTS {
            let spread = |(state, left): (Self, u32)| {
                (0..=left.min(state.agents[i].returning)).map(move |n| {
                    let mut state = state.clone();
                    state.agents[i].returning -= n;
                    state.free += n;
                    (state, left - n)
                })
            };
            ways = ways.into_iter().flat_map(spread).collect();
        }
        ways.into_iter().filter(|(_, left)| *left == 0).map(|(state, _)| state).collect()
    }

    fn is_dead(&self, lease: &Lease) -> bool {
        self.agents[lease.agent].tenure != lease.tenure
    }
}

impl Agent {
    fn quotas(&self) -> impl Iterator<Item = u32> {
        std::iter::once(self.quota).chain(self.next_quota)
    }

    fn admits(&self, blocks: u32) -> bool {
        self.quotas().any(|quota| self.used + blocks <= quota)
    }

    fn refuses(&self, blocks: u32, used: u32, quota: u32) -> bool {
        let in_force = self.quotas().any(|other| other == quota);
        in_force && self.used == used && blocks > quota.saturating_sub(used)
    }
}

/// Where an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Stage {
    #[default]
    Begun,
    /// An allocation knows its agent's tenure.
    Standing { tenure: u32 },
    /// It has its permits.
    Permitted { tenure: u32 },
    /// A lease has given its blocks up.
    GivenUp { agent: usize, tenure: u32, blocks: u32 },
    /// They are not charged any more.
    Uncharged { blocks: u32 },
    /// A quota is in force for who looks at it, and not yet against who has looked.
    QuotaSet,
}

pub(crate) struct Pool;

type Ways = Vec<(State, Option<Stage>)>;

impl Spec for Pool {
    type Operation = Operation;
    type State = State;
    type Stage = Stage;

    fn step(
        &self,
        state: &State,
        stage: &Stage,
        call: &Call<Operation>,
        pending: &[&Call<Operation>],
    ) -> Ways {
        let mut state = state.clone();
        state.settle(call.invoked);
        match call.operation {
            Operation::Allocate { agent, lease, blocks, answer } => {
                state.may_hold(agent, call.responded);
                allocate(state, *stage, (agent, lease, blocks), answer, call.responded)
            }
            Operation::Drop { lease } => end_lease(state, *stage, lease, call.responded),
            Operation::FreeAgent { agent, had } => {
                let Agent { used, .. } = state.agents[agent];
                if used != had {
                    return Vec::new();
                }
                let all = pending.iter().map(|other| other.responded);
                let until = all.fold(call.responded, u64::max);
                let account = &mut state.agents[agent];
                account.freed_until = account.freed_until.max(call.responded);
                (account.used, account.tenure) = (0, account.tenure + 1);
                state.send_back(agent, used, until);
                vec![(state, None)]
            }
            Operation::SetQuota { agent, quota } => {
                let account = &mut state.agents[agent];
                if *stage == Stage::Begun {
                    account.next_quota = Some(quota);
                    vec![(state, Some(Stage::QuotaSet))]
                } else {
                    (account.quota, account.next_quota) = (quota, None);
                    vec![(state, None)]
                }
            }
            Operation::UsedBy { agent, blocks } => {
                let right = state.agents[agent].used == blocks;
                if right { vec![(state, None)] } else { Vec::new() }
            }
        }
    }
}

fn allocate(
    mut state: State,
    stage: Stage,
    (agent, lease, blocks): (usize, LeaseId, u32),
    answer: Answer,
    until: u64,
) -> Ways {
    let account = state.agents[agent];
    let over_quota = match answer {
        Answer::OverQuota { used, quota } => account.refuses(blocks, used, quota),
        _ => false,
    };
    match stage {
        Stage::Standing { tenure } => {
            let mut ways = Vec::new();
            if let Answer::Exhausted { available, allocated } = answer
                && available < blocks
                && available + allocated == BLOCKS
                && available >= state.free
            {
                let refused = state.arrivals(available - state.free).into_iter();
                ways.extend(refused.map(|state| (state, None)));
            }
            // Or it has them, and will be told that its agent was freed.
            let missing = blocks.saturating_sub(state.free);
            let with_permits = |mut state: State| {
                state.free -= blocks;
                (state, Some(Stage::Permitted { tenure }))
            };
            ways.extend(state.arrivals(missing).into_iter().map(with_permits));
            ways
        }
        Stage::Permitted { tenure } if account.tenure != tenure => {
            // Its agent was freed meanwhile: once more from the beginning.
            state.send_back(agent, blocks, until);
            vec![(state, Some(Stage::Begun))]
        }
        Stage::Permitted { tenure } => match answer {
            Answer::Granted(mask) if account.admits(blocks) => {
                let taken = |other: &Lease| !state.is_dead(other) && other.blocks & mask != 0;
                if mask.count_ones() != blocks || state.leases.iter().any(taken) {
                    return Vec::new();
                }
                state.agents[agent].used += blocks;
                state.leases.push(Lease { id: lease, agent, tenure, blocks: mask });
                state.leases.sort_unstable_by_key(|lease| lease.id);
                vec![(state, None)]
            }
            Answer::OverQuota { .. } if over_quota => {
                state.send_back(agent, blocks, until);
                vec![(state, None)]
            }
            _ => Vec::new(),
        },
        _ => {
            let standing = Stage::Standing { tenure: account.tenure };
            let refused = over_quota.then(|| (state.clone(), None));
            refused.into_iter().chain([(state, Some(standing))]).collect()
        }
    }
}

fn end_lease(mut state: State, stage: Stage, lease: LeaseId, until: u64) -> Ways {
    match stage {
        Stage::GivenUp { agent, tenure, blocks } => {
            if state.agents[agent].tenure == tenure {
                state.agents[agent].used -= blocks;
                return vec![(state, Some(Stage::Uncharged { blocks }))];
            }
            // The agent was freed meanwhile, and they counted there.
            state.may_hold(agent, until);
            vec![(state, None)]
        }
        Stage::Uncharged { blocks } => {
            state.free += blocks;
            vec![(state, None)]
        }
        _ => {
            let Some(i) = state.leases.iter().position(|other| other.id == lease) else {
                return Vec::new();
            };
            let lease = state.leases.remove(i);
            if state.is_dead(&lease) {
                state.may_hold(lease.agent, until);
                return vec![(state, None)];
            }
            let Lease { agent, tenure, blocks, .. } = lease;
            let given_up = Stage::GivenUp { agent, tenure, blocks: blocks.count_ones() };
            vec![(state, Some(given_up))]
        }
    }
}
