//! The end of agents, and of their blocks with them.

use latchless::{AllocateError, LayerId};

use super::held::{Goods, Held};
use super::{OWN_AGENTS, STEADY, Worker};
use crate::violation::Violation;

impl<'pool> Worker<'pool, '_> {
    /// Frees all blocks of an own agent, which stays registered.
    pub(super) fn free_agent(&mut self, other: usize) -> Result<(), Violation> {
        let agent = one_that_goes(other);
        let booked = self.booked(agent);
        let swept = self.let_go(agent)?;
        let freed = match other & 1 {
            0 => self.world.pool.free_agent(self.own[agent].handle),
            _ => self.world.directory.free_agent(&self.own[agent].id),
        };
        Violation::count("freed with an agent", booked, freed)?;
        self.own[agent].epoch += 1;
        self.drop_inert(swept)?;
        self.check_books()
    }

    /// Unregisters an own agent and registers it again.
    pub(super) fn reregister(&mut self, other: usize) -> Result<(), Violation> {
        let agent = one_that_goes(other);
        let booked = self.booked(agent);
        let swept = self.let_go(agent)?;
        let (id, old) = (self.own[agent].id.clone(), self.own[agent].handle);
        let directory = self.world.directory;
        match directory.unregister(&id) {
            Some(freed) => Violation::count("freed with an unregistered agent", booked, freed)?,
            None => return Err(Violation::answer("a registered agent is unknown", &id)),
        }
        self.own[agent].epoch += 1;
        self.drop_inert(swept)?;
        match self.world.pool.allocate(old, LayerId(0), 1) {
            Err(AllocateError::UnknownAgent) => {}
            other => return Err(Violation::answer("an allocation for an agent that left", other)),
        }
        if let Some(still) = directory.get(&id) {
            return Err(Violation::answer("an unregistered name has a handle", still));
        }
        let handle = directory.register(id);
        self.own[agent].handle =
            handle.map_err(|error| Violation::answer("a free name was refused", error))?;
        self.forget_limits(agent)?;
        self.check_books()
    }

    pub(super) fn free_common(&mut self, other: usize) {
        let (agent, id) = self.common(other);
        self.world.canary.sweeps(agent).sweep(|| self.world.directory.free_agent(id));
    }

    pub(super) fn unregister_common(&mut self, other: usize) {
        let (agent, id) = self.common(other);
        self.world.canary.sweeps(agent).sweep(|| self.world.directory.unregister(id));
    }

    /// Unmarks and removes from the books what a sweep of an own agent is about to take.
    fn let_go(&mut self, agent: usize) -> Result<Vec<Held<'pool>>, Violation> {
        let place = self.place(agent);
        let swept: Vec<_> =
            self.held.extract_if(.., |held| held.place == place && !held.shared).collect();
        for held in &swept {
            self.in_hand -= held.len();
            self.world.canary.give_back(held.blocks(), held.mark)?;
        }
        Ok(swept)
    }

    /// Drops what a sweep has taken: nothing of it may be freed again.
    fn drop_inert(&mut self, swept: Vec<Held<'pool>>) -> Result<(), Violation> {
        for held in swept {
            if let Goods::Handles(agent, handles) = held.goods
                && !handles.is_empty()
            {
                if let Ok(freed) = self.world.pool.free(agent, &handles) {
                    return Err(Violation::answer("swept handles were freed again", freed));
                }
                self.stale = handles.first().copied();
            }
        }
        Ok(())
    }
}

/// An own agent that comes and goes.
pub(super) fn one_that_goes(other: usize) -> usize {
    STEADY + 1 + (other >> 1) % (OWN_AGENTS - 1)
}
