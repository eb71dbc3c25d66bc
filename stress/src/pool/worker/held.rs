//! What a worker holds.

use latchless::{AgentHandle, BlockHandle, BlockId, BlockLease};

use crate::pool::canary::Mark;

/// Blocks in a worker's hands, and how they are marked.
pub(super) struct Held<'pool> {
    pub(super) goods: Goods<'pool>,
    pub(super) mark: Mark,
    /// Whether the pool counts holders of these blocks: then no sweep of an agent takes them.
    pub(super) shared: bool,
    pub(super) place: Place,
}

/// Under a lease, or by handles.
pub(super) enum Goods<'pool> {
    Lease(BlockLease<'pool>),
    Handles(AgentHandle, Vec<BlockHandle>),
}

/// Whose blocks they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// An own agent's, in its epoch then.
    Own { agent: usize, epoch: u32 },
    /// A common agent's.
    Common,
}

/// The same as [`Held`] with a lease for certain.
pub(super) struct Leased<'pool> {
    pub(super) lease: BlockLease<'pool>,
    pub(super) mark: Mark,
    pub(super) shared: bool,
    pub(super) place: Place,
}

/// A lease on its way to another thread, whose steady agent owns it.
pub(crate) struct Parcel<'pool> {
    pub(crate) lease: BlockLease<'pool>,
    pub(crate) mark: Mark,
    pub(crate) shared: bool,
}

impl Held<'_> {
    pub(super) fn len(&self) -> u32 {
        match &self.goods {
            Goods::Lease(lease) => lease.len(),
            Goods::Handles(_, handles) => handles.len() as u32,
        }
    }

    pub(super) fn blocks(&self) -> Vec<BlockId> {
        match &self.goods {
            Goods::Lease(lease) => lease.blocks().collect(),
            Goods::Handles(_, handles) => handles.iter().map(|handle| handle.block()).collect(),
        }
    }
}

impl Leased<'_> {
    /// Whether another thread may take the blocks at any instant.
    pub(super) fn is_loose(&self) -> bool {
        self.place == Place::Common && !self.shared
    }

    pub(super) fn blocks(&self) -> Vec<BlockId> {
        self.lease.blocks().collect()
    }
}

impl<'pool> From<Leased<'pool>> for Held<'pool> {
    fn from(Leased { lease, mark, shared, place }: Leased<'pool>) -> Self {
        Self { goods: Goods::Lease(lease), mark, shared, place }
    }
}
