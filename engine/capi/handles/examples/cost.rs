//! What looking an object up costs, when several threads use the same one all the time: as a pool is used.
//!
//! `cargo run --release -p latchless-handles --example cost`; leave the machine alone meanwhile.

use std::hint::black_box;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use latchless_handles::Table;

const CALLS: u32 = 2_000_000;

/// Nanoseconds of a call, the slowest thread's: the best of five.
fn cost(threads: usize, call: impl Fn() + Sync) -> f64 {
    let once = || {
        let begin = Barrier::new(threads);
        let run = || {
            begin.wait();
            let start = Instant::now();
            for _ in 0..CALLS {
                call();
            }
            start.elapsed()
        };
        thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
            running.into_iter().map(|thread| thread.join().unwrap()).max()
        })
    };
    let best = (0..5).filter_map(|_| once()).min().unwrap_or(Duration::ZERO);
    best.as_nanos() as f64 / f64::from(CALLS)
}

fn main() {
    static STRIPED: Table<u64, 8> = Table::new(1);
    static SINGLE: Table<u64, 1> = Table::new(2);
    let striped = STRIPED.insert(7).unwrap();
    let single = SINGLE.insert(7).unwrap();
    let sharded = sharded_slab::Slab::new();
    let key = sharded.insert(7_u64).unwrap();
    let locked = Mutex::new(vec![Some(Arc::new(7_u64))]);

    println!("{:<32}{:>10}{:>10}", "ns a call, threads:", 1, 2);
    let row = |name: &str, call: &(dyn Fn() + Sync)| {
        println!("{name:<32}{:>10.1}{:>10.1}", cost(1, call), cost(2, call));
    };
    row("Table, 8 stripes", &|| {
        black_box(**black_box(&STRIPED.get(striped).unwrap()));
    });
    row("Table, 1 stripe", &|| {
        black_box(**black_box(&SINGLE.get(single).unwrap()));
    });
    row("sharded-slab", &|| {
        black_box(**black_box(&sharded.get(key).unwrap()));
    });
    row("Mutex<Vec<Option<Arc>>>", &|| {
        let object = locked.lock().unwrap()[0].clone();
        black_box(object);
    });
}
