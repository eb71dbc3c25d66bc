//! How large a queue is, and what it tolerates.

use super::error::TaskQueueConfigError;
use super::lease;
use super::word::{MAX_ATTEMPTS, MAX_TYPES};

/// What a [`TaskQueue`](super::TaskQueue) is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskQueueConfig {
    pub(super) capacity: usize,
    pub(super) types: u8,
    pub(super) max_attempts: u16,
    pub(super) lease: u64,
}

impl TaskQueueConfig {
    /// The most tasks that a queue can be made for.
    pub const MAX_CAPACITY: usize = 1 << 20;

    /// A queue for at most `capacity` tasks at a time, over ones that are not forgotten included; one
    /// agent type; 3 attempts a task; leases of 60,000 ticks.
    ///
    /// A slot takes 64 bytes, the record of its task, whose memory is there from the beginning, and two bits for each lane: four priorities of each
    /// type, and of "any".
    pub fn new(capacity: usize) -> Self {
        Self { capacity, types: 1, max_attempts: 3, lease: 60_000 }
    }

    /// Types of agents, at most 62.
    #[must_use]
    pub fn agent_types(mut self, types: u8) -> Self {
        self.types = types;
        self
    }

    /// Claims of one task until it counts as failed, at most 4,095.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u16) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// Ticks for which a claim stands, from the claim and from each renewal on.
    #[must_use]
    pub fn lease(mut self, ticks: u64) -> Self {
        self.lease = ticks;
        self
    }

    pub(super) fn check(self) -> Result<Self, TaskQueueConfigError> {
        let Self { capacity, types, max_attempts, lease } = self;
        if !(1..=Self::MAX_CAPACITY).contains(&capacity) {
            Err(TaskQueueConfigError::Capacity { capacity })
        } else if !(1..MAX_TYPES).contains(&types) {
            Err(TaskQueueConfigError::AgentTypes { types })
        } else if !(1..=MAX_ATTEMPTS).contains(&max_attempts) {
            Err(TaskQueueConfigError::Attempts { max_attempts })
        } else if !(1..lease::NEVER).contains(&lease) {
            Err(TaskQueueConfigError::Lease { ticks: lease })
        } else {
            Ok(self)
        }
    }
}
