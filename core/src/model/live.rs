//! The model configuration in force, replaced whole while everybody reads it.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::ModelSpec;

/// A configuration and how many came before it.
///
/// ```
/// use latchless::{LiveModel, ModelGeneration, ModelSpec};
///
/// let live = LiveModel::new(ModelSpec::new(2, 8, 128, 16)?);
/// let before: std::sync::Arc<ModelGeneration> = live.load();
/// live.publish(&ModelSpec::new(4, 8, 128, 16)?);
/// assert_eq!((before.number, before.spec.layers()), (0, 2), "whole, for as long as it is held");
/// assert_eq!(live.load().number, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct ModelGeneration {
    /// 0 for the first configuration, one more with each replacement.
    pub number: u64,
    /// The geometry.
    pub spec: ModelSpec,
}

/// A hot-swappable [`ModelSpec`] on [arc-swap](https://docs.rs/arc-swap): a reader never waits for a
/// writer and sees one generation whole.
///
/// A reader that holds a generation keeps its memory, and nothing else, alive.
///
/// ```
/// use latchless::{LiveModel, ModelSpec};
/// let live = LiveModel::new(ModelSpec::new(30, 3, 64, 64)?);
/// let before = live.load();
/// live.publish(&ModelSpec::new(32, 8, 128, 64)?);
/// assert_eq!((before.number, live.load().number), (0, 1));
/// # Ok::<(), latchless::SpecError>(())
/// ```
#[derive(Debug)]
pub struct LiveModel(ArcSwap<ModelGeneration>);

impl LiveModel {
    /// Generation 0.
    pub fn new(spec: ModelSpec) -> Self {
        Self(ArcSwap::from_pointee(ModelGeneration { number: 0, spec }))
    }

    /// The generation in force.
    pub fn load(&self) -> Arc<ModelGeneration> {
        self.0.load_full()
    }

    /// Makes `spec` the one in force and returns the generation it replaced. Of two publishers at
    /// once, each gets a number of its own.
    pub fn publish(&self, spec: &ModelSpec) -> Arc<ModelGeneration> {
        self.0.rcu(|now| ModelGeneration { number: now.number + 1, spec: spec.clone() })
    }
}
