//! The geometry: making one, what it computes, and replacing the one in force.

mod support;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use latchless::{Attention, LiveModel, ModelSpec};

use crate::support::quick;

/// Layers of a model of the usual size.
const LAYERS: usize = 48;

/// Full attention and sliding windows in turn.
fn mixed() -> ModelSpec {
    let attention = [Attention::Full, Attention::Sliding { window: 1_024 }];
    let spec = ModelSpec::new(LAYERS, 8, 128, 16).expect("a possible model");
    spec.with_attention(attention.into_iter().cycle().take(LAYERS).collect()).expect("one a layer")
}

fn specs(criterion: &mut Criterion) {
    let spec = mixed();
    let mut group = criterion.benchmark_group("model");
    group.bench_function("new, 48 layers", |bencher| {
        bencher.iter(|| ModelSpec::new(black_box(LAYERS), 8, 128, 16).expect("a possible model"));
    });
    group.bench_function("blocks for 4,000 tokens", |bencher| {
        bencher.iter(|| spec.blocks_for(black_box(4_000)));
    });
    group.bench_function("blocks in a layer", |bencher| {
        let window = Attention::Sliding { window: 1_024 };
        bencher.iter(|| spec.blocks_in_layer(black_box(window), black_box(4_000)));
    });
    group.bench_function("bytes a block", |bencher| {
        bencher.iter(|| black_box(&spec).bytes_per_block());
    });
    group.bench_function("largest batch", |bencher| {
        bencher.iter(|| spec.max_batch_size(black_box(100_000), 4_000));
    });
    group.finish();
}

fn live(criterion: &mut Criterion) {
    let spec = mixed();
    let live = LiveModel::new(spec.clone());
    let mut group = criterion.benchmark_group("live model");
    group.bench_function("load", |bencher| bencher.iter(|| black_box(&live).load()));
    group.bench_function("publish", |bencher| bencher.iter(|| live.publish(black_box(&spec))));
    group.finish();
}

criterion_group! {
    name = benches;
    config = quick();
    targets = specs, live
}
criterion_main!(benches);
