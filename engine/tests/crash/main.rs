//! What survives `kill -9` at any instant.

mod cache;
#[cfg(feature = "store")]
mod store;
mod support;
