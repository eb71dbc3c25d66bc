//! The requests inside: their ids, and which of them somebody wants cancelled.
//!
//! An id is a number that only grows, and its place is that number modulo the places; a number whose
//! place is taken is skipped. So an id finds its place without a map, an old id never hits the request
//! that has the place now, and a cancel is one CAS.

use latchless::RequestId;

use crate::sync::{AtomicBool, AtomicU64, Ordering, mutant, weaker};

/// Bits of an id that count; those above say whose roster it is.
const COUNT_BITS: u32 = 40;

/// A place holds `id << 1 | cancelled`; ids start at 1, so 0 is free.
const FREE: u64 = 0;
const CANCELLED: u64 = 1;

#[derive(Debug)]
pub(crate) struct Roster {
    /// What all its ids have in the bits above the count.
    owner: u64,
    next: AtomicU64,
    places: Box<[AtomicU64]>,
    /// Somebody cancelled since the lane last looked: without it the lane would look at every waiting
    /// request in every step.
    news: AtomicBool,
}

impl Roster {
    /// Room for `limit` requests at once, of the owner with this number: ids of two owners differ.
    pub(crate) fn new(limit: u32, owner: u32) -> Self {
        // Twice the requests: at least half of the places are free, so an id is found in two tries on
        // average.
        let places = (limit as usize).max(1) * 2;
        Self {
            owner: u64::from(owner) << COUNT_BITS,
            next: AtomicU64::new(1),
            places: (0..places).map(|_| AtomicU64::new(FREE)).collect(),
            news: AtomicBool::new(false),
        }
    }

    /// Whether an id is of this roster.
    pub(crate) fn is_owner_of(&self, id: RequestId) -> bool {
        id.0 >> COUNT_BITS == self.owner >> COUNT_BITS
    }

    /// Whose roster it is.
    pub(crate) fn owner(&self) -> u32 {
        (self.owner >> COUNT_BITS) as u32
    }

    fn place(&self, id: RequestId) -> &AtomicU64 {
        &self.places[(id.0 % self.places.len() as u64) as usize]
    }

    /// A new id with its place. The caller was let in by the gate, which keeps their number below the
    /// places; so of any run of `places` tries by all threads one succeeds: lock-free.
    pub(crate) fn claim(&self) -> RequestId {
        loop {
            let id = RequestId(self.owner | self.next.fetch_add(1, Ordering::Relaxed));
            // Relaxed is enough for both: nothing is read through a place but the word itself.
            let claimed = self.place(id).compare_exchange(
                FREE,
                id.0 << 1,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            if claimed.is_ok() || mutant("roster.claimed-twice") {
                return id;
            }
        }
    }

    /// Gives the place back.
    pub(crate) fn release(&self, id: RequestId) {
        // A swap: in a model, too, it comes before or after a late cancel and not between its two halves.
        self.place(id).swap(FREE, Ordering::Relaxed);
    }

    /// Marks a request; `false` when it is not inside (any more).
    pub(crate) fn cancel(&self, id: RequestId) -> bool {
        let is_it = |word: u64| word >> 1 == id.0 && word != FREE;
        let mark = |word: u64| is_it(word).then_some(word | CANCELLED);
        let place = self.place(id);
        let marked = if mutant("roster.cancel-any") {
            is_it(place.load(Ordering::Relaxed)) && {
                place.fetch_or(CANCELLED, Ordering::Relaxed);
                true
            }
        } else {
            place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, mark).is_ok()
        };
        if marked {
            // Release: the lane that takes the news sees the mark. A swap, because a store over the news of
            // another cancel would hide that one's mark from the lane, which takes both as one.
            let release = weaker("roster.news-relaxed", Ordering::Release);
            if mutant("roster.news-stored") {
                self.news.store(true, release);
            } else {
                self.news.swap(true, release);
            }
        }
        marked
    }

    /// Whether somebody cancelled since the last call.
    pub(crate) fn take_news(&self) -> bool {
        self.news.swap(false, weaker("roster.take-news-relaxed", Ordering::Acquire))
    }

    pub(crate) fn is_cancelled(&self, id: RequestId) -> bool {
        self.place(id).load(Ordering::Relaxed) == id.0 << 1 | CANCELLED
    }

    /// The ids inside, in order. A request that comes or goes meanwhile may be listed or not.
    pub(crate) fn inside(&self) -> Vec<RequestId> {
        let mut ids: Vec<_> = self
            .places
            .iter()
            .map(|place| place.load(Ordering::Relaxed))
            .filter(|word| *word != FREE)
            .map(|word| RequestId(word >> 1))
            .collect();
        ids.sort_unstable();
        ids
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn an_old_id_never_hits_the_place_s_new_owner() {
        let roster = Roster::new(1, 0);
        let first = roster.claim();
        roster.release(first);
        let second = roster.claim();
        let third = roster.claim();
        assert_eq!((first.0, second.0, third.0), (1, 2, 3));
        assert!(!roster.cancel(first), "same place as the third, another id");
        assert!(!roster.is_cancelled(third));
        assert!(!roster.cancel(RequestId(0)));
        assert!(!roster.take_news());
        assert!(roster.cancel(third));
        assert!(roster.take_news() && !roster.take_news());
        assert!(roster.is_cancelled(third) && !roster.is_cancelled(second));
        assert_eq!(roster.inside(), [second, third]);
    }

    #[test]
    fn ids_of_two_owners_differ() {
        let (one, other) = (Roster::new(2, 1), Roster::new(2, 2));
        let (mine, theirs) = (one.claim(), other.claim());
        assert!(mine != theirs && one.is_owner_of(mine) && !one.is_owner_of(theirs));
        assert!(!one.cancel(theirs) && one.cancel(mine));
        assert_eq!(one.inside(), [mine]);
    }

    #[test]
    fn a_taken_place_is_skipped() {
        let roster = Roster::new(1, 0);
        let long = roster.claim();
        for _ in 0..100 {
            let id = roster.claim();
            assert_ne!(id.0 % 2, long.0 % 2);
            roster.release(id);
        }
        assert_eq!(roster.inside(), [long]);
    }

    #[test]
    fn ids_are_unique_across_threads() {
        let roster = Arc::new(Roster::new(4, 0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let roster = Arc::clone(&roster);
                thread::spawn(move || {
                    let claim = |_| {
                        let id = roster.claim();
                        roster.release(id);
                        id
                    };
                    (0..500).map(claim).collect::<Vec<_>>()
                })
            })
            .collect();
        let ids: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
        assert_eq!(roster.inside(), []);
    }
}

#[cfg(all(test, latchless_loom))]
mod loom_models {
    use loom::sync::Arc;
    use loom::thread;

    use super::super::bell::Bell;
    use super::*;
    use crate::sync::explore;

    /// Two requests come at once when an old one has the next place: they have two ids, in two other places,
    /// and all three can be cancelled.
    #[test]
    fn loom_two_ids_in_two_places() {
        explore("roster: two ids", None, 8, || {
            let roster = Arc::new(Roster::new(2, 0));
            let old = roster.claim();
            for _ in 0..3 {
                roster.release(roster.claim());
            }
            let other = Arc::clone(&roster);
            let other = thread::spawn(move || other.claim());
            let ids = [old, roster.claim(), other.join().unwrap()];
            assert_eq!(roster.inside().len(), 3);
            assert!(ids.into_iter().all(|id| roster.cancel(id) && roster.is_cancelled(id)));
        });
    }

    /// A place is taken by the next request while somebody cancels the one before: the next one is not hit.
    #[test]
    fn loom_a_late_cancel_hits_nobody_else() {
        explore("roster: a late cancel", None, 5, || {
            let roster = Arc::new(Roster::new(1, 0));
            let first = roster.claim();
            let late = Arc::clone(&roster);
            let late = thread::spawn(move || late.cancel(first));
            roster.release(first);
            // The one after the next has the place again.
            let others = [roster.claim(), roster.claim()];
            late.join().unwrap();
            assert!(others.into_iter().all(|id| !roster.is_cancelled(id)));
        });
    }

    /// Two requests are cancelled while the lane looks, falls asleep or sleeps: it finds both.
    #[test]
    fn loom_a_cancel_is_found() {
        explore("roster: cancels", Some(3), 500, || {
            let shared = Arc::new((Roster::new(2, 0), Bell::default()));
            let ids = [shared.0.claim(), shared.0.claim()];
            let hosts = ids.map(|id| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    assert!(shared.0.cancel(id));
                    shared.1.ring();
                })
            });
            let (roster, bell) = &*shared;
            let mut running = ids.to_vec();
            while !running.is_empty() {
                let heard = bell.heard();
                if roster.take_news() {
                    running.retain(|id| !roster.is_cancelled(*id));
                } else {
                    bell.sleep(heard);
                }
            }
            for host in hosts {
                host.join().unwrap();
            }
        });
    }
}
