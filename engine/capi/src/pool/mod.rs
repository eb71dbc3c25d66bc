//! The block pool: agents, allocate, free, count.

pub mod look;

use std::mem::MaybeUninit;
use std::sync::Arc;

use latchless::{AgentHandle, BlockHandle, BlockPool, KvBits, LayerId, ModelSpec, PoolConfig};
use smallvec::SmallVec;

use crate::arguments::{self, Options, duration, init, list, out, out_list};
use crate::call::call;
use crate::handles::{latchless_agent, latchless_block, latchless_pool};
use crate::seal::Key;
use crate::status::{Failure, latchless_status};

/// Blocks of one call that need no memory but the stack's: 4 KiB.
const INLINE: usize = 512;

/// What is behind a `latchless_pool`.
pub struct Pool {
    pub(crate) pool: Arc<BlockPool>,
    /// What the numbers of its agents and blocks are sealed with.
    pub(crate) key: Key,
    blocks: usize,
}

/// How large a pool is, and the geometry of the model's KV cache. A block holds the keys and values of
/// `block_tokens` tokens of one layer.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct latchless_pool_options {
    /// Set by latchless_pool_options_init().
    pub size: usize,
    /// Blocks of the pool, 1 to 16,777,216; 8,192 unless set.
    pub blocks: u32,
    /// Layers of the model, 1 to 65,535; 1 unless set.
    pub layers: u32,
    /// Heads that have keys and values, in each layer; 1 unless set.
    pub kv_heads: u32,
    /// Elements of one head; 64 unless set.
    pub head_size: u32,
    /// Tokens of a block; 16 unless set.
    pub block_tokens: u32,
    /// Bits of a stored element: 16, 8 or 4; 16 unless set.
    pub kv_bits: u32,
    /// With 8 and 4 bits: elements that share a scale, a power of two; 64 unless set.
    pub kv_group: u32,
    /// Agents that can be registered at once, 64 bytes each; 1,024 unless set.
    pub max_agents: u32,
    /// Callers that can wait for blocks at once, 1 to 4,095; 256 unless set.
    pub max_waiters: u32,
}

/// How many blocks are free and how many are not: `free + used = total`, always.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct latchless_usage {
    /// Blocks of the pool.
    pub total: u32,
    /// Blocks that could be allocated, by somebody.
    pub free: u32,
    /// Blocks that could not.
    pub used: u32,
    /// Of the free ones, those in the reserve of some agent.
    pub reserved: u32,
}

/// Every block of a pool, counted once: `free + owned + shared + in_flight = total`, always.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct latchless_census {
    /// Blocks of the pool.
    pub total: u32,
    /// Blocks that are free.
    pub free: u32,
    /// Blocks of one agent each.
    pub owned: u32,
    /// Blocks with several holders.
    pub shared: u32,
    /// Blocks on their way from one hand to another at this moment. What stays here while nothing runs was
    /// lost.
    pub in_flight: u32,
    /// Agents that have any: as many as the list has, if it is long enough.
    pub owners: u32,
}

/// What one agent has.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct latchless_owner {
    /// The agent; all zeros for one that has left while its last blocks are on their way out.
    pub agent: latchless_agent,
    /// Its blocks.
    pub blocks: u32,
    /// 0.
    pub unused: u32,
}

/// What a clear of a whole pool took.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct latchless_cleared {
    /// Agents that had blocks.
    pub agents: u32,
    /// Blocks that they had; a shared one counts for each holder.
    pub blocks: u32,
}

// SAFETY: it begins with its size, and all else are numbers and pointers.
unsafe impl Options for latchless_pool_options {
    const NAME: &'static str = "options";
    const FIRST: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        size: size_of::<Self>(),
        blocks: 8_192,
        layers: 1,
        kv_heads: 1,
        head_size: 64,
        block_tokens: 16,
        kv_bits: 16,
        kv_group: 64,
        max_agents: 1_024,
        max_waiters: 256,
    };
}

impl latchless_pool_options {
    fn spec(&self) -> Result<ModelSpec, Failure> {
        let Self { layers, kv_heads, head_size, block_tokens, .. } = *self;
        let spec = ModelSpec::new(layers as usize, kv_heads, head_size, block_tokens)?;
        Ok(spec.with_bits(KvBits::new(self.kv_bits, self.kv_group)?)?)
    }
}

impl Pool {
    #[inline]
    pub(crate) fn agent(&self, agent: latchless_agent) -> AgentHandle {
        AgentHandle::from_bits(self.key.apply(agent.bits))
    }

    pub(crate) fn seal(&self, agent: AgentHandle) -> latchless_agent {
        latchless_agent { bits: self.key.apply(agent.to_bits()) }
    }
}

/// The block as the other side has it.
pub(crate) fn seal(key: Key, handle: BlockHandle) -> latchless_block {
    let seal = key.apply_half((handle.to_bits() >> 32) as u32);
    latchless_block { block: handle.block().0, seal }
}

/// The block as the pool has it.
pub(crate) fn open(key: Key, block: latchless_block) -> BlockHandle {
    let generation = u64::from(key.apply_half(block.seal));
    BlockHandle::from_bits(generation << 32 | u64::from(block.block))
}

pub(crate) type Blocks = SmallVec<[BlockHandle; INLINE]>;

/// A list of blocks as the pool has them, on the stack where they are few.
pub(crate) fn open_all(key: Key, blocks: &[latchless_block]) -> Blocks {
    blocks.iter().map(|block| open(key, *block)).collect()
}

pub(crate) fn layer(layer: u32) -> Result<LayerId, Failure> {
    let allowed = "less than the model's layers";
    u16::try_from(layer).map(LayerId).map_err(|_| Failure::Value {
        what: "the layer",
        value: layer.into(),
        allowed,
    })
}

/// Initialises the options with their defaults. `size` is `sizeof *options`.
///
/// Threads: any. Real-time: yes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_pool_options_init(
    options: *mut latchless_pool_options,
    size: usize,
) -> latchless_status {
    // SAFETY: the caller's promise.
    call(|| unsafe { init(options, size) })
}

/// Makes a pool with all blocks free. `options` may be NULL for the defaults.
///
/// Owner: the caller, who ends it with latchless_pool_destroy(). Threads: any. Real-time: no, it allocates
/// about 16 bytes a block and 64 an agent.
///
/// Errors: INVALID_ARGUMENT for a number out of its range.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_pool_create(
    options: *const latchless_pool_options,
    pool: *mut latchless_pool,
) -> latchless_status {
    call(|| {
        // SAFETY: the caller's promise.
        let options = unsafe { arguments::options(options) }?;
        // SAFETY: the caller's promise.
        let pool = unsafe { out(pool, "pool") }?;
        let config = PoolConfig::new(options.blocks, options.spec()?)
            .max_agents(options.max_agents)
            .max_waiters(options.max_waiters);
        let made = Pool {
            pool: Arc::new(BlockPool::new(config)?),
            key: Key::new(),
            blocks: options.blocks as usize,
        };
        pool.write(latchless_pool::of(made)?);
        Ok(())
    })
}

/// Ends a pool: its handle, agents and blocks are refused from now on. Leases keep what they have until
/// they are released, and other threads' calls on the pool end as if they had come before.
///
/// Threads: any, also while others use the pool; of two that destroy it one does. Real-time: no, it frees.
#[unsafe(no_mangle)]
pub extern "C" fn latchless_pool_destroy(pool: latchless_pool) -> latchless_status {
    call(|| pool.close())
}

/// Registers an agent.
///
/// Threads: any. Real-time: yes. Errors: TOO_MANY_AGENTS.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_pool_register(
    pool: latchless_pool,
    agent: *mut latchless_agent,
) -> latchless_status {
    call(|| {
        let pool = pool.get()?;
        // SAFETY: the caller's promise.
        let agent = unsafe { out(agent, "agent") }?;
        agent.write(pool.seal(pool.pool.open_account()?));
        Ok(())
    })
}

/// Unregisters an agent and takes all its blocks; its leases have nothing from then on. `freed`, which may
/// be NULL, gets how many blocks it had.
///
/// Threads: any. Real-time: no, it walks over a part of the pool. Errors: UNKNOWN_AGENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_pool_unregister(
    pool: latchless_pool,
    agent: latchless_agent,
    freed: *mut u32,
) -> latchless_status {
    call(|| {
        let pool = pool.get()?;
        let had = pool.pool.close_account(pool.agent(agent)).ok_or(latchless::NoSuchAgent)?;
        // SAFETY: the caller's promise.
        unsafe { write_if_wanted(freed, had, "freed") }
    })
}

/// Writes a result that may be left out.
///
/// # Safety
/// As for [`out`].
pub(crate) unsafe fn write_if_wanted<T>(
    pointer: *mut T,
    value: T,
    name: &'static str,
) -> Result<(), Failure> {
    if !pointer.is_null() {
        // SAFETY: the caller's promise.
        unsafe { out(pointer, name) }?.write(value);
    }
    Ok(())
}

/// Takes `count` blocks of a layer for an agent, in the order of blocks: all of them, or none.
///
/// A refusal is exact: at some instant during the call fewer were free. Never waits, takes no lock, makes no
/// system call, and allocates nothing for up to 512 blocks.
///
/// Owner: the agent, until latchless_pool_free(), latchless_pool_free_agent() or its end. `blocks`: memory
/// for `count`, which tells nothing after an error. Threads: any. Real-time: yes.
///
/// Errors: EXHAUSTED, QUOTA, UNKNOWN_AGENT, UNKNOWN_LAYER, INVALID_ARGUMENT for a count of 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_pool_allocate(
    pool: latchless_pool,
    agent: latchless_agent,
    layer: u32,
    blocks: *mut latchless_block,
    count: usize,
) -> latchless_status {
    call(|| {
        let pool = pool.get()?;
        // SAFETY: the caller's promise.
        let blocks = unsafe { out_list(blocks, count, "blocks") }?;
        let (agent, layer) = (pool.agent(agent), self::layer(layer)?);
        if count > pool.blocks {
            // Refused as any request is that is too large, and before memory is taken for it.
            let requested = u32::try_from(count).unwrap_or(u32::MAX);
            return Err(pool
                .pool
                .allocate(agent, layer, requested)
                .map_or_else(Failure::from, |_| {
                    Failure::Argument("more blocks than the pool has; ask for fewer")
                }));
        }
        let mut handles = Blocks::new();
        handles.resize(count, BlockHandle::default());
        pool.pool.allocate_handles(agent, layer, &mut handles)?;
        write_all(pool.key, &handles, blocks);
        Ok(())
    })
}

/// Writes as many blocks as there is room for.
pub(crate) fn write_all(
    key: Key,
    handles: &[BlockHandle],
    blocks: &mut [MaybeUninit<latchless_block>],
) {
    for (block, handle) in blocks.iter_mut().zip(handles) {
        block.write(seal(key, *handle));
    }
}

/// As latchless_pool_allocate(), and waits for up to `timeout_ns` nanoseconds when too few blocks are free;
/// callers are served in the order in which they came.
///
/// Owner, `blocks`: as there. Threads: any. Real-time: no, it may sleep and allocates.
///
/// Errors: as there, and TIMED_OUT, NEVER_FITS, TOO_MANY_WAITERS.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_pool_allocate_within(
    pool: latchless_pool,
    agent: latchless_agent,
    layer: u32,
    blocks: *mut latchless_block,
    count: usize,
    timeout_ns: u64,
) -> latchless_status {
    call(|| {
        let pool = pool.get()?;
        // SAFETY: the caller's promise.
        let blocks = unsafe { out_list(blocks, count, "blocks") }?;
        let requested = u32::try_from(count).unwrap_or(u32::MAX);
        let (agent, layer) = (pool.agent(agent), self::layer(layer)?);
        let lease = pool.pool.allocate_within(agent, layer, requested, duration(timeout_ns))?;
        let handles = lease.into_handles();
        if handles.len() < count {
            // The agent was freed as a whole between the two, and these blocks with it.
            return Err(latchless::NoSuchAgent.into());
        }
        write_all(pool.key, &handles, blocks);
        Ok(())
    })
}

/// Frees blocks of an agent: all of the list, or none. `freed`, which may be NULL, gets how many.
///
/// Never waits, takes no lock, makes no system call, and allocates nothing for up to 512 blocks that are in
/// the order of blocks.
///
/// Threads: any. Real-time: yes.
///
/// Errors, about the first bad one in the order of blocks: UNKNOWN_BLOCK, ALREADY_FREE, STALE_BLOCK,
/// NOT_OWNER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_pool_free(
    pool: latchless_pool,
    agent: latchless_agent,
    blocks: *const latchless_block,
    count: usize,
    freed: *mut u32,
) -> latchless_status {
    call(|| {
        let pool = pool.get()?;
        // SAFETY: the caller's promise.
        let blocks = unsafe { list(blocks, count, "blocks") }?;
        let n = pool.pool.free(pool.agent(agent), &open_all(pool.key, blocks))?;
        // SAFETY: the caller's promise.
        unsafe { write_if_wanted(freed, n, "freed") }
    })
}

/// Takes all blocks from an agent, which stays registered; its leases have nothing from then on. `freed`,
/// which may be NULL, gets how many it had, 0 for an agent that is not there.
///
/// Threads: any. Real-time: no, it walks over a part of the pool.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_pool_free_agent(
    pool: latchless_pool,
    agent: latchless_agent,
    freed: *mut u32,
) -> latchless_status {
    call(|| {
        let pool = pool.get()?;
        let had = pool.pool.free_agent(pool.agent(agent));
        // SAFETY: the caller's promise.
        unsafe { write_if_wanted(freed, had, "freed") }
    })
}
