//! Baselines: the same work without a lock-free pool.
//!
//! [`MutexOwner`] is the fair comparison: it does all that the pool does for a pair of allocate and free.
//! [`MutexBare`] does less, and shows what a mutex costs at the least: ids are copied in bulk to and from
//! a list, and nobody knows whose they are. [`LockedPort`] is a port of the prototypes' pool: they are the
//! lock-based Python systems that came before. [`EventQueue`] is the alternative that they name: the same list
//! owned by one thread, to which everybody else sends events. [`agents`] has the ports of the agents' side.

pub mod agents;
mod event_queue;
mod locked_port;
mod mutex_bare;
mod mutex_owner;

pub use self::event_queue::{EventHand, EventQueue};
pub use self::locked_port::{LockedHand, LockedPort};
pub use self::mutex_bare::{Lock, MutexBare, ParkingLot, Std};
pub use self::mutex_owner::{MutexOwner, OwnerHand};
