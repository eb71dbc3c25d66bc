//! Why a call did nothing, as it was found out: typed, so that it costs no text until somebody asks.

use latchless::{
    AllocateError, ClaimError, ForgetError, HandleError, NoSuchAgent, Overtaken, PoolConfigError,
    ReconfigureError, ReserveError, SpecError, SplitError, TaskQueueConfigError, TooManyAgents,
    TransferError, TransitionRefused, WaitError,
};
use latchless_engine::{
    AgentError, DrainTimeout, Draining, EngineError, RequestError, SubmitError, SwapError,
};
use latchless_handles::Unusable;
use thiserror::Error;

use super::latchless_status as S;

/// Why a call did nothing. Small, and made without memory where the call is for a real-time thread.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error("{what}: {problem}")]
    Handle { what: &'static str, problem: Unusable },
    #[error(
        "another thread is in a call on this {0}, which takes one at a time; give each thread its own"
    )]
    Busy(&'static str),
    #[error("1048576 objects of this kind are there already; destroy some")]
    TooManyObjects,
    #[error("{0} is NULL; pass a pointer to it")]
    NullPointer(&'static str),
    #[error("{0}")]
    Argument(&'static str),
    #[error("{what} is {value}; give it {allowed}")]
    Value { what: &'static str, value: u64, allowed: &'static str },
    #[error("{0} is not UTF-8; convert it first")]
    NotUtf8(&'static str),
    #[error(
        "{what}.size is {size}, this library knows {first} to {known}; call the struct's init function, and \
         install a library that is no older than the header"
    )]
    StructSize { what: &'static str, size: usize, first: usize, known: usize },
    #[error("{needed} {what} do not fit into the memory for {capacity}; bring more")]
    BufferTooSmall { what: &'static str, needed: usize, capacity: usize },
    #[error(
        "this process was forked after it had used Latchless; exec in the child, or make no call there"
    )]
    Forked,
    #[error("a defect was caught: {0}; destroy the object, and please report it")]
    Panic(String),
    #[cfg(not(feature = "llama"))]
    #[error("this library was built without {0}; build it with the feature `llama`")]
    Unsupported(&'static str),
    #[error(transparent)]
    Allocate(#[from] AllocateError),
    #[error(transparent)]
    Wait(#[from] WaitError),
    #[error(transparent)]
    Block(#[from] HandleError),
    #[error(transparent)]
    Reconfigure(#[from] ReconfigureError),
    #[error(transparent)]
    TooManyAgents(#[from] TooManyAgents),
    #[error(transparent)]
    NoSuchAgent(#[from] NoSuchAgent),
    #[error(transparent)]
    Reserve(#[from] ReserveError),
    #[error(transparent)]
    Transfer(#[from] TransferError),
    #[error(transparent)]
    Split(#[from] SplitError),
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    Pool(#[from] PoolConfigError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Agent(#[from] AgentError),
    #[error(transparent)]
    Submit(#[from] SubmitError),
    #[error(
        "{routes} requests with callbacks have not been told that they ended; dispatch, then submit"
    )]
    TooManyRoutes { routes: usize },
    #[error(transparent)]
    Drain(#[from] DrainTimeout),
    #[error(transparent)]
    Retiring(#[from] Draining),
    #[cfg(feature = "llama")]
    #[error("{0}")]
    Load(String),
    #[error("{text}")]
    Swap { status: S, text: String },
    #[error("no event yet; wait, or step the engine")]
    NoEvent,
    #[error("the request has ended, and its finished event was taken; release the stream")]
    Ended,
    #[error("nothing happened within {0} ns; wait longer, or look why nobody steps the engine")]
    TimedOut(u64),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Edge(#[from] TransitionRefused),
    #[error(transparent)]
    Overtaken(#[from] Overtaken),
    #[error("the agent was seen in version {seen} and is in {now}; decide again from there")]
    OvertakenBefore { seen: u64, now: u64 },
    #[error(transparent)]
    Queue(#[from] TaskQueueConfigError),
    #[error("all {capacity} slots have tasks; forget some that are over, or make the queue larger")]
    QueueFull { capacity: usize },
    #[error("agent type {agent_type} of {types}; make the queue for more, or leave the type open")]
    UnknownType { agent_type: u8, types: u8 },
    #[error("no task can be claimed by this agent type now; try again later")]
    NoTask,
    #[error(transparent)]
    Claim(#[from] ClaimError),
    #[error(transparent)]
    Forget(#[from] ForgetError),
    #[error("there is no such task in this queue (any more); keep the id that the submit gave")]
    UnknownTask,
}

impl Failure {
    pub(crate) fn status(&self) -> S {
        match self {
            Self::Handle { problem: Unusable::Null, .. } => S::LATCHLESS_ERROR_NULL_HANDLE,
            Self::Handle { problem: Unusable::OtherKind | Unusable::Unknown, .. } => {
                S::LATCHLESS_ERROR_FOREIGN_HANDLE
            }
            Self::Handle { problem: Unusable::Closed, .. } => S::LATCHLESS_ERROR_STALE_HANDLE,
            Self::Busy(_) => S::LATCHLESS_ERROR_BUSY,
            Self::TooManyObjects => S::LATCHLESS_ERROR_TOO_MANY_OBJECTS,
            Self::NullPointer(_) => S::LATCHLESS_ERROR_NULL_POINTER,
            Self::Argument(_)
            | Self::Value { .. }
            | Self::Split(_)
            | Self::Spec(_)
            | Self::Pool(_)
            | Self::Queue(_)
            | Self::Agent(AgentError::Name(_)) => S::LATCHLESS_ERROR_INVALID_ARGUMENT,
            Self::NotUtf8(_) => S::LATCHLESS_ERROR_NOT_UTF8,
            Self::StructSize { .. } => S::LATCHLESS_ERROR_STRUCT_SIZE,
            Self::BufferTooSmall { .. } => S::LATCHLESS_ERROR_BUFFER_TOO_SMALL,
            Self::Forked | Self::Agent(AgentError::Forked(_)) => S::LATCHLESS_ERROR_FORKED,
            Self::Panic(_) => S::LATCHLESS_ERROR_PANIC,
            #[cfg(not(feature = "llama"))]
            Self::Unsupported(_) => S::LATCHLESS_ERROR_UNSUPPORTED,
            Self::Allocate(error) => of_allocate(error),
            Self::Wait(error) => of_wait(error),
            Self::Block(error) => of_block(*error),
            Self::Reconfigure(_) => S::LATCHLESS_ERROR_OUTSTANDING,
            Self::TooManyAgents(_) | Self::Agent(_) => S::LATCHLESS_ERROR_TOO_MANY_AGENTS,
            Self::NoSuchAgent(_)
            | Self::Reserve(ReserveError::UnknownAgent)
            | Self::Transfer(TransferError::UnknownAgent) => S::LATCHLESS_ERROR_UNKNOWN_AGENT,
            Self::Reserve(_) => S::LATCHLESS_ERROR_EXHAUSTED,
            Self::Transfer(TransferError::QuotaExceeded { .. }) => S::LATCHLESS_ERROR_QUOTA,
            Self::Transfer(_) => S::LATCHLESS_ERROR_RESERVE,
            Self::Engine(_) => S::LATCHLESS_ERROR_ENGINE,
            Self::Submit(error) => of_submit(error),
            Self::TooManyRoutes { .. } => S::LATCHLESS_ERROR_TOO_MANY_REQUESTS,
            Self::Drain(_) | Self::TimedOut(_) => S::LATCHLESS_ERROR_TIMED_OUT,
            Self::Retiring(_) => S::LATCHLESS_ERROR_RETIRING,
            #[cfg(feature = "llama")]
            Self::Load(_) => S::LATCHLESS_ERROR_LOAD,
            Self::Swap { status, .. } => *status,
            Self::NoEvent => S::LATCHLESS_ERROR_NO_EVENT,
            Self::Ended => S::LATCHLESS_ERROR_ENDED,
            Self::Request(_) => S::LATCHLESS_ERROR_REQUEST_FAILED,
            Self::Edge(_) => S::LATCHLESS_ERROR_NO_EDGE,
            Self::Overtaken(_) | Self::OvertakenBefore { .. } => S::LATCHLESS_ERROR_OVERTAKEN,
            Self::QueueFull { .. } => S::LATCHLESS_ERROR_QUEUE_FULL,
            Self::UnknownType { .. } => S::LATCHLESS_ERROR_UNKNOWN_TYPE,
            Self::NoTask => S::LATCHLESS_ERROR_NO_TASK,
            Self::Claim(ClaimError::Lost { .. }) => S::LATCHLESS_ERROR_CLAIM_LOST,
            Self::Claim(ClaimError::NotAStep { .. }) => S::LATCHLESS_ERROR_NOT_A_STEP,
            Self::Forget(ForgetError::NotOver { .. }) => S::LATCHLESS_ERROR_NOT_OVER,
            Self::Forget(ForgetError::Unknown { .. }) | Self::UnknownTask => {
                S::LATCHLESS_ERROR_UNKNOWN_TASK
            }
        }
    }
}

fn of_allocate(error: &AllocateError) -> S {
    match error {
        AllocateError::Exhausted { .. } => S::LATCHLESS_ERROR_EXHAUSTED,
        AllocateError::QuotaExceeded { .. } => S::LATCHLESS_ERROR_QUOTA,
        AllocateError::UnknownLayer { .. } => S::LATCHLESS_ERROR_UNKNOWN_LAYER,
        AllocateError::UnknownAgent => S::LATCHLESS_ERROR_UNKNOWN_AGENT,
        _ => S::LATCHLESS_ERROR_INVALID_ARGUMENT,
    }
}

fn of_wait(error: &WaitError) -> S {
    match error {
        WaitError::Refused(error) => of_allocate(error),
        WaitError::NeverFits { .. } => S::LATCHLESS_ERROR_NEVER_FITS,
        WaitError::TooManyWaiters { .. } => S::LATCHLESS_ERROR_TOO_MANY_WAITERS,
        _ => S::LATCHLESS_ERROR_TIMED_OUT,
    }
}

fn of_block(error: HandleError) -> S {
    match error {
        HandleError::AlreadyFree { .. } => S::LATCHLESS_ERROR_ALREADY_FREE,
        HandleError::Stale { .. } => S::LATCHLESS_ERROR_STALE_BLOCK,
        HandleError::NotOwner { .. } => S::LATCHLESS_ERROR_NOT_OWNER,
        _ => S::LATCHLESS_ERROR_UNKNOWN_BLOCK,
    }
}

fn of_submit(error: &SubmitError) -> S {
    match error {
        SubmitError::Blocks(error) => of_allocate(error),
        SubmitError::TooManyRequests { .. } => S::LATCHLESS_ERROR_TOO_MANY_REQUESTS,
        SubmitError::Forked(_) => S::LATCHLESS_ERROR_FORKED,
        SubmitError::Draining => S::LATCHLESS_ERROR_DRAINING,
        SubmitError::Closed => S::LATCHLESS_ERROR_CLOSED,
        SubmitError::EmptyPrompt
        | SubmitError::UnknownToken { .. }
        | SubmitError::PromptTooLong { .. }
        | SubmitError::Prompt(_) => S::LATCHLESS_ERROR_PROMPT,
        _ => S::LATCHLESS_ERROR_INVALID_ARGUMENT,
    }
}

impl<E: std::fmt::Display> From<SwapError<E>> for Failure {
    fn from(error: SwapError<E>) -> Self {
        let status = match &error {
            SwapError::Load(_) => S::LATCHLESS_ERROR_LOAD,
            SwapError::Forked(_) => S::LATCHLESS_ERROR_FORKED,
            SwapError::Draining(_) => S::LATCHLESS_ERROR_RETIRING,
            SwapError::Swapping => S::LATCHLESS_ERROR_BUSY,
            SwapError::Closed => S::LATCHLESS_ERROR_CLOSED,
            _ => S::LATCHLESS_ERROR_ENGINE,
        };
        Self::Swap { status, text: error.to_string() }
    }
}
