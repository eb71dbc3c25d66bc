//! The agents' side of the systems that Latchless replaces, as it stands: the same locks around the same
//! containers. What Python's containers do by name is done by name here; a database is a map.
//!
//! Python's `Lock` and `RLock` are [`std::sync::Mutex`]: no port takes one of them twice.

mod event_queue;
mod outbox;
mod plan_context;
mod state_machine;
mod task_queue;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use self::event_queue::{EventQueueMachine, EventSender};
pub use self::outbox::LockedOutputs;
pub use self::plan_context::LockedPlanContext;
pub use self::state_machine::LockedStateMachine;
pub use self::task_queue::{LockedTaskQueue, Status};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
