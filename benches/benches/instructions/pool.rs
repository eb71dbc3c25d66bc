//! Blocks: under leases, under owned leases, under handles.

use std::hint::black_box;
use std::sync::Arc;

use gungraun::{library_benchmark, library_benchmark_group};
use latchless::{
    AgentHandle, BlockHandle, BlockLease, BlockPool, LayerId, ModelSpec, OwnedLease, PoolConfig,
};
use latchless_benches::BLOCKS;

const LAYER: LayerId = LayerId(0);

/// A pool, one of its agents, and what an operation is done to.
type Setting<T> = (&'static Arc<BlockPool>, AgentHandle, T);

pub(crate) fn warm(blocks: u32) -> Setting<u32> {
    let spec = ModelSpec::new(1, 8, 128, 16).expect("a model of one layer");
    let pool = BlockPool::new(PoolConfig::new(BLOCKS, spec)).expect("a possible pool");
    let pool: &'static Arc<BlockPool> = Box::leak(Box::new(Arc::new(pool)));
    let agent = pool.open_account().expect("the first agent");
    for _ in 0..4 {
        drop(pool.allocate(agent, LAYER, blocks).expect("there is room"));
        let mut handles = vec![BlockHandle::default(); blocks as usize];
        pool.allocate_handles(agent, LAYER, &mut handles).expect("there is room");
        pool.free(agent, &handles).expect("they are ours");
    }
    (pool, agent, blocks)
}

fn leased(blocks: u32) -> BlockLease<'static> {
    let (pool, agent, blocks) = warm(blocks);
    pool.allocate(agent, LAYER, blocks).expect("there is room")
}

fn leased_owned(blocks: u32) -> OwnedLease {
    let (pool, agent, blocks) = warm(blocks);
    pool.allocate_owned(agent, LAYER, blocks).expect("there is room")
}

fn room(blocks: u32) -> Setting<&'static mut [BlockHandle]> {
    let (pool, agent, blocks) = warm(blocks);
    (pool, agent, vec![BlockHandle::default(); blocks as usize].leak())
}

fn handed(blocks: u32) -> Setting<&'static mut [BlockHandle]> {
    let (pool, agent, handles) = room(blocks);
    pool.allocate_handles(agent, LAYER, handles).expect("there is room");
    (pool, agent, handles)
}

/// A lease, and another agent.
fn leased_beside(blocks: u32) -> (&'static mut BlockLease<'static>, AgentHandle) {
    let lease = leased(blocks);
    let other = lease.pool().open_account().expect("the second agent");
    (Box::leak(Box::new(lease)), other)
}

fn shared(blocks: u32) -> BlockLease<'static> {
    let (lease, other) = leased_beside(blocks);
    lease.share(other).expect("both are there")
}

fn halves(blocks: u32) -> (&'static mut BlockLease<'static>, BlockLease<'static>) {
    let (lease, _) = leased_beside(blocks);
    let half = lease.split_off(blocks / 2).expect("it has more");
    (lease, half)
}

#[library_benchmark(setup = warm)]
#[bench::n1(1)]
#[bench::n8(8)]
#[bench::n48(48)]
#[bench::n512(512)]
fn allocate((pool, agent, blocks): Setting<u32>) -> BlockLease<'static> {
    pool.allocate(agent, LAYER, black_box(blocks)).expect("there is room")
}

#[library_benchmark(setup = leased)]
#[bench::n1(1)]
#[bench::n8(8)]
#[bench::n48(48)]
#[bench::n512(512)]
fn free(lease: BlockLease<'static>) {
    drop(black_box(lease));
}

#[library_benchmark(setup = warm)]
#[bench::n1(1)]
#[bench::n8(8)]
#[bench::n48(48)]
fn allocate_owned((pool, agent, blocks): Setting<u32>) -> OwnedLease {
    pool.allocate_owned(agent, LAYER, black_box(blocks)).expect("there is room")
}

#[library_benchmark(setup = leased_owned)]
#[bench::n1(1)]
#[bench::n8(8)]
#[bench::n48(48)]
fn free_owned(lease: OwnedLease) {
    drop(black_box(lease));
}

#[library_benchmark(setup = room)]
#[bench::n1(1)]
#[bench::n8(8)]
#[bench::n48(48)]
fn allocate_handles((pool, agent, handles): Setting<&'static mut [BlockHandle]>) {
    pool.allocate_handles(agent, LAYER, black_box(handles)).expect("there is room");
}

#[library_benchmark(setup = handed)]
#[bench::n1(1)]
#[bench::n8(8)]
#[bench::n48(48)]
fn free_handles((pool, agent, handles): Setting<&'static mut [BlockHandle]>) -> u32 {
    pool.free(agent, black_box(handles)).expect("they are ours")
}

#[library_benchmark(setup = leased_beside)]
#[bench::n8(8)]
#[bench::n48(48)]
fn share((lease, with): (&'static mut BlockLease<'static>, AgentHandle)) -> BlockLease<'static> {
    lease.share(black_box(with)).expect("both are there")
}

#[library_benchmark(setup = shared)]
#[bench::n8(8)]
#[bench::n48(48)]
fn drop_shared(lease: BlockLease<'static>) {
    drop(black_box(lease));
}

#[library_benchmark(setup = leased_beside)]
#[bench::n8(8)]
#[bench::n48(48)]
fn transfer((lease, to): (&'static mut BlockLease<'static>, AgentHandle)) {
    lease.transfer(black_box(to)).expect("both are there");
}

#[library_benchmark(setup = leased_beside)]
#[bench::n48(48)]
fn split_off((lease, _): (&'static mut BlockLease<'static>, AgentHandle)) -> BlockLease<'static> {
    lease.split_off(black_box(24)).expect("it has more")
}

#[library_benchmark(setup = halves)]
#[bench::n48(48)]
fn merge((lease, half): (&'static mut BlockLease<'static>, BlockLease<'static>)) {
    lease.merge(black_box(half)).expect("they are of one agent and layer");
}

library_benchmark_group!(
    name = pool_operations,
    benchmarks = [
        allocate,
        free,
        allocate_owned,
        free_owned,
        allocate_handles,
        free_handles,
        share,
        drop_shared,
        transfer,
        split_off,
        merge
    ]
);
