//! The output queues of the prototypes' spawner.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use super::lock;

/// All agents' output in one map. Each agent's queue is bounded, and its oldest item goes when it is full.
#[derive(Debug)]
pub struct Outputs<T> {
    agents: HashMap<String, Output<T>>,
    capacity: usize,
}

#[derive(Debug)]
struct Output<T> {
    items: VecDeque<T>,
    dropped: u64,
}

impl<T> Outputs<T> {
    /// Output of at most `capacity` items an agent.
    pub fn new(capacity: usize) -> Self {
        Self { agents: HashMap::new(), capacity }
    }

    /// Registers an agent.
    pub fn add_agent(&mut self, agent: &str) {
        let output = Output { items: VecDeque::with_capacity(self.capacity), dropped: 0 };
        self.agents.insert(agent.to_owned(), output);
    }

    /// Puts an item in an agent's output; false when there is no such agent.
    pub fn push(&mut self, agent: &str, item: T) -> bool {
        let Some(output) = self.agents.get_mut(agent) else { return false };
        if output.items.len() == self.capacity {
            output.items.pop_front();
            output.dropped += 1;
        }
        output.items.push_back(item);
        true
    }

    /// Takes an agent's oldest item.
    pub fn pop(&mut self, agent: &str) -> Option<T> {
        self.agents.get_mut(agent)?.items.pop_front()
    }

    /// Items of an agent that went because newer ones came.
    pub fn dropped(&self, agent: &str) -> Option<u64> {
        Some(self.agents.get(agent)?.dropped)
    }
}

/// The same behind one lock for all agents.
#[derive(Debug)]
pub struct LockedOutputs<T>(Mutex<Outputs<T>>);

impl<T> LockedOutputs<T> {
    /// As [`Outputs::new`].
    pub fn new(capacity: usize) -> Self {
        Self(Mutex::new(Outputs::new(capacity)))
    }

    /// As [`Outputs::add_agent`].
    pub fn add_agent(&self, agent: &str) {
        lock(&self.0).add_agent(agent);
    }

    /// As [`Outputs::push`].
    pub fn push(&self, agent: &str, item: T) -> bool {
        lock(&self.0).push(agent, item)
    }

    /// As [`Outputs::pop`].
    pub fn pop(&self, agent: &str) -> Option<T> {
        lock(&self.0).pop(agent)
    }

    /// As [`Outputs::dropped`].
    pub fn dropped(&self, agent: &str) -> Option<u64> {
        lock(&self.0).dropped(agent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes() {
        let outputs = LockedOutputs::new(2);
        assert!(!outputs.push("agent", 0));
        outputs.add_agent("agent");
        assert!((1..4).all(|item| outputs.push("agent", item)));
        assert_eq!((outputs.pop("agent"), outputs.dropped("agent")), (Some(2), Some(1)));
    }
}
