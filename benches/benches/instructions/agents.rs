//! Block tables, names, states, plans, output, slots, time limits.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use gungraun::{library_benchmark, library_benchmark_group};
use latchless::{
    AdaptiveLimit, AgentBlocks, AgentHandle, AgentId, AgentState, BlockId, BlockTables,
    ChangesetId, Directory, Inbox, LayerBlocks, LayerId, Outbox, PlanContext, SealedChangeset,
    SpawnSlot, SpawnSlots, StateMachine, TableAccess, Tick,
};

/// Layers of a table.
const LAYERS: u16 = 30;

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn blocks(agent: AgentHandle) -> AgentBlocks {
    let layer = |layer| LayerBlocks::new(LayerId(layer), 20, [BlockId(1), BlockId(2)]);
    AgentBlocks::new(agent, (0..LAYERS).map(layer)).expect("each layer once")
}

/// An access, an agent that has a table, and the next one.
fn table() -> (&'static TableAccess, AgentHandle, AgentBlocks) {
    let (pool, agent, _) = super::pool::warm(1);
    let tables = Arc::new(BlockTables::new(pool, 4));
    let access = leak(tables.access().expect("the first access"));
    for _ in 0..4 {
        access.replace(blocks(agent)).expect("the agent is there");
        drop(access.read(agent));
    }
    (access, agent, blocks(agent))
}

#[library_benchmark(setup = table)]
fn table_read(
    (access, agent, next): (&'static TableAccess, AgentHandle, AgentBlocks),
) -> (Option<Arc<AgentBlocks>>, AgentBlocks) {
    (access.read(black_box(agent)), next)
}

#[library_benchmark(setup = table)]
fn table_replace((access, _, next): (&'static TableAccess, AgentHandle, AgentBlocks)) -> u64 {
    access.replace(black_box(next)).expect("the agent is there")
}

fn directory() -> (&'static Directory, &'static AgentId) {
    let (pool, ..) = super::pool::warm(1);
    let directory = leak(Directory::new(Arc::clone(pool)));
    let id = leak(AgentId::new("physicist").expect("a name"));
    directory.register(id.clone()).expect("the first of its name");
    (directory, id)
}

#[library_benchmark(setup = directory)]
fn directory_get((directory, id): (&'static Directory, &'static AgentId)) -> Option<AgentHandle> {
    directory.get(black_box(id))
}

fn machine() -> &'static StateMachine {
    leak(StateMachine::new())
}

#[library_benchmark(setup = machine)]
fn state_transition(machine: &'static StateMachine) -> bool {
    machine.transition(black_box(AgentState::Assistant)).is_ok()
}

#[library_benchmark(setup = machine)]
fn state_snapshot(machine: &'static StateMachine) -> u64 {
    black_box(machine).snapshot().version()
}

fn plan(records: u64) -> &'static PlanContext<u64> {
    let plan = PlanContext::new();
    plan.start().expect("the first");
    for change in 0..records {
        plan.record(change).expect("it is open");
    }
    leak(plan)
}

// In the middle of a segment, and as the first of a new one.
#[library_benchmark(setup = plan)]
#[bench::next(40)]
#[bench::new_segment(64)]
fn plan_record(plan: &'static PlanContext<u64>) -> ChangesetId {
    plan.record(black_box(7)).expect("it is open")
}

#[library_benchmark(setup = plan)]
#[bench::of_64(64)]
fn plan_seal(plan: &'static PlanContext<u64>) -> SealedChangeset<u64> {
    let newest = plan.newest().expect("it was started");
    plan.seal(black_box(newest)).expect("it is open")
}

fn outbox(items: u64) -> &'static Outbox<u64> {
    let outbox = Outbox::new(64).expect("a possible outbox");
    // A round before, so that every place was used.
    for item in 0..64 {
        outbox.push(item);
        outbox.pop();
    }
    for item in 0..items {
        outbox.push(item);
    }
    leak(outbox)
}

fn full_outbox() -> &'static Outbox<u64> {
    outbox(64)
}

#[library_benchmark]
#[bench::with_room(args = (1), setup = outbox)]
#[bench::full(args = (), setup = full_outbox)]
fn outbox_push(outbox: &'static Outbox<u64>) -> Option<u64> {
    outbox.push(black_box(7))
}

#[library_benchmark(setup = full_outbox)]
fn outbox_pop(outbox: &'static Outbox<u64>) -> Option<u64> {
    black_box(outbox).pop()
}

fn inbox() -> &'static Inbox<u64> {
    let inbox = leak(Inbox::with_capacity(64));
    for _ in 0..8 {
        inbox.push(1).expect("there is room");
    }
    drop(inbox.take_all());
    inbox
}

fn full_inbox() -> &'static Inbox<u64> {
    let inbox = inbox();
    (0..8).for_each(|item| inbox.push(item).expect("there is room"));
    inbox
}

#[library_benchmark(setup = inbox)]
fn inbox_push(inbox: &'static Inbox<u64>) -> bool {
    inbox.push(black_box(7)).is_ok()
}

#[library_benchmark(setup = full_inbox)]
#[bench::of_8()]
fn inbox_take_all(inbox: &'static Inbox<u64>) -> u64 {
    black_box(inbox).take_all().sum()
}

fn slots() -> &'static SpawnSlots {
    let slots = leak(SpawnSlots::new(64).expect("a possible limit"));
    drop(slots.reserve(Tick(0)).expect("there is a slot"));
    slots
}

fn slot() -> SpawnSlot {
    slots().reserve(Tick(0)).expect("there is a slot")
}

#[library_benchmark(setup = slots)]
fn slot_take(slots: &'static SpawnSlots) -> SpawnSlot {
    slots.reserve(black_box(Tick(1))).expect("there is a slot")
}

#[library_benchmark(setup = slot)]
fn slot_give(slot: SpawnSlot) {
    drop(black_box(slot));
}

fn limit() -> &'static AdaptiveLimit {
    let bounds = (Duration::from_millis(1), Duration::from_secs(10));
    let limit = leak(AdaptiveLimit::new(bounds.0, bounds.1).expect("possible bounds"));
    limit.observe(Duration::from_millis(20));
    limit
}

#[library_benchmark(setup = limit)]
fn limit_observe(limit: &'static AdaptiveLimit) {
    limit.observe(black_box(Duration::from_millis(30)));
}

#[library_benchmark(setup = limit)]
fn limit_read(limit: &'static AdaptiveLimit) -> Duration {
    black_box(limit).limit()
}

library_benchmark_group!(
    name = agents_operations,
    benchmarks = [
        table_read,
        table_replace,
        directory_get,
        state_transition,
        state_snapshot,
        plan_record,
        plan_seal,
        outbox_push,
        outbox_pop,
        inbox_push,
        inbox_take_all,
        slot_take,
        slot_give,
        limit_observe,
        limit_read
    ]
);
