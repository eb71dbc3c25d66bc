//! What agents put out, and how many run, under six and seven threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use latchless::{Outbox, SpawnSlots, Tick};
use shuttle::thread;

use crate::explore;

/// Four write and two read at an outbox of two: every item is read, has gone or is there, once, and each
/// reader has each writer's items in order.
#[test]
fn every_item_is_read_or_has_gone() {
    explore("an outbox", || {
        let outbox = Arc::new(Outbox::new(2).unwrap());
        let writers = [0_u32, 10, 20, 30].map(|first| {
            let outbox = Arc::clone(&outbox);
            thread::spawn(move || {
                (first..first + 3).filter_map(|item| outbox.push(item)).collect::<Vec<_>>()
            })
        });
        let readers = [(); 2].map(|()| {
            let outbox = Arc::clone(&outbox);
            thread::spawn(move || (0..4).filter_map(|_| outbox.pop()).collect::<Vec<_>>())
        });
        let mut gone: Vec<_> = writers.into_iter().flat_map(|one| one.join().unwrap()).collect();
        let read = readers.map(|one| one.join().unwrap());
        for read in &read {
            for first in [0, 10, 20, 30] {
                let of_one = read.iter().filter(|item| **item / 10 * 10 == first);
                assert!(of_one.is_sorted(), "{read:?}");
            }
        }
        assert_eq!(outbox.dropped(), gone.len() as u64);
        gone.extend(read.into_iter().flatten());
        gone.extend(std::iter::from_fn(|| outbox.pop()));
        gone.sort_unstable();
        let all: Vec<_> = [0, 10, 20, 30].into_iter().flat_map(|first| first..first + 3).collect();
        assert_eq!(gone, all);
    });
}

/// Six spawn where two may run, and a seventh cleans up behind them: never more than two, each ended once,
/// and no slot is lost.
#[test]
fn the_limit_is_never_exceeded() {
    explore("spawner slots", || {
        let slots = SpawnSlots::new(2).unwrap();
        let (running, refused, dead) = (count(), count(), Arc::new(Mutex::new(Vec::new())));
        let mut threads = Vec::new();
        for _ in 0..6 {
            let (slots, running) = (slots.clone(), Arc::clone(&running));
            let (refused, dead) = (Arc::clone(&refused), Arc::clone(&dead));
            threads.push(thread::spawn(move || {
                for _ in 0..2 {
                    let Ok(slot) = slots.reserve(Tick(100)) else {
                        refused.fetch_add(1, Ordering::SeqCst);
                        continue;
                    };
                    assert!(running.fetch_add(1, Ordering::SeqCst) < 2, "above the limit");
                    assert!(slot.is_current() && slot.beat(Tick(101)), "it was just reserved");
                    running.fetch_sub(1, Ordering::SeqCst);
                    dead.lock().unwrap().push(slot.id());
                }
            }));
        }
        let cleaner = slots.clone();
        threads.push(thread::spawn(move || {
            for _ in 0..6 {
                // All give signs of life.
                assert_eq!(cleaner.clean_up_silent(Tick(105), 10), []);
                let found = dead.lock().unwrap().pop();
                // By its own guard perhaps, at the same time.
                let _ended = found.map(|id| cleaner.clean_up(id));
            }
        }));
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(slots.running(), 0);
        assert!(refused.load(Ordering::SeqCst) < 12, "somebody was the first");
        let both = [(); 2].map(|()| slots.reserve(Tick(0)));
        assert!(both.iter().all(Result::is_ok) && slots.reserve(Tick(0)).is_err());
    });
}

/// Std's: it is no step that is scheduled.
fn count() -> Arc<AtomicUsize> {
    Arc::new(AtomicUsize::new(0))
}
