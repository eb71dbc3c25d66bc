//! The inbox under five producers.

use std::sync::Arc;

use latchless::Inbox;
use shuttle::thread;

use crate::explore;

/// What was not refused arrives once, and one producer's items keep their order.
#[test]
fn every_item_arrives_once() {
    explore("an inbox", || {
        let inbox = Arc::new(Inbox::with_capacity(8));
        let producers = [0_u32, 10, 20, 30, 40].map(|first| {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || {
                (first..first + 3).filter(|item| inbox.push(*item).is_ok()).collect::<Vec<_>>()
            })
        });
        let mut got: Vec<u32> = (0..3).flat_map(|_| inbox.take_all()).collect();
        let sent: Vec<_> =
            producers.into_iter().flat_map(|producer| producer.join().unwrap()).collect();
        got.extend(inbox.take_all());
        for first in [0, 10, 20, 30, 40] {
            let of_one = got.iter().filter(|item| **item / 10 * 10 == first);
            assert!(of_one.is_sorted());
        }
        got.sort_unstable();
        assert_eq!(got, sent);
    });
}
