//! Replacing the model while agents are being answered: the same file, loaded once more.

use std::thread;
use std::time::{Duration, Instant};

use latchless_engine::{Completion, Engine, SubmitError};

use crate::error::DemoError;
use crate::interrupt::Interrupt;
use crate::setup::Setup;

/// How often it is looked whether anybody has asked.
const TICK: Duration = Duration::from_millis(5);

/// What a swap took.
#[derive(Debug)]
pub(crate) struct Swapped {
    /// Loading the new one, while the old one answered.
    pub(crate) load: Duration,
    /// Requests that the old one had to finish.
    pub(crate) remaining: u32,
    /// Until they had ended and its context was dropped.
    pub(crate) drain: Duration,
    /// A question that was asked right after.
    pub(crate) after: Completion,
}

/// Waits until somebody has asked, replaces the model, asks the new one, and waits until the old one is
/// gone. `None` after Ctrl-C.
pub(crate) fn under_way(
    setup: &Setup,
    engine: &Engine,
    interrupt: &Interrupt,
) -> Result<Option<Swapped>, DemoError> {
    while engine.pending().is_empty() {
        if interrupt.is_requested() {
            return Ok(None);
        }
        thread::sleep(TICK);
    }
    let failed = |problem: String| DemoError::Swap(problem);
    let start = Instant::now();
    let old = engine.swap(|| setup.load_again()).map_err(|error| failed(error.to_string()))?;
    let (load, remaining) = (start.elapsed(), old.remaining());
    let start = Instant::now();
    let asked = engine.agent("latecomer").map_err(|error| failed(error.to_string()))?;
    let after = match engine.submit(asked, setup.short_question()) {
        Ok(stream) => stream.wait().completion,
        // Ctrl-C, or the demo is over.
        Err(SubmitError::Closed | SubmitError::Draining) => return Ok(None),
        Err(error) => return Err(failed(error.to_string())),
    };
    old.wait(Duration::MAX).map_err(|error| failed(error.to_string()))?;
    Ok(Some(Swapped { load, remaining, drain: start.elapsed(), after }))
}
