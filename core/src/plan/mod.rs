//! A plan's changes, in changesets: which change belongs to which, for certain.
//!
//! The system that Latchless replaces kept a list of changesets; starting one appended to it, recording a
//! change read its last element, and between the two a change went into the wrong changeset, or the list
//! was found empty after it had been found not to be. Here there is one number, of the changesets that
//! were started, and [`PlanContext::start`] is one compare-and-swap on it: before it the new changeset is
//! not there, after it every record that begins goes there or to a newer one.
//!
//! A changeset is a stack of records ([`stack`]) that is sealed by one swap of its head. A record is
//! written first and published by one compare-and-swap on that head. So it is in what the sealer gets, or
//! it finds the changeset sealed and goes to the newest: nothing lies in between, no place is reserved
//! that somebody would have to fill, and a sealer waits for nobody.

mod context;
mod stack;
mod table;

#[cfg(all(test, latchless_loom))]
mod loom_models;

pub use self::context::{
    ChangesetId, PlanContext, RecordError, SealError, SealedChangeset, TooManyChangesets,
};
