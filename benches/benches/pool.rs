//! Pairs of allocate and free: the pool beside the other contenders.
//!
//! An iteration is one pair on each thread, so with two threads the throughput counts two.

use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use latchless_benches::backends::{self, Visitor};
use latchless_benches::measure::pairs;
use latchless_benches::{BLOCKS, Contender, REQUESTS};

struct Benchmark<'a, 'group> {
    group: &'a mut BenchmarkGroup<'group, WallTime>,
    threads: usize,
    blocks: u32,
}

impl Visitor for Benchmark<'_, '_> {
    fn visit<C: Contender + 'static>(&mut self) {
        let Self { threads, blocks, .. } = *self;
        let pool = C::new(BLOCKS);
        let name = format!("{threads} thread{}/{}", if threads == 1 { "" } else { "s" }, C::NAME);
        self.group.throughput(Throughput::Elements(threads as u64));
        self.group.bench_function(BenchmarkId::new(name, blocks), |bencher| {
            bencher.iter_custom(|iterations| pairs(&pool, threads, blocks, iterations));
        });
        assert_eq!(pool.free(), BLOCKS, "{} lost blocks", C::NAME);
    }
}

fn pool(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pool");
    for threads in [1, 2] {
        for blocks in REQUESTS {
            backends::all(&mut Benchmark { group: &mut group, threads, blocks });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    // Over 60 benchmarks: a second each, not criterion's eight.
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1))
        .sample_size(30);
    targets = pool
}
criterion_main!(benches);
