//! The pool and its leases.

use latchless_capi::handles::{latchless_agent, latchless_block, latchless_pool};
use latchless_capi::lease::{
    latchless_lease_allocate, latchless_lease_allocate_sequence, latchless_lease_blocks,
    latchless_lease_from_blocks, latchless_lease_into_blocks, latchless_lease_release,
    latchless_lease_share, latchless_lease_split, latchless_lease_transfer,
};
use latchless_capi::pool::look::{
    latchless_pool_census, latchless_pool_clear, latchless_pool_reconfigure,
    latchless_pool_set_quota, latchless_pool_set_reserve, latchless_pool_usage,
    latchless_pool_used_by,
};
use latchless_capi::pool::{
    latchless_cleared, latchless_owner, latchless_pool_allocate, latchless_pool_allocate_within,
    latchless_pool_destroy, latchless_pool_free, latchless_pool_free_agent, latchless_pool_options,
    latchless_pool_options_init, latchless_pool_unregister,
};

use crate::{S, agent, got, last_error, pool};

fn allocate(
    pool: latchless_pool,
    agent: latchless_agent,
    layer: u32,
    count: usize,
) -> Result<Vec<latchless_block>, S> {
    let mut blocks = vec![latchless_block { block: 0, seal: 0 }; count];
    // SAFETY: there is room for them.
    let status = unsafe { latchless_pool_allocate(pool, agent, layer, blocks.as_mut_ptr(), count) };
    if status == S::LATCHLESS_OK { Ok(blocks) } else { Err(status) }
}

fn free(
    pool: latchless_pool,
    agent: latchless_agent,
    blocks: &[latchless_block],
) -> Result<u32, S> {
    // SAFETY: they are there.
    got(|freed| unsafe { latchless_pool_free(pool, agent, blocks.as_ptr(), blocks.len(), freed) })
}

fn used(pool: latchless_pool) -> u32 {
    // SAFETY: the result is there.
    got(|usage| unsafe { latchless_pool_usage(pool, usage) }).unwrap().used
}

/// Cases 1 to 5 of the behaviour, as C sees them.
#[test]
fn blocks_are_taken_and_freed_all_or_none() {
    let pool = pool(100);
    let (one, other) = (agent(pool), agent(pool));
    let blocks = allocate(pool, one, 0, 10).unwrap();
    assert_eq!((used(pool), free(pool, one, &blocks[..5])), (10, Ok(5)));
    assert_eq!(allocate(pool, one, 0, 96), Err(S::LATCHLESS_ERROR_EXHAUSTED));
    assert!(last_error().starts_with("96 blocks asked for, 95 of 100 free"), "{}", last_error());
    assert_eq!(allocate(pool, one, 0, 1_000_000), Err(S::LATCHLESS_ERROR_EXHAUSTED));
    assert_eq!(allocate(pool, one, 4, 1), Err(S::LATCHLESS_ERROR_UNKNOWN_LAYER));
    assert_eq!(allocate(pool, one, 70_000, 1), Err(S::LATCHLESS_ERROR_INVALID_ARGUMENT));
    assert_eq!(allocate(pool, one, 0, 0), Err(S::LATCHLESS_ERROR_INVALID_ARGUMENT));

    // A list with one bad block frees nothing, and each badness has its name.
    assert_eq!(free(pool, one, &blocks), Err(S::LATCHLESS_ERROR_ALREADY_FREE));
    assert_eq!(free(pool, other, &blocks[5..]), Err(S::LATCHLESS_ERROR_NOT_OWNER));
    let beyond = latchless_block { block: 1_000, ..blocks[9] };
    assert_eq!(free(pool, one, &[blocks[9], beyond]), Err(S::LATCHLESS_ERROR_UNKNOWN_BLOCK));
    let all = allocate(pool, other, 0, 95).unwrap();
    assert_eq!(free(pool, other, &blocks[..1]), Err(S::LATCHLESS_ERROR_STALE_BLOCK));
    assert_eq!((used(pool), free(pool, other, &all), used(pool)), (100, Ok(95), 5));

    // SAFETY: the results are there.
    let by_one = got(|used| unsafe { latchless_pool_used_by(pool, one, used) });
    assert_eq!(by_one, Ok(5));
    // SAFETY: as above.
    let freed = got(|freed| unsafe { latchless_pool_unregister(pool, one, freed) });
    assert_eq!((freed, used(pool)), (Ok(5), 0));
    assert_eq!(allocate(pool, one, 0, 1), Err(S::LATCHLESS_ERROR_UNKNOWN_AGENT));
    assert_eq!(latchless_pool_destroy(pool), S::LATCHLESS_OK);
}

/// Numbers of one pool mean nothing to another, although both have the same slots and generations.
#[test]
fn another_pool_s_agents_and_blocks_are_refused() {
    let (mine, theirs) = (pool(100), pool(100));
    let (me, them) = (agent(mine), agent(theirs));
    let (my_blocks, their_blocks) =
        (allocate(mine, me, 0, 8).unwrap(), allocate(theirs, them, 0, 8).unwrap());
    let same_block = |(a, b): (&latchless_block, &latchless_block)| a.block == b.block;
    assert!(my_blocks.iter().zip(&their_blocks).all(same_block), "else it proves nothing");
    assert_eq!(allocate(mine, them, 0, 1), Err(S::LATCHLESS_ERROR_UNKNOWN_AGENT));
    // A block of another pool opens as some generation that is not this one's: before it, or after it.
    let refused = [
        S::LATCHLESS_ERROR_UNKNOWN_BLOCK,
        S::LATCHLESS_ERROR_ALREADY_FREE,
        S::LATCHLESS_ERROR_STALE_BLOCK,
    ];
    for blocks in [&their_blocks[..], &their_blocks[..1]] {
        let status = free(mine, me, blocks).unwrap_err();
        assert!(refused.contains(&status), "{status:?}");
    }
    assert!(free(mine, them, &my_blocks).is_err());
    assert_eq!((free(mine, me, &my_blocks), free(theirs, them, &their_blocks)), (Ok(8), Ok(8)));
    latchless_pool_destroy(mine);
    latchless_pool_destroy(theirs);
}

#[test]
fn many_blocks_at_once_go_through_the_heap() {
    let pool = pool(10_000);
    let agent = agent(pool);
    let mut blocks = allocate(pool, agent, 1, 5_000).unwrap();
    // Out of order as well.
    blocks.reverse();
    assert_eq!((used(pool), free(pool, agent, &blocks), used(pool)), (5_000, Ok(5_000), 0));
    latchless_pool_destroy(pool);
}

#[test]
fn a_census_counts_every_block_once_and_names_owners() {
    let pool = pool(64);
    let (one, other) = (agent(pool), agent(pool));
    let blocks = allocate(pool, one, 0, 7).unwrap();
    // SAFETY: the results are there, and lists have the room that is told, in all of this test.
    unsafe {
        let lease = got(|lease| latchless_lease_allocate(pool, other, 0, 5, lease)).unwrap();
        let shared = got(|shared| latchless_lease_share(lease, one, shared)).unwrap();
        let mut owners = [latchless_owner { agent: one, blocks: 99, unused: 0 }; 3];
        let census =
            got(|census| latchless_pool_census(pool, census, owners.as_mut_ptr(), 3)).unwrap();
        let counts = (census.total, census.free, census.owned, census.shared, census.in_flight);
        assert_eq!(counts, (64, 52, 7, 5, 0));
        assert_eq!((census.owners, owners[0].agent, owners[0].blocks), (1, one, 7));
        assert_eq!(owners[1].blocks, 99, "no more than there are");
        let cleared = got(|cleared| latchless_pool_clear(pool, cleared)).unwrap();
        // A shared block counts for each of its holders.
        assert_eq!(cleared, latchless_cleared { agents: 2, blocks: 17 });
        assert_eq!(used(pool), 0);
        assert!(free(pool, one, &blocks).is_err());
        for lease in [lease, shared] {
            assert_eq!(latchless_lease_release(lease), S::LATCHLESS_OK);
            assert_eq!(latchless_lease_release(lease), S::LATCHLESS_ERROR_STALE_HANDLE);
        }
    }
    latchless_pool_destroy(pool);
}

#[test]
fn leases_split_move_and_become_blocks() {
    let pool = pool(100);
    let (one, other) = (agent(pool), agent(pool));
    // SAFETY: the results are there, and lists have the room that is told, in all of this test.
    unsafe {
        let sequence = got(|lease| latchless_lease_allocate_sequence(pool, one, 40, lease));
        let sequence = sequence.unwrap();
        let count = |lease| {
            got(|count| latchless_lease_blocks(lease, std::ptr::null_mut(), 0, count)).unwrap()
        };
        assert_eq!(count(sequence), 12, "3 blocks in each of 4 layers");
        let split = got(|split| latchless_lease_split(sequence, 4, split)).unwrap();
        assert_eq!((count(sequence), count(split)), (8, 4));
        let none = got(|off| latchless_lease_split(split, 5, off));
        assert_eq!(none, Err(S::LATCHLESS_ERROR_INVALID_ARGUMENT));
        assert_eq!(latchless_lease_transfer(split, other), S::LATCHLESS_OK);
        assert_eq!(got(|used| latchless_pool_used_by(pool, other, used)), Ok(4));

        let mut few = [0; 3];
        let mut needed = 0;
        let status = latchless_lease_blocks(split, few.as_mut_ptr(), 3, &raw mut needed);
        assert_eq!((status, needed), (S::LATCHLESS_ERROR_BUFFER_TOO_SMALL, 4));
        let mut blocks = [latchless_block { block: 0, seal: 0 }; 8];
        let status = latchless_lease_into_blocks(sequence, blocks.as_mut_ptr(), 7, &raw mut needed);
        assert_eq!((status, needed), (S::LATCHLESS_ERROR_BUFFER_TOO_SMALL, 8));
        let status = latchless_lease_into_blocks(sequence, blocks.as_mut_ptr(), 8, &raw mut needed);
        assert_eq!((status, needed), (S::LATCHLESS_OK, 8));
        assert_eq!(latchless_lease_transfer(sequence, other), S::LATCHLESS_ERROR_INVALID_ARGUMENT);
        assert_eq!(latchless_lease_release(sequence), S::LATCHLESS_OK);
        assert_eq!(free(pool, one, &blocks[..2]), Ok(2));

        let again =
            got(|lease| latchless_lease_from_blocks(pool, one, 0, blocks[2..].as_ptr(), 6, lease));
        assert_eq!(free(pool, one, &blocks[2..]), Err(S::LATCHLESS_ERROR_STALE_BLOCK));
        assert_eq!(latchless_lease_release(again.unwrap()), S::LATCHLESS_OK);
        assert_eq!(latchless_lease_release(split), S::LATCHLESS_OK);
    }
    assert_eq!(used(pool), 0);
    latchless_pool_destroy(pool);
}

#[test]
fn limits_waits_and_geometries_are_told_by_name() {
    let pool = pool(20);
    let (one, other) = (agent(pool), agent(pool));
    assert_eq!(latchless_pool_set_quota(pool, one, 5), S::LATCHLESS_OK);
    assert_eq!(allocate(pool, one, 0, 6), Err(S::LATCHLESS_ERROR_QUOTA));
    assert_eq!(latchless_pool_set_quota(pool, one, u32::MAX), S::LATCHLESS_OK);
    assert_eq!(latchless_pool_set_reserve(pool, other, 21), S::LATCHLESS_ERROR_EXHAUSTED);
    assert_eq!(latchless_pool_set_reserve(pool, other, 8), S::LATCHLESS_OK);
    assert_eq!(allocate(pool, one, 0, 13), Err(S::LATCHLESS_ERROR_EXHAUSTED));
    assert_eq!(latchless_pool_set_reserve(pool, other, 0), S::LATCHLESS_OK);
    let all = allocate(pool, one, 0, 20).unwrap();
    let mut blocks = [latchless_block { block: 0, seal: 0 }; 30];
    let mut within = |count, timeout| {
        // SAFETY: there is room for them.
        unsafe {
            latchless_pool_allocate_within(pool, other, 0, blocks.as_mut_ptr(), count, timeout)
        }
    };
    assert_eq!(within(1, 1_000), S::LATCHLESS_ERROR_TIMED_OUT);
    assert_eq!(within(30, u64::MAX), S::LATCHLESS_ERROR_NEVER_FITS);
    // SAFETY: the options are initialised by the call before.
    unsafe {
        let size = size_of::<latchless_pool_options>();
        let mut options = got(|options| latchless_pool_options_init(options, size)).unwrap();
        options.layers = 8;
        let reconfigure = || latchless_pool_reconfigure(pool, &raw const options);
        assert_eq!(reconfigure(), S::LATCHLESS_ERROR_OUTSTANDING);
        assert!(last_error().starts_with("20 blocks are out"), "{}", last_error());
        assert_eq!(free(pool, one, &all), Ok(20));
        assert_eq!(reconfigure(), S::LATCHLESS_OK);
        options.kv_bits = 5;
        let reconfigure = || latchless_pool_reconfigure(pool, &raw const options);
        assert_eq!(reconfigure(), S::LATCHLESS_ERROR_INVALID_ARGUMENT);
    }
    let seventh = allocate(pool, one, 7, 3).unwrap();
    assert_eq!(within(2, u64::MAX), S::LATCHLESS_OK);
    // SAFETY: the result is there.
    let freed = got(|freed| unsafe { latchless_pool_free_agent(pool, one, freed) });
    assert_eq!((freed, free(pool, one, &seventh).is_err()), (Ok(3), true));
    assert_eq!(used(pool), 2);
    latchless_pool_destroy(pool);
}
