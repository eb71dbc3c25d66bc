//! What survives `kill -9` at any instant.

mod cache;
#[cfg(feature = "runtime")]
mod flow;
#[cfg(feature = "store")]
mod store;
mod support;
