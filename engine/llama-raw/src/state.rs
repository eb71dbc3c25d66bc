//! The state of one llama.cpp sequence as bytes, and back.
//!
//! llama-cpp-2 has safe functions for this that go through a file, or through a value whose bytes cannot
//! be seen. Neither serves a cache that writes its own files, so the two raw calls are wrapped here.
//!
//! Sequences must be within what the context was made for: llama.cpp aborts the process on others.
//! `latchless-engine` checks that before it calls.

use llama_cpp_2::LlamaStateSeqFlags;
use llama_cpp_2::context::LlamaContext;
use thiserror::Error;

/// A state that was not copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum StateError {
    /// llama.cpp wrote another number of bytes than it had announced.
    #[error("llama.cpp announced a state of {announced} bytes and wrote {written}")]
    Size {
        /// What it said the state would take.
        announced: usize,
        /// What it wrote.
        written: usize,
    },
    /// llama.cpp refused the bytes. The sequence may hold a part of them: clear it.
    #[error("llama.cpp refused a state of {bytes} bytes; clear the sequence and decode its tokens")]
    Refused {
        /// The length of the state.
        bytes: usize,
    },
}

/// The state of `sequence`: the positions, keys and values of its tokens, in one allocation. The context
/// is unchanged.
///
/// # Errors
/// [`StateError::Size`].
pub fn get(context: &LlamaContext<'_>, sequence: i32) -> Result<Vec<u8>, StateError> {
    let flags = LlamaStateSeqFlags::empty();
    let announced = context.state_seq_get_size_ext(sequence, flags);
    let mut state = vec![0; announced];
    // SAFETY: llama.cpp finds the size by the walk that writes the state, run without a buffer. Between
    // the two calls nothing can change the context: every call that does so takes `&mut`, a context is
    // not `Sync`, and this thread holds the shared borrow. So `state` is as long as what is written.
    #[allow(unsafe_code)]
    let written = unsafe { context.state_seq_get_data_ext(state.as_mut_ptr(), sequence, flags) };
    if written == announced { Ok(state) } else { Err(StateError::Size { announced, written }) }
}

/// Gives `sequence` the state that [`get`] returned for a context of the same model, cache type and
/// layout; what the sequence held goes first.
///
/// # Errors
/// [`StateError::Refused`] when the bytes are no state, are cut off, come from another geometry, or
/// there are too few free cells.
pub fn set(context: &mut LlamaContext<'_>, sequence: i32, state: &[u8]) -> Result<(), StateError> {
    let refused = StateError::Refused { bytes: state.len() };
    if state.is_empty() {
        return Err(refused);
    }
    // SAFETY: llama.cpp reads from a slice that outlives the call, through a reader that knows its length
    // and stops with an error at its end, and it checks counts, types and row sizes against its own cache
    // before it copies. This is the parser behind the safe `state_seq_load_file`.
    #[allow(unsafe_code)]
    let read =
        unsafe { context.state_seq_set_data_ext(state, sequence, LlamaStateSeqFlags::empty()) };
    if read { Ok(()) } else { Err(refused) }
}
