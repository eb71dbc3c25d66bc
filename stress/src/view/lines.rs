//! Plain lines, for files, pipes and whoever likes them.

use std::time::Duration;

use super::View;
use crate::report::status::Status;
use crate::session::say;

/// Prints a few lines now and then.
pub(crate) struct Lines {
    pub(crate) every: Duration,
}

impl View for Lines {
    fn every(&self) -> Duration {
        self.every
    }

    fn show(&self, status: Status) {
        say(format_args!("{status}"));
    }
}
