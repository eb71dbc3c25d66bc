//! What a scripted backend is told before it starts.

use std::time::Duration;

use super::super::{Limits, SequenceId};
use super::{
    DecodeFault, DecodeTrigger, Gate, SampleTrigger, Script, ScriptedBackend, ScriptedModel,
};

/// The settings of a [`ScriptedBackend`].
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
pub struct ScriptedBuilder {
    pub(super) script: Script,
    pub(super) model: ScriptedModel,
    pub(super) limits: Limits,
    pub(super) decode_faults: Vec<(DecodeTrigger, DecodeFault)>,
    pub(super) sample_faults: Vec<SampleTrigger>,
    pub(super) truncate_faults: Vec<SequenceId>,
    pub(super) state_faults: Vec<SequenceId>,
    pub(super) tag_fails: bool,
    pub(super) sampler_fails: bool,
    pub(super) divided: bool,
    pub(super) share_fails: bool,
    pub(super) park_fails: bool,
    pub(super) unpark_fails: bool,
    pub(super) gate: Option<Gate>,
    pub(super) pace: Option<Duration>,
    pub(super) records: bool,
    pub(super) token_bytes: usize,
}

impl ScriptedBuilder {
    /// See [`ScriptedBackend::builder`].
    pub(super) fn new(script: Script) -> Self {
        let limits =
            Limits { cells: 4096, tokens_per_sequence: 1024, sequences: 8, batch_rows: 64 };
        Self {
            script,
            model: ScriptedModel::new(),
            limits,
            decode_faults: Vec::new(),
            sample_faults: Vec::new(),
            truncate_faults: Vec::new(),
            state_faults: Vec::new(),
            tag_fails: false,
            sampler_fails: false,
            divided: false,
            share_fails: false,
            park_fails: false,
            unpark_fails: false,
            gate: None,
            pace: None,
            records: false,
            token_bytes: 0,
        }
    }

    /// The model; [`ScriptedModel::new`] unless set.
    #[must_use]
    pub fn model(mut self, model: ScriptedModel) -> Self {
        self.model = model;
        self
    }

    /// All limits at once.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Tokens that all sequences together can keep.
    #[must_use]
    pub fn cells(mut self, cells: u32) -> Self {
        self.limits.cells = cells;
        self
    }

    /// Tokens that one sequence can keep.
    #[must_use]
    pub fn tokens_per_sequence(mut self, tokens: u32) -> Self {
        self.limits.tokens_per_sequence = tokens;
        self
    }

    /// Sequences that can live at once.
    #[must_use]
    pub fn sequences(mut self, sequences: u32) -> Self {
        self.limits.sequences = sequences;
        self
    }

    /// Rows of one batch.
    #[must_use]
    pub fn batch_rows(mut self, rows: u32) -> Self {
        self.limits.batch_rows = rows;
        self
    }

    /// A decode fails; of several faults that apply, the one named first.
    #[must_use]
    pub fn fail_decode(mut self, when: DecodeTrigger, how: DecodeFault) -> Self {
        self.decode_faults.push((when, how));
        self
    }

    /// Drawing a token fails; the sampler is as before.
    #[must_use]
    pub fn fail_sample(mut self, when: SampleTrigger) -> Self {
        self.sample_faults.push(when);
        self
    }

    /// [`Backend::sampler`](super::super::Backend::sampler) fails.
    #[must_use]
    pub fn fail_sampler(mut self) -> Self {
        self.sampler_fails = true;
        self
    }

    /// This sequence can only be forgotten whole, as with a recurrent model.
    #[must_use]
    pub fn fail_truncate(mut self, sequence: SequenceId) -> Self {
        self.truncate_faults.push(sequence);
        self
    }

    /// The state of this sequence can be neither saved nor loaded.
    #[must_use]
    pub fn fail_state(mut self, sequence: SequenceId) -> Self {
        self.state_faults.push(sequence);
        self
    }

    /// [`Backend::state_tag`](super::super::Backend::state_tag) fails.
    #[must_use]
    pub fn fail_tag(mut self) -> Self {
        self.tag_fails = true;
        self
    }

    /// Every decode passes this gate first.
    #[must_use]
    pub fn gate(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    /// Every decode takes at least so long: real time, for benchmarks.
    #[must_use]
    pub fn pace(mut self, decode: Duration) -> Self {
        self.pace = Some(decode);
        self
    }

    /// [`Probe::batches`](super::Probe::batches) keeps the rows of every decode.
    #[must_use]
    pub fn record_batches(mut self) -> Self {
        self.records = true;
        self
    }

    /// States have so many bytes a token more than the token itself takes, as those of real models do.
    #[must_use]
    pub fn state_bytes_a_token(mut self, bytes: usize) -> Self {
        self.token_bytes = bytes;
        self
    }

    /// Sequences cannot share cells, as where each has its own part.
    #[must_use]
    pub fn divided(mut self) -> Self {
        self.divided = true;
        self
    }

    /// [`Backend::share`](super::super::Backend::share) fails, although it is said to work.
    #[must_use]
    pub fn fail_share(mut self) -> Self {
        self.share_fails = true;
        self
    }

    /// [`Backend::park`](super::super::Backend::park) fails.
    #[must_use]
    pub fn fail_park(mut self) -> Self {
        self.park_fails = true;
        self
    }

    /// [`Backend::unpark`](super::super::Backend::unpark) fails.
    #[must_use]
    pub fn fail_unpark(mut self) -> Self {
        self.unpark_fails = true;
        self
    }

    /// The backend.
    pub fn build(self) -> ScriptedBackend {
        ScriptedBackend::new(self)
    }
}
