//! Time limits that follow what is measured.
//!
//! A limit that somebody chose once is too long on a good day and too short on a bad one. TCP has had the
//! same question for as long as it exists, and its answer stands here: V. Jacobson, *Congestion avoidance and
//! control*, 1988, as written down in RFC 6298. What is measured goes into a moving mean and a moving mean
//! deviation, and the limit is the mean and four deviations. A limit that expires doubles, since whatever is
//! too slow is not made faster by more attempts; what is measured next ends that.
//!
//! # One word
//!
//! Mean, deviation and doublings lie in one word, so that a reader sees those that belong together, and a
//! measurement is one compare-and-swap. Means are kept as floating point numbers of 29 bits (those of an `f32`
//! without the sign and the last two), which is one part in two million of anything from nanoseconds to years.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use crate::sync::{AtomicU64, Ordering};

/// How much of a measurement the mean takes over (RFC 6298: alpha).
const MEAN_GAIN: f32 = 1.0 / 8.0;
/// How much of a measurement's distance from the mean the deviation takes over (RFC 6298: beta).
const DEVIATION_GAIN: f32 = 1.0 / 4.0;
/// Deviations in the limit (RFC 6298: K).
const DEVIATIONS: f32 = 4.0;

const NUMBER_BITS: u32 = 29;
const NUMBER: u64 = (1 << NUMBER_BITS) - 1;
/// Bits of an `f32` that are left out at its end.
const DROPPED: u32 = 2;
const DEVIATION_SHIFT: u32 = NUMBER_BITS;
const BACKOFF_SHIFT: u32 = 2 * NUMBER_BITS;
const MAX_BACKOFF: u64 = 31;
const MEASURED: u64 = 1 << 63;
const _: () = assert!(MAX_BACKOFF << BACKOFF_SHIFT < MEASURED);

/// `measured (1) | doublings (5) | deviation (29) | mean (29)`, both in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Word(u64);

fn number(seconds: f32) -> u64 {
    // Positive and finite, so that the sign is 0.
    u64::from(seconds.clamp(0.0, f32::MAX).to_bits() >> DROPPED)
}

impl Word {
    const NOTHING: Self = Self(0);

    fn new(mean: f32, deviation: f32) -> Self {
        Self(MEASURED | number(deviation) << DEVIATION_SHIFT | number(mean))
    }

    fn part(self, shift: u32) -> f32 {
        f32::from_bits(((self.0 >> shift & NUMBER) as u32) << DROPPED)
    }

    fn mean(self) -> f32 {
        self.part(0)
    }

    fn deviation(self) -> f32 {
        self.part(DEVIATION_SHIFT)
    }

    fn is_measured(self) -> bool {
        self.0 & MEASURED != 0
    }

    fn backoff(self) -> u64 {
        self.0 >> BACKOFF_SHIFT & MAX_BACKOFF
    }

    /// With a measurement in it. It ends all doublings.
    fn with(self, seconds: f32) -> Self {
        if !self.is_measured() {
            return Self::new(seconds, seconds / 2.0);
        }
        let distance = (self.mean() - seconds).abs();
        let deviation = self.deviation() + DEVIATION_GAIN * (distance - self.deviation());
        Self::new(self.mean() + MEAN_GAIN * (seconds - self.mean()), deviation)
    }

    fn doubled(self) -> Self {
        if self.backoff() == MAX_BACKOFF { self } else { Self(self.0 + (1 << BACKOFF_SHIFT)) }
    }
}

/// A time limit for something that is done again and again, which follows how long that takes.
///
/// - Before anything was measured it is the ceiling.
/// - [`observe`](Self::observe) how long each one took that succeeded. The limit is their moving mean and four
///   moving mean deviations, and never outside floor and ceiling: what takes 10 ms as a rule, and hardly more
///   or less, is given little more than that.
/// - Tell when one [expired](Self::expired). The limit doubles then, once for each time that it turned out too
///   short, up to the ceiling; the next measurement ends that.
///
/// All of it is lock-free, without allocation and without a clock: the host measures. 8 bytes and two
/// durations.
///
/// # What to measure
///
/// What was done at the first attempt. Of something that expired and was repeated, nobody knows which attempt
/// has succeeded (P. Karn, C. Partridge, *Improving round-trip time estimates in reliable transport protocols*,
/// 1987).
///
/// - *Waiting for another process or for a connection*: as the engine's store does it.
/// - *A tool's time limit*: [`limit`](Self::limit) before the call, `observe` when it has returned,
///   [`expired`](Self::expired) when it was given up. One for each tool: they differ by orders of magnitude.
/// - *A claim's lease*: `limit` of the time between two signs of life, and a floor of several of the host's
///   ticks. A lease that ends too early costs the whole attempt, so the floor should be generous.
///
/// ```
/// use std::time::Duration;
/// use latchless::AdaptiveLimit;
///
/// let ms = Duration::from_millis;
/// let limit = AdaptiveLimit::new(ms(5), ms(1_000))?;
/// assert_eq!(limit.limit(), ms(1_000), "nobody knows better yet");
/// for _ in 0..50 {
///     limit.observe(ms(20));
/// }
/// assert!((20..25).contains(&limit.limit().as_millis()));
///
/// let waited = limit.limit();
/// assert!(limit.expired(waited) && limit.limit() >= 2 * waited);
/// assert!(!limit.expired(waited), "it has been doubled since");
/// limit.observe(ms(20));
/// assert!(limit.limit() < 2 * waited);
/// # Ok::<(), latchless::AdaptiveLimitError>(())
/// ```
pub struct AdaptiveLimit {
    word: AtomicU64,
    floor: Duration,
    ceiling: Duration,
}

/// Bounds that no limit can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "a time limit from {floor:?} to {ceiling:?}; choose a floor above zero and not above the ceiling"
)]
pub struct AdaptiveLimitError {
    /// The shortest limit that was asked for.
    pub floor: Duration,
    /// The longest one.
    pub ceiling: Duration,
}

/// What an [`AdaptiveLimit`] goes by: read in one load, so that all of it belongs together.
///
/// ```
/// use std::time::Duration;
/// use latchless::{AdaptiveLimit, LimitEstimate};
///
/// let limit = AdaptiveLimit::new(Duration::from_millis(1), Duration::from_secs(1))?;
/// limit.observe(Duration::from_millis(20));
/// let LimitEstimate { mean, doublings, .. } = limit.estimate();
/// assert!(mean.is_some() && doublings == 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitEstimate {
    /// The moving mean of what was measured; `None` before anything was.
    pub mean: Option<Duration>,
    /// The moving mean deviation from it.
    pub deviation: Duration,
    /// How often the limit has been doubled since the last measurement.
    pub doublings: u32,
    /// The limit that follows.
    pub limit: Duration,
}

impl AdaptiveLimit {
    /// A limit between two bounds, which is the ceiling until something was measured.
    ///
    /// # Errors
    /// [`AdaptiveLimitError`] when the floor is zero or above the ceiling.
    pub fn new(floor: Duration, ceiling: Duration) -> Result<Self, AdaptiveLimitError> {
        if floor.is_zero() || floor > ceiling {
            return Err(AdaptiveLimitError { floor, ceiling });
        }
        Ok(Self { word: AtomicU64::new(Word::NOTHING.0), floor, ceiling })
    }

    /// How long to wait now. Wait-free: one load.
    pub fn limit(&self) -> Duration {
        self.limit_of(self.load())
    }

    /// What the limit goes by. Wait-free: one load.
    pub fn estimate(&self) -> LimitEstimate {
        let word = self.load();
        LimitEstimate {
            mean: word.is_measured().then(|| seconds(word.mean())),
            deviation: seconds(word.deviation()),
            doublings: word.backoff() as u32,
            limit: self.limit_of(word),
        }
    }

    /// Takes in how long it took this time.
    pub fn observe(&self, took: Duration) {
        self.change(|word| Some(word.with(took.as_secs_f32())));
    }

    /// Tells that something was given up after `waited`. Doubles the limit, unless it is longer than that by
    /// now: of several whose limit ended together, one doubles it. True when this one did.
    pub fn expired(&self, waited: Duration) -> bool {
        self.change(|word| {
            let now = self.limit_of(word);
            (now <= waited && now < self.ceiling).then(|| word.doubled())
        })
    }

    fn limit_of(&self, word: Word) -> Duration {
        if !word.is_measured() {
            return self.ceiling;
        }
        let measured = seconds(word.mean() + DEVIATIONS * word.deviation()).max(self.floor);
        let doubled = measured.saturating_mul(1 << word.backoff());
        doubled.min(self.ceiling)
    }

    fn load(&self) -> Word {
        // Relaxed: the word says everything itself, and nothing is told with it.
        Word(self.word.load(Ordering::Relaxed))
    }

    /// Changes the word to what `next` says; false when it says nothing.
    fn change(&self, next: impl Fn(Word) -> Option<Word>) -> bool {
        let mut now = self.load();
        loop {
            let Some(next) = next(now) else { return false };
            let swap = self.word.compare_exchange_weak(
                now.0,
                next.0,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            match swap {
                Ok(_) => return true,
                Err(other) => now = Word(other),
            }
        }
    }
}

/// As much as a duration can be, if it is more.
fn seconds(seconds: f32) -> Duration {
    Duration::try_from_secs_f32(seconds).unwrap_or(Duration::MAX)
}

impl fmt::Debug for AdaptiveLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdaptiveLimit")
            .field("floor", &self.floor)
            .field("ceiling", &self.ceiling)
            .field("estimate", &self.estimate())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FLOOR: Duration = Duration::from_millis(5);
    const CEILING: Duration = Duration::from_secs(2);

    fn limit() -> AdaptiveLimit {
        AdaptiveLimit::new(FLOOR, CEILING).unwrap()
    }

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn bounds_must_be_possible() {
        for (floor, ceiling) in [(Duration::ZERO, FLOOR), (CEILING, FLOOR)] {
            let error = AdaptiveLimit::new(floor, ceiling).unwrap_err();
            assert_eq!(error, AdaptiveLimitError { floor, ceiling });
        }
        assert_eq!(AdaptiveLimit::new(FLOOR, FLOOR).unwrap().limit(), FLOOR);
    }

    /// The example of RFC 6298: the first measurement R gives R + 4 · R/2, the next ones follow its formulas.
    #[test]
    fn the_limit_is_that_of_the_rfc() {
        let limit = limit();
        limit.observe(ms(100));
        let about = |expected: f64| {
            let found = limit.limit().as_secs_f64();
            assert!((found - expected).abs() < expected * 1e-5, "{found} for {expected}");
        };
        about(0.100 + 4.0 * 0.050);
        limit.observe(ms(180));
        // Deviation 3/4 · 50 + 1/4 · 80, mean 7/8 · 100 + 1/8 · 180.
        about(0.110 + 4.0 * 0.0575);
        let estimate = limit.estimate();
        assert!(estimate.mean.unwrap().abs_diff(ms(110)) < Duration::from_micros(1));
        assert_eq!((estimate.doublings, estimate.limit), (0, limit.limit()));
    }

    #[test]
    fn doublings_end_at_the_ceiling_and_with_a_measurement() {
        let limit = limit();
        assert!(!limit.expired(CEILING), "it is the ceiling already");
        limit.observe(ms(10));
        let first = limit.limit();
        let mut doublings = 0;
        while limit.expired(limit.limit()) {
            doublings += 1;
            assert_eq!(limit.estimate().doublings, doublings);
        }
        assert_eq!((limit.limit(), doublings), (CEILING, 7), "30 ms · 2^7 are more than 2 s");
        assert!(!limit.expired(first), "nobody doubles for what was too short long ago");
        limit.observe(ms(10));
        assert!(limit.limit() < first);
    }

    #[test]
    fn the_longest_ceiling_is_reached() {
        let limit = AdaptiveLimit::new(Duration::from_nanos(1), Duration::MAX).unwrap();
        for _ in 0..100 {
            limit.observe(Duration::from_nanos(1));
        }
        while limit.limit() < Duration::from_secs(2) && limit.expired(limit.limit()) {}
        assert!(limit.limit() >= Duration::from_secs(2), "2^31 ns");
        limit.observe(Duration::MAX);
        limit.observe(Duration::MAX);
        assert!(limit.limit() > Duration::from_secs(1 << 60));
    }

    #[test]
    fn eight_threads_lose_nothing_that_matters() {
        let limit = limit();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..10_000).for_each(|_| limit.observe(ms(50))));
            }
        });
        assert!(limit.limit().abs_diff(ms(50)) < ms(1), "{limit:?}");
    }

    proptest! {
        /// Whatever is measured and however often it expires, the limit is within its bounds.
        #[test]
        fn within_bounds(steps in prop::collection::vec((any::<bool>(), any::<u64>()), 0..200)) {
            let limit = limit();
            for (expires, nanoseconds) in steps {
                if expires {
                    limit.expired(Duration::from_nanos(nanoseconds));
                } else {
                    limit.observe(Duration::from_nanos(nanoseconds));
                }
                prop_assert!((FLOOR..=CEILING).contains(&limit.limit()));
            }
        }

        /// After whatever came before, 60 measurements of about the same bring the limit there: not below the
        /// longest of them, and not far above it.
        #[test]
        fn follows_and_recovers(
            before in prop::collection::vec(0_u64..2_000, 0..50),
            expiries in 0..10,
            usual in 10_u64..500,
        ) {
            let limit = limit();
            for time in before {
                limit.observe(ms(time));
            }
            for _ in 0..expiries {
                limit.expired(limit.limit());
            }
            // Alternating by a tenth, as what really happens does.
            for i in 0..60 {
                limit.observe(ms(usual + usual / 10 * (i % 2)));
            }
            let longest = ms(usual + usual / 10);
            prop_assert!(limit.limit() >= longest, "{limit:?}");
            prop_assert!(limit.limit() <= longest * 3 / 2 + ms(1), "{limit:?} for {usual}");
        }
    }
}

#[cfg(all(test, latchless_loom))]
mod loom_models {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;
    use crate::sync::explore::explore;

    const MS: Duration = Duration::from_millis(1);

    /// Three whose limit ended together: it is doubled once, by one of them.
    #[test]
    fn loom_doubled_by_one() {
        explore("adaptive: doubled by one", None, 10, || {
            let limit = Arc::new(AdaptiveLimit::new(MS, 1_000 * MS).unwrap());
            limit.observe(10 * MS);
            let waited = limit.limit();
            let tell = || {
                let limit = Arc::clone(&limit);
                move || u32::from(limit.expired(waited))
            };
            let threads = [thread::spawn(tell()), thread::spawn(tell())];
            let mine = tell()();
            let theirs: u32 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
            assert_eq!((mine + theirs, limit.estimate().doublings), (1, 1));
        });
    }

    /// Two measure while a third reads: no measurement is lost, and mean and deviation belong together.
    #[test]
    fn loom_no_measurement_is_lost() {
        explore("adaptive: no measurement is lost", None, 20, || {
            let both = |first: Duration, second: Duration| {
                let limit = AdaptiveLimit::new(MS, 1_000 * MS).unwrap();
                limit.observe(first);
                limit.observe(second);
                limit.estimate()
            };
            let either = [both(10 * MS, 30 * MS), both(30 * MS, 10 * MS)];
            let limit = Arc::new(AdaptiveLimit::new(MS, 1_000 * MS).unwrap());
            let measure = |time: Duration| {
                let limit = Arc::clone(&limit);
                move || limit.observe(time)
            };
            let threads = [thread::spawn(measure(10 * MS)), thread::spawn(measure(30 * MS))];
            let seen = limit.estimate();
            if let Some(mean) = seen.mean
                && !either.contains(&seen)
            {
                assert!(seen.deviation.abs_diff(mean / 2) < MS / 1_000, "torn: {seen:?}");
            }
            for thread in threads {
                thread.join().unwrap();
            }
            assert!(either.contains(&limit.estimate()), "lost: {:?}", limit.estimate());
        });
    }
}
