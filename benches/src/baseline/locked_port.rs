//! The prototypes' pool as it stands: one lock, an id at a time, an object for every block.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::contender::{Contender, Exhausted, ReturnError};

const LAYER: u16 = 0;

/// The locked block pool of the system that Latchless replaces, line by line: `allocate` pops the ids
/// one by one, makes a block object for each and enters it for the agent, which is known by name; `free`
/// looks at each block, clears its payload and pushes its id.
///
/// Like its model it charges agents and refuses a foreign block. Two things are mended, or it could not
/// be compared: a bad block leaves everything as it was, and a refusal tells how many were free.
#[derive(Debug)]
pub struct LockedPort {
    state: Mutex<State>,
    total: u32,
    agents: AtomicU32,
}

#[derive(Debug)]
struct State {
    free_list: Vec<u32>,
    agent_blocks: HashMap<String, HashSet<u32>>,
}

/// A block of a layer. The prototypes' object carries its tensors; here they are a buffer that nobody fills.
#[derive(Debug)]
struct KvBlock {
    block_id: u32,
    #[expect(dead_code, reason = "written for each block, as in the model")]
    layer_id: u16,
    #[expect(dead_code, reason = "written for each block, as in the model")]
    token_count: u32,
    layer_data: Option<Box<[u8]>>,
}

/// An agent by name, and its blocks.
#[derive(Debug)]
pub struct LockedHand {
    agent: String,
    blocks: Vec<KvBlock>,
}

impl LockedPort {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contender for LockedPort {
    const NAME: &'static str = "locked_port";
    type Hand<'pool> = LockedHand;

    fn new(blocks: u32) -> Self {
        let free_list = (0..blocks).rev().collect();
        let state = State { free_list, agent_blocks: HashMap::new() };
        Self { state: Mutex::new(state), total: blocks, agents: AtomicU32::new(0) }
    }

    fn hand(&self) -> LockedHand {
        // Relaxed: only uniqueness matters.
        let number = self.agents.fetch_add(1, Ordering::Relaxed);
        LockedHand { agent: format!("agent_{number}"), blocks: Vec::new() }
    }

    fn take(&self, hand: &mut LockedHand, blocks: u32) -> Result<(), Exhausted> {
        let mut state = self.lock();
        let available = state.free_list.len() as u32;
        if available < blocks {
            let (total, allocated) = (self.total, self.total - available);
            return Err(Exhausted { requested: blocks, available, total, allocated });
        }
        for _ in 0..blocks {
            let Some(block_id) = state.free_list.pop() else { break };
            let block = KvBlock { block_id, layer_id: LAYER, token_count: 0, layer_data: None };
            hand.blocks.push(block);
            match state.agent_blocks.get_mut(&hand.agent) {
                Some(owned) => {
                    owned.insert(block_id);
                }
                None => {
                    state.agent_blocks.insert(hand.agent.clone(), HashSet::from([block_id]));
                }
            }
        }
        Ok(())
    }

    fn give_back(&self, hand: &mut LockedHand) -> Result<(), ReturnError> {
        if hand.blocks.is_empty() {
            return Ok(());
        }
        let State { free_list, agent_blocks } = &mut *self.lock();
        let first = ReturnError { block: hand.blocks[0].block_id };
        let owned = agent_blocks.get_mut(&hand.agent).ok_or(first)?;
        if let Some(foreign) = hand.blocks.iter().find(|block| !owned.contains(&block.block_id)) {
            return Err(ReturnError { block: foreign.block_id });
        }
        for mut block in hand.blocks.drain(..) {
            block.layer_data = None;
            owned.remove(&block.block_id);
            free_list.push(block.block_id);
        }
        if owned.is_empty() {
            agent_blocks.remove(&hand.agent);
        }
        Ok(())
    }

    fn free(&self) -> u32 {
        self.lock().free_list.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::tests::{loses_nothing, takes_all_or_nothing};

    #[test]
    fn is_a_contender() {
        takes_all_or_nothing::<LockedPort>();
        loses_nothing::<LockedPort>();
    }

    #[test]
    fn a_foreign_block_gives_nothing_back() {
        let pool = LockedPort::new(10);
        let (mut hand, mut stranger) = (pool.hand(), pool.hand());
        pool.take(&mut hand, 3).unwrap();
        pool.take(&mut stranger, 2).unwrap();
        let block = hand.blocks[0].block_id;
        stranger.blocks.push(hand.blocks.remove(0));
        assert_eq!(pool.give_back(&mut stranger), Err(ReturnError { block }));
        assert_eq!((pool.free(), stranger.blocks.len()), (5, 3));
        pool.give_back(&mut hand).unwrap();
        assert_eq!(pool.free(), 7);
    }
}
