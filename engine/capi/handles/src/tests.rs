use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::{Handle, Table, TooMany, Unusable};

#[test]
fn every_wrong_handle_is_found_out() {
    let (names, numbers) = (Table::<&str, 2>::new(1), Table::<u32, 2>::new(2));
    let (name, number) = (names.insert("a").unwrap(), numbers.insert(1).unwrap());
    assert_eq!((*names.get(name).unwrap(), *numbers.get(number).unwrap()), ("a", 1));
    assert_eq!(names.get(Handle::from_bits(0)).unwrap_err(), Unusable::Null);
    assert_eq!(names.get(number).unwrap_err(), Unusable::OtherKind);
    let beyond = Handle::from_bits(name.to_bits() + 64);
    assert_eq!(names.get(beyond).unwrap_err(), Unusable::Unknown);
    let never_taken = Handle::from_bits(name.to_bits() + 1);
    assert_eq!(names.get(never_taken).unwrap_err(), Unusable::Closed);
    names.close(name).unwrap();
    assert_eq!(names.close(name), Err(Unusable::Closed));
    let again = names.insert("b").unwrap();
    assert_eq!(names.get(name).unwrap_err(), Unusable::Closed, "its slot has another object");
    assert_eq!(*names.get(again).unwrap(), "b");
}

#[test]
fn of_all_numbers_only_the_handle_works() {
    let table = Table::<u32, 1>::new(1);
    let handle = table.insert(1).unwrap();
    for bit in 0..64 {
        let other = Handle::from_bits(handle.to_bits() ^ 1 << bit);
        assert!(table.get(other).is_err(), "bit {bit}");
        assert!(table.close(other).is_err(), "bit {bit}");
    }
    assert!(table.get(handle).is_ok());
}

#[test]
fn tables_begin_at_different_generations() {
    let first = || Table::<u32, 1>::new(1).insert(1).unwrap();
    assert_ne!(first(), first(), "a handle from before a library was loaded again would work");
}

#[test]
fn an_object_lives_as_long_as_somebody_is_at_it() {
    let table = Table::<Arc<()>, 4>::new(3);
    let object = Arc::new(());
    let handle = table.insert(Arc::clone(&object)).unwrap();
    let guards = [0, 1, 1, 3].map(|stripe| table.get_on(handle, stripe).unwrap());
    table.close(handle).unwrap();
    for guard in guards {
        assert_eq!(Arc::strong_count(&object), 2);
        drop(guard);
    }
    assert_eq!(Arc::strong_count(&object), 1);
    assert!(table.is_empty());
}

#[test]
fn segments_are_added_until_the_table_is_full() {
    let table = Table::<u32, 1>::new(1);
    let some = if cfg!(miri) { 200 } else { Table::<u32, 1>::CAPACITY };
    let handles: Vec<_> = (0..some as u32).map(|i| table.insert(i).unwrap()).collect();
    assert_eq!(handles.iter().collect::<HashSet<_>>().len(), some);
    if some == Table::<u32, 1>::CAPACITY {
        assert_eq!(table.insert(7), Err(TooMany(7)));
    }
    for (i, handle) in handles.iter().enumerate().step_by(37) {
        assert_eq!(*table.get(*handle).unwrap(), i as u32);
    }
    for handle in &handles {
        table.close(*handle).unwrap();
    }
    assert!(table.is_empty());
    // The slots that were left last come first, each once.
    let again: HashSet<_> = (0..100).map(|i| table.insert(i).unwrap()).collect();
    assert!(again.len() == 100 && handles.iter().all(|old| !again.contains(old)));
    for handle in again {
        table.close(handle).unwrap();
    }
}

/// Threads use objects that another one closes and makes anew all the time: whoever gets one has it whole,
/// and each is dropped once.
#[test]
fn objects_that_come_and_go_are_seen_whole_and_dropped_once() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);

    struct Object {
        number: usize,
        again: Box<usize>,
    }
    impl Drop for Object {
        fn drop(&mut self) {
            DROPS.fetch_add(1, Ordering::Relaxed);
            self.number = 0;
        }
    }

    let rounds = if cfg!(miri) { 30 } else { 20_000 };
    let table = Table::<Object, 2>::new(1);
    let shown = std::sync::atomic::AtomicU64::new(0);
    let over = AtomicBool::new(false);
    let seen = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    let handle = Handle::from_bits(shown.load(Ordering::Acquire));
                    if let Ok(object) = table.get(handle) {
                        assert_eq!((object.number > 0, *object.again), (true, object.number));
                        seen.fetch_add(1, Ordering::Relaxed);
                    }
                    // A closed handle gives nothing; whoever closes it twice is told.
                    if seen.load(Ordering::Relaxed).is_multiple_of(64) {
                        let _maybe_first = table.close(handle);
                    }
                }
            });
        }
        for number in 1..=rounds {
            let handle = table.insert(Object { number, again: Box::new(number) }).unwrap();
            shown.store(handle.to_bits(), Ordering::Release);
            let _maybe_second = table.close(handle);
        }
        over.store(true, Ordering::Release);
    });
    assert!(table.is_empty());
    assert_eq!(DROPS.load(Ordering::Relaxed), rounds);
}
