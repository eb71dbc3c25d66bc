//! Giving blocks back.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use latchless::{AgentHandle, BlockHandle, BlockId};

use super::Worker;
use super::held::{Goods, Held, Leased, Parcel, Place};
use crate::pool::canary::Canary;
use crate::violation::Violation;

impl<'pool> Worker<'pool, '_> {
    pub(super) fn free(&mut self, pick: usize) -> Result<(), Violation> {
        self.take(pick).map_or(Ok(()), |held| self.give_back(held))
    }

    pub(super) fn give_back(&mut self, held: Held<'pool>) -> Result<(), Violation> {
        self.world.canary.give_back(held.blocks(), held.mark)?;
        match held.goods {
            Goods::Lease(lease) => drop(lease),
            Goods::Handles(agent, handles) => {
                let freed = self.world.pool.free(agent, &handles);
                self.stale = handles.first().copied().or(self.stale);
                match (freed, held.place) {
                    (Ok(_), Place::Common) => {}
                    // Some are stale since a sweep, and the others are still out.
                    (Err(_), Place::Common) => self.free_one_by_one(agent, &handles),
                    (freed, Place::Own { .. }) => {
                        let freed = freed.map_err(Violation::not_freed)?;
                        Violation::count("freed by handles", handles.len() as u64, freed)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn free_one_by_one(&self, agent: AgentHandle, handles: &[BlockHandle]) {
        for handle in handles {
            let _ = self.world.pool.free(agent, std::slice::from_ref(handle));
        }
    }

    /// Drops a lease while a panic unwinds; without a message, the panic being planned.
    pub(super) fn unwind(&mut self, pick: usize) -> Result<(), Violation> {
        let Some(leased) = self.take_leased(pick) else {
            return Ok(());
        };
        self.world.canary.give_back(leased.blocks(), leased.mark)?;
        let lease = leased.lease;
        let unwound = catch_unwind(AssertUnwindSafe(move || {
            let _lease = lease;
            resume_unwind(Box::new("planned"));
        }));
        match unwound {
            Err(payload) if payload.is::<&str>() => Ok(()),
            other => Err(Violation::answer("a planned panic", other.is_ok())),
        }
    }

    pub(super) fn turn_into_handles(&mut self, pick: usize) -> Result<(), Violation> {
        let Some(leased) = self.take_leased(pick) else {
            return Ok(());
        };
        let canary = self.world.canary;
        let mut before = leased.blocks();
        let loose = leased.is_loose();
        let Leased { lease, mark, shared, place } = leased;
        if shared {
            canary.give_back(before, mark)?;
            return Violation::count(
                "handles of shared blocks",
                0_u32,
                lease.into_handles().len() as u64,
            );
        }
        let agent = lease.agent();
        let handles = lease.into_handles();
        let mut blocks: Vec<BlockId> = handles.iter().map(|handle| handle.block()).collect();
        blocks.sort_unstable();
        if loose {
            let lost = before.into_iter().filter(|block| blocks.binary_search(block).is_err());
            canary.forget(lost, mark);
        } else {
            before.sort_unstable();
            if blocks != before {
                return Err(Violation::answer("handles of other blocks than the lease's", blocks));
            }
        }
        self.hold(Held { goods: Goods::Handles(agent, handles), mark, shared, place });
        Ok(())
    }

    pub(super) fn lease_again(&mut self, pick: usize) -> Result<(), Violation> {
        let Some(held) = self.take(pick) else { return Ok(()) };
        let Held { goods: Goods::Handles(agent, handles), mark, shared, place } = held else {
            self.hold(held);
            return Ok(());
        };
        match self.world.pool.lease_from_handles(agent, None, &handles) {
            Ok(lease) => {
                let same = lease.blocks().eq(handles.iter().map(|handle| handle.block()));
                self.stale = handles.first().copied().or(self.stale);
                self.hold_lease(lease, mark, place);
                same.then_some(()).ok_or_else(|| Violation::answer("a lease of other blocks", ()))
            }
            // Some are stale since a sweep, as when they are freed.
            Err(_) if place == Place::Common => {
                self.hold(Held { goods: Goods::Handles(agent, handles), mark, shared, place });
                Ok(())
            }
            Err(error) => Err(Violation::answer("good handles were not leased", error)),
        }
    }
}

impl Parcel<'_> {
    /// Gives back what nobody received.
    pub(crate) fn open(self, canary: &Canary) -> Result<(), Violation> {
        canary.give_back(self.lease.blocks(), self.mark)
    }
}
