//! What must be true of every file that is read as a stored sequence: for the fuzz target and for the test
//! that replays its corpus.
//!
//! The reader and the tags alone, as the crate has them in its module `cache`: no folder, no disk. The
//! crate's root that includes this has a module `backend` with `Token` and `Model`.

#[path = "../../../src/cache/tag.rs"]
#[allow(dead_code, unreachable_pub)]
mod tag;
mod warm;

pub(crate) use self::tag::ModelTag;
pub(crate) use self::warm::read;
pub(crate) use latchless_engine::cache::FileProblem;
