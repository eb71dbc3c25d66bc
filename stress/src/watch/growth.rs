//! What the process takes of the machine must not grow: memory, descriptors, threads.

use std::time::Duration;

use serde::Serialize;

use super::resources::Resources;
use super::slope::{BUCKETS, Slope, Track, Unit};
use crate::violation::Violation;

/// Bytes an hour that memory may grow by at most.
const MOST_BYTES: f64 = 1e6;
/// Descriptors, or threads, an hour: one that leaks leaks more.
const MOST_HANDLES: f64 = 4.0;

/// What is followed.
#[derive(Debug)]
pub(super) struct Tracks {
    memory: Track,
    in_use: Track,
    descriptors: Track,
    threads: Track,
}

/// How much each grows, after the warm-up. None for what is too short to tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Growth {
    /// Bytes, of what is not of files.
    pub(crate) memory: Option<Slope>,
    /// Bytes that allocations hold: what a leak shows in first.
    pub(crate) in_use: Option<Slope>,
    pub(crate) descriptors: Option<Slope>,
    pub(crate) threads: Option<Slope>,
}

impl Tracks {
    /// Judged from `judge_after` on.
    pub(super) fn new(judge_after: Duration) -> Self {
        let bucket = (judge_after / BUCKETS).max(Duration::from_millis(1));
        let [memory, in_use, descriptors, threads] = [(); 4].map(|()| Track::new(bucket));
        Self { memory, in_use, descriptors, threads }
    }

    /// How often memory that nobody has should go back to the system: some times in the time of which the least
    /// value counts. Free memory that an allocator keeps grows for hours, and is no leak.
    pub(super) fn trim_every(&self) -> Duration {
        (self.memory.bucket() / 6).max(Duration::from_secs(1))
    }

    pub(super) fn see(&mut self, at: Duration, now: &Resources) {
        self.memory.see(at, now.anonymous);
        if now.in_use > 0 {
            self.in_use.see(at, now.in_use);
        }
        self.descriptors.see(at, now.descriptors);
        self.threads.see(at, now.threads);
    }

    /// Bytes an hour so far: of those in use, where the allocator tells of them.
    pub(super) fn bytes(&self) -> Option<f64> {
        self.in_use.slope().or_else(|| self.memory.slope()).map(|slope| slope.per_hour)
    }

    pub(super) fn growth(&self) -> Growth {
        let Self { memory, in_use, descriptors, threads } = self;
        let [memory, in_use, descriptors, threads] =
            [memory, in_use, descriptors, threads].map(Track::slope);
        Growth { memory, in_use, descriptors, threads }
    }
}

impl Growth {
    /// Nothing may grow for certain.
    pub(super) fn judge(&self) -> Result<(), Violation> {
        let each = [
            ("memory in use", self.in_use, Unit::Megabytes, MOST_BYTES),
            ("resident memory", self.memory, Unit::Megabytes, MOST_BYTES),
            ("the number of descriptors", self.descriptors, Unit::One, MOST_HANDLES),
            ("the number of threads", self.threads, Unit::One, MOST_HANDLES),
        ];
        for (what, slope, unit, limit) in each {
            if let Some(slope) = slope.filter(|slope| slope.exceeds(limit)) {
                return Err(Violation::Grows {
                    what,
                    slope: slope.told_in(unit),
                    limit: unit.of(limit),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_the_four_is_judged() {
        type Grow = fn(u64) -> Resources;
        let flat = Resources {
            anonymous: 1 << 24,
            in_use: 1 << 22,
            descriptors: 6,
            threads: 14,
            ..Resources::default()
        };
        let run = |grow: Grow| {
            let mut tracks = Tracks::new(Duration::from_mins(20));
            for minute in 0..60_u32 {
                let Resources { anonymous, in_use, descriptors, threads, .. } = grow(minute.into());
                let anonymous = flat.anonymous + anonymous;
                let in_use = flat.in_use + in_use;
                let descriptors = flat.descriptors + descriptors;
                let threads = flat.threads + threads;
                let now = Resources { anonymous, in_use, descriptors, threads, ..flat };
                tracks.see(Duration::from_mins(1) * minute, &now);
            }
            tracks.growth().judge()
        };
        let grown =
            |what| move |found| matches!(found, Err(Violation::Grows { what: w, .. }) if w == what);
        assert_eq!(run(|_| Resources::default()), Ok(()));
        let memory: Grow =
            |minute| Resources { anonymous: 50_000 * minute, ..Resources::default() };
        assert!(grown("resident memory")(run(memory)));
        let in_use: Grow = |minute| Resources { in_use: 50_000 * minute, ..Resources::default() };
        assert!(grown("memory in use")(run(in_use)));
        let slow: Grow = |minute| Resources { anonymous: 10_000 * minute, ..Resources::default() };
        assert_eq!(run(slow), Ok(()), "600 kB an hour");
        let files: Grow = |minute| Resources { descriptors: minute, ..Resources::default() };
        assert!(grown("the number of descriptors")(run(files)));
        let threads: Grow = |minute| Resources { threads: minute / 5, ..Resources::default() };
        assert!(grown("the number of threads")(run(threads)));
    }
}
