//! Names of things: small, `Copy` where they are numbers, and never mixed up.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// A KV-cache block, `0 .. total` of its pool.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockId(pub u32);

/// A layer of a model, `0 .. layers` of its [`ModelSpec`](crate::ModelSpec).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LayerId(pub u16);

/// A request to an engine, unique within it.
///
/// ```
/// use latchless::RequestId;
/// assert_eq!(format!("{} {:?}", RequestId(7), RequestId(7)), "7 RequestId(7)");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

macro_rules! number_id {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    )*};
}
number_id!(BlockId, LayerId, RequestId);

/// A host's name for an agent: 1 to 256 bytes, cheap to clone.
///
/// Hot paths carry an [`AgentHandle`](crate::AgentHandle) instead; the name is for registering and
/// looking up.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentId(Arc<str>);

/// A name that no agent can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AgentIdError {
    /// The name is empty.
    #[error("an agent's id is empty; give it 1 to {} bytes", AgentId::MAX_BYTES)]
    Empty,
    /// The name is too long.
    #[error("an agent's id has {bytes} bytes; give it at most {}", AgentId::MAX_BYTES)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

impl AgentId {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 256;

    /// A name.
    ///
    /// # Errors
    /// [`AgentIdError`] when it is empty or longer than [`AgentId::MAX_BYTES`].
    ///
    /// ```
    /// use latchless::AgentId;
    /// assert_eq!(AgentId::new("planner")?.as_str(), "planner");
    /// assert!(AgentId::new("").is_err());
    /// # Ok::<(), latchless::AgentIdError>(())
    /// ```
    pub fn new(name: impl AsRef<str>) -> Result<Self, AgentIdError> {
        match name.as_ref() {
            "" => Err(AgentIdError::Empty),
            name if name.len() > Self::MAX_BYTES => {
                Err(AgentIdError::TooLong { bytes: name.len() })
            }
            name => Ok(Self(name.into())),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
