//! The agents' side of the prototypes, the lock-based Python systems that came before, ported as it stood:
//! the same locks around the same containers. What Python's containers do by name is done by name here;
//! a database is a map.
//!
//! Python's `Lock` and `RLock` are [`std::sync::Mutex`]: no port takes one of them twice. What a lock guards
//! is a type of its own, so that an [`Owner`] can have it without the lock: the alternative that the
//! prototypes name.

mod event_queue;
mod outbox;
mod plan_context;
mod state_machine;
mod task_queue;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use self::event_queue::{EventSender, Owner};
pub use self::outbox::{LockedOutputs, Outputs};
pub use self::plan_context::{Changesets, LockedPlanContext};
pub use self::state_machine::LockedStateMachine;
pub use self::task_queue::{LockedTaskQueue, Status, Tasks};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
