//! Spawn slots under load: never more agents than the limit, not even for a moment, and no slot in two
//! hands.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use latchless::{Inbox, SpawnSlot, SpawnSlotId, SpawnSlots, Tick};

use crate::violation::Violation;

/// Agents that may run at a time: fewer than the threads want.
const LIMIT: usize = 5;
/// Dead agents that nobody has cleaned up after yet.
const DEAD: usize = 64;
const NOBODY: u64 = 0;

/// An agent that died: its slot, and what marks it.
#[derive(Clone, Copy)]
struct Dead {
    id: SpawnSlotId,
    mark: u64,
}

/// A slot in a thread's hands, and its mark.
pub(super) struct Reserved {
    slot: SpawnSlot,
    mark: u64,
}

/// The slots of a round, with a mark for each.
pub(super) struct Slots {
    spawn: SpawnSlots,
    holders: Vec<AtomicU64>,
    dead: Inbox<Dead>,
    /// The guards of agents that died: dropped when all is over, which must change nothing any more.
    graves: Mutex<Vec<SpawnSlot>>,
    died: AtomicU64,
    cleaned: AtomicU64,
    marks: AtomicU64,
}

impl Slots {
    pub(super) fn new() -> Result<Self, Violation> {
        Ok(Self {
            spawn: SpawnSlots::new(LIMIT).map_err(|error| Violation::answer("slots", error))?,
            holders: (0..LIMIT).map(|_| AtomicU64::new(NOBODY)).collect(),
            dead: Inbox::with_capacity(DEAD),
            graves: Mutex::default(),
            died: AtomicU64::new(0),
            cleaned: AtomicU64::new(0),
            marks: AtomicU64::new(NOBODY),
        })
    }

    /// A slot, if there is one.
    pub(super) fn reserve(&self, now: Tick) -> Result<Option<Reserved>, Violation> {
        let Ok(slot) = self.spawn.reserve(now) else { return Ok(None) };
        let mark = self.marks.fetch_add(1, Ordering::Relaxed) + 1;
        // As many marks as the limit: a slot beyond it, or in two hands, is found here.
        let before =
            self.holders.get(usize::from(slot.index())).map(|h| h.swap(mark, Ordering::AcqRel));
        match before {
            Some(NOBODY) => Ok(Some(Reserved { slot, mark })),
            other => Err(Violation::answer("a slot had no holder", (slot.id(), other))),
        }
    }

    pub(super) fn release(&self, reserved: Reserved, now: Tick) -> Result<(), Violation> {
        let slot = &reserved.slot;
        if !slot.beat(now) || !slot.is_current() {
            return Err(Violation::answer("a slot that nobody cleans up stands", slot.id()));
        }
        self.unmark(&reserved)?;
        drop(reserved.slot);
        Ok(())
    }

    /// Right before the slot is given back.
    pub(super) fn unmark(&self, reserved: &Reserved) -> Result<(), Violation> {
        let Reserved { slot, mark } = reserved;
        let holder = &self.holders[usize::from(slot.index())];
        let unmarked = holder.compare_exchange(*mark, NOBODY, Ordering::AcqRel, Ordering::Acquire);
        unmarked.map(drop).map_err(|found| Violation::answer("a slot's holder", (*mark, found)))
    }

    /// The agent dies: its slot is not given back by itself.
    pub(super) fn die(&self, reserved: Reserved) -> Result<(), Violation> {
        let dead = Dead { id: reserved.slot.id(), mark: reserved.mark };
        // Twice, so that two cleaners find it. Without room for both it lives on.
        if self.dead.push(dead).is_err() {
            return self.release(reserved, Tick(0));
        }
        self.died.fetch_add(1, Ordering::Relaxed);
        let _ = self.dead.push(dead);
        self.graves().push(reserved.slot);
        Ok(())
    }

    /// Cleans up after all that are known to be dead; of two who do, one is told so.
    pub(super) fn clean_up(&self) {
        for Dead { id, mark } in self.dead.take_all() {
            // Before the slot can be another's.
            let holder = &self.holders[usize::from(id.index())];
            let _ = holder.compare_exchange(mark, NOBODY, Ordering::AcqRel, Ordering::Relaxed);
            if self.spawn.clean_up(id) {
                self.cleaned.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Nobody runs: all that died were cleaned up after, once, and every slot is free.
    pub(super) fn settle(&self) -> Result<(), Violation> {
        self.clean_up();
        self.graves().clear();
        let [died, cleaned] =
            [&self.died, &self.cleaned].map(|count| count.load(Ordering::Relaxed));
        Violation::count("agents that were cleaned up after", died, cleaned)?;
        Violation::count("agents that run", 0_u64, self.spawn.running() as u64)
    }

    fn graves(&self) -> MutexGuard<'_, Vec<SpawnSlot>> {
        self.graves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_in_two_hands_is_seen_when_it_is_given_back() {
        let slots = Slots::new().unwrap();
        let reserved = slots.reserve(Tick(0)).unwrap().unwrap();
        slots.holders[usize::from(reserved.slot.index())].store(7, Ordering::Relaxed);
        let found = Violation::answer("a slot's holder", (1, 7));
        assert_eq!(slots.unmark(&reserved), Err(found.clone()));
        assert_eq!(slots.release(reserved, Tick(0)), Err(found));
    }
}
