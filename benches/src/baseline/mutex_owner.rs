//! A mutex around a list of free blocks, with an owner word for each block and a count for each agent.

use parking_lot::Mutex;

use crate::contender::{Churn, Contender, Exhausted, ReturnError};

/// No agent.
const NOBODY: u32 = u32::MAX;

/// The pool's work behind one `parking_lot` mutex: all or nothing with exact numbers in the refusal, an
/// owner and a generation for each block, a count for each agent; a return with a block that is not out,
/// not the agent's or of an earlier generation gives nothing back.
#[derive(Debug)]
pub struct MutexOwner(Mutex<State>);

#[derive(Debug)]
struct State {
    free: Vec<u32>,
    owners: Box<[Owner]>,
    used: Vec<u32>,
    /// Numbers of agents that have left.
    vacant: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    agent: u32,
    generation: u32,
}

/// An agent and its blocks, each with the generation in which it got it. The agent leaves when it is dropped.
#[derive(Debug)]
pub struct OwnerHand<'pool> {
    pool: &'pool MutexOwner,
    agent: u32,
    blocks: Vec<(u32, u32)>,
}

impl State {
    fn register(&mut self) -> u32 {
        self.vacant.pop().unwrap_or_else(|| {
            self.used.push(0);
            self.used.len() as u32 - 1
        })
    }

    fn take(&mut self, hand: &mut OwnerHand<'_>, blocks: u32) -> Result<(), Exhausted> {
        let available = self.free.len() as u32;
        let Some(rest) = available.checked_sub(blocks) else {
            let total = self.owners.len() as u32;
            let allocated = total - available;
            return Err(Exhausted { requested: blocks, available, total, allocated });
        };
        let owners = &mut self.owners;
        hand.blocks.extend(self.free.drain(rest as usize..).map(|block| {
            let owner = &mut owners[block as usize];
            owner.agent = hand.agent;
            (block, owner.generation)
        }));
        self.used[hand.agent as usize] += blocks;
        Ok(())
    }

    fn give_back(&mut self, hand: &mut OwnerHand<'_>) -> Result<(), ReturnError> {
        let agent = hand.agent;
        let bad = hand.blocks.iter().find(|(block, generation)| {
            self.owners[*block as usize] != Owner { agent, generation: *generation }
        });
        if let Some((block, _)) = bad {
            return Err(ReturnError { block: *block });
        }
        self.used[agent as usize] -= hand.blocks.len() as u32;
        let owners = &mut self.owners;
        self.free.extend(hand.blocks.drain(..).map(|(block, generation)| {
            owners[block as usize] =
                Owner { agent: NOBODY, generation: generation.wrapping_add(1) };
            block
        }));
        Ok(())
    }
}

impl Drop for OwnerHand<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.0.lock();
        // Blocks that it should not have keep its number from the next one.
        if state.give_back(self).is_ok() {
            state.vacant.push(self.agent);
        }
    }
}

impl Contender for MutexOwner {
    const NAME: &'static str = "mutex_owner";
    type Hand<'pool> = OwnerHand<'pool>;

    fn new(blocks: u32) -> Self {
        let vacant = Owner { agent: NOBODY, generation: 0 };
        Self(Mutex::new(State {
            free: (0..blocks).rev().collect(),
            owners: vec![vacant; blocks as usize].into(),
            used: Vec::new(),
            vacant: Vec::new(),
        }))
    }

    fn hand(&self) -> OwnerHand<'_> {
        let mut state = self.0.lock();
        let blocks = Vec::with_capacity(state.owners.len());
        OwnerHand { pool: self, agent: state.register(), blocks }
    }

    #[inline]
    fn take(&self, hand: &mut OwnerHand<'_>, blocks: u32) -> Result<(), Exhausted> {
        self.0.lock().take(hand, blocks)
    }

    #[inline]
    fn give_back(&self, hand: &mut OwnerHand<'_>) -> Result<(), ReturnError> {
        self.0.lock().give_back(hand)
    }

    fn free(&self) -> u32 {
        self.0.lock().free.len() as u32
    }
}

impl Churn for MutexOwner {
    /// Nothing is shared here: an owner word has room for one holder.
    fn churn(&self, blocks: u32) -> bool {
        let agent = self.0.lock().register();
        let mut hand = OwnerHand { pool: self, agent, blocks: Vec::with_capacity(blocks as usize) };
        // Refused or not, it gives back what it has when it leaves.
        let _refused = self.take(&mut hand, blocks).is_err();
        drop(hand);
        let mut state = self.0.lock();
        let total = state.owners.len();
        let complete = state.free.len() == total;
        if complete {
            state.free.clear();
            state.free.extend((0..total as u32).rev());
        }
        complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::tests::{churns, loses_nothing, takes_all_or_nothing};

    #[test]
    fn is_a_contender() {
        takes_all_or_nothing::<MutexOwner>();
        loses_nothing::<MutexOwner>();
        churns::<MutexOwner>();
    }

    #[test]
    fn an_agent_that_leaves_makes_room() {
        let pool = MutexOwner::new(10);
        pool.churn(1);
        pool.churn(1);
        assert_eq!(pool.0.lock().used, [0]);
        for _ in 0..2 {
            let mut hand = pool.hand();
            pool.take(&mut hand, 3).unwrap();
        }
        assert_eq!(pool.0.lock().used, [0]);
        assert_eq!(pool.free(), 10);
    }

    #[test]
    fn returns_are_checked_and_all_or_nothing() {
        let pool = MutexOwner::new(10);
        let (mut hand, mut stranger) = (pool.hand(), pool.hand());
        pool.take(&mut hand, 3).unwrap();
        assert_eq!(pool.0.lock().used, [3, 0]);
        pool.take(&mut stranger, 1).unwrap();
        stranger.blocks.extend(&hand.blocks[1..2]);
        let block = hand.blocks[1].0;
        assert_eq!(pool.give_back(&mut stranger), Err(ReturnError { block }));
        assert_eq!((pool.free(), stranger.blocks.len()), (6, 2));
        let stale = hand.blocks.clone();
        pool.give_back(&mut hand).unwrap();
        hand.blocks = stale;
        assert!(pool.give_back(&mut hand).is_err(), "given back twice");
        let mut third = pool.hand();
        pool.take(&mut third, 9).unwrap();
        assert!(pool.give_back(&mut hand).is_err(), "out again, to another agent");
    }
}
