//! The block pool beside mutex baselines that do the same work.
//!
//! - [`Contender`] is what is measured: take blocks for an agent, give them back;
//! - [`latchless_pool`] is ours, by leases and by handles;
//! - [`baseline`] is what a careful engineer would write with a mutex;
//! - [`measure`] runs pairs of take and give back on pinned threads that begin together.
//!
//! `cargo bench -p latchless-benches` measures with criterion. The table of the README is made by
//! `cargo run --release -p latchless-benches --bin pool-table`: all contenders in turns, round by round,
//! so that a machine that speeds up or slows down meanwhile does so for all of them.

#![forbid(unsafe_code)]

pub mod baseline;
mod contender;
pub mod latchless_pool;
pub mod machine;
pub mod measure;

pub use self::contender::{Contender, Exhausted, ReturnError};

/// Blocks of every measured pool.
pub const BLOCKS: u32 = 8_192;

/// Blocks of a request that are measured: one, a small prompt, a layer of a long one, a prefill.
pub const REQUESTS: [u32; 4] = [1, 8, 48, 512];
