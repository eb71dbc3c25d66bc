//! The block pool beside mutex baselines that do the same work, and beside its peers.
//!
//! - [`Contender`] is what is measured: take blocks for an agent, give them back; [`backends`] is the
//!   list of them;
//! - [`latchless_pool`] is ours, by leases and by handles;
//! - [`agents`] is what agents do beside that: transitions, claims, changes, output, ours and as it was;
//! - [`baseline`] is what a careful engineer would write with a mutex or one owning thread, and what the
//!   prototypes did; [`peer`] is what others have published;
//! - [`measure`] runs pairs of take and give back on pinned threads that begin together: throughput;
//! - [`tails`] stops and starves threads: the worst latencies;
//! - [`report`] tells it: tables in Markdown, JSON, and pictures in SVG;
//! - [`os`] is what this asks of the operating system.
//!
//! `cargo xtask bench pool`, `tails` and `agents` build and run the programs of this crate
//! with all contenders: what the README and docs show comes from there. All contenders of a cell take
//! turns, round by round, so that a machine that speeds up or slows down meanwhile does so for all of
//! them. `cargo bench -p latchless-benches` measures with criterion, for work on the pool itself.

#![deny(unsafe_code)]

pub mod agents;
pub mod backends;
pub mod baseline;
mod contender;
pub mod latchless_pool;
pub mod machine;
pub mod measure;
pub mod os;
pub mod peer;
pub mod report;
#[cfg(target_os = "linux")]
pub mod tails;

pub use self::contender::{Churn, Contender, Exhausted, ReturnError};

/// Blocks of every measured pool.
pub const BLOCKS: u32 = 8_192;

/// Blocks of a request that are measured: one, a small prompt, a layer of a long one, a prefill.
pub const REQUESTS: [u32; 4] = [1, 8, 48, 512];
