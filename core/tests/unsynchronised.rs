//! Payloads in plain memory: only the pool and the inbox order who writes and reads them, so that
//! `ThreadSanitizer` (`cargo xtask test --sanitize`) reports it where they do not. Without it, the tests see
//! payloads that are torn or not their writer's.
//!
//! Threads are spawned and joined, and share nothing else: `ThreadSanitizer` does not know the inside of
//! std's mutexes and scopes, which is not instrumented.
#![cfg(not(any(latchless_loom, latchless_shuttle)))]

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::thread;

use latchless::{BlockPool, Inbox, LayerId, ModelSpec, OwnedLease, PoolConfig};

const BLOCKS: u32 = 200;
const THREADS: u64 = 4;
/// Miri takes a thousand times as long, and looks at more than one order of each.
const ROUNDS: u64 = if cfg!(miri) { 10 } else { 3_000 };

/// A payload for each block, in two words that belong together.
struct Payloads(Box<[UnsafeCell<[u64; 2]>]>);

// SAFETY: a payload is touched by the holder of its block only, and the pool orders one holder after the
// other. That it does is what is tested.
unsafe impl Sync for Payloads {}

impl Payloads {
    fn write(&self, lease: &OwnedLease, value: u64) {
        for block in lease.blocks() {
            // SAFETY: the block is the caller's: see above.
            unsafe { *self.0[block.0 as usize].get() = [value, !value] };
        }
    }

    /// Checks that the payloads are those that the holder wrote.
    fn check(&self, lease: &OwnedLease, value: u64) {
        for block in lease.blocks() {
            // SAFETY: as above.
            let payload = unsafe { *self.0[block.0 as usize].get() };
            assert_eq!(payload, [value, !value], "somebody else wrote to {block:?}");
        }
    }
}

#[test]
fn payloads_belong_to_who_has_the_block() {
    let spec = ModelSpec::new(1, 1, 1, 1).unwrap();
    let config = PoolConfig::new(BLOCKS, spec).max_agents(THREADS as u32).stripes(4);
    let pool = Arc::new(BlockPool::new(config).unwrap());
    let cells = (0..BLOCKS).map(|_| UnsafeCell::new([0, 0])).collect();
    let payloads = Arc::new(Payloads(cells));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (pool, payloads) = (Arc::clone(&pool), Arc::clone(&payloads));
            thread::spawn(move || {
                let agent = pool.open_account().unwrap();
                let mut granted = 0_u32;
                for n in 0..ROUNDS {
                    let blocks = 1 + (n * 7 + thread) as u32 % 90;
                    let Ok(mut lease) = pool.allocate_owned(agent, LayerId(0), blocks) else {
                        continue;
                    };
                    granted += 1;
                    let value = thread << 32 | n;
                    payloads.write(&lease, value);
                    if blocks > 2 {
                        let off = lease.split_off(blocks / 2).unwrap();
                        payloads.check(&off, value);
                    }
                    payloads.check(&lease, value);
                    if n % 5 == 0 {
                        // Freed by handles, and by another path than the lease's.
                        pool.free(agent, &lease.into_handles()).unwrap();
                    }
                }
                granted
            })
        })
        .collect();
    let granted: u32 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert!(granted > 0);
    assert_eq!(pool.usage().used, 0);
}

#[test]
fn items_arrive_as_they_were_sent() {
    let inbox = Arc::new(Inbox::with_capacity(1_000));
    let producers: Vec<_> = (0..THREADS)
        .map(|thread| {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || {
                for n in 0..ROUNDS {
                    let value = thread << 32 | n;
                    let mut item = Box::new([value, !value]);
                    while let Err(full) = inbox.push(item) {
                        item = full.0;
                        thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let mut next = [0; THREADS as usize];
    while next.iter().any(|next| *next < ROUNDS) {
        for item in inbox.take_all() {
            let [value, same] = *item;
            assert_eq!(value, !same, "torn");
            let thread = (value >> 32) as usize;
            assert_eq!(value & 0xFFFF_FFFF, next[thread], "out of order");
            next[thread] += 1;
        }
        thread::yield_now();
    }
    for producer in producers {
        producer.join().unwrap();
    }
}
