//! Ctrl-C: the first asks for an orderly end, the second ends at once.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The exit code of a program that Ctrl-C ended: 128 + SIGINT.
pub(crate) const EXIT_CODE: u8 = 130;

/// Whether the user wants to stop. Cheap to clone and to ask.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Catches Ctrl-C from now on; once a process.
    pub(crate) fn on_ctrl_c() -> Result<Self, ctrlc::Error> {
        let interrupt = Self::default();
        let asked = interrupt.clone();
        ctrlc::set_handler(move || {
            if asked.request() {
                process::exit(EXIT_CODE.into());
            }
        })?;
        Ok(interrupt)
    }

    /// Asks for the end; `true` when it was asked for before.
    pub(crate) fn request(&self) -> bool {
        // Relaxed, here and below: nothing is published by the flag.
        self.0.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
