//! What a call returns, and why.

mod failure;
mod last;
mod names;

pub(crate) use self::failure::Failure;
pub(crate) use self::last::remember;
pub use self::last::{latchless_last_error, latchless_last_status, latchless_status_name};

/// What a call returns: `LATCHLESS_OK`, or why nothing was changed. latchless_last_error() says it in
/// words, with numbers, and what to do.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum latchless_status {
    /// Done.
    LATCHLESS_OK = 0,

    /// The handle is all zeros.
    LATCHLESS_ERROR_NULL_HANDLE = 1,
    /// The handle is of an object of another kind, or was never given out.
    LATCHLESS_ERROR_FOREIGN_HANDLE = 2,
    /// The object of this handle was destroyed, or the handle was made up.
    LATCHLESS_ERROR_STALE_HANDLE = 3,
    /// Another thread is in a call on this object that takes one thread at a time.
    LATCHLESS_ERROR_BUSY = 4,
    /// As many objects of this kind as there can be are there: 1,048,576.
    LATCHLESS_ERROR_TOO_MANY_OBJECTS = 5,

    /// A pointer is NULL that must not be.
    LATCHLESS_ERROR_NULL_POINTER = 10,
    /// An argument means nothing, or is out of its range.
    LATCHLESS_ERROR_INVALID_ARGUMENT = 11,
    /// A text is not UTF-8.
    LATCHLESS_ERROR_NOT_UTF8 = 12,
    /// The `size` of a struct is none that this library knows: it is older than the header, or the struct
    /// was not initialised.
    LATCHLESS_ERROR_STRUCT_SIZE = 13,
    /// The caller's memory is too small for the result; the call says how much it takes.
    LATCHLESS_ERROR_BUFFER_TOO_SMALL = 14,

    /// The call was made in a child of fork(). Nothing was done: exec, or make no call in the child.
    LATCHLESS_ERROR_FORKED = 20,
    /// A defect of the library was caught. The object may be in any state: destroy it.
    LATCHLESS_ERROR_PANIC = 21,
    /// The library was built without what this call needs.
    LATCHLESS_ERROR_UNSUPPORTED = 22,

    /// Too few blocks were free, at one instant during the call.
    LATCHLESS_ERROR_EXHAUSTED = 30,
    /// The agent would have had more blocks than its quota.
    LATCHLESS_ERROR_QUOTA = 31,
    /// The agent is not registered (any more), or is of another pool or engine.
    LATCHLESS_ERROR_UNKNOWN_AGENT = 32,
    /// The model has no such layer.
    LATCHLESS_ERROR_UNKNOWN_LAYER = 33,
    /// A block of the list was never given out under this handle. One of another pool is this, or as if it
    /// had been freed or given out again.
    LATCHLESS_ERROR_UNKNOWN_BLOCK = 34,
    /// A block of the list was freed before.
    LATCHLESS_ERROR_ALREADY_FREE = 35,
    /// A block of the list has been given out again since.
    LATCHLESS_ERROR_STALE_BLOCK = 36,
    /// A block of the list belongs to another agent.
    LATCHLESS_ERROR_NOT_OWNER = 37,
    /// Blocks are out, so that the geometry cannot be replaced.
    LATCHLESS_ERROR_OUTSTANDING = 38,
    /// As many agents are registered as there is room for.
    LATCHLESS_ERROR_TOO_MANY_AGENTS = 39,
    /// The pool will never have so many blocks.
    LATCHLESS_ERROR_NEVER_FITS = 40,
    /// As many callers wait for blocks as there is room for.
    LATCHLESS_ERROR_TOO_MANY_WAITERS = 41,
    /// Too few blocks are free to make up for those that would leave a reserve.
    LATCHLESS_ERROR_RESERVE = 42,

    /// The time was over before it happened.
    LATCHLESS_ERROR_TIMED_OUT = 50,
    /// The engine was shut down, or its lane is gone.
    LATCHLESS_ERROR_CLOSED = 51,
    /// Somebody drains the engine; submit again when that is done.
    LATCHLESS_ERROR_DRAINING = 52,
    /// As many requests as the engine takes are waiting or running.
    LATCHLESS_ERROR_TOO_MANY_REQUESTS = 53,
    /// The prompt is empty, too long, or cannot be read.
    LATCHLESS_ERROR_PROMPT = 54,
    /// No engine can be made with these options.
    LATCHLESS_ERROR_ENGINE = 55,
    /// The model cannot be loaded.
    LATCHLESS_ERROR_LOAD = 56,
    /// There is no event yet.
    LATCHLESS_ERROR_NO_EVENT = 57,
    /// The finished event was taken; nothing follows.
    LATCHLESS_ERROR_ENDED = 58,
    /// The model before has not finished its requests.
    LATCHLESS_ERROR_RETIRING = 59,
    /// The request failed. Only in a completion's `error`, never returned.
    LATCHLESS_ERROR_REQUEST_FAILED = 60,

    /// The state machine has no such edge.
    LATCHLESS_ERROR_NO_EDGE = 70,
    /// The state machine was changed after the caller looked.
    LATCHLESS_ERROR_OVERTAKEN = 71,

    /// All slots of the queue have tasks.
    LATCHLESS_ERROR_QUEUE_FULL = 80,
    /// There is no such agent type.
    LATCHLESS_ERROR_UNKNOWN_TYPE = 81,
    /// No task can be claimed now.
    LATCHLESS_ERROR_NO_TASK = 82,
    /// The claim is over: the task was given back, taken back, or ended.
    LATCHLESS_ERROR_CLAIM_LOST = 83,
    /// The task is not where this step begins.
    LATCHLESS_ERROR_NOT_A_STEP = 84,
    /// There is no such task (any more), or it is of another queue.
    LATCHLESS_ERROR_UNKNOWN_TASK = 85,
    /// The task is not over.
    LATCHLESS_ERROR_NOT_OVER = 86,
}
