//! What needs no disk: sequences that are still in a context, or in host memory.

use std::sync::Arc;

use latchless::AgentId;
use thiserror::Error;

use super::NoRoom;
use super::index::{Index, PrefixMatch, Room};
use crate::backend::Token;

/// What is in a context is all of one model.
const ONE_MODEL: usize = 0;

/// Which agents are hot, what each keeps (`V`: a sequence of the context, or a state in memory), and who
/// goes when room is needed: the least recently used that is not pinned.
///
/// It belongs to one thread: no lock, no I/O, no system call. It never drops a `V` behind its owner's
/// back: whatever goes is given out, because a sequence of a context has to be cleared.
///
/// # Memory never doubles
///
/// Call [`make_room`](Self::make_room) before the new state is made. What the agent had goes then, and so
/// does whoever has to make room, so that old and new are never there together:
///
/// ```
/// # use latchless::AgentId;
/// # use latchless_engine::Token;
/// # use latchless_engine::cache::HotCache;
/// let mut hot: HotCache<Vec<u8>> = HotCache::new(2, 1_000);
/// let agent = AgentId::new("planner")?;
/// drop(hot.make_room(&agent, 600)?); // frees what the planner and others had
/// let state = vec![0; 600]; // for example Backend::save_sequence
/// hot.insert(agent, &[Token(1)], 600, state)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct HotCache<V> {
    index: Index<V>,
}

/// What made room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evicted<V> {
    /// Whose it was.
    pub agent: AgentId,
    /// Its tokens.
    pub tokens: Arc<[Token]>,
    /// What it kept.
    pub value: V,
}

/// A value that was not taken in, and why.
#[derive(Debug, Error)]
#[error("{reason}")]
pub struct NotKept<V> {
    /// The value.
    pub value: V,
    /// Why.
    #[source]
    pub reason: NoRoom,
}

impl<V> HotCache<V> {
    /// An empty cache for `entries` agents whose values have `bytes` bytes together.
    pub fn new(entries: usize, bytes: u64) -> Self {
        Self { index: Index::new(Room { entries, bytes }) }
    }

    /// Takes out what `agent` has, and who else has to go, so that `bytes` bytes fit in.
    ///
    /// # Errors
    /// [`NoRoom`] when they cannot; nothing has gone then.
    pub fn make_room(&mut self, agent: &AgentId, bytes: u64) -> Result<Vec<Evicted<V>>, NoRoom> {
        let mut going = self.index.victims(agent, bytes)?;
        going.push(agent.clone());
        Ok(going.iter().filter_map(|agent| self.remove(agent)).collect())
    }

    /// Keeps `value` of `bytes` bytes for `agent`, as the most recently used. Returns what had to go: all
    /// that [`make_room`](Self::make_room) has not taken out yet.
    ///
    /// # Errors
    /// [`NotKept`] with the value when there is no room; nothing has changed then.
    pub fn insert(
        &mut self,
        agent: AgentId,
        tokens: &[Token],
        bytes: u64,
        value: V,
    ) -> Result<Vec<Evicted<V>>, NotKept<V>> {
        match self.make_room(&agent, bytes) {
            Ok(evicted) => {
                self.index.insert(agent, ONE_MODEL, tokens.into(), bytes, value);
                Ok(evicted)
            }
            Err(reason) => Err(NotKept { value, reason }),
        }
    }

    /// What `agent` keeps; from now on the most recently used.
    pub fn get(&mut self, agent: &AgentId) -> Option<&V> {
        self.index.touch(agent);
        self.index.get(agent)
    }

    /// Takes out what `agent` keeps, pinned or not.
    pub fn remove(&mut self, agent: &AgentId) -> Option<Evicted<V>> {
        let tokens = Arc::clone(self.index.tokens(agent)?);
        let value = self.index.remove(agent)?;
        Some(Evicted { agent: agent.clone(), tokens, value })
    }

    /// The sequence with the most tokens in common with `asked`; it alone becomes the most recently used.
    pub fn longest_prefix(&mut self, asked: &[Token]) -> Option<PrefixMatch> {
        let found = self.index.longest_prefix(ONE_MODEL, asked)?;
        self.index.touch(&found.agent);
        Some(found)
    }

    /// Keeps `agent` from making room for others, until [`unpin`](Self::unpin) was called as often.
    pub fn pin(&mut self, agent: &AgentId) {
        self.index.pin(agent);
    }

    /// Takes back one [`pin`](Self::pin); false when there was none.
    pub fn unpin(&mut self, agent: &AgentId) -> bool {
        self.index.unpin(agent)
    }

    /// Agents, least recently used first.
    pub fn agents(&self) -> impl Iterator<Item = &AgentId> {
        self.index.agents()
    }

    /// Number of agents.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether nobody is hot.
    pub fn is_empty(&self) -> bool {
        self.index.len() == 0
    }

    /// Bytes of all values together.
    pub fn bytes(&self) -> u64 {
        self.index.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> AgentId {
        AgentId::new(name).unwrap()
    }

    fn saved(hot: &mut HotCache<u32>, name: &str) -> Vec<String> {
        let gone = hot.insert(id(name), &[Token(1)], 1, 7).unwrap();
        gone.into_iter().map(|evicted| evicted.agent.to_string()).collect()
    }

    /// Case 24.
    #[test]
    fn room_for_three() {
        let mut hot = HotCache::new(3, u64::MAX);
        for name in ["a", "b", "c"] {
            assert!(saved(&mut hot, name).is_empty());
        }
        assert_eq!(saved(&mut hot, "d"), ["a"]);

        let mut hot = HotCache::new(3, u64::MAX);
        for name in ["a", "b", "c"] {
            saved(&mut hot, name);
        }
        assert_eq!(hot.get(&id("a")), Some(&7));
        assert_eq!(saved(&mut hot, "d"), ["b"]);
        assert_eq!(hot.agents().map(AgentId::as_str).collect::<String>(), "cad");
    }

    /// Case 25: only what was found counts as used.
    #[test]
    fn what_is_found_is_touched() {
        let mut hot = HotCache::new(9, 9);
        let tokens: Vec<_> = (1..=6).map(Token).collect();
        hot.insert(id("second"), &tokens[..5], 1, ()).unwrap();
        hot.insert(id("first"), &tokens[..3], 1, ()).unwrap();
        assert_eq!(hot.longest_prefix(&tokens).unwrap().agent, id("second"));
        assert_eq!(hot.agents().map(AgentId::as_str).collect::<Vec<_>>(), ["first", "second"]);
        assert_eq!(hot.longest_prefix(&[Token(9)]), None);
    }

    #[test]
    fn what_does_not_fit_is_given_back() {
        let mut hot = HotCache::new(9, 10);
        hot.insert(id("a"), &[], 6, "a").unwrap();
        hot.pin(&id("a"));
        let refused = hot.insert(id("b"), &[], 5, "b").unwrap_err();
        assert_eq!((refused.value, refused.reason.pinned), ("b", 6));
        assert_eq!((hot.len(), hot.bytes()), (1, 6));
        let own = hot.insert(id("a"), &[], 10, "bigger").unwrap();
        assert_eq!(own[0].value, "a", "a pinned agent may still replace its own");
        assert!(hot.unpin(&id("a")));
        assert_eq!(hot.make_room(&id("b"), 10).unwrap()[0].value, "bigger");
        assert!(hot.is_empty());
        let none = HotCache::new(0, 10).insert(id("a"), &[], 1, ());
        assert!(none.is_err());
    }
}
