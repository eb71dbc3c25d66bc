//! What the other side holds, and the tables behind it.
//!
//! Each kind is a C struct of its own, so that a C compiler tells them apart already; the kind in the
//! handle's bits tells them apart where no compiler looks. A struct of eight bytes is passed like a number.

use latchless_handles::{Guard, Handle, Table};

use crate::call::watch_forks;
use crate::engine::{Engine, Stream};
use crate::lease::Lease;
use crate::machine::Machine;
use crate::pool::Pool;
use crate::status::Failure;
use crate::tasks::{Claim, Tasks};

/// A pool of KV-cache blocks. All zeros is no pool.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct latchless_pool {
    /// Opaque.
    pub bits: u64,
}

/// Blocks that are held together, given back by latchless_lease_release(). All zeros is no lease.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct latchless_lease {
    /// Opaque.
    pub bits: u64,
}

/// An engine. All zeros is no engine.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct latchless_engine {
    /// Opaque.
    pub bits: u64,
}

/// The events of one request. All zeros is no stream.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct latchless_stream {
    /// Opaque.
    pub bits: u64,
}

/// What an agent is doing. All zeros is no machine.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct latchless_machine {
    /// Opaque.
    pub bits: u64,
}

/// A queue of tasks. All zeros is no queue.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct latchless_tasks {
    /// Opaque.
    pub bits: u64,
}

/// A task in somebody's hands, by attempt. All zeros is no claim.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct latchless_claim {
    /// Opaque.
    pub bits: u64,
}

/// An agent of one pool, or of one engine: any other refuses it. A number, not an object: it is copied, and
/// ends with latchless_agent_unregister() or with its pool or engine.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct latchless_agent {
    /// Opaque.
    pub bits: u64,
}

/// A block of one pool, and the life of it that is meant: any other pool refuses it. A number, not an
/// object.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct latchless_block {
    /// The block, 0 to the pool's blocks - 1: where its keys and values lie is for the host to know.
    pub block: u32,
    /// Opaque.
    pub seal: u32,
}

/// A task of one queue: any other refuses it. A number, not an object.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct latchless_task {
    /// Opaque.
    pub bits: u64,
}

/// Threads that use one pool, engine or queue at the same time count themselves on as many cache lines.
const SHARED: usize = 8;

macro_rules! tables {
    ($($handle:ident, $object:ty, $table:ident, $stripes:expr, $kind:expr, $what:expr;)*) => {$(
        static $table: Table<$object, { $stripes }> = Table::new($kind);

        impl $handle {
            /// No object.
            pub const NULL: Self = Self { bits: 0 };

            /// Puts an object behind a new handle.
            pub(crate) fn of(object: $object) -> Result<Self, Failure> {
                watch_forks();
                let handle = $table.insert(object).map_err(|_| Failure::TooManyObjects)?;
                Ok(Self { bits: handle.to_bits() })
            }

            /// The object, which lives until the guard is dropped.
            #[inline]
            pub(crate) fn get(self) -> Result<Guard<'static, $object, { $stripes }>, Failure> {
                let found = $table.get(Handle::from_bits(self.bits));
                found.map_err(|problem| Failure::Handle { what: $what, problem })
            }

            /// Ends the handle. The object goes with the last call on it.
            pub(crate) fn close(self) -> Result<(), Failure> {
                let closed = $table.close(Handle::from_bits(self.bits));
                closed.map_err(|problem| Failure::Handle { what: $what, problem })
            }

            /// Objects of this kind that can be reached: for tests, to see that nothing is left.
            pub fn count() -> usize {
                $table.len()
            }
        }
    )*};
}

tables! {
    latchless_pool, Pool, POOLS, SHARED, 1, "pool";
    latchless_lease, Lease, LEASES, 1, 2, "lease";
    latchless_engine, Engine, ENGINES, SHARED, 3, "engine";
    latchless_stream, Stream, STREAMS, 1, 4, "stream";
    latchless_machine, Machine, MACHINES, 1, 5, "machine";
    latchless_tasks, Tasks, QUEUES, SHARED, 6, "queue";
    latchless_claim, Claim, CLAIMS, 1, 7, "claim";
}
