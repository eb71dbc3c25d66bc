//! Plain lines, for files, pipes and whoever likes them. They are printed by a thread of its own: whoever reads them can
//! keep it waiting for as long as he likes.

use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::View;
use crate::report::status::Status;
use crate::session::say;

/// What it is told, and by whom it is printed.
type Printer = (SyncSender<Box<Status>>, JoinHandle<()>);

/// Prints a few lines now and then.
pub(crate) struct Lines {
    every: Duration,
    printing: Mutex<Option<Printer>>,
}

impl Lines {
    /// To the standard output.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub(crate) fn open(every: Duration) -> io::Result<Self> {
        Self::start(every, |status| say(format_args!("{status}")))
    }

    fn start(every: Duration, print: impl Fn(&Status) + Send + 'static) -> io::Result<Self> {
        let (statuses, incoming) = sync_channel::<Box<Status>>(1);
        let printer = thread::Builder::new().name("lines".to_owned());
        let printer = printer.spawn(move || incoming.iter().for_each(|status| print(&status)))?;
        Ok(Self { every, printing: Mutex::new(Some((statuses, printer))) })
    }

    fn printing(&self) -> MutexGuard<'_, Option<Printer>> {
        self.printing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl View for Lines {
    fn every(&self) -> Duration {
        self.every
    }

    fn show(&self, status: Status) {
        if let Some((statuses, _)) = &*self.printing() {
            // Still at the last one: this one is missed.
            let _ = statuses.try_send(Box::new(status));
        }
    }

    fn close(&self) {
        if let Some((statuses, printer)) = self.printing().take() {
            drop(statuses);
            // It does not panic, and if it did there would be lines missing.
            let _ = printer.join();
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::report::status::tests::status;

    #[test]
    fn who_does_not_read_keeps_nobody_waiting() {
        let (told, printed) = channel();
        let (read, reading) = channel::<()>();
        let lines = Lines::start(Duration::from_secs(1), move |_| {
            told.send(()).unwrap();
            // Until somebody reads.
            let _ = reading.recv();
        });
        let lines = lines.unwrap();
        (0..100).for_each(|_| lines.show(status()));
        printed.recv().unwrap();
        drop(read);
        lines.close();
        let rest = printed.iter().count();
        assert!(rest <= 2, "the others were missed: {rest}");
        lines.show(status());
    }
}
