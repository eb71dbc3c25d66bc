//! Serving those who wait: the moves between the centre and the [queue](super::queue). What they add up
//! to is argued in [`super`], "Waiting".

use std::task::Waker;
use std::time::Duration;

use super::Permits;
use super::queue::{Place, QueueFull, State};
use super::word::{Mode, Word};
use crate::mutant::mutant;
use crate::pool::counters::Event;
use crate::sync::Ordering;

impl Permits {
    /// Joins the queue for `n` permits, at most the total. `waker` is woken when they are granted. The
    /// caller [polls](Self::poll) next: that serves the queue, if the permits have come back meanwhile.
    pub(in crate::pool) fn join(&self, n: u32, waker: &Waker) -> Result<Place, QueueFull> {
        debug_assert!((1..=self.total).contains(&n));
        let place = self.queue.sit(n, waker, || self.counters.add(Event::SeatRetry))?;
        self.counters.add(Event::Wait);
        loop {
            let centre = Word(self.centre.load(Ordering::Acquire));
            let next = match centre.mode() {
                Mode::Spread => {
                    self.begin_gather(centre);
                    continue;
                }
                Mode::Gathered if !self.all_moved(centre) => {
                    self.finish_gather(centre);
                    continue;
                }
                // The seat first, then this: from here on every release serves the queue, and whoever
                // looked at the queue before and saw no seat loses the CAS that would end it.
                Mode::Queued if mutant("serve.join-unannounced") => return Ok(place),
                Mode::Gathered | Mode::Queued => centre.joined(place.seat),
            };
            if self.change_centre(centre, next) {
                return Ok(place);
            }
        }
    }

    /// Whether a place has been granted its permits; otherwise `waker` is woken when it is. Serves the
    /// queue, so that a thread that was frozen between its release and that costs one look.
    pub(in crate::pool) fn poll(&self, place: &Place, waker: &Waker) -> bool {
        if self.is_granted(place) {
            return true;
        }
        self.queue.set_waker(place, waker);
        self.serve();
        self.is_granted(place)
    }

    /// Gives up a place that [has been granted](Self::poll) its permits, which are the caller's now.
    pub(in crate::pool) fn take_up(&self, place: &Place) {
        debug_assert!(self.is_granted(place));
        loop {
            let centre = Word(self.centre.load(Ordering::Acquire));
            // Whoever granted may not have come to clear the centre's note. It must not outlive the
            // seat: it would be taken for one of the slot's next owner.
            if mutant("serve.note-stays")
                || centre.grantee() != Some(place.slot)
                || self.change_centre(centre, centre.handed_over())
            {
                break;
            }
        }
        self.counters.waited(self.queue.vacate(place));
    }

    /// Gives up a place, and the permits with it if they have just been granted.
    pub(in crate::pool) fn leave(&self, place: &Place, home: usize) {
        if !self.queue.leave(place) {
            self.take_up(place);
            self.release(place.seat.wants(), home);
            return;
        }
        loop {
            let centre = Word(self.centre.load(Ordering::Acquire));
            let next = match centre.grantee() {
                // The queue has ended since we left it: whoever ended it saw that we had.
                _ if centre.mode() != Mode::Queued => break,
                Some(slot) if slot == place.slot => centre.refunded(place.seat),
                _ if mutant("serve.leave-unannounced") => break,
                // A new version: who saw us waiting and is about to grant loses that CAS.
                _ => centre.left(place.seat),
            };
            if self.change_centre(centre, next) {
                break;
            }
        }
        self.counters.waited(self.queue.vacate(place));
        // We may have been the one whom the others waited for, or the last.
        self.serve();
    }

    /// Has everybody who waits look for themselves.
    pub(in crate::pool) fn wake_waiters(&self) {
        self.queue.wake_all();
    }

    /// Places of the queue, and how many of them are taken.
    pub(in crate::pool) fn places(&self) -> (u32, u32) {
        (self.queue.places(), self.queue.taken())
    }

    /// How long the first in the queue has waited, and the longest that anybody waited who has left it.
    pub(in crate::pool) fn wait_ages(&self) -> (Option<Duration>, Duration) {
        (self.queue.age(), self.queue.longest())
    }

    pub(super) fn is_granted(&self, place: &Place) -> bool {
        self.queue.load(place.slot).state() == State::Granted
    }

    /// Grants permits for as long as the first in the queue can have what it wants, and ends the queue
    /// when nobody waits. Then returns `None`, else the free permits, which are promised: fewer than the
    /// first wants.
    ///
    /// Everybody calls this after a change that may let somebody be served: a release, a place taken or
    /// given up, and with each look. Whoever made the last change sees all of them, so nobody needs to
    /// come back.
    pub(super) fn serve(&self) -> Option<u32> {
        loop {
            let centre = Word(self.centre.load(Ordering::Acquire));
            if centre.mode() != Mode::Queued {
                return None;
            }
            if let Some(slot) = centre.grantee() {
                self.hand_over(centre, slot);
                continue;
            }
            let Some((slot, seat)) = self.queue.oldest() else {
                self.end_queue(centre);
                continue;
            };
            if seat.wants() <= centre.count() {
                // One CAS decides who gets the permits: nobody holds them in between.
                self.change_centre(centre, centre.granted(slot, seat));
            } else if self.is_still(centre) {
                self.queue.remember(slot, seat);
                return Some(centre.count());
            }
        }
    }

    /// Brings what the centre has granted into the grantee's hands, and wakes it, as far as others have
    /// not.
    fn hand_over(&self, centre: Word, slot: usize) {
        let seat = self.queue.load(slot);
        // While the centre names the slot its seat stays. If it still does, this seat is the one.
        if !self.is_still(centre) && !mutant("serve.hand-over-late") {
            return;
        }
        let next = match seat.state() {
            State::Waiting => return self.queue.grant(slot, seat),
            State::Left => centre.refunded(seat),
            // Woken before the note goes: whoever granted may be frozen before it got to that.
            State::Granted | State::Empty => {
                if !mutant("serve.wake-nobody") {
                    self.queue.wake(slot);
                }
                centre.handed_over()
            }
        };
        self.change_centre(centre, next);
    }

    /// Nobody waits: back to gathered or spread mode.
    fn end_queue(&self, centre: Word) {
        // A stripe keeps the label under which it was closed until the centre is spread again: it tells
        // the epoch, for which the queued centre has no room.
        let epoch = Word(self.stripes[0].load(Ordering::Acquire)).epoch();
        let gathered = Word::all_moved(epoch, centre.count());
        self.change_centre(centre, self.spread_if_rich(gathered));
    }

    /// Whether the centre has not changed since it was read. Words of a queued centre do not come back
    /// once a seat was granted or given up: see [`Word`].
    fn is_still(&self, centre: Word) -> bool {
        self.centre.load(Ordering::Acquire) == centre.0
    }
}
