//! What an agent may do besides writing text.
//!
//! A [`Tool`] has a name, takes a line of text and answers with text. Calls that only read run at the same
//! time; a call that writes waits for them, and runs alone. Results come in the order in which the calls were
//! asked for. A tool that fails, panics or takes too long has a failure as its result, which the model is
//! told: only an abort by the user ends the turn (case 36).
//!
//! # A call that does not come back
//!
//! Each call runs on a thread of its own, because nothing can end a thread from outside. When its time is over
//! it is told so ([`Call::cancel`]) and left alone: its result comes late, and what it has written is dropped
//! with it, since a call writes to its own copy of the turn's [`Documents`]. What a tool does to the world
//! outside is its own affair, and it should look at its [`Call::cancel`] before it does something for good.

mod documents;
mod run;
#[cfg(test)]
pub(super) mod scripted;
mod toolbox;

use std::fmt;
use std::time::Duration;

use thiserror::Error;

pub use self::documents::{AppendDocument, ListDocuments, ReadDocument, WriteDocument};
pub(crate) use self::run::message as panic_message;
pub use self::run::{Ended, Running, run};
pub use self::toolbox::{Toolbox, ToolboxError};

use super::cancel::{Cancel, CancelReason};
use super::documents::Documents;
use crate::store::{Change, StoreError};

/// Characters of an answer; a longer one is a failure. A model reads far less.
pub const ANSWER_CHARACTERS: usize = 100_000;

/// Whether a tool changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// It only looks: calls of such tools run at the same time.
    Read,
    /// It changes something: its calls run alone.
    Write,
}

/// Something that an agent can do.
///
/// ```
/// use latchless_engine::runtime::tools::{Access, Call, Tool, ToolError};
///
/// struct Count;
///
/// impl Tool for Count {
///     fn name(&self) -> &str {
///         "count"
///     }
///     fn usage(&self) -> &str {
///         "TEXT: tells how many words it has"
///     }
///     fn access(&self) -> Access {
///         Access::Read
///     }
///     fn call(&self, call: &mut Call) -> Result<String, ToolError> {
///         Ok(format!("{} words", call.argument().split_whitespace().count()))
///     }
/// }
/// ```
pub trait Tool: Send + Sync + 'static {
    /// What the model asks for it by: letters, digits, `_` and `-`.
    fn name(&self) -> &str;

    /// What follows the name, and what it does: one line for the model.
    fn usage(&self) -> &str;

    /// Whether it changes anything.
    fn access(&self) -> Access;

    /// The longest that a call may take; 30 seconds unless chosen.
    fn time_limit(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// The shortest time limit that a call is given, a third of the longest unless chosen. In between, the limit
    /// follows what the tool's calls have taken (see [`AdaptiveLimit`](latchless::AdaptiveLimit)), so that an
    /// agent does not wait for half a minute for what is stuck and else takes a millisecond; a limit that turns
    /// out too short doubles. [`time_limit`](Self::time_limit) itself makes the limit a fixed one.
    ///
    /// Both are asked once, when the tool comes into a [`Toolbox`].
    fn least_time_limit(&self) -> Duration {
        self.time_limit() / 3
    }

    /// What an argument can be, as the right side of a rule in GBNF, for models that are held to a grammar.
    /// Any line of at most 300 characters unless chosen.
    fn argument_rule(&self, documents: &Documents) -> String {
        let _ = documents;
        super::protocol::line_rule(1, 300)
    }

    /// Does it.
    ///
    /// # Errors
    /// [`ToolError`]: an answer like others, but for [`ToolError::Aborted`].
    fn call(&self, call: &mut Call) -> Result<String, ToolError>;
}

/// What a tool was asked, and what it may use.
#[derive(Debug)]
pub struct Call {
    argument: String,
    access: Access,
    documents: Documents,
    cancel: Cancel,
}

impl Call {
    /// What the model wrote behind the tool's name.
    pub fn argument(&self) -> &str {
        &self.argument
    }

    /// Says when the call should end: its time is over, or nobody wants its result any more.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// A document as text; `None` when there is none.
    ///
    /// # Errors
    /// [`ToolError::Store`].
    pub fn read(&mut self, name: &str) -> Result<Option<String>, ToolError> {
        let found = self.documents.read(name)?;
        Ok(found.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Names of the documents.
    ///
    /// # Errors
    /// [`ToolError::Store`].
    pub fn list(&self) -> Result<Vec<String>, ToolError> {
        Ok(self.documents.list()?)
    }

    /// The documents, for a tool that changes them.
    ///
    /// # Errors
    /// [`ToolError::ReadOnly`] for a tool that said it only looks.
    pub fn documents(&mut self) -> Result<&mut Documents, ToolError> {
        match self.access {
            Access::Write => Ok(&mut self.documents),
            Access::Read => Err(ToolError::ReadOnly),
        }
    }

    /// Notes a change of something else than a document, so that it is among the turn's changes.
    ///
    /// # Errors
    /// [`ToolError::ReadOnly`], [`ToolError::Store`].
    pub fn record(&mut self, change: Change) -> Result<(), ToolError> {
        Ok(self.documents()?.record(change)?)
    }
}

/// Why a call has no answer. The model is told in these words.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ToolError {
    /// There is no such tool.
    #[error("there is no tool {name:?}; there are {}", known.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The argument is not what the tool takes.
    #[error("{problem}; write CALL {usage}")]
    Argument {
        /// What is wrong with it.
        problem: String,
        /// How it should be.
        usage: String,
    },
    /// It could not be done.
    #[error("{0}")]
    Failed(String),
    /// A document could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A tool that only looks wanted to write.
    #[error("a tool that says it only reads cannot write; its access must be Write")]
    ReadOnly,
    /// The tool panicked.
    #[error("the tool panicked: {0}")]
    Panicked(String),
    /// Its time was over.
    #[error("it took longer than {} ms and was given up; ask for less at once", limit.as_millis())]
    TimeLimit {
        /// The limit.
        limit: Duration,
    },
    /// Nobody wants the result any more.
    #[error("it was given up: {0}")]
    Cancelled(CancelReason),
    /// More than can be stored or read.
    #[error("the answer has more than {ANSWER_CHARACTERS} characters; ask for a part of it")]
    TooLong,
    /// The system gave no thread.
    #[error("no thread for the call: {0}; try again later")]
    Thread(#[source] std::io::Error),
    /// The user was asked and does not want to go on: the one failure that ends the turn.
    #[error("the user ended it: {0}")]
    Aborted(String),
}

/// A call that a model has asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The tool's name.
    pub tool: String,
    /// What follows the name.
    pub argument: String,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.tool, self.argument)
    }
}
