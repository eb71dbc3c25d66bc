//! Agents' sequences when their turn is over: kept, written down, or computed again.
//!
//! What a model remembers of a sequence is large (SmolLM2-135M: 23 kB a token; an 8-billion model:
//! 128 kB), costs a prefill to make, and is the same for every later turn. So it is kept at three
//! temperatures:
//!
//! - **hot**: in the context's cells, or in host memory. [`HotCache`] is the index of that: which agent
//!   has what, with its tokens, and who goes when room is needed. It belongs to one thread, has no lock
//!   and does no I/O, so that a lane can own one.
//! - **warm**: a file for each agent. [`WarmCache`] writes, finds and reads them; it survives the process.
//! - **cold**: nowhere. The tokens are prefilled again.
//!
//! States are opaque bytes here, as [`Backend::save_sequence`](crate::backend::Backend::save_sequence)
//! returns them. A [`ModelTag`] in each file says which model they belong to.
//!
//! # What a file promises
//!
//! - It is whole. It is written under a temporary name, synced, renamed, and its folder is synced: a
//!   reader, and a process that starts after a crash, sees the old file or the new one.
//! - It is what was saved: header and payload each carry a checksum. It is XXH3, at memory speed: 64 bits
//!   against decay and half-written sectors. A cryptographic hash would be several times slower and would
//!   protect no better: whoever may write the file may write its checksum.
//! - It belongs to this model: every field of the tag must be equal.
//!
//! Anything else is a typed error, the file is put aside, and the agent starts cold.
//!
//! # Who may call what
//!
//! `WarmCache` waits for the disk, and holds a lock while it renames and unlinks. So a lane calls nothing
//! of it but what takes no lock, [`peek`](WarmCache::peek) and [`has`](WarmCache::has): it hands a [`SaveJob`]
//! to a [`CacheWriter`]'s handle and a [`LoadJob`] to a [`CacheReader`]'s, which never wait.
//!
//! ```
//! use latchless::{AgentId, ModelSpec};
//! use latchless_engine::Token;
//! use latchless_engine::cache::{ModelTag, WarmCache};
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//!
//! let tag = ModelTag::new("script 1", "SmolLM2 135M", &ModelSpec::new(30, 3, 64, 32)?, 49_152);
//! let cache = WarmCache::open(folder, tag, 1 << 30)?;
//!
//! let planner = AgentId::new("planner")?;
//! cache.save(&planner, &[Token(1), Token(2), Token(3)], b"what the model remembers")?;
//!
//! // A new prompt begins like something that is stored: two tokens need no prefill.
//! let found = cache.longest_prefix(&[Token(1), Token(2), Token(9)]).expect("a common start");
//! assert_eq!((found.agent.as_str(), found.common), ("planner", 2));
//! assert_eq!(cache.load(&found.agent)?.state, b"what the model remembers");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod hot;
mod index;
mod reader;
mod tag;
mod warm;
mod writer;

pub use self::error::{CacheError, FileProblem, IdProblem, NoRoom};
pub use self::hot::{Evicted, HotCache, NotKept};
pub use self::index::PrefixMatch;
pub use self::reader::{CacheReader, LoadJob, ReaderHandle};
pub use self::tag::{ModelTag, TagDifference, fingerprint};
pub use self::warm::{OpenReport, Pin, SavedSequence, WarmCache};
pub use self::writer::{
    CacheHandle, CacheWriter, NotQueued, Refusal, SaveJob, Unwritten, WriterReport,
};
