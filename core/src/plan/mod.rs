//! A plan's changes, in changesets: which change belongs to which, for certain.
//!
//! The system that Latchless replaces kept a list of changesets; starting one appended to it, recording a
//! change read its last element, and between the two a change went into the wrong changeset, or the list
//! was found empty after it had been found not to be. Here there is one number, of the changesets that
//! were started, and [`PlanContext::start`] is one compare-and-swap on it: before it the new changeset is
//! not there, after it every record that begins goes there or to a newer one.
//!
//! A changeset is a [`log`] that is sealed by one swap. A record is written into a place of its own and
//! published by one addition, at which its writer learns whether it came in time. So it is in what the sealer
//! gets, or its writer goes to the newest changeset with it: a sealer waits for nobody, also not for a place
//! that somebody has taken and not filled. Places come in [`segment`]s, which are used again; recording does
//! not depend on the allocator, whose locks a preempted thread can hold.

mod context;
mod log;
mod segment;
mod table;

#[cfg(all(test, latchless_loom))]
mod loom_models;

pub use self::context::{
    ChangesetId, PlanContention, PlanContext, RecordError, SealError, SealedChangeset,
    TooManyChangesets,
};
