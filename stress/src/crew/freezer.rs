//! The freezer: stops random threads at random instructions, again and again.

use std::ops::RangeInclusive;
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

impl Freezes {
    /// The fewest and the most a second. Fewer are none: there is one in a quarter of an hour.
    pub(crate) const RATES: RangeInclusive<f64> = 0.001..=1_000.0;
    /// The longest that a thread may be frozen.
    pub(crate) const MOST_TIME: Duration = Duration::from_hours(1);

    /// Time until the next one: twice the mean at most, and the mean is what was asked for.
    fn gap(&self, rng: &mut Rng) -> Duration {
        let gap = Duration::try_from_secs_f64(rng.f64() * 2.0 / self.per_second);
        gap.unwrap_or(Duration::MAX)
    }
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
        let (begun, gap) = (Instant::now(), freezes.gap(&mut rng));
        while let Some(rest) = gap.checked_sub(begun.elapsed())
            && !ground.stop.is_stopped()
        {
            thread::sleep(rest.min(LOOK_EVERY));
        }
        // Whoever waits for the end of the run is not to wait for one more that is frozen.
        if ground.stop.is_stopped() {
            return;
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
    fn whatever_the_rate_is_there_is_a_gap() {
        let mut rng = Rng::with_seed(1);
        for per_second in [0.0, f64::MIN_POSITIVE, 1e-30, -1.0, f64::NAN] {
            let freezes = Freezes { per_second, time: Duration::MAX };
            assert_eq!(freezes.gap(&mut rng), Duration::MAX, "{per_second}");
        }
        let slow = Freezes { per_second: *Freezes::RATES.start(), time: Duration::MAX };
        assert!(slow.gap(&mut rng) <= Duration::from_secs(2_000));
    }

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
