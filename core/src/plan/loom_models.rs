//! Models of a plan: a record is in the changeset that it was told, and in what the sealer got.

use loom::sync::Arc;
use loom::thread;

use super::*;
use crate::sync::explore::explore;
use crate::sync::{AtomicU32, Ordering, UnsafeCell};

/// A change that loom watches: one that is read and was not published fails the model.
#[derive(Debug)]
struct Change(UnsafeCell<u32>);

impl Change {
    #[allow(unsafe_code)]
    fn new(number: u32) -> Self {
        let change = Self(UnsafeCell::new(0));
        // SAFETY: nobody else has it.
        change.0.with_mut(|cell| unsafe { *cell = number });
        change
    }

    #[allow(unsafe_code)]
    fn number(self) -> u32 {
        // SAFETY: it was moved here, so nobody else has it; loom checks that this is so.
        self.0.with(|cell| unsafe { *cell })
    }
}

/// The seed's race: a start and a record at once, and a record after the start.
#[test]
fn loom_no_stale_changeset() {
    explore("plan: no stale changeset", None, 40, || {
        let plan = Arc::new(PlanContext::new());
        let other = Arc::clone(&plan);
        let thread = thread::spawn(move || {
            other.record(Change::new(1)).map_err(|error| error.into_change().number())
        });
        let first = plan.start().unwrap();
        let second = plan.start().unwrap();
        let mine = plan.record(Change::new(2)).map_err(RecordError::into_change);
        assert_eq!(mine.unwrap(), second, "it began after the start returned");
        let theirs = thread.join().unwrap();
        let records = |id| plan.seal(id).unwrap().map(Change::number).collect::<Vec<_>>();
        let (first_has, second_has) = (records(first), records(second));
        match theirs {
            // None was started.
            Err(change) => assert_eq!((change, first_has, second_has), (1, vec![], vec![2])),
            Ok(id) if id == first => assert_eq!((first_has, second_has), (vec![1], vec![2])),
            Ok(_) => assert_eq!((first_has.len(), second_has.len()), (0, 2)),
        }
    });
}

/// Two record while a third seals and starts the next: each record is in the changeset it was told, and
/// loom checks that the sealer sees it whole.
#[test]
fn loom_sealed_or_in_the_next() {
    explore("plan: sealed or in the next", Some(3), 1_000, || {
        let plan = Arc::new(PlanContext::new());
        let first = plan.start().unwrap();
        let record = |change: u32| {
            let plan = Arc::clone(&plan);
            move || (change, plan.record(Change::new(change)).map_err(|error| error.to_string()))
        };
        let threads = [thread::spawn(record(1)), thread::spawn(record(2))];
        let second = plan.start().unwrap();
        let in_first: Vec<_> = plan.seal(first).unwrap().map(Change::number).collect();
        let told = threads.map(|thread| thread.join().unwrap());
        let in_second: Vec<_> = plan.seal(second).unwrap().map(Change::number).collect();
        for (change, told) in told {
            let is_in = (in_first.contains(&change), in_second.contains(&change));
            assert_eq!(told, Ok(if is_in.0 { first } else { second }), "{is_in:?}");
            assert_ne!(is_in.0, is_in.1, "in one of the two");
        }
        assert_eq!(in_first.len() + in_second.len(), 2);
    });
}

/// The newest is sealed before the next is started: a record lands before or after, or is refused while
/// there was none open.
#[test]
fn loom_refused_only_when_all_are_sealed() {
    explore("plan: all sealed", None, 20, || {
        let plan = Arc::new(PlanContext::new());
        let first = plan.start().unwrap();
        let other = Arc::clone(&plan);
        let thread = thread::spawn(move || other.record(7));
        let in_first = plan.seal(first).unwrap().count();
        let second = plan.start().unwrap();
        let theirs = thread.join().unwrap();
        let in_second = plan.seal(second).unwrap().count();
        let expected = match theirs {
            Ok(id) if id == first => (1, 0),
            Ok(_) => (0, 1),
            Err(error) => {
                assert_eq!(error, RecordError::Sealed(7, first));
                (0, 0)
            }
        };
        assert_eq!((in_first, in_second), expected);
    });
}

/// Two seal at once: one gets the records, the other is told so.
#[test]
fn loom_sealed_by_one() {
    explore("plan: sealed by one", None, 2, || {
        let plan = Arc::new(PlanContext::new());
        let first = plan.start().unwrap();
        plan.record(1).unwrap();
        let other = Arc::clone(&plan);
        let thread = thread::spawn(move || other.seal(first).map(Iterator::count));
        let mine = plan.seal(first).map(Iterator::count);
        let mut both = [mine, thread.join().unwrap()];
        both.sort_by_key(Result::is_err);
        assert_eq!(both, [Ok(1), Err(SealError::Sealed { changeset: first })]);
    });
}

/// Two start at once where a chunk has to be made: both have a number of their own.
#[test]
fn loom_starts_at_once() {
    explore("plan: starts at once", None, 20, || {
        let plan = Arc::new(PlanContext::<u32>::new());
        let other = Arc::clone(&plan);
        let thread = thread::spawn(move || other.start().unwrap().0);
        let mine = plan.start().unwrap().0;
        let theirs = thread.join().unwrap();
        assert_eq!((mine + theirs, mine * theirs, plan.newest()), (1, 0, Some(ChangesetId(1))));
    });
}

/// What was done before a changeset was started is seen by whoever records into it: the plan that it
/// belongs to, say. The third one, whose place in the table was made with the second's.
#[test]
fn loom_who_records_sees_what_was_done_before_the_start() {
    explore("plan: seen before the start", None, 5, || {
        let plan = Arc::new((PlanContext::new(), AtomicU32::new(0)));
        let [_, second] = [(); 2].map(|()| plan.0.start().unwrap());
        let other = Arc::clone(&plan);
        let thread = thread::spawn(move || {
            if other.0.record(1).unwrap() > second {
                assert_eq!(other.1.load(Ordering::Relaxed), 7, "left behind");
            }
        });
        plan.1.store(7, Ordering::Relaxed);
        plan.0.start().unwrap();
        thread.join().unwrap();
    });
}

/// A segment of a sealed changeset is used again in the next one, while somebody is about to record in it: he
/// is never told that all are sealed, since the next one was started before the seal.
#[test]
fn loom_used_again_in_the_next() {
    explore("plan: used again in the next", Some(2), 100, || {
        let plan = Arc::new(PlanContext::new());
        let first = plan.start().unwrap();
        plan.record(Change::new(1)).unwrap();
        let other = Arc::clone(&plan);
        let thread =
            thread::spawn(move || other.record(Change::new(2)).map_err(|error| error.to_string()));
        let second = plan.start().unwrap();
        let in_first = plan.seal(first).unwrap().map(Change::number).sum::<u32>();
        assert!(plan.record(Change::new(4)).is_ok_and(|id| id == second));
        let theirs = thread.join().unwrap();
        let in_second = plan.seal(second).unwrap().map(Change::number).sum::<u32>();
        let expected = if theirs == Ok(first) { (3, 4) } else { (1, 6) };
        assert_eq!((in_first, in_second), expected, "{theirs:?}");
        assert!(theirs.is_ok(), "{theirs:?}");
    });
}
