//! Does something grow? A number is followed over time, and the slope of what it comes back to is told with
//! its uncertainty.
//!
//! Resident memory goes up and down by megabytes with every round, and an allocator keeps a page more here and
//! there. So only the least value of each bucket of time counts, which what goes up and down does not move;
//! the slope is the median of the slopes of all pairs of buckets (Theil, 1950; Sen, 1968), which some odd
//! buckets do not move; and it is judged by the end of its confidence interval that is in favour of the
//! accused, after a warm-up, and when there are enough buckets.

use std::time::Duration;

use serde::Serialize;

/// Buckets that are kept at most; when there are more, each two become one.
/// Few enough for all pairs to be looked at with every status line.
const MOST: usize = 256;
/// Buckets after the warm-up from which on something can be told.
const ENOUGH: usize = 20;
/// The first part of the run is its warm-up: one of so many.
const WARM_UP: usize = 4;
/// Buckets of the shortest run that can be judged, with its warm-up.
pub(super) const BUCKETS: u32 = 26;
const _: () = assert!(BUCKETS as usize - BUCKETS as usize / WARM_UP >= ENOUGH);
/// Standard deviations on each side of the slope: 99 of 100 true slopes are within.
const Z: f64 = 2.576;

/// The least values of a number, over time.
#[derive(Debug, Clone)]
pub(crate) struct Track {
    bucket: Duration,
    /// With the hours since the beginning.
    least: Vec<(f64, f64)>,
    /// The least value of the bucket that is not over.
    now: Option<f64>,
    /// Time of the buckets that are over.
    over: Duration,
}

/// How much a number grows, an hour.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Slope {
    pub(crate) per_hour: f64,
    /// The interval in which the true slope is, of 99 in 100.
    pub(crate) least: f64,
    pub(crate) most: f64,
    /// Seconds that it was seen for, without the warm-up.
    pub(crate) seconds: f64,
}

impl Track {
    pub(crate) fn new(bucket: Duration) -> Self {
        Self { bucket, least: Vec::new(), now: None, over: Duration::ZERO }
    }

    pub(super) fn bucket(&self) -> Duration {
        self.bucket
    }

    /// The number is `value`, `at` so much after the beginning of the run.
    pub(crate) fn see(&mut self, at: Duration, value: u64) {
        let value = value as f64;
        if at >= self.over + self.bucket
            && let Some(least) = self.now.take()
        {
            let buckets = at.saturating_sub(self.over).div_duration_f64(self.bucket);
            self.over += self.bucket * buckets as u32;
            self.least.push((self.over.as_secs_f64() / 3_600.0, least));
            if self.least.len() >= MOST {
                let one = |two: &[(f64, f64)]| (two[1].0, two[0].1.min(two[1].1));
                self.least = self.least.chunks_exact(2).map(one).collect();
                self.bucket *= 2;
            }
        }
        self.now = Some(self.now.map_or(value, |now| now.min(value)));
    }

    /// The slope after the warm-up; none while there is too little to tell.
    pub(crate) fn slope(&self) -> Option<Slope> {
        let warm = &self.least[self.least.len() / WARM_UP..];
        let count = warm.len();
        if count < ENOUGH {
            return None;
        }
        let pairs = (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b)));
        let mut slopes: Vec<_> =
            pairs.map(|(a, b)| (warm[b].1 - warm[a].1) / (warm[b].0 - warm[a].0)).collect();
        slopes.sort_unstable_by(f64::total_cmp);
        // Sen's interval, by the variance of Kendall's statistic.
        let n = count as f64;
        let spread = Z * (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
        let last = slopes.len() - 1;
        let at = |place: f64| slopes[(place.max(0.0) as usize).min(last)];
        let middle = slopes.len() as f64 / 2.0;
        Some(Slope {
            per_hour: at(middle),
            least: at(middle - spread / 2.0),
            most: at(middle + spread / 2.0),
            seconds: (warm[count - 1].0 - warm[0].0) * 3_600.0,
        })
    }
}

impl Slope {
    /// Whether it is more than `limit` for certain.
    pub(crate) fn exceeds(&self, limit: f64) -> bool {
        self.least > limit
    }
}

/// What a slope is told in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Of what is counted.
    One,
    /// Of bytes.
    Megabytes,
}

impl Unit {
    /// A number of ones, in this unit.
    pub(crate) fn of(self, ones: f64) -> String {
        match self {
            Self::One => format!("{ones:.0}"),
            Self::Megabytes => format!("{:.2} MB", ones / 1e6),
        }
    }
}

impl Slope {
    /// For people.
    pub(crate) fn told_in(&self, unit: Unit) -> String {
        let Self { per_hour, least, most, seconds } = *self;
        let seen = humantime::format_duration(Duration::from_secs(seconds as u64));
        let signed =
            |ones: f64| format!("{}{}", if ones < 0.0 { "-" } else { "+" }, unit.of(ones.abs()));
        let [per_hour, least, most] = [per_hour, least, most].map(signed);
        format!("{per_hour} an hour ({least} to {most}, seen for {seen})")
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);
    const MB: f64 = 1e6;

    /// A run of so many minutes, whose memory goes up and down by 20 MB within each.
    fn run(minutes: u32, base: impl Fn(f64) -> f64) -> Track {
        let mut rng = Rng::with_seed(1);
        let mut track = Track::new(MINUTE);
        for second in 0..=60 * minutes {
            let swing = if second % 60 == 30 { 0.0 } else { rng.f64() * 20.0 * MB };
            let noise = (rng.f64() - 0.5) * 0.2 * MB;
            let value = 50.0 * MB + swing + noise + base(f64::from(second) / 3_600.0);
            track.see(Duration::from_secs(second.into()), value as u64);
        }
        track
    }

    #[test]
    fn what_goes_up_and_down_does_not_grow() {
        let slope = run(60, |_| 0.0).slope().unwrap();
        assert!(!slope.exceeds(MB) && slope.per_hour.abs() < 0.3 * MB, "{slope:?}");
        assert!(slope.least < slope.per_hour && slope.per_hour < slope.most);
        assert!((slope.seconds - 45.0 * 60.0).abs() < 120.0, "{slope:?}");
    }

    #[test]
    fn growth_is_seen_and_a_warm_up_or_an_odd_minute_is_not() {
        let slope = run(60, |hour| 3.0 * MB * hour).slope().unwrap();
        assert!(slope.exceeds(MB) && (slope.per_hour - 3.0 * MB).abs() < 0.3 * MB, "{slope:?}");
        let warm = run(60, |hour| 30.0 * MB * hour.min(0.2)).slope().unwrap();
        assert!(!warm.exceeds(MB), "{warm:?}");
        let odd = |hour: f64| if (0.8..0.85).contains(&hour) { 30.0 * MB } else { 0.0 };
        assert!(!run(60, odd).slope().unwrap().exceeds(MB));
    }

    #[test]
    fn a_slope_is_told_in_the_unit_of_what_it_is_of() {
        let slope = Slope { per_hour: 442_707.0, least: -1.8e6, most: 2.2e6, seconds: 876.0 };
        let told = "+0.44 MB an hour (-1.80 MB to +2.20 MB, seen for 14m 36s)";
        assert_eq!(slope.told_in(Unit::Megabytes), told);
        let slope = Slope { per_hour: 0.0, least: -0.2, most: 3.6, seconds: 60.0 };
        assert_eq!(slope.told_in(Unit::One), "+0 an hour (-0 to +4, seen for 1m)");
    }

    #[test]
    fn a_short_run_is_not_judged() {
        assert_eq!(run(20, |hour| 100.0 * MB * hour).slope(), None);
        assert!(run(40, |hour| 100.0 * MB * hour).slope().unwrap().exceeds(MB));
    }

    #[test]
    fn a_long_run_takes_no_more_memory_than_a_short_one() {
        let mut track = Track::new(MINUTE);
        for minute in 0..20_000_u32 {
            track.see(MINUTE * minute, 1_000 + u64::from(minute));
        }
        assert!(track.least.len() < MOST && track.bucket >= 16 * MINUTE);
        let slope = track.slope().unwrap();
        assert!((slope.per_hour - 60.0).abs() < 1.0, "{slope:?}");
    }
}
