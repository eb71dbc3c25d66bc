//! The output queues of seed 002's spawner.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use super::lock;

/// All agents' output in one map behind one lock; each agent's queue is bounded, and its oldest item goes
/// when it is full.
#[derive(Debug)]
pub struct LockedOutputs<T> {
    output_lock: Mutex<HashMap<String, Output<T>>>,
    capacity: usize,
}

#[derive(Debug)]
struct Output<T> {
    items: VecDeque<T>,
    dropped: u64,
}

impl<T> LockedOutputs<T> {
    /// Output of at most `capacity` items an agent.
    pub fn new(capacity: usize) -> Self {
        Self { output_lock: Mutex::new(HashMap::new()), capacity }
    }

    /// Registers an agent.
    pub fn add_agent(&self, agent: &str) {
        let output = Output { items: VecDeque::with_capacity(self.capacity), dropped: 0 };
        lock(&self.output_lock).insert(agent.to_owned(), output);
    }

    /// Puts an item in an agent's output; false when there is no such agent.
    pub fn push(&self, agent: &str, item: T) -> bool {
        let mut outputs = lock(&self.output_lock);
        let Some(output) = outputs.get_mut(agent) else { return false };
        if output.items.len() == self.capacity {
            output.items.pop_front();
            output.dropped += 1;
        }
        output.items.push_back(item);
        true
    }

    /// Takes an agent's oldest item.
    pub fn pop(&self, agent: &str) -> Option<T> {
        lock(&self.output_lock).get_mut(agent)?.items.pop_front()
    }

    /// Items of an agent that went because newer ones came.
    pub fn dropped(&self, agent: &str) -> Option<u64> {
        Some(lock(&self.output_lock).get(agent)?.dropped)
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
