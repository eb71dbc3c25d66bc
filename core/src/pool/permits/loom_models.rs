//! Models of the permits.

use loom::sync::Arc;
use loom::thread;

use super::*;
use crate::sync::explore::explore;

/// Two threads want more than one stripe holds, and together more than there is: a refusal says a
/// number below what was asked, and only when the other held some; nothing is lost.
#[test]
fn loom_two_gatherers() {
    explore("permits: two gatherers", None, 500, || {
        let permits = Arc::new(Permits::new(3, 2, 1));
        let other = Arc::clone(&permits);
        let thread = thread::spawn(move || {
            let got = other.acquire(2, 1);
            if got.is_ok() {
                other.release(2, 1);
            }
            got
        });
        let mine = permits.acquire(2, 0);
        if let Err(refused) = mine {
            assert_eq!(refused.available, 1, "only the other thread's 2 can be missing");
        } else {
            permits.release(2, 0);
        }
        let theirs = thread.join().unwrap();
        assert!(mine.is_ok() || theirs.is_ok(), "both refused, and nobody held anything");
        assert_eq!(permits.available(), 3);
        assert_eq!(permits.acquire(3, 0), Ok(()), "a permit was lost");
        assert_eq!(permits.acquire(1, 1), Err(refused(0)), "a permit was made");
    });
}

/// Two threads gather at once: both close stripes and move counts, the one who is late after the other has
/// taken what it wants, has given it back and has gathered anew. Each count is moved once.
#[test]
fn loom_two_gather_at_once() {
    explore("permits: two gather at once", Some(3), 1_000, || {
        let permits = Arc::new(Permits::new(4, 2, 1));
        let other = Arc::clone(&permits);
        let thread = thread::spawn(move || {
            for n in [3, 4] {
                if other.acquire(n, 1).is_ok() {
                    other.release(n, 1);
                }
            }
        });
        if permits.acquire(3, 0).is_ok() {
            permits.release(3, 0);
        }
        thread.join().unwrap();
        assert_eq!(permits.available(), 4);
        assert_eq!(permits.acquire(4, 0), Ok(()), "a permit was lost");
        assert_eq!(permits.acquire(1, 1), Err(refused(0)), "a permit was made");
    });
}

/// A release to one stripe races with a gather that begins at the other: the gatherer gets what it
/// wants, or the refusal tells the number before the release.
#[test]
fn loom_release_races_with_gather() {
    explore("permits: release and gather", None, 100, || {
        let permits = Arc::new(Permits::new(2, 2, 1));
        permits.acquire(1, 1).unwrap();
        let other = Arc::clone(&permits);
        let thread = thread::spawn(move || other.release(1, 1));
        match permits.acquire(2, 0) {
            Ok(()) => permits.release(2, 0),
            Err(refused) => assert_eq!(refused.available, 1),
        }
        thread.join().unwrap();
        assert_eq!(permits.acquire(2, 1), Ok(()), "a permit was lost");
        assert_eq!(permits.acquire(1, 0), Err(refused(0)), "a permit was made");
    });
}

/// Three threads that together never want more than there is are never refused, although one of
/// them has to gather while the others' permits come and go.
#[test]
fn loom_no_spurious_refusal() {
    explore("permits: no spurious refusal", Some(2), 1_000, || {
        let permits = Arc::new(Permits::new(6, 2, 1));
        let take_and_give = |n, home| {
            let permits = Arc::clone(&permits);
            move || {
                assert_eq!(permits.acquire(n, home), Ok(()), "at most 6 of 6 are ever taken");
                permits.release(n, home);
            }
        };
        let threads = [thread::spawn(take_and_give(1, 0)), thread::spawn(take_and_give(1, 1))];
        take_and_give(4, 0)();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(permits.acquire(6, 0), Ok(()), "a permit was lost");
    });
}

fn refused(available: u32) -> Refused {
    Refused { available, promised: 0 }
}
