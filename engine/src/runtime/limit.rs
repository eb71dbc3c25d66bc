//! A time limit between two bounds of the host's: it follows what is measured, or, where the bounds are one, is
//! fixed.

use std::fmt;
use std::time::Duration;

use latchless::AdaptiveLimit;

/// The limit. It has no clock: who uses it measures.
pub(crate) struct Limit {
    /// `None` where there is nothing to choose.
    following: Option<AdaptiveLimit>,
    longest: Duration,
}

impl Limit {
    /// From `least` to `longest`; with no `least` below that, always `longest`.
    pub(crate) fn new(least: Duration, longest: Duration) -> Self {
        let least = least.max(Duration::from_nanos(1));
        let following = (least < longest).then(|| AdaptiveLimit::new(least, longest).ok());
        Self { following: following.flatten(), longest }
    }

    /// How long it may take now: the longest, before anything was measured.
    pub(crate) fn now(&self) -> Duration {
        self.following.as_ref().map_or(self.longest, AdaptiveLimit::limit)
    }

    /// It took so long, and came to its end.
    pub(crate) fn took(&self, time: Duration) {
        if let Some(following) = &self.following {
            following.observe(time);
        }
    }

    /// It was given up after the limit that it had.
    pub(crate) fn expired(&self, limit: Duration) {
        if let Some(following) = &self.following {
            following.expired(limit);
        }
    }
}

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {:?}", self.now(), self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_limit_follows_between_its_bounds() {
        let limit = Limit::new(ms(100), ms(1_000));
        assert_eq!(limit.now(), ms(1_000), "nothing is known");
        (0..50).for_each(|_| limit.took(ms(1)));
        assert_eq!(limit.now(), ms(100));
        limit.expired(ms(100));
        assert_eq!(limit.now(), ms(200));
        limit.expired(ms(100));
        assert_eq!(limit.now(), ms(200), "given up with the same limit: doubled once");
        (0..50).for_each(|_| limit.took(ms(400)));
        assert!((400..500).contains(&limit.now().as_millis()), "{limit:?}");
        (0..4).for_each(|_| limit.expired(ms(1_000)));
        assert_eq!(limit.now(), ms(1_000));
    }

    #[test]
    fn bounds_that_are_one_are_a_fixed_limit() {
        for least in [ms(1_000), ms(2_000)] {
            let limit = Limit::new(least, ms(1_000));
            (0..50).for_each(|_| limit.took(ms(1)));
            limit.expired(ms(1_000));
            assert_eq!(limit.now(), ms(1_000));
        }
        let none = Limit::new(Duration::ZERO, Duration::ZERO);
        none.took(ms(1));
        assert_eq!(none.now(), Duration::ZERO);
        assert_eq!(Limit::new(Duration::ZERO, ms(1)).now(), ms(1));
    }
}
