//! How long to wait for others, and how long it was.
//!
//! The host says how long it would wait at most. What is waited is between a tenth of that and all of it, and
//! follows what such waits took lately: see [`AdaptiveLimit`]. So a caller is not kept for five seconds where
//! waits that end well end in milliseconds, and a limit that turns out too short grows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use latchless::AdaptiveLimit;

use super::super::WaitStats;

/// The shortest limit, as a part of the longest.
const FLOOR: u32 = 10;
/// The first pause between two looks, and the longest. Each is twice the last.
const FIRST_PAUSE: Duration = Duration::from_micros(250);
const LONGEST_PAUSE: Duration = Duration::from_millis(32);

/// One kind of waits.
#[derive(Debug)]
pub(super) struct Waits {
    limit: AdaptiveLimit,
    begun: AtomicU64,
    expired: AtomicU64,
    looks: AtomicU64,
    /// Nanoseconds.
    waited: AtomicU64,
    longest: AtomicU64,
}

impl Waits {
    /// Nothing waited yet; limits up to `most`.
    pub(super) fn new(most: Duration) -> Self {
        // A host that wants no waiting at all gets the shortest there is.
        let most = most.max(Duration::from_nanos(u64::from(FLOOR)));
        let limit = AdaptiveLimit::new(most / FLOOR, most).expect("a tenth of it is less");
        let zero = || AtomicU64::new(0);
        let (begun, expired, looks) = (zero(), zero(), zero());
        Self { limit, begun, expired, looks, waited: zero(), longest: zero() }
    }

    /// How long to wait now.
    pub(super) fn limit(&self) -> Duration {
        self.limit.limit()
    }

    /// Somebody begins to wait.
    pub(super) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// Somebody looks again, in vain, after `waited` of at most `limit` and so many looks. Returns the pause
    /// to the next look; `None` when there is no time left.
    pub(super) fn pause(&self, looks: u32, waited: Duration, limit: Duration) -> Option<Duration> {
        let left = limit.checked_sub(waited).filter(|left| !left.is_zero())?;
        self.looks.fetch_add(1, Ordering::Relaxed);
        let doubled = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(looks).unwrap_or(u32::MAX));
        Some(doubled.min(LONGEST_PAUSE).min(left))
    }

    /// A wait ended well.
    pub(super) fn end(&self, waited: Duration) {
        self.limit.observe(waited);
        self.count(waited);
    }

    /// A wait was given up, after the limit that it had.
    pub(super) fn give_up(&self, waited: Duration, limit: Duration) {
        self.limit.expired(limit);
        self.expired.fetch_add(1, Ordering::Relaxed);
        self.count(waited);
    }

    fn count(&self, waited: Duration) {
        let nanoseconds = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        self.waited.fetch_add(nanoseconds, Ordering::Relaxed);
        self.longest.fetch_max(nanoseconds, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> WaitStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WaitStats {
            waits: load(&self.begun),
            expired: load(&self.expired),
            looks: load(&self.looks),
            waited: Duration::from_nanos(load(&self.waited)),
            longest: Duration::from_nanos(load(&self.longest)),
            limit: self.limit(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn pauses_double_and_end_with_the_time() {
        let waits = Waits::new(ms(100));
        let pause = |looks, waited| waits.pause(looks, waited, ms(100));
        let pauses: Vec<_> = (0..9).map(|looks| pause(looks, ms(0)).unwrap()).collect();
        let micros = [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 32_000];
        assert_eq!(pauses, micros.map(Duration::from_micros));
        assert_eq!(pause(u32::MAX, ms(99)), Some(ms(1)));
        assert_eq!((pause(0, ms(100)), pause(0, ms(200))), (None, None));
        assert_eq!(waits.stats().looks, 10);
    }

    /// The limit is what the host allows until waits are known, then theirs, and grows when it is too short.
    #[test]
    fn limits_follow_what_was_waited() {
        let waits = Waits::new(ms(1_000));
        assert_eq!(waits.limit(), ms(1_000));
        for _ in 0..40 {
            waits.begin();
            waits.end(ms(2));
        }
        assert_eq!(waits.limit(), ms(100), "a tenth at least");
        let limit = waits.limit();
        for _ in 0..2 {
            waits.begin();
            waits.give_up(ms(101), limit);
        }
        let stats = waits.stats();
        assert_eq!((stats.waits, stats.expired, stats.limit), (42, 2, ms(200)), "doubled once");
        assert_eq!((stats.waited, stats.longest), (ms(2 * 40 + 101 * 2), ms(101)));
    }

    #[test]
    fn who_wants_no_waiting_gets_none() {
        let waits = Waits::new(Duration::ZERO);
        assert!(waits.limit() < Duration::from_micros(1));
    }
}
