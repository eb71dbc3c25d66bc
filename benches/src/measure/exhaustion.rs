//! A pool that is nearly full, and requests of random size that may or may not fit.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::for_a_while;
use crate::BLOCKS;
use crate::contender::Contender;

/// Threads that ask.
const THREADS: u32 = 2;

/// Blocks of each of the many requests that fill the pool. What is free afterwards lies in pieces of
/// this size, all over the pool.
const PIECE: u32 = 16;

/// Room for the threads: 5 % of the pool, the same for each of them.
const ROOM: u32 = (BLOCKS / 20).next_multiple_of(PIECE * THREADS);
const SHARE: u32 = ROOM / THREADS;

/// A pool 95 % of which is held, and two threads that share the rest.
///
/// First they keep to a half of it each, or ask for more than all of it: the former always fits, the
/// latter never does, so that a wrong refusal shows, and a wrong grant. Then they also ask for what may
/// fit or not, depending on the moment.
pub struct Scarce<'pool, C: Contender> {
    pool: &'pool C,
    held: Vec<C::Hand<'pool>>,
}

impl<C: Contender> std::fmt::Debug for Scarce<'_, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scarce").field("held", &self.held.len()).finish_non_exhaustive()
    }
}

/// What came of the requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Requests that got their blocks and gave them back.
    pub granted: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Outcomes that cannot be right: refused although it had to fit, or by a number that would have
    /// been enough; granted although it could not fit.
    pub wrong: u64,
}

impl<'pool, C: Contender> Scarce<'pool, C> {
    /// Fills a pool of [`BLOCKS`] blocks and frees random pieces of it until 5 % are free.
    ///
    /// # Panics
    /// When the pool has another size, or the contender breaks its promises.
    pub fn new(pool: &'pool C, seed: u64) -> Self {
        assert_eq!(pool.free(), BLOCKS, "{} is not fresh, or not of this size", C::NAME);
        let mut held: Vec<_> = (0..BLOCKS / PIECE)
            .map(|_| {
                let mut hand = pool.hand();
                pool.take(&mut hand, PIECE).expect("the pool is not full yet");
                hand
            })
            .collect();
        fastrand::Rng::with_seed(seed).shuffle(&mut held);
        for mut hand in held.drain(..(ROOM / PIECE) as usize) {
            pool.give_back(&mut hand).expect("a hand has what it took");
        }
        Self { pool, held }
    }

    /// Lets two threads ask for the time of `slice`, for sizes that depend on the seed alone. Returns the
    /// time, and what came of it.
    ///
    /// # Panics
    /// When the contender refuses to take blocks back.
    pub fn run(&self, slice: Duration, seed: u64) -> (Duration, Attempts) {
        let (apart, first) = self.phase(slice / 2, seed, false);
        let (racing, second) = self.phase(slice / 2, !seed, true);
        (apart + racing, first.plus(second))
    }

    fn phase(&self, slice: Duration, seed: u64, racing: bool) -> (Duration, Attempts) {
        let pool = self.pool;
        let (time, outcomes) = for_a_while(
            THREADS as usize,
            slice,
            |i| (pool.hand(), fastrand::Rng::with_seed(seed.wrapping_add(i as u64))),
            |(mut hand, mut rng), stop| {
                let mut outcome = Attempts::default();
                // Relaxed: nothing is handed over with it.
                while !stop.load(Ordering::Relaxed) {
                    ask(pool, &mut hand, size(&mut rng, racing), racing, &mut outcome);
                }
                outcome
            },
        );
        (time, outcomes.into_iter().fold(Attempts::default(), Attempts::plus))
    }

    /// Gives everything back; the pool is as fresh as before.
    ///
    /// # Panics
    /// When the contender refuses, or blocks are missing.
    pub fn release(self) {
        for mut hand in self.held {
            self.pool.give_back(&mut hand).expect("a hand has what it took");
        }
        assert_eq!(self.pool.free(), BLOCKS, "{} lost blocks", C::NAME);
    }
}

impl Attempts {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            granted: self.granted + other.granted,
            refused: self.refused + other.refused,
            wrong: self.wrong + other.wrong,
        }
    }
}

/// One request, and whether what came of it can be right.
#[inline]
fn ask<'pool, C: Contender>(
    pool: &'pool C,
    hand: &mut C::Hand<'pool>,
    blocks: u32,
    racing: bool,
    outcome: &mut Attempts,
) {
    match pool.take(hand, blocks) {
        Ok(()) => {
            outcome.granted += 1;
            outcome.wrong += u64::from(blocks > ROOM);
            pool.give_back(hand).expect("a hand has what it took");
        }
        Err(error) => {
            outcome.refused += 1;
            let fits = !racing && blocks <= SHARE;
            outcome.wrong += u64::from(fits || error.available >= blocks);
        }
    }
}

/// Of 10 requests 9 are of up to a thread's share, or while racing of up to the whole room; the tenth
/// never fits.
fn size(rng: &mut fastrand::Rng, racing: bool) -> u32 {
    match rng.u32(..10) {
        0 => rng.u32(ROOM + 1..=ROOM + SHARE),
        _ if racing => rng.u32(1..=ROOM),
        _ => rng.u32(1..=SHARE),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::baseline::{MutexOwner, OwnerHand};
    use crate::contender::{Exhausted, ReturnError};
    use crate::latchless_pool::Leases;

    /// A run by count rather than by time.
    fn outcome<C: Contender>(pool: &C, racing: bool) -> Attempts {
        thread::scope(|scope| {
            let threads: Vec<_> = (0..u64::from(THREADS))
                .map(|seed| {
                    scope.spawn(move || {
                        let mut rng = fastrand::Rng::with_seed(seed);
                        let (mut hand, mut outcome) = (pool.hand(), Attempts::default());
                        for _ in 0..5_000 {
                            let blocks = size(&mut rng, racing);
                            ask(pool, &mut hand, blocks, racing, &mut outcome);
                        }
                        outcome
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .fold(Attempts::default(), Attempts::plus)
        })
    }

    fn is_exact<C: Contender>() {
        let pool = C::new(BLOCKS);
        let scarce = Scarce::new(&pool, 7);
        assert_eq!(pool.free(), ROOM);
        for racing in [false, true] {
            let outcome = outcome(&pool, racing);
            assert_eq!(outcome.granted + outcome.refused, 10_000);
            assert!(outcome.refused > 500, "{outcome:?}");
            assert_eq!(outcome.wrong, 0, "racing {racing}: {outcome:?}");
        }
        scarce.run(Duration::from_millis(2), 11);
        scarce.release();
    }

    #[test]
    fn nobody_refuses_what_fits() {
        is_exact::<MutexOwner>();
        is_exact::<Leases>();
    }

    /// Refuses now and then for no reason, with the true number.
    struct Capricious(MutexOwner);

    impl Contender for Capricious {
        const NAME: &'static str = "capricious";
        type Hand<'pool> = OwnerHand<'pool>;

        fn new(blocks: u32) -> Self {
            Self(MutexOwner::new(blocks))
        }

        fn hand(&self) -> OwnerHand<'_> {
            self.0.hand()
        }

        fn take<'pool>(
            &'pool self,
            hand: &mut OwnerHand<'pool>,
            blocks: u32,
        ) -> Result<(), Exhausted> {
            if blocks == 33 {
                let (total, available) = (BLOCKS, self.free());
                let allocated = total - available;
                return Err(Exhausted { requested: blocks, available, total, allocated });
            }
            self.0.take(hand, blocks)
        }

        fn give_back<'pool>(&'pool self, hand: &mut OwnerHand<'pool>) -> Result<(), ReturnError> {
            self.0.give_back(hand)
        }

        fn free(&self) -> u32 {
            self.0.free()
        }
    }

    #[test]
    fn a_refusal_for_no_reason_shows() {
        let pool = Capricious::new(BLOCKS);
        let scarce = Scarce::new(&pool, 7);
        let outcome = outcome(&pool, false);
        scarce.release();
        assert!(outcome.wrong > 0, "{outcome:?}");
    }
}
