//! Counting a pool, and limiting what its agents may have.

use crate::arguments::{self, out, out_list};
use crate::call::call;
use crate::handles::{latchless_agent, latchless_pool};
use crate::pool::{
    latchless_census, latchless_cleared, latchless_owner, latchless_pool_options, latchless_usage,
    write_if_wanted,
};
use crate::status::latchless_status;

/// How many blocks are free now: a sum over words that are read one after another, so exact when nobody
/// allocates or frees meanwhile.
///
/// Threads: any. Real-time: yes, as long as no agent has a reserve; then it walks over all agents.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_pool_usage(
    pool: latchless_pool,
    usage: *mut latchless_usage,
) -> latchless_status {
    call(|| {
        let pool = pool.get()?;
        // SAFETY: the caller's promise.
        let usage = unsafe { out(usage, "usage") }?;
        let latchless::PoolUsage { total, free, used, reserved } = pool.pool.usage();
        usage.write(latchless_usage { total, free, used, reserved });
        Ok(())
    })
}

/// Blocks that an agent has now; 0 for one that is not there.
///
/// Threads: any. Real-time: yes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_pool_used_by(
    pool: latchless_pool,
    agent: latchless_agent,
    blocks: *mut u32,
) -> latchless_status {
    call(|| {
        let pool = pool.get()?;
        // SAFETY: the caller's promise.
        let blocks = unsafe { out(blocks, "blocks") }?;
        blocks.write(pool.pool.used_by(pool.agent(agent)));
        Ok(())
    })
}

/// Counts every block by its state, while the pool is in use. `owners`, memory for `capacity`, gets as many
/// of those that have blocks as there is room for; it may be NULL with a capacity of 0.
///
/// Threads: any. Real-time: no, it walks over all blocks and allocates.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_pool_census(
    pool: latchless_pool,
    census: *mut latchless_census,
    owners: *mut latchless_owner,
    capacity: usize,
) -> latchless_status {
    call(|| {
        let pool = pool.get()?;
        // SAFETY: the caller's promise.
        let census = unsafe { out(census, "census") }?;
        // SAFETY: the caller's promise.
        let owners = unsafe { out_list(owners, capacity, "owners") }?;
        let counted = pool.pool.census();
        for (owner, (agent, blocks)) in owners.iter_mut().zip(&counted.owned) {
            let agent = agent.map_or(latchless_agent { bits: 0 }, |agent| pool.seal(agent));
            owner.write(latchless_owner { agent, blocks: *blocks, unused: 0 });
        }
        census.write(latchless_census {
            total: counted.total,
            free: counted.free,
            owned: counted.owned_total(),
            shared: counted.shared,
            in_flight: counted.in_flight.len() as u32,
            owners: counted.owned.len() as u32,
        });
        Ok(())
    })
}

/// Limits the blocks that an agent may have; `UINT32_MAX` lifts the limit. What it has stays.
///
/// Threads: any. Real-time: yes. Errors: UNKNOWN_AGENT.
#[unsafe(no_mangle)]
pub extern "C" fn latchless_pool_set_quota(
    pool: latchless_pool,
    agent: latchless_agent,
    blocks: u32,
) -> latchless_status {
    call(|| {
        let pool = pool.get()?;
        Ok(pool.pool.set_quota(pool.agent(agent), (blocks < u32::MAX).then_some(blocks))?)
    })
}

/// Keeps so many blocks for an agent alone; 0 ends that.
///
/// Threads: any. Real-time: yes. Errors: EXHAUSTED when too few are free, UNKNOWN_AGENT.
#[unsafe(no_mangle)]
pub extern "C" fn latchless_pool_set_reserve(
    pool: latchless_pool,
    agent: latchless_agent,
    blocks: u32,
) -> latchless_status {
    call(|| {
        let pool = pool.get()?;
        Ok(pool.pool.set_reserve(pool.agent(agent), blocks)?)
    })
}

/// Takes all blocks from all agents, shared ones included. `cleared` may be NULL.
///
/// Threads: any; what is allocated meanwhile may stay or go. Real-time: no, it walks over all blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_pool_clear(
    pool: latchless_pool,
    cleared: *mut latchless_cleared,
) -> latchless_status {
    call(|| {
        let pool = pool.get()?;
        let latchless::Cleared { agents, blocks } = pool.pool.force_clear();
        // SAFETY: the caller's promise.
        unsafe { write_if_wanted(cleared, latchless_cleared { agents, blocks }, "cleared") }
    })
}

/// Replaces the geometry by that of the options (layers, heads, head size, tokens and bits; the numbers of
/// blocks, agents and waiters stay), when no block is out.
///
/// Threads: any; an allocation that races with it is refused, or comes first and refuses it. Real-time: no.
///
/// Errors: OUTSTANDING, and the text says how many are out; INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_pool_reconfigure(
    pool: latchless_pool,
    options: *const latchless_pool_options,
) -> latchless_status {
    call(|| {
        let pool = pool.get()?;
        // SAFETY: the caller's promise.
        let options = unsafe { arguments::options(options) }?;
        Ok(pool.pool.reconfigure(&options.spec()?)?)
    })
}
