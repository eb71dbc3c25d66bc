//! Which lane a new agent goes to: where its prompt's beginning was computed before, unless others have
//! much less to do.
//!
//! Each lane has its own context, so instructions that many agents have are computed once a lane. An agent
//! stays where its first request went, so that request decides, by what it would cost: tokens to compute,
//! and the requests and agents that the lane has already (as the router of NVIDIA's Dynamo weighs overlap
//! against load). What a lane begins with is noted by hashes in a table of words, replaced one by one: a
//! note may be lost or out of date. Then a prompt is computed that need not be, and nothing else.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use latchless::AgentHandle;

use super::generation::Generation;
use super::shared::Shared;
use crate::backend::Token;

/// Tokens between two places at which a prompt's beginning is noted.
const STEP: usize = 32;

/// The longest beginning that is noted.
const LONGEST: usize = 4096;

/// Words of the table: room for some tens of instructions of a thousand tokens.
const WORDS: usize = 4096;

/// Tokens that one more request or agent of a lane weighs as much as.
const LOAD: i64 = 256;

/// An agent without a lane.
const NOWHERE: u32 = 0;

/// Where agents are, and what their prompts began with.
#[derive(Debug)]
pub(super) struct Routes {
    /// By the agents' slots, the lane's index and one, or nowhere. A slot's next agent inherits it: that
    /// is as good a lane as another.
    by_agent: Box<[AtomicU32]>,
    /// Agents that were sent to each lane.
    agents: Box<[AtomicU32]>,
    /// What was computed where: a beginning's hash with its lane's number mixed in, at that hash's place.
    noted: Box<[AtomicU64]>,
    /// Where the search for a lane with little to do starts.
    turn: AtomicU32,
}

impl Routes {
    pub(super) fn new(agents: u32, lanes: usize) -> Self {
        // A single lane needs no table.
        let words = if lanes > 1 { WORDS } else { 0 };
        Self {
            by_agent: (0..agents).map(|_| AtomicU32::new(NOWHERE)).collect(),
            agents: (0..lanes).map(|_| AtomicU32::new(0)).collect(),
            noted: (0..words).map(|_| AtomicU64::new(0)).collect(),
            turn: AtomicU32::new(0),
        }
    }

    // Relaxed in all of this: every word means something by itself, and lanes are reached through a list
    // that does not change.

    fn note(&self, lane: usize, beginnings: &[u64]) {
        for word in beginnings.iter().map(|hash| mix(*hash, lane)) {
            self.noted[word as usize % WORDS].store(word, Ordering::Relaxed);
        }
    }

    /// Tokens of a prompt that the lane computed the same, as far as is noted.
    fn known(&self, lane: usize, beginnings: &[u64]) -> usize {
        let noted = |word: u64| self.noted[word as usize % WORDS].load(Ordering::Relaxed) == word;
        let longest = beginnings.iter().rposition(|hash| noted(mix(*hash, lane)));
        longest.map_or(0, |index| (index + 1) * STEP)
    }
}

/// A hash of each of the prompt's beginnings of one step, two steps, and so on (FNV-1a, a token at a time).
fn beginnings(prompt: &[Token]) -> Vec<u64> {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    let steps = prompt[..prompt.len().min(LONGEST)].chunks_exact(STEP);
    steps
        .map(|step| {
            for token in step {
                hash = (hash ^ u64::from(token.0 as u32)).wrapping_mul(0x0000_0100_0000_01B3);
            }
            hash
        })
        .collect()
}

/// Different for each lane, and never 0, which is an empty word.
fn mix(hash: u64, lane: usize) -> u64 {
    // The finaliser of SplitMix64 (Steele, Lea and Flood 2014).
    let mut mixed = hash.wrapping_add((lane as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (mixed ^ (mixed >> 31)) | 1
}

impl Generation {
    /// The lane that an agent's requests go to: where the last one went, unless that lane is gone, or else
    /// the one where `prompt` costs least.
    pub(crate) fn lane_of(&self, agent: AgentHandle, prompt: &[Token]) -> &Shared {
        let (lanes, routes) = (self.lanes(), self.routes());
        let first = &lanes[0];
        if lanes.len() == 1 {
            return first;
        }
        let Some(route) = routes.by_agent.get(agent.slot() as usize) else { return first };
        let now = route.load(Ordering::Relaxed);
        let there = now.checked_sub(1).and_then(|index| lanes.get(index as usize));
        if let Some(lane) = there.filter(|lane| !lane.control.gate.is_closed()) {
            return lane;
        }
        let beginnings = beginnings(prompt);
        let turn = routes.turn.fetch_add(1, Ordering::Relaxed) as usize;
        let index = (0..lanes.len())
            .map(|step| (turn + step) % lanes.len())
            .min_by_key(|index| {
                let gate = &lanes[*index].control.gate;
                let agents = routes.agents[*index].load(Ordering::Relaxed);
                let load = LOAD * (i64::from(gate.inside()) + i64::from(agents));
                (gate.is_closed(), load - routes.known(*index, &beginnings) as i64)
            })
            .unwrap_or(0);
        // Of two threads of one agent one wins, and both go where it went.
        let won =
            route.compare_exchange(now, index as u32 + 1, Ordering::Relaxed, Ordering::Relaxed);
        match won {
            Ok(_) => {
                routes.agents[index].fetch_add(1, Ordering::Relaxed);
                routes.note(index, &beginnings);
                &lanes[index]
            }
            Err(theirs) => {
                let theirs = theirs.checked_sub(1).and_then(|index| lanes.get(index as usize));
                theirs.unwrap_or(first)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(range: std::ops::Range<i32>) -> Vec<Token> {
        range.map(Token).collect()
    }

    #[test]
    fn beginnings_are_known_where_they_were_noted() {
        let routes = Routes::new(1, 2);
        let rules = beginnings(&tokens(0..100));
        assert_eq!((rules.len(), beginnings(&tokens(0..31)).len()), (3, 0));
        assert_eq!(routes.known(0, &rules), 0);
        routes.note(0, &rules);
        assert_eq!((routes.known(0, &rules), routes.known(1, &rules)), (96, 0));
        // Another end: what is in common is known.
        let mut other = tokens(0..70);
        other.extend(tokens(900..1_000));
        assert_eq!(routes.known(0, &beginnings(&other)), 64);
        assert_eq!(routes.known(0, &beginnings(&tokens(1..100))), 0);
        assert_eq!(beginnings(&tokens(0..10_000)).len(), LONGEST / STEP);
    }

    /// A full table forgets, and never invents.
    #[test]
    fn a_full_table_forgets_the_oldest() {
        let routes = Routes::new(1, 2);
        let first = beginnings(&tokens(0..64));
        routes.note(1, &first);
        for start in 1..200 {
            routes.note(0, &beginnings(&tokens(1_000 * start..1_000 * start + 4_096)));
        }
        assert_eq!(routes.known(1, &first), 0, "25,000 notes on 4,096 words");
        let last = beginnings(&tokens(199_000..203_096));
        assert_eq!((routes.known(0, &last), routes.known(1, &last)), (4_096, 0));
    }
}
