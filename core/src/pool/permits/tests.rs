//! The permits on one thread.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::task::{Wake, Waker};

use super::*;

#[test]
fn takes_and_refuses_exactly() {
    let permits = Permits::new(10, 4, 4);
    assert_eq!(permits.acquire(7, 0), Ok(()));
    assert_eq!(permits.acquire(4, 1), Err(refused(3)));
    assert_eq!(permits.acquire(3, 2), Ok(()));
    assert_eq!(permits.acquire(1, 3), Err(refused(0)));
    permits.release(10, 3);
    assert_eq!(permits.available(), 10);
}

#[test]
fn goes_back_to_spread_and_gathers_again() {
    let permits = Permits::new(16, 2, 4);
    for round in 0..100 {
        // 9 lie in no single word of the two: each round gathers.
        permits.acquire(9, round % 2).unwrap();
        permits.acquire(7, 1).unwrap();
        assert_eq!(permits.acquire(1, 0), Err(refused(0)));
        permits.release(8, 0);
        permits.release(8, 1);
        assert_eq!(permits.available(), 16);
    }
}

#[test]
fn all_can_be_taken_and_given_back() {
    let permits = Permits::new(101, 4, 4);
    permits.acquire(101, 2).unwrap();
    assert_eq!(permits.available(), 0);
    permits.release_all();
    assert_eq!(permits.available(), 101);
    permits.acquire(25, 3).unwrap();
    assert_eq!(permits.acquire(101, 0), Err(refused(76)));
}

fn refused(available: u32) -> Refused {
    Refused { available, promised: 0 }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Bell(AtomicU32);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Bell {
    fn rings(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

fn bell() -> (Arc<Bell>, Waker) {
    let bell = Arc::new(Bell::default());
    (Arc::clone(&bell), Waker::from(bell))
}

fn is_spread(permits: &Permits) -> bool {
    Word(permits.centre.load(Ordering::Relaxed)).mode() == Mode::Spread
}

#[test]
fn the_first_is_served_first_however_much_it_wants() {
    let permits = Permits::new(10, 2, 4);
    permits.acquire(10, 0).unwrap();
    let ((big_bell, big), (small_bell, small)) = (bell(), bell());
    let first = permits.join(6, &big).unwrap();
    let second = permits.join(1, &small).unwrap();
    permits.release(5, 1);
    assert!(!permits.poll(&first, &big) && !permits.poll(&second, &small));
    // Nor is it overtaken by those who do not wait.
    assert_eq!(permits.acquire(1, 0), Err(Refused { available: 0, promised: 5 }));
    assert_eq!(permits.available(), 5);
    permits.release(1, 0);
    assert_eq!((big_bell.rings(), small_bell.rings()), (1, 0));
    assert!(permits.poll(&first, &big) && !permits.poll(&second, &small));
    permits.take_up(&first);
    permits.release(2, 0);
    assert!(permits.poll(&second, &small));
    assert_eq!((big_bell.rings(), small_bell.rings()), (1, 1));
    permits.take_up(&second);
    assert_eq!(permits.acquire(2, 0), Err(refused(1)), "nobody waits any more");
    permits.release(9, 0);
    assert_eq!((permits.acquire(10, 1), permits.places()), (Ok(()), (4, 0)));
}

#[test]
fn one_release_serves_all_whom_it_can() {
    let permits = Permits::new(10, 2, 4);
    permits.acquire(10, 0).unwrap();
    let (bell, waker) = bell();
    let places = [3, 2, 5, 1].map(|n| permits.join(n, &waker).unwrap());
    permits.release(9, 0);
    assert_eq!(bell.rings(), 2, "5 more are not there, and the last waits behind them");
    let granted = places.each_ref().map(|place| permits.poll(place, &waker));
    assert_eq!(granted, [true, true, false, false]);
    permits.release(1, 0);
    assert_eq!(bell.rings(), 3);
    permits.release(10, 0);
    assert!(places.iter().all(|place| permits.poll(place, &waker)));
    assert!(is_spread(&permits), "the last seat was granted, and 9 of 10 are free");
    for place in &places {
        permits.take_up(place);
    }
    assert_eq!(permits.acquire(9, 0), Ok(()));
}

#[test]
fn who_leaves_lets_the_next_pass() {
    let permits = Permits::new(10, 2, 4);
    permits.acquire(8, 0).unwrap();
    let (bell, waker) = bell();
    let big = permits.join(9, &waker).unwrap();
    let small = permits.join(2, &waker).unwrap();
    permits.leave(&big, 0);
    assert_eq!(bell.rings(), 1);
    assert!(permits.poll(&small, &waker));
    // Granted, and not wanted any more: it goes to the next.
    let next = permits.join(1, &waker).unwrap();
    permits.leave(&small, 1);
    assert!(permits.poll(&next, &waker));
    permits.take_up(&next);
    assert_eq!((permits.places(), permits.available()), ((4, 0), 1));
    permits.release(9, 0);
    assert_eq!(permits.acquire(10, 0), Ok(()));
}

/// Leaving from the middle frees the slot, the seat that takes it is the last in the order.
#[test]
fn the_order_is_that_of_joining_not_of_slots() {
    let permits = Permits::new(4, 2, 3);
    permits.acquire(4, 0).unwrap();
    let wakers = [(); 4].map(|()| bell());
    let join = |i: usize| permits.join(1, &wakers[i].1).unwrap();
    let (first, second, third) = (join(0), join(1), join(2));
    permits.leave(&first, 0);
    let fourth = join(3);
    assert_eq!(permits.join(1, Waker::noop()).unwrap_err(), QueueFull);
    let rings = || wakers.each_ref().map(|(bell, _)| bell.rings());
    assert_eq!(fourth.slot, first.slot, "the test needs the last one in the first slot");
    permits.release(1, 0);
    assert_eq!(rings(), [0, 1, 0, 0]);
    permits.release(1, 0);
    assert_eq!(rings(), [0, 1, 1, 0]);
    permits.release(1, 0);
    assert_eq!(rings(), [0, 1, 1, 1]);
    for place in [second, third, fourth] {
        permits.take_up(&place);
    }
    permits.release(4, 1);
    assert_eq!(permits.acquire(4, 0), Ok(()));
}

/// Between the CAS that grants and the steps after it a releaser may be frozen: the next one who comes
/// does them.
#[test]
fn a_grant_is_finished_by_whoever_comes() {
    let permits = Permits::new(4, 2, 3);
    permits.acquire(4, 0).unwrap();
    let ((first_bell, first), (second_bell, second)) = (bell(), bell());
    let places = [permits.join(2, &first).unwrap(), permits.join(1, &second).unwrap()];
    // What `release` and `serve` do up to the CAS that grants.
    let centre = || Word(permits.centre.load(Ordering::Acquire));
    assert!(permits.change_centre(centre(), centre().plus(2)));
    let (slot, seat) = permits.queue.oldest().unwrap();
    assert!(permits.change_centre(centre(), centre().granted(slot, seat)));
    assert_eq!((first_bell.rings(), permits.is_granted(&places[0])), (0, false));
    permits.release(1, 1);
    assert_eq!((first_bell.rings(), second_bell.rings()), (1, 1));
    // The same up to the seat's CAS: the sleeper is woken by the next.
    for place in &places {
        assert!(permits.poll(place, Waker::noop()));
        permits.take_up(place);
    }
    let again = permits.join(1, &first).unwrap();
    assert!(permits.change_centre(centre(), centre().plus(1)));
    assert!(permits.change_centre(centre(), centre().granted(again.slot, again.seat)));
    permits.queue.grant(again.slot, again.seat);
    assert_eq!(permits.acquire(1, 0), Err(refused(0)));
    assert_eq!(first_bell.rings(), 2);
    // And the granted one may leave meanwhile.
    permits.leave(&again, 0);
    permits.release(3, 1);
    assert_eq!(permits.acquire(4, 0), Ok(()));
}

#[test]
fn a_replaced_waker_is_not_woken() {
    let permits = Permits::new(1, 1, 1);
    permits.acquire(1, 0).unwrap();
    let ((old_bell, old), (new_bell, new)) = (bell(), bell());
    let place = permits.join(1, &old).unwrap();
    assert!(!permits.poll(&place, &new));
    permits.release(1, 0);
    assert_eq!((old_bell.rings(), new_bell.rings()), (0, 1));
    assert!(permits.poll(&place, &new));
    permits.take_up(&place);
    assert_eq!((Arc::strong_count(&old_bell), Arc::strong_count(&new_bell)), (2, 2));
}

/// Waiting costs those nothing who come when nobody waits, before and after: they stay in their stripe.
#[test]
fn while_nobody_waits_the_centre_is_not_touched() {
    let permits = Permits::new(16, 2, 1);
    let (_, waker) = bell();
    for _ in 0..3 {
        let take_and_give = |home| {
            permits.acquire(3, home).unwrap();
            permits.release(3, home);
        };
        // What a gather left in the centre comes back to the stripes with those who take it.
        (0..2).for_each(take_and_give);
        let centre = permits.centre.load(Ordering::Relaxed);
        (0..100).for_each(take_and_give);
        assert_eq!(permits.centre.load(Ordering::Relaxed), centre);
        permits.acquire(16, 0).unwrap();
        let place = permits.join(16, &waker).unwrap();
        permits.release_all();
        assert!(permits.poll(&place, &waker));
        permits.take_up(&place);
        permits.release_all();
    }
}
