//! What a model's KV cache looks like, and the one that is in force now.

mod live;
mod spec;

pub use self::live::{LiveModel, ModelGeneration};
pub use self::spec::{Attention, KvBits, ModelSpec, SpecError};
