//! llama.cpp's one initialisation of this process.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::{LogOptions, send_logs_to_tracing};

use super::LoadError;

/// `None` once somebody else was found to have initialised llama.cpp.
static RUNTIME: OnceLock<Option<LlamaBackend>> = OnceLock::new();
static CREATING: Mutex<()> = Mutex::new(());

/// llama.cpp's runtime, initialised by the first call and never ended: it must outlive every model.
/// A host that also uses `llama_cpp_2` itself passes it there, for there can be only one.
///
/// llama.cpp's log goes to [`tracing`], under the target `llama-cpp-2`, and never to the screen.
///
/// # Errors
/// [`LoadError::RuntimeTaken`] when another part of the process initialised it.
pub fn runtime() -> Result<&'static LlamaBackend, LoadError> {
    let runtime = RUNTIME.get_or_init(|| {
        send_logs_to_tracing(LogOptions::default());
        LlamaBackend::init().ok()
    });
    runtime.as_ref().ok_or(LoadError::RuntimeTaken)
}

/// Held while a context is made: making one writes to its model (`n_ctx_train`), so two at a time are
/// a data race. A lock is fine here: this is loading, nothing that a step or a submit does.
pub(super) fn creating() -> MutexGuard<'static, ()> {
    // The lock guards no data of ours, so a panic under it left nothing half done.
    CREATING.lock().unwrap_or_else(PoisonError::into_inner)
}
