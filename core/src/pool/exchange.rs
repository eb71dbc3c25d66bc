//! Taking blocks and giving them back: the way through the layers.
//!
//! # Order of steps
//!
//! Taking: permits, then bits, then owner words, then the agent's charge, which is the instant at which
//! the blocks are the agent's. Giving back: owner words, whose CAS decides who frees, then bits, then the
//! charge, then permits. So a permit is never out without its bit, and a bit never without its word.

use super::BlockPool;
use super::accounts::{AgentHandle, NotCharged, Standing, Tenure};
use super::error::AllocateError;
use super::lease::RawLease;
use super::limits::not_allocated;
use super::owners::{Hold, Run};
use super::permits::Refused;
use super::placement::Claim;
use super::span::SPAN_BLOCKS;
use crate::id::LayerId;
use crate::mutant::mutant;
use crate::sync::{Ordering, thread_index};

impl BlockPool {
    /// Takes blocks of a layer into an empty lease.
    pub(super) fn take_of_layer(
        &self,
        raw: &mut RawLease,
        layer: LayerId,
        blocks: u32,
    ) -> Result<(), AllocateError> {
        self.check_layer(layer)?;
        self.take(raw, blocks, || self.check_layer(layer))
    }

    /// Takes the blocks of a sequence into an empty lease.
    pub(super) fn take_of_sequence(
        &self,
        raw: &mut RawLease,
        tokens: u32,
    ) -> Result<(), AllocateError> {
        loop {
            let model = self.model();
            let blocks = u32::try_from(model.spec.blocks_for(tokens)).unwrap_or(u32::MAX);
            self.take(raw, blocks, || Ok(()))?;
            // With blocks in hand the geometry stays: was it still the same when we got them?
            if self.model().number == model.number {
                return Ok(());
            }
            self.give_back(raw);
            raw.clear();
        }
    }

    #[inline]
    pub(super) fn check_layer(&self, layer: LayerId) -> Result<(), AllocateError> {
        // Relaxed: see `reconfigure`.
        let layers = self.layers.load(Ordering::Relaxed);
        if u32::from(layer.0) < layers {
            Ok(())
        } else {
            Err(AllocateError::UnknownLayer { layer, layers: layers as u16 })
        }
    }

    /// Takes blocks into an empty lease, checking `check` again once nobody can reconfigure any more.
    #[inline]
    fn take(
        &self,
        raw: &mut RawLease,
        blocks: u32,
        check: impl Fn() -> Result<(), AllocateError>,
    ) -> Result<(), AllocateError> {
        let home = thread_index();
        loop {
            let tenure = self.acquire(raw.agent, blocks, home, &check)?;
            if self.take_permitted(raw, tenure, blocks, home)? {
                return Ok(());
            }
        }
    }

    /// Takes permits for an agent in its present tenure, if `check` has nothing against it then.
    #[inline]
    pub(super) fn acquire(
        &self,
        agent: AgentHandle,
        blocks: u32,
        home: usize,
        check: impl Fn() -> Result<(), AllocateError>,
    ) -> Result<Tenure, AllocateError> {
        if blocks == 0 {
            return Err(AllocateError::NoBlocks);
        }
        let Standing { tenure, limited } =
            self.accounts.standing(agent).ok_or(AllocateError::UnknownAgent)?;
        if limited {
            self.acquire_limited(agent, blocks, home)?;
        } else if let Err(refused) = self.permits.acquire(blocks, home) {
            return Err(self.exhausted(blocks, refused));
        }
        if let Err(error) = check()
            && !mutant("exchange.geometry-checked-once")
        {
            self.refund(agent.slot(), blocks, home);
            return Err(error);
        }
        Ok(tenure)
    }

    /// The rest of taking, with permits in hand: it cannot be refused for want of blocks. False when the
    /// agent was freed as a whole since its tenure was read; the permits are given back then, and the next
    /// attempt can be refused for want of them, while the other thread frees its blocks.
    #[inline]
    pub(super) fn take_permitted(
        &self,
        raw: &mut RawLease,
        tenure: Tenure,
        blocks: u32,
        home: usize,
    ) -> Result<bool, AllocateError> {
        debug_assert!(raw.runs.is_empty());
        let mut regions = 0;
        self.blocks.claim(blocks, home, |Claim { span, spans, mask }| {
            regions |= self.blocks.regions(span, spans);
            let first = span as u32 * SPAN_BLOCKS;
            let owners = &self.blocks.spans[span].owners;
            owners.record(first, mask, spans, tenure, |run| raw.runs.push(run));
        });
        self.accounts.mark(tenure.slot(), regions);
        match self.accounts.charge(raw.agent, tenure, blocks) {
            Ok(()) => {
                raw.tenure = tenure;
                raw.len = blocks;
                Ok(true)
            }
            Err(refused) => self.take_back(raw, tenure, refused, blocks),
        }
    }

    /// The agent was freed or has left since its tenure was read, or another thread took what was left of
    /// its quota: not with these blocks.
    #[cold]
    fn take_back(
        &self,
        raw: &mut RawLease,
        tenure: Tenure,
        refused: NotCharged,
        blocks: u32,
    ) -> Result<bool, AllocateError> {
        self.release_runs(tenure, &raw.runs);
        raw.clear();
        match refused {
            NotCharged::TenureOver => Ok(false),
            refused => Err(not_allocated(refused, blocks)),
        }
    }

    #[cold]
    pub(super) fn exhausted(&self, requested: u32, refused: Refused) -> AllocateError {
        let (total, Refused { available, promised }) = (self.permits.total(), refused);
        let allocated = total - available - promised;
        AllocateError::Exhausted { requested, available, total, allocated }
    }

    /// Charges blocks to whatever tenure an agent is in.
    pub(super) fn charge_now(&self, agent: AgentHandle, blocks: u32) -> Result<Tenure, NotCharged> {
        loop {
            let standing = self.accounts.standing(agent).ok_or(NotCharged::NoSuchAgent)?;
            match self.accounts.charge(agent, standing.tenure, blocks) {
                Ok(()) => return Ok(standing.tenure),
                Err(NotCharged::TenureOver) => {}
                Err(refused) => return Err(refused),
            }
        }
    }

    /// Frees what a lease still has.
    #[inline]
    pub(super) fn give_back(&self, raw: &RawLease) {
        let home = thread_index();
        let (mut freed, mut uncharged) = (0, 0);
        for run in &raw.runs {
            let owners = &self.blocks.spans[run.span()].owners;
            match run.hold() {
                Hold::Sole => {
                    if mutant("exchange.permits-before-bits") {
                        self.permits.release(run.len(), home);
                    }
                    if owners.release(run, raw.tenure) {
                        self.blocks.free_run(run, home);
                        uncharged += run.len();
                        freed += if mutant("exchange.permits-before-bits") { 0 } else { run.len() };
                    }
                }
                Hold::Shared => {
                    uncharged += run.len();
                    let mask = owners.release_shared(run);
                    if mask != 0 {
                        self.blocks.free(run.span(), mask, home);
                        freed += mask.count_ones();
                    }
                }
            }
        }
        let limited = uncharged > 0 && self.accounts.uncharge(raw.tenure, uncharged);
        if freed > 0 {
            if limited {
                self.refund(raw.tenure.slot(), freed, home);
            } else {
                self.permits.release(freed, home);
            }
        }
    }

    /// Frees runs that are not charged, because their tenure is over or a charge was refused, as far as
    /// nobody else has.
    #[cold]
    pub(super) fn release_runs(&self, tenure: Tenure, runs: &[Run]) {
        let home = thread_index();
        let mut freed = 0;
        for run in runs.iter().filter(|run| run.hold() == Hold::Sole) {
            let span = &self.blocks.spans[run.span()];
            if span.owners.release(run, tenure) {
                self.blocks.free_run(run, home);
                freed += run.len();
            }
        }
        if freed > 0 {
            self.refund(tenure.slot(), freed, home);
        }
    }
}
