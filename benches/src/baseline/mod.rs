//! Baselines: the same work behind one mutex.
//!
//! [`MutexOwner`] is the fair comparison: it does all that the pool does for a pair of allocate and free.
//! [`MutexBare`] does less, and shows what a mutex costs at the least: ids are copied in bulk to and from
//! a list, and nobody knows whose they are.

mod mutex_bare;
mod mutex_owner;

pub use self::mutex_bare::{Lock, MutexBare, ParkingLot, Std};
pub use self::mutex_owner::{MutexOwner, OwnerHand};
