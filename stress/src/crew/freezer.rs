//! The freezer: stops random threads at random instructions, again and again.

use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::Ground;
use super::roll::Entry;
use crate::humane;

/// How often threads are stopped, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Freezes {
    pub(crate) per_second: f64,
    /// At most.
    #[serde(with = "humane")]
    pub(crate) time: Duration,
}

/// The longest time for which the freezer does not look whether it is over.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Freezes until the run is over, and tells who was struck, when, and for how long.
pub(crate) fn freeze(
    ground: &Ground,
    freezes: Freezes,
    seed: u64,
    struck: impl Fn(&Entry, Instant, Duration),
) {
    let mut rng = Rng::with_seed(seed);
    while !ground.stop.is_stopped() {
        // Twice the mean at most: the mean is what was asked for.
        let gap = Duration::from_secs_f64(rng.f64() * 2.0 / freezes.per_second);
        let until = Instant::now() + gap;
        while let Some(rest) = until.checked_duration_since(Instant::now())
            && !ground.stop.is_stopped()
        {
            thread::sleep(rest.min(LOOK_EVERY));
        }
        let everybody = ground.roll.everybody();
        let Some(entry) = rng.choice(&everybody) else { continue };
        let time = freezes.time.mul_f64(rng.f64());
        let now = Instant::now();
        // A thread that has gone meanwhile is not struck; a system that refuses signals is told by a
        // count of zero.
        if entry.strike(time).unwrap_or(false) {
            struck(entry, now, time);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use latchless_freezing::times_frozen;

    use super::*;
    use crate::part::Kind;

    #[test]
    fn threads_on_the_roll_are_frozen_until_it_is_over() {
        let ground = Ground::default();
        let count = AtomicU64::new(0);
        let freezes = Freezes { per_second: 10_000.0, time: Duration::from_micros(10) };
        thread::scope(|scope| {
            scope.spawn(|| {
                freeze(&ground, freezes, 1, |_, _, _| {
                    count.fetch_add(1, Ordering::Relaxed);
                });
            });
            ground.round(Kind::Pool, 0, 2, |_, _| {
                let before = times_frozen();
                while times_frozen() < before + 3 {
                    std::hint::spin_loop();
                }
                Ok(())
            });
            ground.stop.stop();
        });
        assert!(count.load(Ordering::Relaxed) >= 6);
    }
}
