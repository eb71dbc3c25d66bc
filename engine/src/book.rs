//! The pages of docs/ that have Rust in them: compiled with this crate's documentation and, unless they need a
//! model, run. A test of xtask's finds a page that is missing here.

#[cfg(feature = "llama")]
#[doc = include_str!("../../docs/getting-started.md")]
struct GettingStarted;

#[doc = include_str!("../../docs/threading.md")]
struct Threading;

#[doc = include_str!("../../docs/errors.md")]
struct Errors;

#[doc = include_str!("../../docs/migration.md")]
struct Migration;

#[cfg(feature = "metrics")]
#[doc = include_str!("../../docs/observability.md")]
struct Observability;
