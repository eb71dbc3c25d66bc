//! A task's word: everything that a compare-and-swap must decide by.

use super::{AgentType, Priority, TaskId, WorkerId};
use crate::mutant::mutant;

const STATUS_BITS: u32 = 4;
const PRIORITY_BITS: u32 = 2;
const KIND_BITS: u32 = 6;
const WORKER_BITS: u32 = 16;
const ATTEMPT_BITS: u32 = 12;
pub(super) const GENERATION_BITS: u32 = 24;

const PRIORITY_SHIFT: u32 = STATUS_BITS;
const KIND_SHIFT: u32 = PRIORITY_SHIFT + PRIORITY_BITS;
const WORKER_SHIFT: u32 = KIND_SHIFT + KIND_BITS;
const ATTEMPT_SHIFT: u32 = WORKER_SHIFT + WORKER_BITS;
const GENERATION_SHIFT: u32 = ATTEMPT_SHIFT + ATTEMPT_BITS;
const _: () = assert!(GENERATION_SHIFT + GENERATION_BITS == 64);
const _: () = assert!(Priority::ALL.len() == 1 << PRIORITY_BITS);

/// Attempts that a word can count.
pub(super) const MAX_ATTEMPTS: u16 = (1 << ATTEMPT_BITS) - 1;
/// Agent types that a word can name beside "any".
pub(super) const MAX_TYPES: u8 = (1 << KIND_BITS) - 1;

/// Where a task is in its life. The arrows of [`TaskStatus`](super::TaskStatus), and the states of a slot
/// between two tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// No task, or one that is being written.
    Vacant,
    /// Its dependencies are not completed.
    Waiting,
    Pending,
    Assigned,
    InProgress,
    Completed,
    Failed,
    /// Failed: its attempts are used up.
    Exhausted,
    /// Failed: a dependency did.
    Skipped,
}

impl Stage {
    const ALL: [Self; 9] = [
        Self::Vacant,
        Self::Waiting,
        Self::Pending,
        Self::Assigned,
        Self::InProgress,
        Self::Completed,
        Self::Failed,
        Self::Exhausted,
        Self::Skipped,
    ];

    /// An agent has it.
    pub(super) fn is_claimed(self) -> bool {
        matches!(self, Self::Assigned | Self::InProgress)
    }

    /// Nothing follows.
    pub(super) fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Exhausted | Self::Skipped)
    }
}

/// `generation (24) | attempt (12) | worker (16) | agent type, 0 for any (6) | priority (2) | stage (4)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

impl Word {
    pub(super) const VACANT: Self = Self(0);

    /// A task of this slot's next life, which no agent has had yet.
    pub(super) fn task(self, stage: Stage, priority: Priority, kind: Option<AgentType>) -> Self {
        let kind = kind.map_or(0, |kind| u64::from(kind.0) + 1);
        let generation = self.0 >> GENERATION_SHIFT << GENERATION_SHIFT;
        Self(generation | kind << KIND_SHIFT | (priority as u64) << PRIORITY_SHIFT | stage as u64)
    }

    #[inline]
    pub(super) fn stage(self) -> Stage {
        let stage = self.0 as usize & ((1 << STATUS_BITS) - 1);
        Stage::ALL.get(stage).copied().unwrap_or(Stage::Vacant)
    }

    #[inline]
    pub(super) fn with(self, stage: Stage) -> Self {
        Self(self.0 & !((1 << STATUS_BITS) - 1) | stage as u64)
    }

    /// The number of the lane, with `types` types beside "any": see [`lane_of`].
    #[inline]
    pub(super) fn lane(self, types: u8) -> usize {
        let priority = (self.0 >> PRIORITY_SHIFT) as usize & ((1 << PRIORITY_BITS) - 1);
        let kind = (self.0 >> KIND_SHIFT) as usize & ((1 << KIND_BITS) - 1);
        priority * (usize::from(types) + 1) + kind
    }

    pub(super) fn worker(self) -> WorkerId {
        WorkerId((self.0 >> WORKER_SHIFT) as u16)
    }

    #[inline]
    pub(super) fn attempt(self) -> u16 {
        (self.0 >> ATTEMPT_SHIFT) as u16 & MAX_ATTEMPTS
    }

    /// The next attempt, by `worker`.
    #[inline]
    pub(super) fn claimed_by(self, worker: WorkerId) -> Self {
        let rest = self.0 & !(((1 << WORKER_BITS) - 1) << WORKER_SHIFT);
        // The attempt is below its maximum: the queue checked it when the task became pending.
        let attempt = u64::from(!mutant("tasks.no-attempt"));
        let next = (rest + (attempt << ATTEMPT_SHIFT)) | (u64::from(worker.0) << WORKER_SHIFT);
        Self(next).with(Stage::Assigned)
    }

    #[inline]
    pub(super) fn generation(self) -> u32 {
        (self.0 >> GENERATION_SHIFT) as u32
    }

    /// The slot's next life, vacant.
    pub(super) fn vacated(self) -> Self {
        let next = u64::from(!mutant("tasks.no-generation"));
        Self((self.0 >> GENERATION_SHIFT).wrapping_add(next) << GENERATION_SHIFT)
    }

    /// The id of the task in `slot`.
    #[inline]
    pub(super) fn id(self, slot: usize) -> TaskId {
        TaskId::new(slot as u32, self.generation())
    }

    /// Tells an attempt at a task from those before and after it, in 24 bits.
    pub(super) fn lease_tag(self) -> u64 {
        self.0 >> ATTEMPT_SHIFT & ((1 << 24) - 1)
    }
}

/// The lane of tasks of a priority for a type, or for any.
pub(super) fn lane_of(priority: Priority, kind: Option<AgentType>, types: u8) -> usize {
    Word::VACANT.task(Stage::Pending, priority, kind).lane(types)
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip() {
        let last = Word(u64::MAX).vacated();
        assert_eq!(last, Word::VACANT, "the generation wraps, and nothing else is left");
        let fresh = Word((1 << GENERATION_BITS) - 1).vacated().vacated();
        for stage in Stage::ALL {
            for priority in Priority::ALL {
                let kind = Some(AgentType(MAX_TYPES - 1));
                let mut word = fresh.task(stage, priority, kind);
                assert_eq!((word.stage(), word.generation(), word.attempt()), (stage, 2, 0));
                for attempt in 1..=MAX_ATTEMPTS {
                    word = word.claimed_by(WorkerId(u16::MAX - attempt));
                    assert_eq!((word.attempt(), word.worker().0), (attempt, u16::MAX - attempt));
                }
                assert_eq!((word.stage(), word.generation()), (Stage::Assigned, 2));
                assert_eq!(word.lane(MAX_TYPES), lane_of(priority, kind, MAX_TYPES));
                assert_eq!(word.with(Stage::Failed).vacated(), fresh.vacated());
            }
        }
    }

    #[test]
    fn every_lane_has_its_number() {
        let mut lanes: Vec<_> = Priority::ALL
            .into_iter()
            .flat_map(|priority| {
                [None, Some(AgentType(0)), Some(AgentType(1))]
                    .map(|kind| lane_of(priority, kind, 2))
            })
            .collect();
        lanes.sort_unstable();
        assert_eq!(lanes, (0..12).collect::<Vec<_>>());
    }
}
