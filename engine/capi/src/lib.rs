//! The C ABI of Latchless: for hosts in C, C++ and whatever calls C.
//!
//! The header is `include/latchless.h`, generated from this crate and checked to be current by its tests;
//! `include/latchless.hpp` wraps it for C++17. `docs/c-abi.md` is the guide.
//!
//! - **Handles** ([`handles`]): every object is behind 64 bits that say which slot, which kind and which
//!   generation. A handle that is null, stale, of another kind or made up gives an error code. An object
//!   lives until the last call on it returns, whoever destroys it meanwhile. Looking one up takes no lock.
//! - **Calls** (`call`): each goes through one door, which refuses in a forked child, catches panics and
//!   keeps the failure for [`latchless_last_error`](status::latchless_last_error). A refusal allocates
//!   nothing: its text is written when somebody asks for it.
//! - **Threads**: none, unless [options](options::latchless_engine_options) ask for them.
//!
//! Arrows point one way: `pool`, `lease`, `machine`, `tasks`, `engine` use `handles`, `call`, `status` and
//! `arguments`, and know nothing of each other.
//!
//! # Safety
//! Every function is `unsafe` for the same reason: it trusts its caller that a pointer which is not null is
//! aligned and points to what its type says, for as long as the call lasts. Nothing else is trusted: no
//! handle, number, text or order of calls.

#![allow(non_camel_case_types, reason = "these are the names that C sees")]
#![allow(clippy::struct_field_names, reason = "the core's pool in C's")]
#![allow(clippy::doc_markdown, reason = "most of it is the header's, where nothing is marked up")]
#![allow(
    clippy::missing_safety_doc,
    reason = "one contract for all, above; the header says it to C"
)]
#![allow(
    clippy::missing_errors_doc,
    reason = "the status that is returned has a document of its own"
)]

pub mod arguments;
pub mod engine;
pub mod handles;
pub mod lease;
pub mod machine;
pub mod options;
pub mod pool;
pub mod status;
pub mod tasks;
pub mod version;

mod call;
mod seal;
