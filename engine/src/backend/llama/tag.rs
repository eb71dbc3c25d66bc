//! What a sequence's state of a llama.cpp context belongs to.

use std::io;

use super::{CellLayout, ContextOptions, LlamaModel};
use crate::backend::Model;
use crate::cache::{ModelTag, fingerprint};

/// Each release of this crate brings its own llama.cpp, and with it a form of the states.
const BACKEND: &str = concat!("llama.cpp of latchless-engine ", env!("CARGO_PKG_VERSION"));

impl LlamaModel {
    /// The tag for the states of contexts that are made with `options`: the geometry, a fingerprint of the
    /// weights, and how the context divides its cells, which shows in the states. Reads 4 MiB of the
    /// model's file.
    ///
    /// # Errors
    /// The model's file cannot be read any more.
    pub fn state_tag(&self, options: &ContextOptions) -> io::Result<ModelTag> {
        self.tag_of(options.layout, options.sequences)
    }

    pub(super) fn tag_of(&self, layout: CellLayout, sequences: u32) -> io::Result<ModelTag> {
        let header = self.header();
        let cells = match layout {
            CellLayout::Shared => "shared".to_owned(),
            CellLayout::Divided => format!("divided by {sequences}"),
        };
        Ok(ModelTag::of(BACKEND, self as &dyn Model)
            .with("architecture", &header.architecture)
            .with("key length", header.key_length)
            .with("value length", header.value_length)
            .with("cells", cells)
            .with("weights", format!("{:016x}", fingerprint(self.path())?)))
    }
}
