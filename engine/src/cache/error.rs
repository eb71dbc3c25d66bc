//! What can go wrong with a stored sequence.

use std::io;
use std::path::PathBuf;

use latchless::AgentId;
use thiserror::Error;

use super::TagDifference;

/// A sequence was not saved or not loaded. In each case the agent can start cold.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CacheError {
    /// Nothing is stored for this agent.
    #[error("nothing is stored for agent {agent}; prefill its tokens")]
    Missing {
        /// The agent.
        agent: AgentId,
    },
    /// The id could lead out of the folder, or cannot be told from another one on disk.
    #[error("agent id {id:?} {problem}; name the agent in letters, digits, '-', '_', '.' and ':'")]
    Id {
        /// The id.
        id: String,
        /// What is wrong with it.
        problem: IdProblem,
    },
    /// The file cannot be used.
    #[error("{} {problem}; prefill the agent's tokens", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: FileProblem,
    },
    /// The state does not fit in, whoever goes.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// There is not enough memory for the state.
    #[error("{bytes} bytes of memory for the state of agent {agent} cannot be had; free some")]
    Memory {
        /// The agent.
        agent: AgentId,
        /// The length of its state.
        bytes: u64,
    },
    /// Another cache, of this process or another one, has the folder.
    #[error("{} is used by another cache; give each its own folder", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// The system refused.
    #[error("{doing} {} failed: {source}; check the folder's disk and permissions", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why an id names no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IdProblem {
    /// It has a slash or a backslash.
    #[error("contains a path separator")]
    Separator,
    /// It is `.` or contains `..`.
    #[error("could name a parent folder")]
    Parent,
    /// It has a NUL or another control character.
    #[error("contains a control character")]
    Control,
}

/// Why a file is not used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FileProblem {
    /// Shorter than its own header says, or than any header.
    #[error("is cut off: {found} bytes, not {expected}")]
    Short {
        /// Bytes it should have.
        expected: u64,
        /// Bytes it has.
        found: u64,
    },
    /// Longer than its own header says.
    #[error("has {extra} bytes too many")]
    Long {
        /// Bytes behind its end.
        extra: u64,
    },
    /// It does not begin like a stored sequence.
    #[error("is no stored sequence")]
    NotASequence,
    /// Written by a version that this one does not know.
    #[error("has format {found}, this version reads {known}")]
    Version {
        /// The format of the file.
        found: u32,
        /// The format that is read here.
        known: u32,
    },
    /// The bytes are not those that were written.
    #[error("is damaged: the checksum of its {part} differs")]
    Checksum {
        /// Which part.
        part: &'static str,
    },
    /// A field has a value that nobody writes.
    #[error("is damaged: {field} makes no sense")]
    Field {
        /// Which field.
        field: &'static str,
    },
    /// It belongs to another model.
    #[error("belongs to another model: {0}")]
    Foreign(TagDifference),
    /// It holds another agent's sequence.
    #[error("holds the sequence of agent {found}")]
    OtherAgent {
        /// Whose it is.
        found: AgentId,
    },
}

/// A state does not fit in, even when everything goes that may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "no room for {needed} bytes: the cache has room for {entries} entries and {bytes} bytes, of which \
     {pinned} are pinned; raise the budget or drop a pin"
)]
pub struct NoRoom {
    /// Bytes of the state.
    pub needed: u64,
    /// Entries that fit in.
    pub entries: usize,
    /// Bytes that fit in.
    pub bytes: u64,
    /// Bytes that must not go.
    pub pinned: u64,
}
