//! Signals: the first Ctrl-C ends a run in an orderly way, the second one at once; a terminal that has gone ends
//! it in an orderly way, too; a limit of the machine is an error of whoever meets it.

use std::fs;
use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::scratch;
use crate::view::live::terminal;

/// Somebody's wish that it end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Is struck by Ctrl-C, by a request to end, and when the terminal goes.
    pub(crate) fn on_signals() -> anyhow::Result<Self> {
        let interrupt = Self::default();
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        // Whoever began it with nohup wants it to go on.
        if !is_ignored(SIGHUP) {
            signals.add_signal(SIGHUP)?;
        }
        let struck = interrupt.clone();
        // Not in a handler: what puts a terminal in order may not be called there.
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || signals.forever().for_each(|signal| struck.take(signal)))
            .map_err(Failure::thread)?;
        Ok(interrupt)
    }

    fn take(&self, signal: i32) {
        if signal == SIGHUP {
            // It comes from the shell as well as from the system, and nobody is in a hurry.
            self.0.store(true, Ordering::Release);
        } else {
            self.strike();
        }
    }

    /// The first time, the run is to end in an orderly way; the second time, the process ends.
    pub(crate) fn strike(&self) {
        if self.0.swap(true, Ordering::AcqRel) {
            terminal::leave();
            scratch::clear();
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

/// Whether the process was begun so that a signal does nothing. Where the system does not say so, it is not.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// A file that grows over the limit is an error of whoever writes it, as is a full disk. Unless the signal
/// is caught, it ends the process without a word.
pub(crate) fn survive_file_limits() -> io::Result<()> {
    flag::register(SIGXFSZ, Arc::default()).map(drop)
}
