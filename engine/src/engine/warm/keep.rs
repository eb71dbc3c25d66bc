//! From a sequence to the disk: when nothing is computed, when it has to go, and when the lane ends.
//!
//! Copying a state out takes the lane milliseconds, so it is done once a turn at most, one state a step,
//! and while others generate only every so many steps. A process that is killed under load may lose what
//! was said last; that costs a prefill.

use super::super::admit::WORTH_SHARING;
use super::super::lane::{Lane, StepReport};
use crate::backend::Backend;
use crate::cache::SaveJob;

/// Steps that compute something between two states that are copied out.
const STEPS: u32 = 16;

impl<B: Backend> Lane<B> {
    /// Copies out one idle sequence that is not on disk, if there is one and nobody loses much by it.
    pub(crate) fn keep_one(&mut self, report: &mut StepReport) {
        let Some(warm) = &mut self.warm else { return };
        warm.steps = warm.steps.saturating_add(1);
        let busy = report.prefill_rows + report.decode_rows > 0;
        if busy && warm.steps < STEPS {
            return;
        }
        let Some(index) = self.idle.first_unsaved() else { return };
        self.keep(index, report);
    }

    /// Hands the idle sequence at `index` to the writer, unless it is on disk already.
    pub(crate) fn keep(&mut self, index: usize, report: &mut StepReport) {
        let Some(warm) = &mut self.warm else { return };
        let idle = self.idle.at(index);
        let Some(name) = idle.unsaved.clone() else { return };
        let (sequence, stored) = (idle.sequence, warm.cache.has(&name, &idle.tokens));
        let worth = idle.tokens.len() >= WORTH_SHARING as usize;
        if stored || !worth || warm.cache.is_superseded() {
            self.idle.mark_saved(index);
            return;
        }
        // Asked first: a copy that the writer has no room for would be made for nothing.
        if self.backend.state_bytes(sequence) > warm.writer.room() {
            tracing::debug!(agent = %name, "the disk is behind; a sequence is not saved now");
            return;
        }
        warm.steps = 0;
        let state = match self.backend.save_sequence(sequence) {
            Ok(state) => state,
            Err(error) => {
                tracing::warn!(agent = %name, %error, "a sequence was not copied out");
                self.idle.mark_saved(index);
                return;
            }
        };
        let tokens = self.idle.at(index).tokens.clone();
        match warm.writer.save(SaveJob { agent: name, tokens, state }) {
            Ok(unwritten) => {
                warm.note_unwritten(unwritten);
                self.idle.mark_saved(index);
                report.saved += 1;
            }
            Err(refused) => {
                tracing::debug!(reason = %refused.reason, "a sequence is not saved now");
            }
        }
    }
}
