//! Requests that must be refused, and comparisons with the books.

use latchless::{AgentHandle, AllocateError, BlockHandle, HandleError, LayerId};

use super::held::{Goods, Place};
use super::{OWN_AGENTS, STEADY, Worker};
use crate::violation::Violation;

impl Worker<'_, '_> {
    /// The pool's accounts of the own agents against the books.
    pub(super) fn check_books(&self) -> Result<(), Violation> {
        for (i, own) in self.own.iter().enumerate() {
            self.check_limits(i)?;
            let (expected, charged) = (self.booked(i), self.world.pool.used_by(own.handle));
            // Others hand over to the steady one.
            if charged != expected && (i != STEADY || charged < expected) {
                let agent = own.id.to_string();
                return Err(Violation::WrongCharge { agent, expected, charged });
            }
        }
        Ok(())
    }

    pub(super) fn bad_request(&mut self, other: usize) -> Result<(), Violation> {
        let own = &self.own[other % OWN_AGENTS];
        let agent = own.handle;
        let pool = self.world.pool;
        let layers = self.world.specs[0].layers();
        let (granted, right) = match other % 4 {
            0 => (pool.allocate(agent, LayerId(0), 0), AllocateError::NoBlocks),
            1 => (pool.allocate_sequence(agent, 0), AllocateError::NoBlocks),
            2 => {
                let layer = LayerId(layers);
                (pool.allocate(agent, layer, 1), AllocateError::UnknownLayer { layer, layers })
            }
            _ => {
                let requested = self.world.scale.blocks + 1;
                return match pool.allocate(agent, LayerId(0), requested) {
                    Err(AllocateError::Exhausted { .. }) => Ok(()),
                    Err(AllocateError::QuotaExceeded { .. }) if own.limits.has_quota() => Ok(()),
                    other => Err(Violation::answer("more blocks than the pool has", other)),
                };
            }
        };
        match granted {
            Err(error) if error == right => Ok(()),
            other => Err(Violation::answer("a bad request", other)),
        }
    }

    /// While this thread has blocks that nobody can take from it, the geometry cannot change.
    pub(super) fn reconfigure(&mut self, other: usize) -> Result<(), Violation> {
        let spec = &self.world.specs[other % 2];
        let firm = self
            .held
            .iter()
            .any(|held| held.len() > 0 && (held.shared || held.place != Place::Common));
        let reconfigure = || self.world.pool.reconfigure(spec);
        match self.world.reconfigures.sweep(reconfigure) {
            Ok(()) if firm => Err(Violation::answer("reconfigured with blocks out", self.in_hand)),
            Err(error) if !(1..=self.world.scale.blocks).contains(&error.outstanding) => {
                Err(Violation::answer("a refusal to reconfigure", error))
            }
            _ => Ok(()),
        }
    }

    /// Lists with one bad handle: refused, and the good ones stay as they are.
    pub(super) fn free_bad_handles(&mut self, pick: usize, other: usize) -> Result<(), Violation> {
        let Some(held) = self.take(pick) else {
            return Ok(());
        };
        if let (Goods::Handles(agent, handles), Place::Own { agent: number, .. }) =
            (&held.goods, held.place)
            && !handles.is_empty()
        {
            self.try_bad_lists(*agent, number, handles, other)?;
        }
        let is_own = matches!(held.place, Place::Own { .. });
        self.hold(held);
        if is_own { self.check_books() } else { Ok(()) }
    }

    fn try_bad_lists(
        &self,
        agent: AgentHandle,
        number: usize,
        good: &[BlockHandle],
        other: usize,
    ) -> Result<(), Violation> {
        let stranger = self.own[(number + 1) % OWN_AGENTS].handle;
        let no_block = BlockHandle::from_bits(u64::from(u32::MAX));
        let with = |bad: BlockHandle| {
            let mut list = good.to_vec();
            list.insert(other % (good.len() + 1), bad);
            list
        };
        let pool = self.world.pool;
        let (freed, right): (_, fn(&HandleError) -> bool) = match (other % 4, self.stale) {
            (0, _) => (pool.free(stranger, good), |e| matches!(e, HandleError::NotOwner { .. })),
            (1, _) => (pool.free(agent, &with(no_block)), |e| {
                matches!(e, HandleError::UnknownBlock { .. })
            }),
            (2, Some(stale)) => (pool.free(agent, &with(stale)), |e| {
                matches!(e, HandleError::AlreadyFree { .. } | HandleError::Stale { .. })
            }),
            _ => {
                (pool.free(agent, &with(good[0])), |e| matches!(e, HandleError::AlreadyFree { .. }))
            }
        };
        match freed {
            Err(error) if right(&error) => Ok(()),
            other => Err(Violation::answer("a list with a bad handle", other)),
        }
    }
}
