//! What a frozen thread does to the others: operations that went on while another thread was frozen, and
//! whose own was not.

use std::time::{Duration, Instant};

/// From when on an operation is worth a second look.
const SLOW: Duration = Duration::from_micros(50);
/// Of one thread in one turn: more of them would tell nothing new.
const MOST: usize = 10_000;
/// An operation that took so long waited for somebody: no scheduler keeps a thread so long from a core that
/// nobody else wants.
pub(super) const LONG: Duration = Duration::from_millis(20);

/// An operation that took its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SlowOperation {
    begun: Instant,
    ended: Instant,
}

impl SlowOperation {
    /// Notes an operation, if it was slow.
    pub(super) fn note(slow: &mut Vec<Self>, begun: Instant, ended: Instant) {
        if ended - begun >= SLOW && slow.len() < MOST {
            slow.push(Self { begun, ended });
        }
    }
}

/// A thread that was frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Freeze {
    pub(super) thread: u16,
    pub(super) begun: Instant,
    pub(super) time: Duration,
}

/// Delays of threads while another one was frozen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Delays {
    pub(super) longest: Duration,
    /// Of 20 ms and more.
    pub(super) long: u64,
}

impl Delays {
    /// Adds a turn of a thread.
    pub(super) fn add(&mut self, thread: u16, slow: &[SlowOperation], freezes: &[Freeze]) {
        let beside_another = |slow: &&SlowOperation| {
            freezes.iter().any(|freeze| {
                let end = freeze.begun + freeze.time;
                freeze.thread != thread && slow.begun < end && freeze.begun < slow.ended
            })
        };
        for slow in slow.iter().filter(beside_another) {
            let time = slow.ended - slow.begun;
            self.longest = self.longest.max(time);
            self.long += u64::from(time >= LONG);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_delays_beside_another_s_freeze_count() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let freezes = [Freeze { thread: 1, begun: at(100), time: Duration::from_millis(50) }];
        let slow = |from, to| {
            let mut slow = Vec::new();
            SlowOperation::note(&mut slow, at(from), at(to));
            slow
        };
        let delays = |thread, slow: &[SlowOperation]| {
            let mut delays = Delays::default();
            delays.add(thread, slow, &freezes);
            (delays.longest.as_millis(), delays.long)
        };
        assert_eq!(delays(0, &slow(90, 151)), (61, 1), "it waited for the one that was frozen");
        assert_eq!(delays(0, &slow(149, 155)), (6, 0), "short");
        assert_eq!(delays(0, &slow(50, 100)), (0, 0), "over before");
        assert_eq!(delays(0, &slow(150, 500)), (0, 0), "begun afterwards");
        assert_eq!(delays(1, &slow(90, 151)), (0, 0), "its own");
        assert!(slow(3, 3).is_empty(), "not slow");
    }
}
