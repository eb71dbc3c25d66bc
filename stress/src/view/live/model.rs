//! What is drawn: the last status, and how it came to it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::plan::Plan;
use crate::report::status::Status;

/// Rates that are kept.
const HISTORY: usize = 64;

/// All that the screen shows.
pub(super) struct Model {
    pub(super) seed: u64,
    /// When the run ends by itself.
    pub(super) end: Option<Duration>,
    begun: Instant,
    pub(super) status: Option<Status>,
    /// Operations a second of each part, the latest last.
    pub(super) rates: Vec<VecDeque<f64>>,
    /// Somebody has ended it.
    pub(super) ending: bool,
}

impl Model {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            seed: plan.seed,
            end: plan.duration,
            begun: Instant::now(),
            status: None,
            rates: Vec::new(),
            ending: false,
        }
    }

    pub(super) fn take(&mut self, status: Status) {
        self.rates.resize_with(status.parts.len(), VecDeque::new);
        for (rates, part) in self.rates.iter_mut().zip(&status.parts) {
            rates.push_back(part.per_second);
            if rates.len() > HISTORY {
                rates.pop_front();
            }
        }
        self.status = Some(status);
    }

    /// Goes on between two statuses, too.
    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }
}
