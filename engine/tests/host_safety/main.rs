//! What a host may do around an engine: fork, be interrupted by signals, end its threads and drop things in
//! any order. `docs/host-safety.md` says what it may rely on.

mod drops;
#[cfg(all(unix, feature = "store"))]
mod forks;
#[cfg(target_os = "linux")]
mod signals;
mod threads;
