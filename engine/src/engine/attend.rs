//! What the lane looks at before it computes: who came, who wants to go, who is too late.

use std::time::Instant;

use super::completion::FinishReason;
use super::lane::{Lane, StepReport};
use super::warm::LaneWarm;
use crate::backend::Backend;

impl<B: Backend> Lane<B> {
    pub(super) fn take_arrivals(&mut self, report: &mut StepReport) {
        for arrival in self.shared.inbox.take_all() {
            // Cancelled before it was in the inbox: that news may have been taken already.
            if arrival.ticket.is_cancelled() {
                arrival.end(FinishReason::Cancelled);
                report.ended += 1;
            } else {
                self.queue.push(arrival);
            }
        }
    }

    pub(super) fn take_cancels(&mut self, report: &mut StepReport) {
        if !self.shared.control.roster.take_news() {
            return;
        }
        let ended = &mut report.ended;
        self.queue.take_out(
            |arrival| arrival.ticket.is_cancelled(),
            |arrival| {
                arrival.end(FinishReason::Cancelled);
                *ended += 1;
            },
        );
        self.end_parked(
            |running| running.ticket().is_cancelled().then_some(FinishReason::Cancelled),
            report,
        );
        for running in &mut self.running {
            if running.ticket().is_cancelled() {
                running.end(FinishReason::Cancelled);
            }
        }
        // Their sequences may be what the first in the queue waits for.
        self.take_out_ended(report);
    }

    /// Ends what is too late.
    pub(super) fn take_deadlines(&mut self, report: &mut StepReport) {
        let Some(next) = self.next_end() else { return };
        let now = Instant::now();
        if now < next {
            return;
        }
        let late = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        let ended = &mut report.ended;
        self.queue.take_out(
            |arrival| late(arrival.deadline),
            |arrival| {
                arrival.end(FinishReason::Deadline);
                *ended += 1;
            },
        );
        self.end_parked(|running| late(running.deadline).then_some(FinishReason::Deadline), report);
        for running in self.running.iter_mut().filter(|running| late(running.deadline)) {
            running.end(FinishReason::Deadline);
        }
        self.take_out_ended(report);
    }

    /// The first moment at which something has to be done although nobody rings: a deadline of a request, or
    /// the end of somebody's patience with the disk.
    pub(super) fn next_end(&self) -> Option<Instant> {
        let parked = self.parked.iter().map(|parked| &parked.running);
        let placed = self.running.iter().chain(parked).filter_map(|running| running.deadline);
        let disk = self.warm.as_ref().and_then(LaneWarm::next_end);
        placed.chain(self.queue.next_deadline()).chain(disk).min()
    }
}
