//! Leases: blocks that are held together, and can be shared.

use std::sync::{Mutex, MutexGuard, TryLockError};

use latchless::{AgentHandle, OwnedLease};

use crate::arguments::{list, out, out_list};
use crate::call::call;
use crate::handles::{latchless_agent, latchless_block, latchless_lease, latchless_pool};
use crate::pool::{self, open_all, write_all};
use crate::seal::Key;
use crate::status::{Failure, latchless_status};

/// What is behind a `latchless_lease`.
pub struct Lease {
    /// Of one thread at a time: others are turned away, never kept waiting. `None` when its blocks went
    /// under handles.
    lease: Mutex<Option<OwnedLease>>,
    key: Key,
}

impl Lease {
    fn of(lease: OwnedLease, key: Key) -> Result<latchless_lease, Failure> {
        latchless_lease::of(Self { lease: Mutex::new(Some(lease)), key })
    }

    fn enter(&self) -> Result<MutexGuard<'_, Option<OwnedLease>>, Failure> {
        enter(&self.lease, "lease")
    }

    fn agent(&self, agent: latchless_agent) -> AgentHandle {
        AgentHandle::from_bits(self.key.apply(agent.bits))
    }
}

/// Comes in, if nobody else is inside. Never waits.
pub(crate) fn enter<'a, T>(
    mutex: &'a Mutex<T>,
    what: &'static str,
) -> Result<MutexGuard<'a, T>, Failure> {
    match mutex.try_lock() {
        Ok(inside) => Ok(inside),
        // A panic inside was told as one; the object can still be destroyed.
        Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => Err(Failure::Busy(what)),
    }
}

/// A lease that has given its blocks away.
const EMPTY: Failure = Failure::Argument(
    "the lease has no blocks any more: they went under handles; release it and use those",
);

/// Takes `count` blocks of a layer for an agent, as a lease: all of them, or none.
///
/// Never waits and takes no lock. Owner: the caller, who ends it with latchless_lease_release(); the lease
/// may outlive the pool. Threads: any. Real-time: yes, up to 8 runs of neighbouring blocks.
///
/// Errors: EXHAUSTED, QUOTA, UNKNOWN_AGENT, UNKNOWN_LAYER, INVALID_ARGUMENT for a count of 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_lease_allocate(
    pool: latchless_pool,
    agent: latchless_agent,
    layer: u32,
    count: u32,
    lease: *mut latchless_lease,
) -> latchless_status {
    call(|| {
        let pool = pool.get()?;
        // SAFETY: the caller's promise.
        let lease = unsafe { out(lease, "lease") }?;
        let (agent, layer) = (pool.agent(agent), pool::layer(layer)?);
        let taken = pool.pool.allocate_owned(agent, layer, count)?;
        lease.write(Lease::of(taken, pool.key)?);
        Ok(())
    })
}

/// Takes what a sequence of `tokens` tokens needs in all layers together, as a lease: all of it, or
/// nothing.
///
/// Owner, threads, real-time and errors: as for latchless_lease_allocate().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_lease_allocate_sequence(
    pool: latchless_pool,
    agent: latchless_agent,
    tokens: u32,
    lease: *mut latchless_lease,
) -> latchless_status {
    call(|| {
        let pool = pool.get()?;
        // SAFETY: the caller's promise.
        let lease = unsafe { out(lease, "lease") }?;
        let taken = pool.pool.allocate_sequence_owned(pool.agent(agent), tokens)?;
        lease.write(Lease::of(taken, pool.key)?);
        Ok(())
    })
}

/// Makes a lease of blocks that an agent has under handles, which are used up: all of them, or none. `layer`
/// is what they were allocated for.
///
/// Owner: the caller. Threads: any. Real-time: yes, for up to 512 blocks in the order of blocks.
///
/// Errors: as latchless_pool_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_lease_from_blocks(
    pool: latchless_pool,
    agent: latchless_agent,
    layer: u32,
    blocks: *const latchless_block,
    count: usize,
    lease: *mut latchless_lease,
) -> latchless_status {
    call(|| {
        let pool = pool.get()?;
        // SAFETY: the caller's promise.
        let lease = unsafe { out(lease, "lease") }?;
        // SAFETY: the caller's promise.
        let blocks = unsafe { list(blocks, count, "blocks") }?;
        let (agent, layer) = (pool.agent(agent), pool::layer(layer)?);
        let blocks = open_all(pool.key, blocks);
        let taken = pool.pool.lease_from_handles_owned(agent, Some(layer), &blocks)?;
        lease.write(Lease::of(taken, pool.key)?);
        Ok(())
    })
}

/// Gives another agent a lease on the same blocks: a common prefix, for instance. The last holder's release
/// frees them, and they count for each holder's use.
///
/// Owner of `shared`: the caller. Threads: one at a time on a lease. Real-time: yes, up to 8 runs of
/// neighbouring blocks.
///
/// Errors: UNKNOWN_AGENT, QUOTA, RESERVE, BUSY; INVALID_ARGUMENT when its blocks went under handles.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_lease_share(
    lease: latchless_lease,
    with: latchless_agent,
    shared: *mut latchless_lease,
) -> latchless_status {
    call(|| {
        let lease = lease.get()?;
        // SAFETY: the caller's promise.
        let shared = unsafe { out(shared, "shared") }?;
        let other = lease.enter()?.as_mut().ok_or(EMPTY)?.share(lease.agent(with))?;
        shared.write(Lease::of(other, lease.key)?);
        Ok(())
    })
}

/// Makes another agent the owner of a lease's blocks.
///
/// Threads: one at a time on a lease. Real-time: yes. Errors: as latchless_lease_share().
#[unsafe(no_mangle)]
pub extern "C" fn latchless_lease_transfer(
    lease: latchless_lease,
    to: latchless_agent,
) -> latchless_status {
    call(|| {
        let lease = lease.get()?;
        let to = lease.agent(to);
        Ok(lease.enter()?.as_mut().ok_or(EMPTY)?.transfer(to)?)
    })
}

/// Splits `count` blocks off into a lease of their own.
///
/// Owner of `split`: the caller. Threads: one at a time on a lease. Real-time: yes, up to 8 runs of
/// neighbouring blocks. Errors: INVALID_ARGUMENT for a count of 0 or more than the lease has, BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_lease_split(
    lease: latchless_lease,
    count: u32,
    split: *mut latchless_lease,
) -> latchless_status {
    call(|| {
        let lease = lease.get()?;
        // SAFETY: the caller's promise.
        let split = unsafe { out(split, "split") }?;
        let off = lease.enter()?.as_mut().ok_or(EMPTY)?.split_off(count)?;
        split.write(Lease::of(off, lease.key)?);
        Ok(())
    })
}

/// The blocks of a lease by number, in no particular order but always the same one. `count` gets how many
/// there are; `blocks` is memory for `capacity` and may be NULL with a capacity of 0.
///
/// Threads: one at a time on a lease. Real-time: yes.
///
/// Errors: BUFFER_TOO_SMALL when the capacity is neither 0 nor enough, BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_lease_blocks(
    lease: latchless_lease,
    blocks: *mut u32,
    capacity: usize,
    count: *mut usize,
) -> latchless_status {
    call(|| {
        let lease = lease.get()?;
        // SAFETY: the caller's promise.
        let count = unsafe { out(count, "count") }?;
        // SAFETY: the caller's promise.
        let blocks = unsafe { out_list(blocks, capacity, "blocks") }?;
        let inside = lease.enter()?;
        let len = inside.as_ref().map_or(0, |lease| lease.len() as usize);
        count.write(len);
        if (1..len).contains(&capacity) {
            return Err(Failure::BufferTooSmall { what: "blocks", needed: len, capacity });
        }
        let ids = inside.iter().flat_map(OwnedLease::blocks);
        for (block, id) in blocks.iter_mut().zip(ids) {
            block.write(id.0);
        }
        Ok(())
    })
}

/// Ends a lease without freeing: its blocks stay the agent's, each under a handle. Those that are shared are
/// left out, and given back. `count` gets how many handles there are.
///
/// The lease has no blocks afterwards, and is still to be released. Threads: one at a time on a lease.
/// Real-time: no, it allocates.
///
/// Errors: BUFFER_TOO_SMALL when the capacity is less than the lease's blocks, and nothing is changed; BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_lease_into_blocks(
    lease: latchless_lease,
    blocks: *mut latchless_block,
    capacity: usize,
    count: *mut usize,
) -> latchless_status {
    call(|| {
        let lease = lease.get()?;
        // SAFETY: the caller's promise.
        let count = unsafe { out(count, "count") }?;
        // SAFETY: the caller's promise.
        let blocks = unsafe { out_list(blocks, capacity, "blocks") }?;
        let mut inside = lease.enter()?;
        let len = inside.as_ref().map_or(0, |lease| lease.len() as usize);
        if capacity < len {
            count.write(len);
            return Err(Failure::BufferTooSmall { what: "blocks", needed: len, capacity });
        }
        let handles = inside.take().map(OwnedLease::into_handles).unwrap_or_default();
        count.write(handles.len());
        write_all(lease.key, &handles, blocks);
        Ok(())
    })
}

/// Gives a lease's blocks back, and ends its handle.
///
/// Threads: any, also while another is in a call on it: then that one gives them back. Real-time: yes.
#[unsafe(no_mangle)]
pub extern "C" fn latchless_lease_release(lease: latchless_lease) -> latchless_status {
    call(|| lease.close())
}
