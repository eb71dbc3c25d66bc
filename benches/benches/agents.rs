//! What agents share: names, block tables, states, plans, tasks, output, slots, inboxes, time limits.
//!
//! The operations that the prototypes had, too, are measured through [`Work`] beside the locked ports and the
//! event queue; an iteration is one step of each thread. The rest of the interface follows, one thread.

mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use latchless::{
    AdaptiveLimit, AgentBlocks, AgentId, AgentState, BlockHandle, BlockTables, Directory, Inbox,
    Outbox, PlanContext, SpawnSlots, StateMachine, Tick,
};
use latchless_benches::agents::{Work, WorkVisitor, visit};
use latchless_benches::measure::counted_steps;

use crate::support::{LAYER, Setting, pool, quick};

struct Beside<'a> {
    criterion: &'a mut Criterion,
    threads: usize,
}

impl WorkVisitor for Beside<'_> {
    fn visit<W: Work>(&mut self) {
        let threads = self.threads;
        let work = W::new();
        let mut group = self.criterion.benchmark_group(W::OPERATION);
        group.throughput(Throughput::Elements(threads as u64));
        group.bench_function(BenchmarkId::new(W::BACKEND, threads), |bencher| {
            bencher.iter_custom(|iterations| counted_steps(&work, threads, iterations));
        });
        group.finish();
    }
}

fn beside_ports(criterion: &mut Criterion) {
    for threads in [1, 2] {
        visit(&mut Beside { criterion, threads });
    }
}

fn directory(criterion: &mut Criterion) {
    let directory = Directory::new(pool().pool);
    let [known, new] = ["known", "new"].map(|name| AgentId::new(name).expect("a name"));
    directory.register(known.clone()).expect("the first of its name");
    let mut group = criterion.benchmark_group("directory");
    group.bench_function("get", |bencher| bencher.iter(|| directory.get(black_box(&known))));
    group.bench_function("get or register, known", |bencher| {
        bencher.iter(|| directory.get_or_register(black_box(&known)).expect("it is there"));
    });
    group.bench_function("register and unregister", |bencher| {
        bencher.iter(|| {
            directory.register(new.clone()).expect("nobody has the name");
            directory.unregister(&new)
        });
    });
    let pool = directory.pool();
    let held = directory.get(&known).expect("it was just registered");
    group.bench_function("free an agent with 48 blocks", |bencher| {
        bencher.iter_batched(
            || {
                let mut handles = [BlockHandle::default(); 48];
                pool.allocate_handles(held, LAYER, &mut handles).expect("there is room");
            },
            |()| directory.free_agent(black_box(&known)),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("length", |bencher| bencher.iter(|| directory.len()));
    group.bench_function("contention", |bencher| bencher.iter(|| directory.contention()));
    group.finish();
}

fn tables(criterion: &mut Criterion) {
    let Setting { pool, agent, spec, .. } = pool();
    let tables = Arc::new(BlockTables::new(&pool, 8));
    let access = tables.access().expect("the first access");
    let lease = pool.allocate_sequence(agent, 512).expect("there is room");
    let table = || AgentBlocks::of_sequence(&spec, &lease, 512, 500).expect("it is of this lease");
    access.replace(table()).expect("the agent is there");
    let mut group = criterion.benchmark_group("block table");
    group.bench_function("read", |bencher| bencher.iter(|| access.read(black_box(agent))));
    group.bench_function("make", |bencher| bencher.iter(table));
    group.bench_function("replace", |bencher| {
        let replace = |table| access.replace(table).expect("the agent is there");
        bencher.iter_batched(table, replace, BatchSize::SmallInput);
    });
    group.bench_function("collect", |bencher| bencher.iter(|| access.collect()));
    group.bench_function("pins", |bencher| bencher.iter(|| tables.pins()));
    group.bench_function("remove", |bencher| {
        bencher.iter_batched(
            || access.replace(table()).expect("the agent is there"),
            |_| access.remove(black_box(agent)),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn states(criterion: &mut Criterion) {
    let machine = StateMachine::new();
    let mut group = criterion.benchmark_group("state");
    group.bench_function("snapshot", |bencher| bencher.iter(|| black_box(&machine).snapshot()));
    group.bench_function("refused", |bencher| {
        bencher.iter(|| machine.transition(black_box(AgentState::Response)).is_ok());
    });
    group.bench_function("completion flag", |bencher| {
        bencher.iter(|| machine.set_completion(black_box(true)));
    });
    group.bench_function("is completed", |bencher| {
        bencher.iter(|| black_box(&machine).is_completed());
    });
    group.bench_function("retries", |bencher| bencher.iter(|| machine.retries()));
    let moved = StateMachine::new();
    group.bench_function("transition from what was seen", |bencher| {
        bencher.iter(|| {
            let seen = moved.snapshot();
            let to = seen.state().followers()[0];
            moved.transition_from(seen, black_box(to)).expect("nobody else moves it")
        });
    });
    group.bench_function("completion flag of what was seen", |bencher| {
        bencher.iter(|| {
            let seen = moved.snapshot();
            let other = !seen.completion_detected();
            moved.set_completion_from(seen, black_box(other)).expect("nobody else moves it")
        });
    });
    let stale = moved.snapshot();
    moved.set_completion(!stale.completion_detected());
    group.bench_function("overtaken", |bencher| {
        bencher.iter(|| moved.set_completion_from(black_box(stale), true).is_err());
    });
    group.finish();
}

fn plans(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    group.bench_function("start, 100 records, seal and read", |bencher| {
        let plan = PlanContext::new();
        bencher.iter(|| {
            let changeset = plan.start().expect("there is room for more");
            for change in 0..100 {
                plan.record(black_box(change)).expect("it is open");
            }
            plan.seal(changeset).expect("it is open").sum::<u64>()
        });
    });
    let plan = PlanContext::<u64>::new();
    let first = plan.start().expect("the first");
    group.bench_function("newest", |bencher| bencher.iter(|| black_box(&plan).newest()));
    group.bench_function("is sealed", |bencher| bencher.iter(|| plan.is_sealed(black_box(first))));
    group.bench_function("contention", |bencher| bencher.iter(|| plan.contention()));
    plan.seal(first).expect("it is open").for_each(drop);
    group.bench_function("record, refused because the newest is sealed", |bencher| {
        bencher.iter(|| plan.record(black_box(1)).is_err());
    });
    group.finish();
}

fn outboxes(criterion: &mut Criterion) {
    let outbox = Outbox::new(1_000).expect("a possible outbox");
    let mut group = criterion.benchmark_group("outbox");
    group.bench_function("push and pop", |bencher| {
        bencher.iter(|| {
            outbox.push(black_box(1_u64));
            outbox.pop()
        });
    });
    group.bench_function("length", |bencher| bencher.iter(|| outbox.len()));
    group.bench_function("dropped", |bencher| bencher.iter(|| outbox.dropped()));
    group.bench_function("snapshot", |bencher| bencher.iter(|| outbox.snapshot()));
    group.bench_function("contention", |bencher| bencher.iter(|| outbox.contention()));
    let inbox = Inbox::with_capacity(64);
    group.bench_function("inbox: 8 pushes, all taken at once", |bencher| {
        bencher.iter(|| {
            for item in 0..8_u64 {
                inbox.push(black_box(item)).expect("there is room");
            }
            inbox.take_all().sum::<u64>()
        });
    });
    let full = Inbox::with_capacity(1);
    full.push(1_u64).expect("the first");
    group.bench_function("inbox: refused because it is full", |bencher| {
        bencher.iter(|| full.push(black_box(2)).is_err());
    });
    group.finish();
}

fn slots(criterion: &mut Criterion) {
    let slots = SpawnSlots::new(64).expect("a possible limit");
    let mut group = criterion.benchmark_group("slot");
    group.bench_function("reserve and give back", |bencher| {
        bencher.iter(|| slots.reserve(black_box(Tick(1))).expect("there is a slot"));
    });
    let slot = slots.reserve(Tick(1)).expect("there is a slot");
    group.bench_function("sign of life", |bencher| bencher.iter(|| slot.beat(black_box(Tick(2)))));
    group.bench_function("clean up the silent", |bencher| {
        bencher.iter(|| slots.clean_up_silent(black_box(Tick(3)), 1_000));
    });
    group.bench_function("reserve and clean up", |bencher| {
        bencher.iter(|| {
            let slot = slots.reserve(black_box(Tick(1))).expect("there is a slot");
            assert!(slots.clean_up(slot.id()), "nobody else ends it");
        });
    });
    group.bench_function("running", |bencher| bencher.iter(|| slots.running()));
    group.bench_function("snapshot", |bencher| bencher.iter(|| slots.snapshot()));
    group.bench_function("contention", |bencher| bencher.iter(|| slots.contention()));
    let taken = SpawnSlots::new(1).expect("a possible limit");
    let _only = taken.reserve(Tick(1)).expect("the first");
    group.bench_function("refused", |bencher| {
        bencher.iter(|| taken.reserve(black_box(Tick(1))).is_err());
    });
    group.finish();
}

fn limits(criterion: &mut Criterion) {
    let limit = AdaptiveLimit::new(Duration::from_millis(1), Duration::from_secs(10));
    let limit = limit.expect("possible bounds");
    let mut group = criterion.benchmark_group("adaptive limit");
    group.bench_function("observe", |bencher| {
        bencher.iter(|| limit.observe(black_box(Duration::from_millis(30))));
    });
    group.bench_function("observe, and expired", |bencher| {
        bencher.iter(|| {
            limit.observe(Duration::from_millis(1));
            limit.expired(black_box(limit.limit()))
        });
    });
    group.bench_function("limit", |bencher| bencher.iter(|| black_box(&limit).limit()));
    group.bench_function("estimate", |bencher| bencher.iter(|| black_box(&limit).estimate()));
    group.finish();
}

criterion_group! {
    name = benches;
    config = quick();
    targets =
        beside_ports, directory, tables, states, plans, outboxes, slots, limits
}
criterion_main!(benches);
