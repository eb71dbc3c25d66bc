//! What survives `kill -9` at any instant.

mod cache;
mod support;
