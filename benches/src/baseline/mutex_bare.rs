//! A mutex around a list of free blocks, and nothing else.

use std::fmt;
use std::sync::PoisonError;

use crate::contender::{Churn, Contender, Exhausted, ReturnError};

/// A kind of mutex.
pub trait Lock: Sync + Sized {
    /// Name in tables.
    const NAME: &'static str;

    /// A mutex around `list`.
    fn new(list: Vec<u32>) -> Self;

    /// Does something with the list.
    fn with<R>(&self, work: impl FnOnce(&mut Vec<u32>) -> R) -> R;
}

/// The standard library's mutex.
#[derive(Debug)]
pub struct Std(std::sync::Mutex<Vec<u32>>);

/// `parking_lot`'s mutex.
#[derive(Debug)]
pub struct ParkingLot(parking_lot::Mutex<Vec<u32>>);

impl Lock for Std {
    const NAME: &'static str = "mutex_std";

    fn new(list: Vec<u32>) -> Self {
        Self(std::sync::Mutex::new(list))
    }

    #[inline]
    fn with<R>(&self, work: impl FnOnce(&mut Vec<u32>) -> R) -> R {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Lock for ParkingLot {
    const NAME: &'static str = "mutex_parking_lot";

    fn new(list: Vec<u32>) -> Self {
        Self(parking_lot::Mutex::new(list))
    }

    #[inline]
    fn with<R>(&self, work: impl FnOnce(&mut Vec<u32>) -> R) -> R {
        work(&mut self.0.lock())
    }
}

/// Ids are copied in bulk from the end of the list, and back. No owners, no checks, no counts: whatever
/// is given back is believed.
pub struct MutexBare<L> {
    list: L,
    total: u32,
}

impl<L> fmt::Debug for MutexBare<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MutexBare").field("total", &self.total).finish_non_exhaustive()
    }
}

impl<L: Lock> Contender for MutexBare<L> {
    const NAME: &'static str = L::NAME;
    type Hand<'pool>
        = Vec<u32>
    where
        L: 'pool;

    fn new(blocks: u32) -> Self {
        Self { list: L::new((0..blocks).rev().collect()), total: blocks }
    }

    fn hand(&self) -> Vec<u32> {
        Vec::with_capacity(self.total as usize)
    }

    #[inline]
    fn take(&self, hand: &mut Vec<u32>, blocks: u32) -> Result<(), Exhausted> {
        self.list.with(|free| {
            let available = free.len() as u32;
            let Some(rest) = available.checked_sub(blocks) else {
                let (total, allocated) = (self.total, self.total - available);
                return Err(Exhausted { requested: blocks, available, total, allocated });
            };
            hand.extend_from_slice(&free[rest as usize..]);
            free.truncate(rest as usize);
            Ok(())
        })
    }

    #[inline]
    fn give_back(&self, hand: &mut Vec<u32>) -> Result<(), ReturnError> {
        self.list.with(|free| free.extend_from_slice(hand));
        hand.clear();
        Ok(())
    }

    fn free(&self) -> u32 {
        self.list.with(|free| free.len() as u32)
    }
}

impl<L: Lock> Churn for MutexBare<L> {
    /// Nobody is registered and nothing shared here: blocks are taken and given back, and the whole
    /// list is replaced when it is complete.
    fn churn(&self, blocks: u32) -> bool {
        let mut hand = Vec::with_capacity(blocks as usize);
        if self.take(&mut hand, blocks).is_ok() {
            let _believed = self.give_back(&mut hand);
        }
        self.list.with(|free| {
            let complete = free.len() == self.total as usize;
            if complete {
                free.clear();
                free.extend((0..self.total).rev());
            }
            complete
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::tests::{churns, loses_nothing, takes_all_or_nothing};

    #[test]
    fn both_kinds_are_contenders() {
        takes_all_or_nothing::<MutexBare<Std>>();
        loses_nothing::<MutexBare<Std>>();
        churns::<MutexBare<Std>>();
        takes_all_or_nothing::<MutexBare<ParkingLot>>();
        loses_nothing::<MutexBare<ParkingLot>>();
        churns::<MutexBare<ParkingLot>>();
    }
}
