//! Who is stored: by agent, by last use, and by model and tokens.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use latchless::AgentId;

use super::NoRoom;
use crate::backend::Token;

/// What is stored begins like what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefixMatch {
    /// Whose sequence it is.
    pub agent: AgentId,
    /// Tokens in common, from the start: at least 1.
    pub common: usize,
    /// Tokens of the stored sequence; what it has beyond the common ones has to be forgotten.
    pub stored: usize,
}

/// How much may be stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) entries: usize,
    pub(super) bytes: u64,
}

/// Least recently used first out, pins aside, and the longest common prefix in a logarithm of the
/// entries.
#[derive(Debug)]
pub(super) struct Index<V> {
    room: Room,
    entries: HashMap<AgentId, Entry<V>>,
    by_use: BTreeMap<u64, AgentId>,
    /// By the number of the model: sequences of two models have nothing in common.
    by_tokens: Vec<ByTokens>,
    /// By agent, not by entry: a pin outlives what is replaced under it.
    pins: HashMap<AgentId, usize>,
    clock: u64,
    bytes: u64,
}

type ByTokens = BTreeMap<Arc<[Token]>, BTreeSet<AgentId>>;

#[derive(Debug)]
struct Entry<V> {
    model: usize,
    tokens: Arc<[Token]>,
    bytes: u64,
    used: u64,
    value: V,
}

impl<V> Index<V> {
    pub(super) fn new(room: Room) -> Self {
        Self {
            room,
            entries: HashMap::new(),
            by_use: BTreeMap::new(),
            by_tokens: Vec::new(),
            pins: HashMap::new(),
            clock: 0,
            bytes: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn get(&self, agent: &AgentId) -> Option<&V> {
        self.entries.get(agent).map(|entry| &entry.value)
    }

    pub(super) fn tokens(&self, agent: &AgentId) -> Option<&Arc<[Token]>> {
        self.entries.get(agent).map(|entry| &entry.tokens)
    }

    /// The number of the model that an agent's sequence is of.
    pub(super) fn model(&self, agent: &AgentId) -> Option<usize> {
        self.entries.get(agent).map(|entry| entry.model)
    }

    /// Grows with every use.
    pub(super) fn clock(&self) -> u64 {
        self.clock
    }

    /// Who has to go because there is more than there is room for. Nothing is removed.
    pub(super) fn surplus(&self) -> Vec<AgentId> {
        let (mut entries, mut bytes) = (self.entries.len(), self.bytes);
        let mut going = Vec::new();
        for agent in self.by_use.values() {
            if entries <= self.room.entries && bytes <= self.room.bytes {
                break;
            }
            entries -= 1;
            bytes -= self.entries.get(agent).map_or(0, |entry| entry.bytes);
            going.push(agent.clone());
        }
        going
    }

    /// Agents, least recently used first.
    pub(super) fn agents(&self) -> impl Iterator<Item = &AgentId> {
        self.by_use.values()
    }

    pub(super) fn touch(&mut self, agent: &AgentId) {
        let Some(entry) = self.entries.get_mut(agent) else { return };
        self.clock += 1;
        self.by_use.remove(&entry.used);
        entry.used = self.clock;
        self.by_use.insert(self.clock, agent.clone());
    }

    pub(super) fn pin(&mut self, agent: &AgentId) {
        *self.pins.entry(agent.clone()).or_default() += 1;
    }

    pub(super) fn unpin(&mut self, agent: &AgentId) -> bool {
        let Some(pins) = self.pins.get_mut(agent) else { return false };
        *pins -= 1;
        if *pins == 0 {
            self.pins.remove(agent);
        }
        true
    }

    /// Who has to go before `agent` can store `bytes` in place of what it has: least recently used first,
    /// never itself, nobody who is pinned. Nothing is removed.
    pub(super) fn victims(&self, agent: &AgentId, bytes: u64) -> Result<Vec<AgentId>, NoRoom> {
        let own = self.entries.get(agent);
        let mut entries = self.entries.len() - usize::from(own.is_some()) + 1;
        let others = self.bytes - own.map_or(0, |entry| entry.bytes);
        let mut sum = others.saturating_add(bytes);
        let mut victims = Vec::new();
        let fits = |entries, sum| entries <= self.room.entries && sum <= self.room.bytes;
        for candidate in self.by_use.values() {
            if fits(entries, sum) {
                break;
            }
            if candidate == agent || self.pins.contains_key(candidate) {
                continue;
            }
            entries -= 1;
            sum -= self.entries.get(candidate).map_or(0, |entry| entry.bytes);
            victims.push(candidate.clone());
        }
        if fits(entries, sum) {
            return Ok(victims);
        }
        let Room { entries, bytes: all } = self.room;
        Err(NoRoom { needed: bytes, entries, bytes: all, pinned: sum.saturating_sub(bytes) })
    }

    /// Stores a sequence of a model, as the most recently used. Whether there is room was asked before.
    pub(super) fn insert(
        &mut self,
        agent: AgentId,
        model: usize,
        tokens: Arc<[Token]>,
        bytes: u64,
        value: V,
    ) {
        self.remove(&agent);
        self.clock += 1;
        self.bytes += bytes;
        self.by_use.insert(self.clock, agent.clone());
        if !tokens.is_empty() {
            if self.by_tokens.len() <= model {
                self.by_tokens.resize_with(model + 1, BTreeMap::new);
            }
            let agents = self.by_tokens[model].entry(Arc::clone(&tokens)).or_default();
            agents.insert(agent.clone());
        }
        self.entries.insert(agent, Entry { model, tokens, bytes, used: self.clock, value });
    }

    pub(super) fn remove(&mut self, agent: &AgentId) -> Option<V> {
        let entry = self.entries.remove(agent)?;
        self.bytes -= entry.bytes;
        self.by_use.remove(&entry.used);
        if let Some(by_tokens) = self.by_tokens.get_mut(entry.model)
            && let Some(agents) = by_tokens.get_mut(&entry.tokens)
        {
            agents.remove(agent);
            if agents.is_empty() {
                by_tokens.remove(&entry.tokens);
            }
        }
        Some(entry.value)
    }

    /// Of the sequences of a model the one that has the most tokens in common with `asked`; of equals, the
    /// one used last.
    pub(super) fn longest_prefix(&self, model: usize, asked: &[Token]) -> Option<PrefixMatch> {
        let used = |agent: &&AgentId| self.entries.get(*agent).map_or(0, |entry| entry.used);
        let found = neighbours(self.by_tokens.get(model)?, asked).filter_map(|neighbour| {
            let agent = neighbour.value.iter().max_by_key(used)?;
            Some((neighbour.common, used(&agent), agent, neighbour.stored))
        });
        let (common, _, agent, stored) = found.max_by_key(|(common, used, ..)| (*common, *used))?;
        Some(PrefixMatch { agent: agent.clone(), common, stored })
    }

    /// The sequences of a model, each with the agent that used it last.
    pub(super) fn sequences(&self, model: usize) -> BTreeMap<Arc<[Token]>, AgentId> {
        let used = |agent: &&AgentId| self.entries.get(*agent).map_or(0, |entry| entry.used);
        let of_model = self.by_tokens.get(model).into_iter().flatten();
        let last = |(tokens, agents): (&Arc<[Token]>, &BTreeSet<AgentId>)| {
            Some((Arc::clone(tokens), agents.iter().max_by_key(used)?.clone()))
        };
        of_model.filter_map(last).collect()
    }
}

/// What stands beside a prompt in the order of the dictionary.
pub(super) struct Neighbour<'a, V> {
    pub(super) value: &'a V,
    /// Tokens in common: at least 1.
    pub(super) common: usize,
    /// Tokens that are stored.
    pub(super) stored: usize,
}

/// The one or two sequences among which the longest common start with `asked` is.
///
/// In the order of the dictionary, whatever shares the longest start with `asked` stands right before or
/// right behind the place of `asked` itself: so two neighbours are compared, and not everything.
pub(super) fn neighbours<'a, V>(
    by_tokens: &'a BTreeMap<Arc<[Token]>, V>,
    asked: &[Token],
) -> impl Iterator<Item = Neighbour<'a, V>> {
    let before = (Bound::Unbounded, Bound::Included(asked));
    let behind = (Bound::Excluded(asked), Bound::Unbounded);
    let before = by_tokens.range::<[Token], _>(before).next_back();
    let behind = by_tokens.range::<[Token], _>(behind).next();
    [before, behind].into_iter().flatten().filter_map(move |(tokens, value)| {
        let common = tokens.iter().zip(asked).take_while(|(one, other)| one == other).count();
        (common > 0).then_some(Neighbour { value, common, stored: tokens.len() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> AgentId {
        AgentId::new(name).unwrap()
    }

    fn tokens(ids: &[i32]) -> Arc<[Token]> {
        ids.iter().map(|id| Token(*id)).collect()
    }

    fn index(entries: usize, bytes: u64) -> Index<()> {
        Index::new(Room { entries, bytes })
    }

    fn victims(index: &Index<()>, agent: &str, bytes: u64) -> String {
        let victims = index.victims(&id(agent), bytes).unwrap();
        victims.iter().map(AgentId::as_str).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_least_recently_used_goes_and_the_pinned_stays() {
        let mut index = index(9, 100);
        for agent in ["a", "b", "c"] {
            index.insert(id(agent), 0, tokens(&[1]), 30, ());
        }
        assert_eq!(victims(&index, "d", 10), "");
        assert_eq!(victims(&index, "d", 41), "a b");
        index.touch(&id("a"));
        assert_eq!(victims(&index, "d", 41), "b c");
        index.pin(&id("b"));
        index.pin(&id("b"));
        assert!(index.unpin(&id("b")));
        assert_eq!(victims(&index, "d", 41), "c a", "still pinned once");
        assert_eq!(victims(&index, "b", 40), "", "what it has makes room first");
        let refused = index.victims(&id("d"), 71).unwrap_err();
        assert_eq!((refused.needed, refused.pinned), (71, 30));
        assert!(index.unpin(&id("b")) && !index.unpin(&id("b")));
        assert_eq!(victims(&index, "d", 100), "b c a");
        assert!(index.victims(&id("d"), u64::MAX).is_err());
        assert_eq!((index.len(), index.bytes()), (3, 90), "asking removes nothing");
    }

    /// Case 25.
    #[test]
    fn the_longest_common_start_is_found() {
        let mut index = index(9, 100);
        assert_eq!(index.longest_prefix(0, &tokens(&[1])), None);
        index.insert(id("short"), 0, tokens(&[1, 2, 3]), 1, ());
        index.insert(id("long"), 0, tokens(&[1, 2, 3, 4, 5]), 1, ());
        let found = index.longest_prefix(0, &tokens(&[1, 2, 3, 4, 5, 6])).unwrap();
        assert_eq!((found.agent.as_str(), found.common, found.stored), ("long", 5, 5));
        assert_eq!(index.longest_prefix(0, &tokens(&[2, 3])), None);
        assert_eq!(index.longest_prefix(0, &[]), None);
        index.remove(&id("long"));
        let found = index.longest_prefix(0, &tokens(&[1, 2, 9])).unwrap();
        assert_eq!((found.agent.as_str(), found.common, found.stored), ("short", 2, 3));
    }

    #[test]
    fn a_sequence_of_another_model_is_not_found() {
        let mut index = index(9, 100);
        index.insert(id("a"), 1, tokens(&[1, 2]), 1, ());
        assert_eq!(index.longest_prefix(0, &tokens(&[1, 2])), None);
        assert_eq!(index.longest_prefix(1, &tokens(&[1])).unwrap().common, 1);
        index.insert(id("a"), 0, tokens(&[1, 2]), 1, ());
        assert!(index.longest_prefix(0, &tokens(&[1])).is_some());
        assert_eq!((index.longest_prefix(1, &tokens(&[1])), index.sequences(1).len()), (None, 0));
        assert_eq!(index.longest_prefix(7, &tokens(&[1])), None);
    }

    #[test]
    fn of_equal_starts_the_one_used_last_is_found() {
        let mut index = index(9, 100);
        for agent in ["a", "b", "c"] {
            index.insert(id(agent), 0, tokens(&[7, 8]), 1, ());
        }
        index.touch(&id("b"));
        assert_eq!(index.longest_prefix(0, &tokens(&[7, 8, 9])).unwrap().agent, id("b"));
        // A neighbour on the other side.
        index.insert(id("d"), 0, tokens(&[7, 8, 9, 9]), 1, ());
        index.touch(&id("a"));
        assert_eq!(index.longest_prefix(0, &tokens(&[7, 8, 8])).unwrap().agent, id("a"));
    }

    /// Against the plain answer: compare with everything.
    #[test]
    fn neighbours_are_enough() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut found = 0;
        for _ in 0..300 {
            let mut index = index(99, 1_000);
            let mut any = |most| -> Vec<i32> {
                let len = random.usize(0..most);
                (0..len).map(|_| random.i32(0..3)).collect()
            };
            let stored: Vec<_> = (0..20).map(|_| any(8)).collect();
            let asked = tokens(&any(8));
            for (number, ids) in stored.iter().enumerate() {
                index.insert(id(&number.to_string()), 0, tokens(ids), 1, ());
            }
            let common = |ids: &Vec<i32>| {
                ids.iter().zip(asked.iter()).take_while(|(one, other)| **one == other.0).count()
            };
            let best = stored.iter().map(common).max().unwrap();
            let got = index.longest_prefix(0, &asked);
            assert_eq!(got.as_ref().map_or(0, |got| got.common), best);
            found += usize::from(got.is_some());
        }
        assert!(found > 100, "only {found} had anything in common");
    }
}
