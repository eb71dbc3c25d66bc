//! A large pool beside a small one: time and memory.

use latchless_benches::latchless_pool::Leases;
use latchless_benches::measure::{Entry, interleave, median, rate};
use latchless_benches::os::counting::bytes_of;
use latchless_benches::report::{figure, table as markdown};
use latchless_benches::{BLOCKS, Contender, REQUESTS};

use crate::Settings;
use crate::figures::{Memory, Size};

const MILLION: u32 = 1_000_000;

/// Nanoseconds of a pair, one thread.
fn entry(settings: &Settings, blocks: u32, n: u32) -> Entry {
    let (pool, slice) = (Leases::new(blocks), settings.slice);
    Entry::new(Leases::NAME, move || 1e9 / rate(&pool, 1, n, slice))
}

/// Ours alone.
pub(crate) fn measure(settings: &Settings) -> Vec<Size> {
    if !settings.wants(Leases::NAME) {
        return Vec::new();
    }
    eprintln!("measuring a pool of {MILLION} blocks");
    let of = |n| {
        let entries = [entry(settings, BLOCKS, n), entry(settings, MILLION, n)];
        let rounds = interleave(&entries, settings.rounds);
        let [small, large] = [0, 1].map(|i| &rounds[i]);
        let ratios: Vec<_> = large.iter().zip(small).map(|(large, small)| large / small).collect();
        let (small_ns, large_ns) = (median(small), median(large));
        let ratio = median(&ratios);
        Size { backend: Leases::NAME, n, blocks: MILLION, small_ns, large_ns, ratio }
    };
    REQUESTS.map(of).into()
}

/// Of pools of both sizes.
pub(crate) fn memory() -> Vec<Memory> {
    let of = |blocks| {
        let (_pool, bytes) = bytes_of(|| Leases::new(blocks));
        let bytes_per_block = bytes as f64 / f64::from(blocks);
        Memory { backend: Leases::NAME, blocks, bytes, bytes_per_block }
    };
    [BLOCKS, MILLION].map(of).into()
}

/// In Markdown.
pub(crate) fn table(rows: &[Size]) -> String {
    let lines: Vec<_> = rows
        .iter()
        .map(|row| {
            let cells = [row.small_ns, row.large_ns, row.ratio].map(figure);
            let [small, large, ratio] = cells;
            [format!("{}, n={}", row.backend, row.n), small, large, ratio]
        })
        .collect();
    let (small, large) = (format!("{BLOCKS} blocks"), format!("{MILLION} blocks"));
    markdown(["1 thread, ns a pair", &small, &large, "ratio"], &lines)
}

/// In Markdown.
pub(crate) fn memory_table(rows: &[Memory]) -> String {
    let lines: Vec<_> = rows
        .iter()
        .map(|row| {
            let name = format!("{}, {} blocks", row.backend, row.blocks);
            [name, row.bytes.to_string(), figure(row.bytes_per_block)]
        })
        .collect();
    markdown(["heap memory", "bytes", "bytes a block"], &lines)
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn every_size_of_request_is_measured() {
        let slice = std::time::Duration::from_millis(2);
        let rows = measure(&Settings { rounds: 1, slice, backends: Vec::new() });
        assert_eq!(rows.iter().map(|row| row.n).collect::<Vec<_>>(), REQUESTS);
        assert!(rows.iter().all(|row| row.ratio > 0.0), "{rows:?}");
    }

    #[test]
    fn memory_is_counted() {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            // Others may allocate meanwhile, as the other tests of this process do.
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    black_box(Vec::<u8>::with_capacity(100));
                }
            });
            let counted = |_| bytes_of(|| Vec::<u64>::with_capacity(1_000)).1;
            let counted: Vec<_> = (0..1_000).map(counted).collect();
            over.store(true, Ordering::Relaxed);
            assert_eq!(counted, [8_000; 1_000]);
        });
        assert!(memory().iter().all(|row| row.bytes_per_block > 4.0));
    }
}
