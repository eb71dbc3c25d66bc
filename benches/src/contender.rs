//! What a pool must do to be measured.

use thiserror::Error;

/// A pool of blocks that threads take from and give back to.
///
/// All contenders are all or nothing and refuse with a typed error. Those that know owners also charge
/// each agent, and check when blocks come back that they are out and whose they are.
pub trait Contender: Sync + Sized {
    /// Name in tables and files.
    const NAME: &'static str;

    /// What a thread has in its hands. It is made once, and the steady state reuses its memory.
    type Hand<'pool>
    where
        Self: 'pool;

    /// A pool of `blocks` blocks, all free, for a few agents.
    fn new(blocks: u32) -> Self;

    /// An empty hand of a new agent.
    fn hand(&self) -> Self::Hand<'_>;

    /// Takes `blocks` blocks into an empty hand.
    ///
    /// # Errors
    /// [`Exhausted`]; the hand stays empty then.
    fn take<'pool>(&'pool self, hand: &mut Self::Hand<'pool>, blocks: u32)
    -> Result<(), Exhausted>;

    /// Gives back what is in the hand.
    ///
    /// # Errors
    /// [`ReturnError`]; nothing is given back then.
    fn give_back<'pool>(&'pool self, hand: &mut Self::Hand<'pool>) -> Result<(), ReturnError>;

    /// Free blocks, when nobody takes or gives back meanwhile.
    fn free(&self) -> u32;
}

/// A contender that can do what goes on in a host beside requests.
pub trait Churn: Contender {
    /// One round of it: an agent comes, is given a quota, takes `blocks` blocks, shares them with another
    /// one, gives them back and leaves; then a new geometry is tried, which is refused while blocks are out. Each
    /// contender does the part of it that it knows of. Returns whether the geometry was replaced.
    fn churn(&self, blocks: u32) -> bool;
}

/// Fewer blocks were free than asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "{requested} blocks asked for, {available} of {total} free ({allocated} allocated); free some"
)]
pub struct Exhausted {
    /// Blocks asked for.
    pub requested: u32,
    /// Blocks that were free.
    pub available: u32,
    /// Blocks of the pool.
    pub total: u32,
    /// Blocks that were not free.
    pub allocated: u32,
}

/// Blocks were not given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("block {block} is not out, or not this agent's; nothing was given back")]
pub struct ReturnError {
    /// The block.
    pub block: u32,
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fmt::Debug;

    use super::*;

    /// What holds for every contender: all or nothing, exact numbers, nothing lost.
    pub(crate) fn takes_all_or_nothing<C: Contender>() {
        let pool = C::new(20);
        let (mut one, mut other) = (pool.hand(), pool.hand());
        ok(pool.take(&mut one, 15));
        assert_eq!(pool.free(), 5);
        let refused = Exhausted { requested: 10, available: 5, total: 20, allocated: 15 };
        assert_eq!(pool.take(&mut other, 10), Err(refused));
        assert_eq!(pool.free(), 5);
        ok(pool.take(&mut other, 5));
        ok(pool.give_back(&mut one));
        ok(pool.give_back(&mut other));
        assert_eq!(pool.free(), 20);
        ok(pool.take(&mut one, 20));
        assert_eq!(pool.free(), 0);
    }

    /// The same under threads: at the end everything is free.
    pub(crate) fn loses_nothing<C: Contender>() {
        let pool = C::new(100);
        let refused: u32 = std::thread::scope(|scope| {
            let threads: Vec<_> = (1..5)
                .map(|n| {
                    let pool = &pool;
                    scope.spawn(move || {
                        let mut hand = pool.hand();
                        let mut refused = 0;
                        for i in 0..2_000 {
                            match pool.take(&mut hand, 1 + i % (n * 12)) {
                                Ok(()) => ok(pool.give_back(&mut hand)),
                                Err(Exhausted { .. }) => refused += 1,
                            }
                        }
                        refused
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert!(refused < 8_000, "nobody got anything");
        assert_eq!(pool.free(), 100);
    }

    /// A round of churn leaves everything free, and replaces the geometry only when nothing is out.
    pub(crate) fn churns<C: Churn>() {
        let pool = C::new(20);
        for _ in 0..5_000 {
            assert!(pool.churn(8));
        }
        let mut hand = pool.hand();
        ok(pool.take(&mut hand, 15));
        assert!(!pool.churn(8), "with 15 of 20 out");
        assert_eq!(pool.free(), 5);
        ok(pool.give_back(&mut hand));
        assert!(pool.churn(8));
        assert_eq!(pool.free(), 20);
    }

    fn ok(result: Result<(), impl Debug>) {
        result.unwrap();
    }
}
