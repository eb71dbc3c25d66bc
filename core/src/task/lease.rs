//! Until when a claim stands.
//!
//! A lease is a word beside the task's: the tag of the attempt that it is for, and its end. A renewal and
//! an expiry are one compare-and-swap on this word each, so one of them comes first: a lease that was
//! renewed is not taken back, and one that has expired is not renewed.
//!
//! The claimer writes it after its claim and can be frozen in between. Then the word has another tag, and
//! whoever looks for leases that are over gives the claim its time from that moment on.

use crate::sync::{AtomicU64, Ordering};
use crate::tick::{TICK_BITS as END_BITS, Tick};

use super::word::Word;
use crate::mutant::mutant;

/// The end of a lease that has expired.
pub(super) const EXPIRED: u64 = (1 << END_BITS) - 1;
/// Later than any end.
pub(super) const NEVER: u64 = EXPIRED - 1;

/// `attempt's tag (24) | end in ticks (40)`.
#[derive(Debug)]
pub(super) struct Lease(AtomicU64);

/// A lease as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen(u64);

impl Seen {
    /// The end, if the lease is for the attempt that the task's word shows.
    fn end(self, word: Word) -> Option<u64> {
        let is_of_attempt = self.0 >> END_BITS == word.lease_tag();
        (is_of_attempt || mutant("tasks.lease-of-any-attempt")).then_some(self.0 & EXPIRED)
    }
}

fn lease(word: Word, end: u64) -> u64 {
    word.lease_tag() << END_BITS | end
}

fn end_of(now: Tick, ticks: u64) -> u64 {
    now.0.saturating_add(ticks).min(NEVER)
}

impl Lease {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    #[inline]
    pub(super) fn load(&self) -> Seen {
        Seen(self.0.load(Ordering::Acquire))
    }

    /// The first end of an attempt, unless the lease was changed since it was seen, before the claim.
    #[inline]
    pub(super) fn begin(&self, seen: Seen, word: Word, now: Tick, ticks: u64) {
        let new = lease(word, end_of(now, ticks));
        // Refused: somebody who looked for leases has given this claim one. Nothing is lost.
        let _begun = self.0.compare_exchange(seen.0, new, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// A later end for the attempt that `stands` returns, as long as there is one. False when there is
    /// none or its lease has expired.
    pub(super) fn renew(&self, now: Tick, ticks: u64, stands: impl Fn() -> Option<Word>) -> bool {
        loop {
            let seen = self.load();
            // After the lease was read: a later attempt's lease fails the swap.
            let Some(word) = stands() else { return false };
            let end = match seen.end(word) {
                Some(EXPIRED) if !mutant("tasks.expired-renewed") => return false,
                // A clock that went back does not shorten it.
                Some(end) => end.max(end_of(now, ticks)),
                None => end_of(now, ticks),
            };
            let new = lease(word, end);
            if self.0.compare_exchange(seen.0, new, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return true;
            }
        }
    }

    /// Whether the claim in `word` is over, which it stays then. Gives it a lease when it has none.
    /// `still` says whether the task's word is `word` yet.
    pub(super) fn expire(
        &self,
        word: Word,
        now: Tick,
        ticks: u64,
        still: impl Fn() -> bool,
    ) -> bool {
        loop {
            let seen = self.load();
            if !still() {
                return false;
            }
            let new = match seen.end(word) {
                Some(EXPIRED) => return true,
                Some(end) if now.0 <= end => return false,
                Some(_) => EXPIRED,
                None => end_of(now, ticks),
            };
            let new = lease(word, new);
            // A swap that fails was a renewal, or somebody else's expiry: look again.
            let _tried = self.0.compare_exchange(seen.0, new, Ordering::AcqRel, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;
    use crate::task::word::Stage;
    use crate::task::{Priority, WorkerId};

    fn attempt() -> Word {
        Word::VACANT.task(Stage::Pending, Priority::Normal, None).claimed_by(WorkerId(1))
    }

    #[test]
    fn a_lease_ends_after_its_time_and_stays_so() {
        let (lease, word) = (Lease::new(), attempt());
        lease.begin(lease.load(), word, Tick(100), 10);
        assert!(!lease.expire(word, Tick(110), 10, || true));
        assert!(lease.renew(Tick(105), 10, || Some(word)));
        assert!(lease.renew(Tick(90), 10, || Some(word)), "a clock that went back");
        assert!(!lease.expire(word, Tick(115), 10, || true));
        assert!(lease.expire(word, Tick(116), 10, || true));
        assert!(!lease.renew(Tick(100), 10, || Some(word)), "it has expired");
        assert!(lease.expire(word, Tick(0), 10, || true));
    }

    #[test]
    fn a_claim_whose_claimer_was_frozen_gets_a_lease_from_who_looks() {
        let (lease, word) = (Lease::new(), attempt());
        let seen = lease.load();
        assert!(!lease.expire(word, Tick(1_000), 10, || true), "its time begins now");
        lease.begin(seen, word, Tick(2_000), 10);
        assert!(!lease.expire(word, Tick(1_010), 10, || true));
        assert!(lease.expire(word, Tick(1_011), 10, || true), "the late claimer changed nothing");
        let next = word.with(Stage::Pending).claimed_by(WorkerId(2));
        assert!(!lease.expire(word, Tick(2_000), 10, || false), "the claim is another one's");
        lease.begin(lease.load(), next, Tick(2_000), 10);
        assert!(!lease.renew(Tick(2_000), 10, || None));
    }

    #[test]
    fn the_end_of_time_is_no_expiry() {
        let (lease, word) = (Lease::new(), attempt());
        lease.begin(lease.load(), word, Tick(u64::MAX), 10);
        assert!(!lease.expire(word, Tick(NEVER), 10, || true));
    }
}
