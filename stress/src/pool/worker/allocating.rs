//! Taking blocks.

use latchless::{AllocateError, BlockHandle, BlockLease, LayerId};

use super::held::{Goods, Held, Place};
use super::limits::Bounds;
use super::{MOST_HELD, OWN_AGENTS, Worker};
use crate::phase::Phase;
use crate::pool::canary::Mark;
use crate::pool::phases::target;
use crate::pool::{Came, PAIR};
use crate::tally::unfrozen;
use crate::violation::Violation;

/// What the pool gave: a lease, or a number of handles.
pub(super) trait Granted {
    fn blocks(&self) -> u32;
}

impl Granted for BlockLease<'_> {
    fn blocks(&self) -> u32 {
        self.len()
    }
}

impl Granted for u32 {
    fn blocks(&self) -> u32 {
        *self
    }
}

impl<'pool> Worker<'pool, '_> {
    /// Allocates blocks of a layer and frees them at once; the time of both counts, that of the marks
    /// does not.
    pub(super) fn pair(&mut self, blocks: u32, other: usize) -> Result<(), Violation> {
        let blocks = blocks.min(self.room());
        if blocks == 0 {
            return self.free(other);
        }
        let agent = other % OWN_AGENTS;
        let (bounds, handle) = (self.bounds(agent), self.own[agent].handle);
        let (granted, taking) =
            unfrozen(|| self.world.pool.allocate(handle, self.layer(other), blocks));
        let Some(lease) = self.granted(blocks, &bounds, granted)? else {
            return Ok(());
        };
        let listed: Vec<_> = lease.blocks().collect();
        self.world.canary.take(listed.iter().copied(), self.mark())?;
        self.world.canary.give_back(listed, self.mark())?;
        let ((), giving) = unfrozen(|| drop(lease));
        self.counts.record(PAIR, taking.zip(giving).map(|(taking, giving)| taking + giving));
        Ok(())
    }

    pub(super) fn allocate(
        &mut self,
        blocks: u32,
        pick: usize,
        other: usize,
    ) -> Result<(), Violation> {
        let blocks = blocks.min(self.room());
        if blocks == 0 {
            return self.free(pick);
        }
        let agent = other % OWN_AGENTS;
        let bounds = self.bounds(agent);
        let granted = self.world.pool.allocate(self.own[agent].handle, self.layer(pick), blocks);
        match self.granted(blocks, &bounds, granted)? {
            Some(lease) => self.keep(lease, self.mark(), self.place(agent)),
            None => self.free(pick),
        }
    }

    pub(super) fn allocate_handles(
        &mut self,
        blocks: u32,
        pick: usize,
        other: usize,
    ) -> Result<(), Violation> {
        let blocks = blocks.min(self.room());
        if blocks == 0 {
            return self.free(pick);
        }
        let (number, pool) = (other % OWN_AGENTS, self.world.pool);
        let (bounds, agent) = (self.bounds(number), self.own[number].handle);
        let mut handles = vec![BlockHandle::default(); blocks as usize];
        let granted = pool.allocate_handles(agent, self.layer(pick), &mut handles);
        if self.granted(blocks, &bounds, granted.map(|()| blocks))?.is_none() {
            return self.free(pick);
        }
        let (mark, place) = (self.mark(), self.place(number));
        self.world.canary.take(handles.iter().map(|handle| handle.block()), mark)?;
        self.hold(Held { goods: Goods::Handles(agent, handles), mark, shared: false, place });
        Ok(())
    }

    pub(super) fn allocate_sequence(
        &mut self,
        blocks: u32,
        pick: usize,
        other: usize,
    ) -> Result<(), Violation> {
        let Some(tokens) = self.tokens(blocks, other) else {
            return self.free(pick);
        };
        let agent = other % OWN_AGENTS;
        let bounds = self.bounds(agent);
        let granted = self.world.pool.allocate_sequence(self.own[agent].handle, tokens);
        let requested = match &granted {
            Ok(_) => self.world.pool.model().spec.blocks_for(tokens) as u32,
            Err(
                AllocateError::Exhausted { requested, .. }
                | AllocateError::QuotaExceeded { requested, .. },
            ) => *requested,
            Err(_) => 0,
        };
        // With blocks in hand the geometry stays, so what was granted must be what it takes now.
        match self.granted(requested, &bounds, granted)? {
            Some(lease) => self.keep(lease, self.mark(), self.place(agent)),
            None => self.free(pick),
        }
    }

    pub(super) fn allocate_common(
        &mut self,
        blocks: u32,
        pick: usize,
        other: usize,
    ) -> Result<(), Violation> {
        let blocks = blocks.min(self.room());
        if blocks == 0 {
            return self.free(pick);
        }
        let (agent, id) = self.common(other);
        // Before the agent is looked up: a sweep that comes between makes the mark say less, not more.
        let mark = Mark::loose(self.thread, agent, self.world.canary.sweeps(agent).settled());
        let handle = self
            .world
            .directory
            .get_or_register(id)
            .map_err(|error| Violation::answer("there are accounts for all agents", error))?;
        match self.world.pool.allocate(handle, self.layer(pick), blocks) {
            // Unregistered by another thread.
            Err(AllocateError::UnknownAgent) => Ok(()),
            granted => match self.granted(blocks, &Bounds::default(), granted)? {
                Some(lease) => self.keep(lease, mark, Place::Common),
                None => self.free(pick),
            },
        }
    }

    /// The tokens of a sequence of about so many blocks; none for more than this thread may still take.
    pub(super) fn tokens(&self, blocks: u32, other: usize) -> Option<u32> {
        let [short, _] = self.world.specs;
        let tokens = blocks.div_ceil(u32::from(short.layers())) * short.block_tokens();
        let tokens = tokens - other as u32 % short.block_tokens();
        // The first geometry has the smaller blocks: it takes the most of them.
        (short.blocks_for(tokens) <= u64::from(self.room())).then_some(tokens)
    }

    /// Blocks that this thread may still take in this phase.
    pub(super) fn room(&self) -> u32 {
        if self.held.len() >= MOST_HELD {
            return 0;
        }
        target(self.world.phase, self.world.scale).saturating_sub(self.in_hand)
    }

    pub(super) fn layer(&self, pick: usize) -> LayerId {
        LayerId((pick % usize::from(self.world.specs[0].layers())) as u16)
    }

    /// Checks an answer of the pool; `None` for a rightful refusal.
    pub(super) fn granted<G: Granted>(
        &mut self,
        requested: u32,
        bounds: &Bounds,
        granted: Result<G, AllocateError>,
    ) -> Result<Option<G>, Violation> {
        match granted {
            Ok(granted) => {
                Violation::count("what was granted", requested, granted.blocks())?;
                bounds.given(requested)?;
                self.counts.outcomes[Came::Granted as usize] += 1;
                self.counts.outcomes[Came::Blocks as usize] += u64::from(requested);
                Ok(Some(granted))
            }
            Err(AllocateError::Exhausted { requested: said, available, total, allocated }) => {
                // While others wait, what nobody has is theirs and free to nobody.
                let promised = total.saturating_sub(available).checked_sub(allocated);
                let is_calm = self.world.phase == Phase::Calm;
                let coherent = said == requested
                    && total == self.world.scale.blocks
                    && available < requested
                    && promised.is_some_and(|promised| promised == 0 || !is_calm);
                if !coherent {
                    return Err(Violation::IncoherentRefusal {
                        requested,
                        available,
                        total,
                        allocated,
                    });
                }
                if is_calm {
                    return Err(Violation::SpuriousRefusal { requested });
                }
                bounds.exhausted(requested, &self.world.reconfigures)?;
                self.counts.outcomes[Came::Refused as usize] += 1;
                Ok(None)
            }
            Err(error) => self.over_quota(bounds, requested, &error).map(|()| None),
        }
    }

    pub(super) fn keep(
        &mut self,
        lease: BlockLease<'pool>,
        mark: Mark,
        place: Place,
    ) -> Result<(), Violation> {
        let mut listed = 0_u32;
        self.world.canary.take(lease.blocks().inspect(|_| listed += 1), mark)?;
        Violation::count("the list of a lease", lease.len(), listed)?;
        self.hold_lease(lease, mark, place);
        Ok(())
    }
}
