//! What is stored, for threads that must not wait for the index.
//!
//! The index has a lock, and a thread that is frozen under it would hold up a lane that only wants to know
//! whether there is anything to load. So whoever changes the index publishes what it has of each model as
//! a value that does not change any more: one store, after work that grows with the number of files,
//! beside a sync of the disk. A look is one load and a search.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;
use latchless::AgentId;

use super::super::ModelTag;
use super::super::index::{PrefixMatch, neighbours};
use crate::backend::Token;

/// The sequences of one model, as they were after the last change.
pub(super) type Catalog = BTreeMap<Arc<[Token]>, AgentId>;

/// One model among those that the folder has files of.
#[derive(Debug)]
pub(super) struct Shelf {
    /// Its number in the index.
    pub(super) number: usize,
    pub(super) tag: ModelTag,
    /// Another model has taken its place.
    pub(super) superseded: AtomicBool,
    catalog: ArcSwap<Catalog>,
}

impl Shelf {
    pub(super) fn new(number: usize, tag: ModelTag) -> Self {
        let catalog = ArcSwap::from_pointee(Catalog::new());
        Self { number, tag, superseded: AtomicBool::new(false), catalog }
    }

    pub(super) fn publish(&self, catalog: Catalog) {
        self.catalog.store(Arc::new(catalog));
    }

    /// The sequence with the most tokens in common with `asked`, if it is still there.
    pub(super) fn peek(&self, asked: &[Token]) -> Option<PrefixMatch> {
        let catalog = self.catalog.load();
        let found = neighbours(&catalog, asked).max_by_key(|neighbour| neighbour.common)?;
        let (common, stored) = (found.common, found.stored);
        Some(PrefixMatch { agent: found.value.clone(), common, stored })
    }

    /// Whether exactly these tokens are stored, and for this agent.
    pub(super) fn has(&self, agent: &AgentId, tokens: &[Token]) -> bool {
        self.catalog.load().get(tokens) == Some(agent)
    }
}
