//! The words of the permits: a stripe's, and the centre's in its three modes.
//!
//! | word | 63 | 62 | 61–46 | 45–25 | 24–0 |
//! |---|---|---|---|---|---|
//! | stripe, open | 0 | 0 | | epoch | count |
//! | stripe, closed | 1 | 0 | | epoch | count, to be moved |
//! | centre, spread | 0 | 0 | | epoch | count |
//! | centre, gathered | 1 | 0 | moved, a bit a stripe | epoch | count |
//!
//! and the centre, queued: `1 | 1 | grantee (12) | version (25) | count (25)`.

use super::queue::Seat;
use crate::mutant::mutant;

/// Stripes at most: one `moved` bit each in the centre word.
pub(in crate::pool) const MAX_STRIPES: usize = 16;

/// Permits at most; counts never sum up to more than the total, which fits.
pub(in crate::pool) const MAX_PERMITS: u32 = 1 << 24;

/// Callers at most that can wait at once: the number of a slot, and "none", must fit into `grantee`.
pub(in crate::pool) const MAX_WAITERS: u32 = (1 << GRANTEE_BITS) - 1;

pub(super) const COUNT_BITS: u32 = 25;
const EPOCH_BITS: u32 = 21;
const VERSION_BITS: u32 = 25;
const GRANTEE_BITS: u32 = 12;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
pub(super) const EPOCH_MASK: u64 = (1 << EPOCH_BITS) - 1;
const VERSION_MASK: u64 = (1 << VERSION_BITS) - 1;
const MOVED_SHIFT: u32 = COUNT_BITS + EPOCH_BITS;
const GRANTEE_SHIFT: u32 = COUNT_BITS + VERSION_BITS;
const GRANTEE_MASK: u64 = (1 << GRANTEE_BITS) - 1;
const FLAG: u64 = 1 << 63;
const QUEUED: u64 = 1 << 62;

const _: () = assert!(COUNT_BITS + EPOCH_BITS + MAX_STRIPES as u32 + 2 == 64);
const _: () = assert!(COUNT_BITS + VERSION_BITS + GRANTEE_BITS + 2 == 64);
const _: () = assert!(MAX_PERMITS as u64 <= COUNT_MASK);

/// See the module's table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

/// How the centre deals with permits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Permits lie in the stripes; those that are in the centre may be taken too.
    Spread,
    /// Permits are being moved to the centre, or all of them lie there.
    Gathered,
    /// All free permits lie in the centre and are promised to callers who wait.
    Queued,
}

/// What a registration did to the centre last: each does each of these once, so no two words that are
/// written while callers wait have the same version, until the registrations' numbers wrap.
#[derive(Clone, Copy)]
enum Event {
    Joined,
    Granted,
    Left,
    Refunded,
}

impl Word {
    pub(super) fn open(epoch: u64, count: u32) -> Self {
        Self(epoch << COUNT_BITS | u64::from(count))
    }

    pub(super) fn closed(epoch: u64, count: u32) -> Self {
        Self(FLAG | Self::open(epoch, count).0)
    }

    pub(super) fn count(self) -> u32 {
        (self.0 & COUNT_MASK) as u32
    }

    /// Of a stripe, or of a centre that is not queued.
    pub(super) fn epoch(self) -> u64 {
        (self.0 >> COUNT_BITS) & EPOCH_MASK
    }

    /// Of a stripe.
    pub(super) fn is_closed(self) -> bool {
        self.0 & FLAG != 0
    }

    pub(super) fn mode(self) -> Mode {
        if self.0 & FLAG == 0 {
            Mode::Spread
        } else if self.0 & QUEUED == 0 {
            Mode::Gathered
        } else {
            Mode::Queued
        }
    }

    pub(super) fn plus(self, n: u32) -> Self {
        Self(self.0 + u64::from(n))
    }

    pub(super) fn minus(self, n: u32) -> Self {
        Self(self.0 - u64::from(n))
    }

    /// Of a gathered centre.
    pub(super) fn moved(self, stripe: usize) -> bool {
        self.0 & Self::moved_bit(stripe) != 0
    }

    fn moved_bit(stripe: usize) -> u64 {
        1 << (MOVED_SHIFT as usize + stripe)
    }

    /// A gathered centre to which a stripe's count has been moved.
    pub(super) fn with_moved(self, stripe: usize, count: u32) -> Self {
        Self(self.0 | Self::moved_bit(stripe)).plus(count)
    }

    /// Gathered mode with every stripe's count moved.
    pub(super) fn all_moved(epoch: u64, count: u32) -> Self {
        Self(Self::closed(epoch, count).0 | ((1 << MAX_STRIPES) - 1) << MOVED_SHIFT)
    }

    /// Gathered mode in the next epoch, nothing moved yet.
    pub(super) fn gather(self) -> Self {
        Self::closed((self.epoch() + 1) & EPOCH_MASK, self.count())
    }

    /// Spread mode in the same epoch.
    pub(super) fn spread(self) -> Self {
        Self::open(self.epoch(), self.count())
    }

    /// Whether this epoch came after `other`, also when the counter has wrapped in between.
    pub(super) fn is_newer_than(self, other: u64) -> bool {
        let ahead = self.epoch().wrapping_sub(other) & EPOCH_MASK;
        ahead != 0 && ahead < 1 << (EPOCH_BITS - 1)
    }

    /// The slot to which permits have been granted that are not yet in its hands.
    pub(super) fn grantee(self) -> Option<usize> {
        let grantee = (self.0 >> GRANTEE_SHIFT) & GRANTEE_MASK;
        (self.mode() == Mode::Queued && grantee != 0).then(|| grantee as usize - 1)
    }

    /// Queued mode, or the same with a new version: somebody has joined the queue.
    pub(super) fn joined(self, seat: Seat) -> Self {
        let grantee = self.grantee().map_or(0, |slot| slot as u64 + 1);
        Self::queued(grantee, Self::version(seat, Event::Joined), self.count())
    }

    /// The permits of `seat` taken out for `slot`.
    pub(super) fn granted(self, slot: usize, seat: Seat) -> Self {
        let version = Self::version(seat, Event::Granted);
        Self::queued(slot as u64 + 1, version, self.count() - seat.wants())
    }

    /// What was granted is in the grantee's hands.
    pub(super) fn handed_over(self) -> Self {
        Self(self.0 & !(GRANTEE_MASK << GRANTEE_SHIFT))
    }

    /// What was granted comes back: the grantee, whose seat this was, has left.
    pub(super) fn refunded(self, seat: Seat) -> Self {
        Self::queued(0, Self::version(seat, Event::Refunded), self.count() + seat.wants())
    }

    /// Somebody has left the queue.
    pub(super) fn left(self, seat: Seat) -> Self {
        let grantee = self.grantee().map_or(0, |slot| slot as u64 + 1);
        Self::queued(grantee, Self::version(seat, Event::Left), self.count())
    }

    fn queued(grantee: u64, version: u64, count: u32) -> Self {
        let tags = grantee << GRANTEE_SHIFT | version << COUNT_BITS;
        Self(FLAG | QUEUED | tags | u64::from(count))
    }

    fn version(seat: Seat, event: Event) -> u64 {
        if mutant("serve.no-version") {
            return 0;
        }
        (seat.number() * 4 + event as u64) & VERSION_MASK
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;

    #[test]
    fn epochs_wrap() {
        let newest = Word::open(0, 0);
        assert!(newest.is_newer_than(EPOCH_MASK));
        assert!(!Word::open(EPOCH_MASK, 0).is_newer_than(0));
        assert!(!newest.is_newer_than(0));
        let last = Word::open(EPOCH_MASK, 5).gather();
        assert_eq!((last.epoch(), last.count(), last.is_closed()), (0, 5, true));
    }

    #[test]
    fn fields_of_a_queued_centre_do_not_touch() {
        let seat = Seat::waiting(u64::MAX, MAX_PERMITS - 1);
        let last = MAX_WAITERS as usize - 1;
        let joined = Word::closed(EPOCH_MASK, MAX_PERMITS).joined(seat);
        assert!(joined.mode() == Mode::Queued && joined.grantee().is_none());
        let granted = joined.granted(last, seat);
        assert_eq!((granted.grantee(), granted.count()), (Some(last), 1));
        assert_eq!(granted.plus(2).left(seat).grantee(), Some(last));
        assert_eq!((granted.handed_over().grantee(), granted.handed_over().count()), (None, 1));
        let refunded = granted.refunded(seat);
        assert_eq!((refunded.grantee(), refunded.count()), (None, MAX_PERMITS));
        assert!(refunded != joined && refunded.mode() == Mode::Queued);
    }
}
