//! GGUF models through [llama.cpp](https://github.com/ggml-org/llama.cpp).
//!
//! [`LlamaModel`] is the immutable side: the weights, the vocabulary, the chat template. Any thread
//! may use it. [`LlamaContext`] is the changing side: KV cells and logits, driven by one lane.
//!
//! llama.cpp trusts its caller: from safe Rust one can still make it abort, or read memory that is not
//! there. Here each of these is an error instead:
//!
//! | mistake | llama.cpp | here |
//! |---|---|---|
//! | a sequence or a row out of range | corrupts memory or aborts | [`BadBatch`], [`UnknownSequence`], [`NoLogits`] |
//! | more rows than `n_batch` | aborts | [`BadBatch`] |
//! | a token with several sequences, in a batch made for one | corrupts memory | cannot be said: a row has one sequence |
//! | a sample from a row without logits, before a batch or after a failed one | aborts | [`NoLogits`] |
//! | logits that are no numbers | aborts, or draws anything | [`Failed`] |
//! | a token outside the vocabulary, as text | ends the process by an exception | no text |
//! | a grammar that allows no token, or one that nests deeply | aborts, or overflows the stack | [`Failed`], [`Grammar`] |
//! | a prefix shared between sequences whose cells are divided | aborts | [`NotShared`] |
//! | positions with a gap | refused in part | [`BadBatch`] |
//! | two contexts of one model made at once | a data race | one is made after the other |
//! | a model without KV cells, or with an encoder | reads memory that is not there | [`LoadError::Unsupported`] |
//! | more memory than there is | the system kills the process | [`LoadError::TooLarge`] |
//!
//! [`BadBatch`]: super::DecodeError::BadBatch
//! [`UnknownSequence`]: super::BackendError::UnknownSequence
//! [`NoLogits`]: super::BackendError::NoLogits
//! [`Failed`]: super::BackendError::Failed
//! [`Grammar`]: super::BackendError::Grammar
//! [`NotShared`]: super::BackendError::NotShared

mod capture;
mod context;
mod error;
mod gguf;
mod memory;
mod model;
mod options;
mod runtime;
mod sampler;
mod tag;
mod threads;

pub use self::context::{LlamaContext, LlamaParked};
pub use self::error::LoadError;
pub use self::gguf::{GgufError, Header};
pub use self::model::LlamaModel;
pub use self::options::{CellLayout, ContextOptions, ModelOptions};
pub use self::runtime::runtime;
pub use self::sampler::LlamaSampler;

#[cfg(test)]
mod tests;
