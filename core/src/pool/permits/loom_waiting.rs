//! Models of waiting: whatever threads do at the same time, every waiter is served or gone in the end,
//! in order, and no permit is lost or made.

use std::task::{Wake, Waker};

use loom::sync::{Arc, Notify};
use loom::thread;

use super::*;
use crate::sync::explore::explore;

/// A thread that sleeps until it is woken: a wake-up that is lost is a deadlock, which loom reports.
struct Sleeper(Notify);

impl Wake for Sleeper {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.notify();
    }
}

/// Waits for `n` permits as a thread does, without ever looking by itself.
fn wait(permits: &Permits, n: u32) {
    let sleeper = std::sync::Arc::new(Sleeper(Notify::new()));
    let waker = Waker::from(std::sync::Arc::clone(&sleeper));
    let place = permits.join(n, &waker).expect("there are places enough");
    while !permits.poll(&place, &waker) {
        sleeper.0.wait();
    }
    permits.take_up(&place);
}

/// Nobody waits and all permits are there.
fn assert_whole(permits: &Permits) {
    assert_eq!(permits.places().1, 0, "a place was not given up");
    assert_eq!(permits.available(), permits.total());
    assert_eq!(permits.acquire(permits.total(), 0), Ok(()), "a permit was lost");
    assert_eq!(permits.acquire(1, 0), Err(Refused { available: 0, promised: 0 }));
}

/// A release races with a caller who joins: the caller gets the permit without looking twice.
#[test]
fn loom_release_races_with_join() {
    explore("waiting: release and join", Some(3), 500, || {
        let permits = Arc::new(Permits::new(1, 2, 1));
        permits.acquire(1, 0).unwrap();
        let other = Arc::clone(&permits);
        let thread = thread::spawn(move || other.release(1, 1));
        wait(&permits, 1);
        thread.join().unwrap();
        permits.release(1, 0);
        assert_whole(&permits);
    });
}

/// A waiter changes its waker while its grant comes: the new one is woken, or the grant is found.
#[test]
fn loom_a_waker_is_replaced_during_a_grant() {
    explore("waiting: a waker is replaced", Some(3), 500, || {
        let permits = Arc::new(Permits::new(1, 1, 1));
        permits.acquire(1, 0).unwrap();
        let place = permits.join(1, Waker::noop()).unwrap();
        let other = Arc::clone(&permits);
        let thread = thread::spawn(move || other.release(1, 0));
        let sleeper = std::sync::Arc::new(Sleeper(Notify::new()));
        let waker = Waker::from(std::sync::Arc::clone(&sleeper));
        while !permits.poll(&place, &waker) {
            sleeper.0.wait();
        }
        permits.take_up(&place);
        thread.join().unwrap();
        permits.release(1, 0);
        assert_whole(&permits);
    });
}

/// The last waiter ends, so that the queue ends, while another joins: the other is not left behind.
#[test]
fn loom_the_queue_ends_while_somebody_joins() {
    explore("waiting: the queue ends and somebody joins", Some(3), 1_000, || {
        let permits = Arc::new(Permits::new(2, 1, 2));
        permits.acquire(1, 0).unwrap();
        let place = permits.join(2, Waker::noop()).unwrap();
        let other = Arc::clone(&permits);
        let thread = thread::spawn(move || wait(&other, 1));
        permits.leave(&place, 0);
        thread.join().unwrap();
        permits.release(2, 0);
        assert_whole(&permits);
    });
}

/// A grant races with the waiter's leaving: the permits are granted to nobody, or to the waiter, who
/// gives them back; and the next in the queue gets them.
#[test]
fn loom_grant_races_with_leave() {
    explore("waiting: grant and leave", Some(3), 1_000, || {
        let permits = Arc::new(Permits::new(1, 1, 2));
        permits.acquire(1, 0).unwrap();
        let first = permits.join(1, Waker::noop()).unwrap();
        let second = permits.join(1, Waker::noop()).unwrap();
        let other = Arc::clone(&permits);
        let thread = thread::spawn(move || other.release(1, 0));
        permits.leave(&first, 0);
        thread.join().unwrap();
        assert!(
            permits.poll(&second, Waker::noop()),
            "nobody else wants it, and it was not served"
        );
        permits.take_up(&second);
        permits.release(1, 0);
        assert_whole(&permits);
    });
}

/// A slot is given up and taken anew while another thread releases: it may be about to grant to the seat
/// that is gone.
#[test]
fn loom_a_slot_changes_hands_during_a_release() {
    explore("waiting: a slot changes hands", Some(3), 1_000, || {
        let permits = Arc::new(Permits::new(2, 1, 1));
        permits.acquire(2, 0).unwrap();
        let place = permits.join(1, Waker::noop()).unwrap();
        let other = Arc::clone(&permits);
        let thread = thread::spawn(move || other.release(1, 0));
        permits.leave(&place, 0);
        let place = permits.join(2, Waker::noop()).unwrap();
        thread.join().unwrap();
        assert!(!permits.is_granted(&place), "1 of the 2 is not free");
        permits.release(1, 0);
        assert!(permits.is_granted(&place));
        permits.take_up(&place);
        permits.release(2, 0);
        assert_whole(&permits);
    });
}

/// A waiter takes up its grant, and its slot is taken anew, while the granter is still about to wake it and
/// to say that the grant is done: that is not taken for a grant to the next.
///
/// The release is on the first thread: loom tries a load before the writes that it came after, and not
/// the other way round.
#[test]
fn loom_a_slot_changes_hands_after_a_grant() {
    explore("waiting: a slot changes hands after a grant", Some(2), 1_000, || {
        let permits = Arc::new(Permits::new(2, 1, 1));
        permits.acquire(2, 0).unwrap();
        let place = permits.join(1, Waker::noop()).unwrap();
        let other = Arc::clone(&permits);
        let thread = thread::spawn(move || {
            if !other.poll(&place, Waker::noop()) {
                other.leave(&place, 0);
                return false;
            }
            other.take_up(&place);
            let place = other.join(2, Waker::noop()).unwrap();
            assert!(!other.poll(&place, Waker::noop()), "both are taken");
            other.release(2, 0);
            assert!(other.is_granted(&place));
            other.take_up(&place);
            true
        });
        permits.release(1, 0);
        if !thread.join().unwrap() {
            permits.acquire(1, 0).unwrap();
        }
        permits.release(2, 0);
        assert_whole(&permits);
    });
}

/// Two wait, and two release one each: the second is served only after the first, and both are.
#[test]
fn loom_first_in_first_out() {
    explore("waiting: first in, first out", Some(3), 1_000, || {
        let permits = Arc::new(Permits::new(2, 1, 2));
        permits.acquire(2, 0).unwrap();
        let first = permits.join(1, Waker::noop()).unwrap();
        let second = permits.join(1, Waker::noop()).unwrap();
        let other = Arc::clone(&permits);
        let thread = thread::spawn(move || other.release(1, 0));
        permits.release(1, 0);
        if permits.is_granted(&second) {
            assert!(permits.is_granted(&first), "overtaken");
        }
        thread.join().unwrap();
        for place in [&first, &second] {
            assert!(permits.is_granted(place), "the releases are over, and it was not served");
            permits.take_up(place);
        }
        permits.release(2, 0);
        assert_whole(&permits);
    });
}

/// A big request waits, releases make first less and then more than it wants free, and a plain acquire
/// comes: it is refused as long as the other waits, exactly, and never overtakes.
///
/// The releases are on the first thread: loom tries a load before the writes that it came after, and not
/// the other way round, and a refused acquire only loads.
#[test]
fn loom_acquire_does_not_overtake() {
    explore("waiting: a plain acquire", Some(3), 100, || {
        let permits = Arc::new(Permits::new(3, 1, 1));
        permits.acquire(3, 0).unwrap();
        let place = Arc::new(permits.join(2, Waker::noop()).unwrap());
        let (other, theirs) = (Arc::clone(&permits), Arc::clone(&place));
        let thread = thread::spawn(move || {
            let got = other.acquire(1, 0);
            match got {
                Ok(()) => assert!(other.is_granted(&theirs), "overtaken"),
                Err(Refused { available, promised }) => {
                    assert!(
                        available == 0 && promised < 2,
                        "{available} free, {promised} promised"
                    );
                }
            }
            got.is_ok()
        });
        permits.release(1, 0);
        permits.release(2, 0);
        assert!(permits.is_granted(&place));
        if !thread.join().unwrap() {
            assert_eq!(permits.acquire(1, 0), Ok(()), "1 is left of the 3");
        }
        permits.take_up(&place);
        permits.release(3, 0);
        assert_whole(&permits);
    });
}

/// Everything is taken and given back at once, as a reconfiguration does, while somebody joins.
#[test]
fn loom_all_given_back_while_somebody_joins() {
    explore("waiting: all given back", Some(3), 500, || {
        let permits = Arc::new(Permits::new(2, 2, 1));
        permits.acquire(2, 0).unwrap();
        let other = Arc::clone(&permits);
        let thread = thread::spawn(move || other.release_all());
        wait(&permits, 2);
        thread.join().unwrap();
        permits.release(2, 0);
        assert_whole(&permits);
    });
}
