//! Computing a batch so that nobody fails for another's sake.
//!
//! No room: idle sequences are cleared, then requests are parked one by one (see `pressure`); when none is
//! left that could give way, the batch is halved until its parts fit, and what does not fit alone waits
//! for the others to free cells. Any other failure: every sequence of the batch is brought back to where it was, and each
//! is tried alone, once; who fails again has failed. So one bad request costs the batch one extra decode
//! per sequence, and a failure that passes costs nobody anything.

use std::time::Instant;

use super::assemble::Share;
use super::error::RequestError;
use super::lane::{Lane, StepReport};
use crate::backend::{Backend, DecodeError};

/// Whether a failure is the first of its rows or came again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Attempt {
    First,
    Again,
}

/// What became of the shares of one step.
#[derive(Default)]
struct Outcome {
    /// Requests of which not one row fits now.
    starved: Vec<usize>,
    /// Some rows were computed.
    computed: bool,
}

impl<B: Backend> Lane<B> {
    /// Computes `shares`, which are of different requests, and draws tokens.
    pub(super) fn decode(&mut self, shares: &[Share], report: &mut StepReport) {
        let mut outcome = Outcome::default();
        self.decode_part(shares, Attempt::First, &mut outcome, report);
        let over = self.running.iter().any(super::running::Running::is_over);
        if !outcome.computed
            && !over
            && let Some(&youngest) =
                outcome.starved.iter().max_by_key(|request| self.running[**request].ticket().id())
        {
            // Nobody moved, and nobody who is over will free a cell: one has to go so that the others
            // can. The youngest loses least.
            self.running[youngest].fail(RequestError::Decode(DecodeError::NoRoom));
        }
    }

    fn decode_part(
        &mut self,
        shares: &[Share],
        attempt: Attempt,
        outcome: &mut Outcome,
        report: &mut StepReport,
    ) {
        self.batch.clear();
        for share in shares.iter().filter(|share| self.running[share.request].is_active()) {
            if self.running[share.request].push_rows(share.rows, &mut self.batch).is_err() {
                debug_assert!(false, "the assembler planned more rows than a batch has");
                break;
            }
        }
        if self.batch.is_empty() {
            return;
        }
        match self.backend.decode(&self.batch) {
            Ok(()) => {
                outcome.computed = true;
                self.draw(shares, report);
            }
            Err(error) => {
                report.failed_decodes += 1;
                tracing::debug!(rows = self.batch.rows().len(), %error, "a decode failed");
                self.restore(shares);
                match error {
                    DecodeError::NoRoom if self.make_room(report) => {
                        self.decode_part(shares, attempt, outcome, report);
                    }
                    DecodeError::NoRoom => self.halve(shares, attempt, outcome, report),
                    error => self.isolate(shares, attempt, error, outcome, report),
                }
            }
        }
    }

    fn halve(
        &mut self,
        shares: &[Share],
        attempt: Attempt,
        outcome: &mut Outcome,
        report: &mut StepReport,
    ) {
        match shares {
            [Share { request, rows: 1 }] => outcome.starved.push(*request),
            [Share { request, rows }] => {
                // The other half of the prompt comes in later steps.
                let half = Share { request: *request, rows: rows / 2 };
                self.decode_part(&[half], attempt, outcome, report);
            }
            shares => {
                let (first, second) = shares.split_at(shares.len() / 2);
                self.decode_part(first, attempt, outcome, report);
                self.decode_part(second, attempt, outcome, report);
            }
        }
    }

    fn isolate(
        &mut self,
        shares: &[Share],
        attempt: Attempt,
        error: DecodeError,
        outcome: &mut Outcome,
        report: &mut StepReport,
    ) {
        match (shares, attempt) {
            ([share], Attempt::Again) => {
                self.running[share.request].fail(RequestError::Decode(error));
            }
            (shares, _) => {
                for share in shares {
                    self.decode_part(std::slice::from_ref(share), Attempt::Again, outcome, report);
                }
            }
        }
    }

    /// After a decode: counts the rows, and draws from each row that has logits, before the next decode
    /// overwrites them.
    fn draw(&mut self, shares: &[Share], report: &mut StepReport) {
        let now = Instant::now();
        let mut row = 0;
        for share in shares {
            let running = &mut self.running[share.request];
            if !running.is_active() {
                continue;
            }
            row += share.rows as usize;
            if running.is_prefilling() {
                report.prefill_rows += share.rows;
            } else {
                report.decode_rows += share.rows;
            }
            if !running.advance(share.rows) {
                continue;
            }
            match self.backend.sample(row - 1, &mut running.sampler) {
                Ok(token) => running.accept(token, &*self.model, now),
                Err(error) => running.fail(RequestError::Sample(error)),
            }
        }
    }

    /// After a failed decode: every sequence of `shares` keeps what it kept before, or its request fails.
    fn restore(&mut self, shares: &[Share]) {
        for share in shares {
            let running = &mut self.running[share.request];
            if running.parked {
                continue;
            }
            let expected = running.kept;
            if self.backend.sequence_len(running.sequence) > expected
                && let Err(error) = self.backend.truncate(running.sequence, expected)
            {
                running.fail(RequestError::Restore(error));
                continue;
            }
            let found = self.backend.sequence_len(running.sequence);
            if found != expected {
                running.fail(RequestError::SequenceChanged { expected, found });
            }
        }
    }
}
