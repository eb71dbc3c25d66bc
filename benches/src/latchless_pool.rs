//! Latchless: leases that free on drop, and handles that are freed by number.

use latchless::{
    AgentHandle, AllocateError, BlockHandle, BlockLease, BlockPool, HandleError, LayerId,
    ModelSpec, PoolConfig,
};

use crate::contender::{Churn, Contender, Exhausted, ReturnError};

const LAYER: LayerId = LayerId(0);

/// Blocks under a lease.
#[derive(Debug)]
pub struct Leases(BlockPool);

/// A thread's agent, and its lease.
#[derive(Debug)]
pub struct LeaseHand<'pool> {
    agent: Account<'pool>,
    lease: Option<BlockLease<'pool>>,
}

/// Blocks under handles, in a list of the host's: what one beyond a C boundary does.
#[derive(Debug)]
pub struct Handles(BlockPool);

/// A thread's agent, and its handles.
#[derive(Debug)]
pub struct HandleHand<'pool> {
    agent: Account<'pool>,
    handles: Vec<BlockHandle>,
}

/// An agent that leaves with its thread.
#[derive(Debug)]
struct Account<'pool> {
    pool: &'pool BlockPool,
    handle: AgentHandle,
}

impl<'pool> Account<'pool> {
    fn open(pool: &'pool BlockPool) -> Self {
        let handle = pool.open_account().expect("fewer threads than accounts");
        Self { pool, handle }
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        self.pool.close_account(self.handle);
    }
}

fn spec() -> ModelSpec {
    ModelSpec::new(1, 8, 128, 16).expect("a model of one layer")
}

fn pool(blocks: u32) -> BlockPool {
    BlockPool::new(PoolConfig::new(blocks, spec())).expect("measured sizes are in range")
}

#[inline]
fn allocate(
    pool: &BlockPool,
    agent: AgentHandle,
    blocks: u32,
) -> Result<BlockLease<'_>, Exhausted> {
    pool.allocate(agent, LAYER, blocks).map_err(exhausted)
}

#[cold]
fn exhausted(error: AllocateError) -> Exhausted {
    match error {
        AllocateError::Exhausted { requested, available, total, allocated } => {
            Exhausted { requested, available, total, allocated }
        }
        other => unreachable!("agent and layer are there, and blocks are asked for: {other}"),
    }
}

impl Contender for Leases {
    const NAME: &'static str = "latchless";
    type Hand<'pool> = LeaseHand<'pool>;

    fn new(blocks: u32) -> Self {
        Self(pool(blocks))
    }

    fn hand(&self) -> LeaseHand<'_> {
        LeaseHand { agent: Account::open(&self.0), lease: None }
    }

    #[inline]
    fn take<'pool>(&'pool self, hand: &mut LeaseHand<'pool>, blocks: u32) -> Result<(), Exhausted> {
        hand.lease = Some(allocate(&self.0, hand.agent.handle, blocks)?);
        Ok(())
    }

    #[inline]
    fn give_back<'pool>(&'pool self, hand: &mut LeaseHand<'pool>) -> Result<(), ReturnError> {
        drop(hand.lease.take());
        Ok(())
    }

    fn free(&self) -> u32 {
        self.0.usage().free
    }
}

impl Churn for Leases {
    fn churn(&self, blocks: u32) -> bool {
        let (agent, other) = (Account::open(&self.0), Account::open(&self.0));
        self.0.set_quota(agent.handle, Some(blocks)).expect("the agent has just come");
        if let Ok(mut lease) = allocate(&self.0, agent.handle, blocks) {
            let shared = lease.share(other.handle);
            drop(lease);
            drop(shared);
        }
        self.0.reconfigure(&spec()).is_ok()
    }
}

impl Contender for Handles {
    const NAME: &'static str = "latchless_handles";
    type Hand<'pool> = HandleHand<'pool>;

    fn new(blocks: u32) -> Self {
        Self(pool(blocks))
    }

    fn hand(&self) -> HandleHand<'_> {
        HandleHand { agent: Account::open(&self.0), handles: Vec::new() }
    }

    #[inline]
    fn take(&self, hand: &mut HandleHand<'_>, blocks: u32) -> Result<(), Exhausted> {
        hand.handles.resize(blocks as usize, BlockHandle::default());
        self.0.allocate_handles(hand.agent.handle, LAYER, &mut hand.handles).map_err(|error| {
            hand.handles.clear();
            exhausted(error)
        })
    }

    #[inline]
    fn give_back(&self, hand: &mut HandleHand<'_>) -> Result<(), ReturnError> {
        match self.0.free(hand.agent.handle, &hand.handles) {
            Ok(_) => {
                hand.handles.clear();
                Ok(())
            }
            Err(
                HandleError::UnknownBlock { block }
                | HandleError::AlreadyFree { block }
                | HandleError::Stale { block }
                | HandleError::NotOwner { block },
            ) => Err(ReturnError { block: block.0 }),
            Err(other) => unreachable!("every refusal names a block: {other}"),
        }
    }

    fn free(&self) -> u32 {
        self.0.usage().free
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::tests::{churns, loses_nothing, takes_all_or_nothing};

    #[test]
    fn leases_are_contenders() {
        takes_all_or_nothing::<Leases>();
        loses_nothing::<Leases>();
        churns::<Leases>();
    }

    #[test]
    fn handles_are_contenders() {
        takes_all_or_nothing::<Handles>();
        loses_nothing::<Handles>();
    }

    #[test]
    fn an_agent_leaves_with_its_hand() {
        let pool = Leases::new(10);
        for _ in 0..5_000 {
            pool.take(&mut pool.hand(), 1).unwrap();
        }
        assert_eq!(pool.free(), 10);
    }

    #[test]
    fn handles_are_checked() {
        let pool = Handles::new(10);
        let mut hand = pool.hand();
        pool.take(&mut hand, 3).unwrap();
        let mut stranger = pool.hand();
        stranger.handles.clone_from(&hand.handles);
        assert!(pool.give_back(&mut stranger).is_err(), "another agent's blocks");
        pool.give_back(&mut hand).unwrap();
        hand.handles.clone_from(&stranger.handles);
        assert!(pool.give_back(&mut hand).is_err(), "given back twice");
    }
}
