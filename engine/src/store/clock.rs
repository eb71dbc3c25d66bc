//! Time for leases: it never goes back.

use std::time::{Duration, Instant, SystemTime};

/// Tells the time in milliseconds since 1970. Leases of several processes are compared by it.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now_ms(&self) -> u64;
}

/// The system's time when it was made, and from then on a clock that nobody can set: a lease lasts as long
/// as it was given for, even if the administrator sets the time meanwhile.
#[derive(Debug, Clone)]
pub struct SystemClock {
    base: Duration,
    since: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        let base = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { base, since: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        u64::try_from((self.base + self.since.elapsed()).as_millis()).unwrap_or(u64::MAX)
    }
}

/// A clock that has never shown less than the database has seen. When the time was set back before this
/// process began, it goes on from where the database was.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Offset(u64);

impl Offset {
    /// Now, given the latest time that any process has stored.
    pub(super) fn now(&mut self, clock: u64, stored: u64) -> u64 {
        self.0 = self.0.max(stored.saturating_sub(clock));
        clock.saturating_add(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_goes_on_from_where_it_was() {
        let mut offset = Offset::default();
        assert_eq!(offset.now(1_000, 0), 1_000);
        assert_eq!(offset.now(1_500, 1_000), 1_500);
        assert_eq!(offset.now(200, 1_500), 1_500, "set back");
        assert_eq!(offset.now(300, 1_500), 1_600, "and goes on");
        assert_eq!(offset.now(5_000, 1_600), 6_300);
    }
}
