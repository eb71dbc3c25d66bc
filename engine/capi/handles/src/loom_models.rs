//! Every interleaving of two and three threads at one table of two slots, with two stripes.

use std::sync::atomic::{AtomicUsize, Ordering, Ordering::Relaxed};

use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;
use loom::thread;

use crate::{Handle, Table, Unusable};

/// Runs `model` under every schedule that loom finds, and asserts that there were at least `floor`: one that
/// loom cannot see into passes after the first.
fn explore(
    name: &str,
    preemptions: Option<usize>,
    floor: usize,
    model: impl Fn() + Sync + Send + 'static,
) {
    let executions = std::sync::Arc::new(AtomicUsize::new(0));
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions.map(|n| n.max(builder.preemption_bound.unwrap_or(n)));
    let counter = std::sync::Arc::clone(&executions);
    builder.check(move || {
        counter.fetch_add(1, Relaxed);
        model();
    });
    let executions = executions.load(Relaxed);
    println!("model {name}: {executions} executions");
    assert!(executions >= floor, "model {name} ran {executions} executions and needs {floor}");
}

/// Counts its drops, and is looked at: loom reports a look that a drop may meet.
struct Object {
    value: u32,
    drops: std::sync::Arc<AtomicUsize>,
}

impl Drop for Object {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Relaxed);
        self.value = 0;
    }
}

struct Model {
    table: Arc<Table<Object, 2>>,
    drops: std::sync::Arc<AtomicUsize>,
}

impl Model {
    fn new() -> Self {
        Self { table: Arc::new(Table::new(1)), drops: std::sync::Arc::default() }
    }

    fn insert(&self, value: u32) -> Handle {
        self.table.insert(Object { value, drops: self.drops.clone() }).unwrap()
    }

    fn drops(&self) -> usize {
        self.drops.load(Relaxed)
    }
}

/// Uses the object on a stripe, if it is there.
fn look(table: &Table<Object, 2>, handle: Handle, stripe: usize, value: u32) {
    if let Ok(object) = table.get_on(handle, stripe) {
        assert_eq!(object.value, value, "another object, or a dropped one");
        thread::yield_now();
        assert_eq!(object.value, value, "dropped under a guard");
    }
}

/// Two look at an object, each on its stripe, while a third closes it: they see it whole, and the last of
/// the three drops it, once.
#[test]
fn loom_the_last_one_drops() {
    explore("handles: the last one drops", Some(3), 1_000, || {
        let model = Model::new();
        let handle = model.insert(7);
        let threads = [0, 1].map(|stripe| {
            let table = Arc::clone(&model.table);
            thread::spawn(move || look(&table, handle, stripe, 7))
        });
        model.table.close(handle).unwrap();
        assert!(model.table.get_on(handle, 1).is_err(), "closed on every stripe");
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(model.drops(), 1);
    });
}

/// Two on one stripe: what the first of them did comes before the drop, too.
#[test]
fn loom_two_on_a_stripe() {
    explore("handles: two on a stripe", Some(3), 500, || {
        let model = Model::new();
        let handle = model.insert(7);
        let threads = [1, 1].map(|stripe| {
            let table = Arc::clone(&model.table);
            thread::spawn(move || look(&table, handle, stripe, 7))
        });
        model.table.close(handle).unwrap();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(model.drops(), 1);
    });
}

/// Two close the same object while a third looks at it: one of them closed it.
#[test]
fn loom_one_of_two_closes() {
    explore("handles: one of two closes", Some(3), 500, || {
        let model = Model::new();
        let handle = model.insert(7);
        let table = Arc::clone(&model.table);
        let closer = thread::spawn(move || table.close(handle).is_ok());
        let table = Arc::clone(&model.table);
        let user = thread::spawn(move || look(&table, handle, 1, 7));
        let mine = model.table.close(handle).is_ok();
        assert_ne!(mine, closer.join().unwrap());
        user.join().unwrap();
        assert_eq!(model.drops(), 1);
    });
}

/// A slot is used again while somebody comes with the handle of its last object: that one finds nothing,
/// never the new object.
#[test]
fn loom_a_stale_handle_finds_nothing() {
    explore("handles: a stale handle", None, 60, || {
        let model = Model::new();
        let old = model.insert(1);
        let table = Arc::clone(&model.table);
        let late = thread::spawn(move || look(&table, old, 1, 1));
        model.table.close(old).unwrap();
        let new = model.insert(2);
        assert_ne!(old, new);
        assert_eq!(model.table.close(old), Err(Unusable::Closed));
        look(&model.table, new, 0, 2);
        late.join().unwrap();
        model.table.close(new).unwrap();
        assert_eq!(model.drops(), 2);
    });
}

/// Two put in and take out while slots go around the free list and the second segment is made: no slot is
/// in two hands.
#[test]
fn loom_a_slot_is_in_one_hand() {
    explore("handles: a slot is in one hand", None, 150, || {
        let model = Model::new();
        let table = Arc::clone(&model.table);
        let drops = model.drops.clone();
        let other = thread::spawn(move || {
            for value in [10, 11] {
                let object = Object { value, drops: drops.clone() };
                let handle = table.insert(object).expect("two slots for two");
                look(&table, handle, 1, value);
                table.close(handle).unwrap();
            }
        });
        let mine = model.insert(1);
        look(&model.table, mine, 0, 1);
        model.table.close(mine).unwrap();
        let again = model.insert(2);
        look(&model.table, again, 0, 2);
        other.join().unwrap();
        model.table.close(again).unwrap();
        assert_eq!(model.drops(), 4);
        // Nothing was lost: both slots can be had.
        let both = [model.insert(3), model.insert(4)];
        assert_ne!(both[0], both[1]);
        for handle in both {
            model.table.close(handle).unwrap();
        }
    });
}

/// A handle that comes by a way that orders nothing: whoever has it finds the object whole all the same.
#[test]
fn loom_an_object_is_published_by_its_slot() {
    explore("handles: published by its slot", None, 5, || {
        let model = Model::new();
        let shown = Arc::new(AtomicU64::new(0));
        let (table, seen) = (Arc::clone(&model.table), Arc::clone(&shown));
        let user = thread::spawn(move || {
            look(&table, Handle::from_bits(seen.load(Ordering::Relaxed)), 1, 7);
        });
        let handle = model.insert(7);
        shown.store(handle.to_bits(), Ordering::Relaxed);
        user.join().unwrap();
        model.table.close(handle).unwrap();
        assert_eq!(model.drops(), 1);
    });
}

/// Somebody closes a handle that he guessed while its object is being put in: the object goes once, whole, and
/// its slot can be used again.
#[test]
fn loom_a_guessed_handle_closes_whole_objects() {
    explore("handles: a guessed handle", None, 20, || {
        let model = Model::new();
        let first = model.insert(1);
        model.table.close(first).unwrap();
        // The next object's handle: the same slot, one generation later.
        let guessed = Handle::from_bits(first.to_bits() + (1 << 28));
        let table = Arc::clone(&model.table);
        let guesser = thread::spawn(move || table.close(guessed).is_ok());
        let second = model.insert(2);
        assert_eq!(second, guessed);
        let mine = model.table.close(second).is_ok();
        assert_ne!(mine, guesser.join().unwrap(), "closed once");
        assert_eq!(model.drops(), 2);
        for stripe in [0, 1] {
            assert!(model.table.get_on(second, stripe).is_err(), "stripe {stripe} is open");
        }
        let third = model.insert(3);
        look(&model.table, third, 0, 3);
        look(&model.table, third, 1, 3);
        model.table.close(third).unwrap();
        assert_eq!(model.drops(), 3);
    });
}

/// One takes a slot off the free list while another takes it, the next one, and gives the first back: the list
/// that the first one knew is not taken for the one that is there.
#[test]
fn loom_a_head_that_came_back_is_another_one() {
    explore("handles: a head that came back", None, 50, || {
        let model = Model::new();
        for handle in [model.insert(1), model.insert(2)] {
            model.table.close(handle).unwrap();
        }
        let (table, drops) = (Arc::clone(&model.table), model.drops.clone());
        let other = thread::spawn(move || {
            // None, when the other one has both.
            table.insert(Object { value: 10, drops }).ok()
        });
        let insert = |value| model.table.insert(Object { value, drops: model.drops.clone() }).ok();
        let (first, second) = (insert(11), insert(12));
        if let Some(first) = first {
            model.table.close(first).unwrap();
        }
        let third = insert(13);
        let theirs = other.join().unwrap();
        for (handle, value) in [(theirs, 10), (second, 12), (third, 13)] {
            if let Some(handle) = handle {
                let object = model.table.get_on(handle, 0).expect("nobody else closes it");
                assert_eq!(object.value, value, "a slot in two hands");
            }
        }
        let held = [theirs, second, third].iter().flatten().count();
        assert!((1..=2).contains(&held), "{held} in two slots");
        for handle in [theirs, second, third].into_iter().flatten() {
            model.table.close(handle).unwrap();
        }
    });
}
