//! Signals: the first Ctrl-C ends a run in an orderly way, the second one at once; a limit of the machine is
//! an error of whoever meets it.

use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::view::live::terminal;

/// Somebody's wish that it end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Is struck by Ctrl-C, and by a request to end.
    pub(crate) fn on_signals() -> anyhow::Result<Self> {
        let interrupt = Self::default();
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let struck = interrupt.clone();
        // Not in a handler: what puts a terminal in order may not be called there.
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || signals.forever().for_each(|_| struck.strike()))
            .map_err(Failure::thread)?;
        Ok(interrupt)
    }

    /// The first time, the run is to end in an orderly way; the second time, the process ends.
    pub(crate) fn strike(&self) {
        if self.0.swap(true, Ordering::AcqRel) {
            terminal::leave();
            process::exit(Exit::Interrupted.code().into());
        }
    }

    pub(crate) fn is_struck(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// What a run looks at.
    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.0
    }
}

/// A file that grows over the limit is an error of whoever writes it, as is a full disk. Unless the signal
/// is caught, it ends the process without a word.
pub(crate) fn survive_file_limits() -> io::Result<()> {
    flag::register(SIGXFSZ, Arc::default()).map(drop)
}
