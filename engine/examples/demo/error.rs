//! Why the demo ended early.

use std::io;
use std::path::PathBuf;

use latchless_engine::EngineError;
use latchless_engine::backend::BackendError;
use latchless_engine::backend::llama::LoadError;
use latchless_engine::runtime::flow::FlowError;
use latchless_engine::store::StoreError;

/// What is said on stderr, after `error: `.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// No model was named and none is in the cache.
    #[error(
        "no model was named and none was fetched; run `cargo xtask demo`, or give --model PATH"
    )]
    NoModel,
    /// The model or its context was not made.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The prompt file cannot be used.
    #[error("--prompt-file {}: {problem}", .path.display())]
    PromptFile {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A prompt is longer than a sequence can be.
    #[error(
        "the prompt of {agent} has {prompt_tokens} tokens, and the context holds {sequence_tokens}, one \
         of them generated; shorten the prompt{}",
        if *.can_grow { " or give a larger --context" } else { "" }
    )]
    PromptTooLong {
        /// Whose prompt it is.
        agent: String,
        /// Its tokens.
        prompt_tokens: usize,
        /// Tokens of a sequence.
        sequence_tokens: u32,
        /// Whether the model allows a larger context.
        can_grow: bool,
    },
    /// A prompt cannot be read by the model.
    #[error("the prompt of {agent} cannot be read: {problem}")]
    Prompt {
        /// Whose prompt it is.
        agent: String,
        /// What the model said.
        #[source]
        problem: BackendError,
    },
    /// The file for the figures cannot be written.
    #[error("--json {}: {problem}", .path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The plan cannot be worked at.
    #[error("{0}")]
    Plan(String),
    /// There is no place for the plan's state.
    #[error("there is no cache folder; set HOME, or name a folder with --state")]
    NoStateFolder,
    /// The plan's state cannot be kept there.
    #[error("--state {}: {problem}", .folder.display())]
    State {
        /// The folder.
        folder: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The flow did not begin, or did not go on.
    #[error(transparent)]
    Flow(#[from] FlowError),
    /// The engine was not made.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The warm-up request did not end as it should.
    #[error("the model does not answer: {0}")]
    WarmUp(String),
    /// The model was not replaced.
    #[error("the model was not replaced under way: {0}")]
    Swap(String),
    /// The operating system gave no thread.
    #[error("no thread for an agent: {0}; ask for fewer agents")]
    Thread(#[source] io::Error),
    /// Ctrl-C cannot be caught.
    #[error("Ctrl-C cannot be caught: {0}; start the demo from a shell")]
    Interrupt(#[from] ctrlc::Error),
    /// The output is gone or full.
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
}

impl DemoError {
    /// 2 for what the user has to put right, else 1.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::NoModel
            | Self::Load(_)
            | Self::PromptFile { .. }
            | Self::PromptTooLong { .. }
            | Self::Prompt { .. }
            | Self::Plan(_)
            | Self::NoStateFolder
            | Self::State { .. }
            | Self::Json { .. }
            // The state can be named by the user, and what is wrong with it put right.
            | Self::Store(
                StoreError::NotADatabase { .. }
                | StoreError::Foreign { .. }
                | StoreError::NewerSchema { .. }
                | StoreError::ReadOnly { .. }
                | StoreError::Damaged { .. },
            ) => 2,
            Self::Store(_)
            | Self::Flow(_)
            | Self::Engine(_)
            | Self::WarmUp(_)
            | Self::Swap(_)
            | Self::Thread(_)
            | Self::Interrupt(_)
            | Self::Output(_) => 1,
        }
    }

    /// Whether whoever read the output has gone, as `head` does: no reason for a message.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}
