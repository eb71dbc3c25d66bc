//! What a queue without threads knows.

use super::{Id, Status};

pub(crate) const SLOTS: usize = 3;
pub(crate) const MAX_ATTEMPTS: u16 = 2;
/// Ticks for which a claim stands.
pub(crate) const LEASE: u64 = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Free,
    /// A submit writes a task there.
    Taken,
    Waiting,
    Pending,
    Assigned,
    InProgress,
    Completed,
    Reported,
    UsedUp,
    Skipped,
    /// Forgotten, and its slot not free for certain.
    Leaving,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Lease {
    /// The claimer has not come to it yet.
    Unset,
    Until(u64),
    Expired,
}

/// Which tasks are found first, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Lane {
    pub(crate) priority: u8,
    pub(crate) agent_type: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Slot {
    pub(super) phase: Phase,
    pub(super) generation: u32,
    pub(super) lane: Lane,
    pub(super) worker: u16,
    pub(super) attempt: u16,
    pub(super) lease: Lease,
    /// The task that this one waits for.
    pub(super) dependency: Option<Id>,
    /// How that ended.
    pub(super) told: Option<bool>,
    /// When the call is over that made the task pending, told it how its dependency ended, or forgot it.
    /// Before, it may be overlooked, wait still, or have its slot.
    pub(super) until: u64,
    /// Whether those who find nothing ask for such calls.
    pub(super) announced: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(super) slots: [Slot; SLOTS],
}

impl Lane {
    /// Whether an agent of a type looks here; its own tasks before those for any.
    pub(super) fn rank_for(self, agent_type: u8) -> Option<(u8, bool)> {
        let fits = self.agent_type.is_none_or(|own| own == agent_type);
        fits.then_some((self.priority, self.agent_type.is_some()))
    }
}

impl Slot {
    pub(super) fn is_claimed(&self) -> bool {
        matches!(self.phase, Phase::Assigned | Phase::InProgress)
    }

    pub(super) fn is_over(&self) -> bool {
        use Phase::{Completed, Reported, Skipped, UsedUp};
        matches!(self.phase, Completed | Reported | UsedUp | Skipped)
    }

    /// Whether this is yet the attempt of a claim, in whatever phase.
    pub(super) fn is_of(&self, (generation, worker, attempt): (u32, u16, u16)) -> bool {
        let same = (self.generation, self.worker, self.attempt) == (generation, worker, attempt);
        same && !matches!(self.phase, Phase::Pending | Phase::Free | Phase::Taken)
    }

    pub(super) fn status(&self) -> Option<Status> {
        let (worker, attempt) = (self.worker, self.attempt);
        Some(match self.phase {
            Phase::Free | Phase::Taken | Phase::Leaving => return None,
            Phase::Waiting => Status::Waiting,
            Phase::Pending => Status::Pending,
            Phase::Assigned => Status::Assigned { worker, attempt },
            Phase::InProgress => Status::InProgress { worker, attempt },
            Phase::Completed => Status::Completed,
            Phase::Reported => Status::Reported { worker, attempt },
            Phase::UsedUp => Status::UsedUp { attempts: attempt },
            Phase::Skipped => Status::DependencyFailed(self.dependency?),
        })
    }

    /// A task that waits and has been told begins or never runs.
    fn judge(&mut self) {
        if self.phase == Phase::Waiting
            && let Some(completed) = self.told
        {
            self.phase = if completed { Phase::Pending } else { Phase::Skipped };
            self.announced = true;
        }
    }

    pub(super) fn free(&mut self) {
        self.phase = Phase::Free;
        self.generation += 1;
    }
}

impl State {
    pub(crate) fn new() -> Self {
        let slot = Slot {
            phase: Phase::Free,
            generation: 0,
            lane: Lane { priority: 0, agent_type: None },
            worker: 0,
            attempt: 0,
            lease: Lease::Unset,
            dependency: None,
            told: None,
            until: 0,
            announced: false,
        };
        Self { slots: [slot; SLOTS] }
    }

    /// What must have happened by the time `now` is.
    pub(super) fn settle(&mut self, now: u64) {
        for slot in self.slots.iter_mut().filter(|slot| slot.until < now) {
            slot.judge();
            if slot.phase == Phase::Leaving {
                slot.free();
            }
        }
    }

    /// Tasks that wait and have been told: whether they have begun yet is open.
    pub(super) fn ways(self) -> Vec<Self> {
        let mut judged = self.clone();
        judged.slots.iter_mut().for_each(Slot::judge);
        if judged == self { vec![self] } else { vec![self, judged] }
    }

    pub(super) fn status(&self, id: Id) -> Option<Status> {
        let slot = &self.slots[id.0];
        if slot.generation == id.1 { slot.status() } else { None }
    }

    /// A task has ended: those that wait for it are told until then.
    pub(super) fn tell(&mut self, at: usize, completed: bool, until: u64) {
        let id = (at, self.slots[at].generation);
        let waits = |slot: &&mut Slot| {
            slot.phase == Phase::Waiting && slot.dependency == Some(id) && slot.told.is_none()
        };
        for slot in self.slots.iter_mut().filter(waits) {
            (slot.told, slot.until) = (Some(completed), until);
        }
    }

    /// Those that wait for a task have been told, and judged.
    pub(super) fn told_all(&mut self, at: usize) {
        let id = (at, self.slots[at].generation);
        let wait = |slot: &&mut Slot| slot.dependency == Some(id);
        self.slots.iter_mut().filter(wait).for_each(Slot::judge);
    }

    /// A claim ends without a result.
    pub(super) fn take_back(&mut self, at: usize, until: u64) {
        let slot = &mut self.slots[at];
        if slot.attempt < MAX_ATTEMPTS {
            (slot.phase, slot.until, slot.announced) = (Phase::Pending, until, true);
        } else {
            slot.phase = Phase::UsedUp;
            self.tell(at, false, until);
        }
    }
}
