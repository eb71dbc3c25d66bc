//! What a running engine tells about itself: the metrics of its snapshots.
//!
//! The way is that of [`latchless::observe`]: a host that wants to know takes a
//! [snapshot](crate::Engine::snapshot), and an operation of the hot path tells nobody. With the feature
//! `metrics`, `export` hands everything that an engine has to the recorder that the host installed;
//! `engine/examples/host_prometheus.rs` serves it to Prometheus, and `docs/grafana/latchless.json` shows it.

mod cache;
mod engine;
#[cfg(feature = "metrics")]
mod facade;
mod lane;
#[cfg(feature = "store")]
mod store;

#[cfg(feature = "metrics")]
pub use self::facade::{describe, export};
