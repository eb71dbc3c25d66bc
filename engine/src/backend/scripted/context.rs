//! The changing side: sequences of tokens, and the logits of the last batch.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::super::ledger::Ledger;
use super::super::{
    Backend, BackendError, Batch, BatchRow, DecodeError, Limits, Model, Sampling, SequenceId, Token,
};
use super::script::Drawing;
use super::{DecodeFault, DecodeTrigger, Gate, Probe, SampleTrigger, Script, ScriptedModel};

/// A context that says what its [`Script`] tells, and fails when it is told to.
#[derive(Debug)]
pub struct ScriptedBackend {
    settings: ScriptedBuilder,
    model: Arc<ScriptedModel>,
    ledger: Ledger,
    sequences: Vec<History>,
    /// What each row of the last batch saw; entries of rows without logits are stale.
    views: Vec<View>,
    samples: u64,
    probe: Probe,
}

/// The tokens of one sequence.
#[derive(Debug, Default)]
struct History {
    tokens: Vec<Token>,
    /// After each token, the hash of all up to it, so that a truncation is no recount.
    hashes: Vec<u64>,
}

/// What the logits of one row are computed from.
#[derive(Debug, Clone)]
struct View {
    row: BatchRow,
    hash: u64,
    /// All tokens up to the row, where the script reads them.
    tokens: Vec<Token>,
}

/// How one request draws.
#[derive(Debug, Clone, Default)]
pub struct ScriptedSampler {
    seed: u32,
    drawn: u32,
    last: Option<Token>,
}

/// The settings of a [`ScriptedBackend`].
#[derive(Debug, Clone)]
pub struct ScriptedBuilder {
    script: Script,
    model: ScriptedModel,
    limits: Limits,
    decode_faults: Vec<(DecodeTrigger, DecodeFault)>,
    sample_faults: Vec<SampleTrigger>,
    truncate_faults: Vec<SequenceId>,
    sampler_fails: bool,
    gate: Option<Gate>,
    pace: Option<Duration>,
    records: bool,
}

impl ScriptedBackend {
    /// A backend with 8 sequences of 1,024 tokens each, 4,096 cells and 64 rows a batch, unless the
    /// builder is told otherwise.
    pub fn builder(script: Script) -> ScriptedBuilder {
        let limits =
            Limits { cells: 4096, tokens_per_sequence: 1024, sequences: 8, batch_rows: 64 };
        ScriptedBuilder {
            script,
            model: ScriptedModel::new(),
            limits,
            decode_faults: Vec::new(),
            sample_faults: Vec::new(),
            truncate_faults: Vec::new(),
            sampler_fails: false,
            gate: None,
            pace: None,
            records: false,
        }
    }

    /// Counts of what this backend does, readable while a lane owns it.
    pub fn probe(&self) -> Probe {
        self.probe.clone()
    }

    fn holds(&self, sequence: SequenceId, token: Token) -> bool {
        let history = self.sequences.get(sequence.0 as usize);
        history.is_some_and(|history| history.tokens.contains(&token))
    }

    fn try_decode(&mut self, batch: &Batch, number: u64) -> Result<(), DecodeError> {
        self.ledger.admit(batch)?;
        let struck = self
            .settings
            .decode_faults
            .iter()
            .find(|(trigger, _)| trigger.fires(number, batch, |s, t| self.holds(s, t)));
        if let Some((_, fault)) = struck {
            let (rows, error) = fault.strike(number);
            for row in batch.rows().iter().take(rows) {
                self.compute(*row);
                self.ledger.set_len(row.sequence, row.position + 1);
            }
            self.probe.computed(rows.min(batch.len()));
            return Err(error);
        }
        if self.ledger.used() + batch.len() as u64 > u64::from(self.ledger.limits().cells) {
            return Err(DecodeError::NoRoom);
        }
        for (index, row) in batch.rows().iter().enumerate() {
            let hash = self.compute(*row);
            if row.logits {
                self.keep_view(index, *row, hash);
            }
        }
        self.ledger.commit(batch);
        self.probe.computed(batch.len());
        Ok(())
    }

    /// Appends a row's token to its sequence; the ledger has admitted it.
    fn compute(&mut self, row: BatchRow) -> u64 {
        let history = &mut self.sequences[row.sequence.0 as usize];
        // FNV-1a, a token at a time.
        let before = history.hashes.last().copied().unwrap_or(0xCBF2_9CE4_8422_2325);
        let hash = (before ^ u64::from(row.token.0 as u32)).wrapping_mul(0x0000_0100_0000_01B3);
        history.tokens.push(row.token);
        history.hashes.push(hash);
        hash
    }

    fn keep_view(&mut self, index: usize, row: BatchRow, hash: u64) {
        let blank = View { row, hash, tokens: Vec::new() };
        if self.views.len() <= index {
            self.views.resize(index + 1, blank);
        }
        let view = &mut self.views[index];
        (view.row, view.hash) = (row, hash);
        view.tokens.clear();
        if self.settings.script.reads_prompt() {
            view.tokens.extend_from_slice(&self.sequences[row.sequence.0 as usize].tokens);
        }
    }
}

impl Backend for ScriptedBackend {
    type Sampler = ScriptedSampler;

    fn model(&self) -> Arc<dyn Model> {
        Arc::clone(&self.model) as Arc<dyn Model>
    }

    fn limits(&self) -> Limits {
        self.ledger.limits()
    }

    fn sampler(&self, sampling: &Sampling) -> Result<ScriptedSampler, BackendError> {
        sampling.validate()?;
        if self.settings.sampler_fails {
            let reason = "a fault was injected".into();
            return Err(BackendError::Failed { doing: "making a sampler", reason });
        }
        if sampling.grammar.is_some() {
            return Err(BackendError::Grammar { reason: "a script follows none".into() });
        }
        let seed = sampling.draw.map_or(0, |draw| draw.seed);
        Ok(ScriptedSampler { seed, ..ScriptedSampler::default() })
    }

    fn decode(&mut self, batch: &Batch) -> Result<(), DecodeError> {
        let number = self.probe.decode();
        if self.settings.records {
            self.probe.record(batch);
        }
        if let Some(gate) = &self.settings.gate {
            gate.pass();
        }
        if let Some(pace) = self.settings.pace {
            thread::sleep(pace);
        }
        self.try_decode(batch, number).inspect_err(|_| self.probe.failed_decode())
    }

    fn sample(&mut self, row: usize, sampler: &mut ScriptedSampler) -> Result<Token, BackendError> {
        self.ledger.has_logits(row)?;
        let number = self.samples;
        self.samples += 1;
        let failed = |reason| Err(BackendError::Failed { doing: "sampling", reason });
        let view = &self.views[row];
        let BatchRow { token, sequence, position, .. } = view.row;
        let mut faults = self.settings.sample_faults.iter();
        if faults.any(|trigger| trigger.fires(number, sequence, |s, t| self.holds(s, t))) {
            return failed(format!("a fault was injected into sample {number}"));
        }
        if let Some(last) = sampler.last.filter(|last| *last != token) {
            return failed(format!(
                "sequence {} ends with token {} where {} was drawn",
                sequence.0, token.0, last.0
            ));
        }
        let tokens = position + 1;
        let Some(prompt) = tokens.checked_sub(sampler.drawn).map(|len| len as usize) else {
            let drawn = sampler.drawn;
            return failed(format!("{drawn} tokens were drawn for a sequence of {tokens}"));
        };
        let next = self.settings.script.next(&Drawing {
            prompt: view.tokens.get(..prompt).unwrap_or(&[]),
            hash: view.hash,
            drawn: sampler.drawn as usize,
            seed: sampler.seed,
        });
        sampler.drawn += 1;
        sampler.last = Some(next);
        self.probe.sampled();
        Ok(next)
    }

    fn sequence_len(&self, sequence: SequenceId) -> u32 {
        self.ledger.len(sequence)
    }

    fn truncate(&mut self, sequence: SequenceId, from: u32) -> Result<(), BackendError> {
        self.ledger.known(sequence)?;
        if self.settings.truncate_faults.contains(&sequence) && from > 0 {
            return Err(BackendError::PartialForget { sequence, from });
        }
        let history = &mut self.sequences[sequence.0 as usize];
        history.tokens.truncate(from as usize);
        history.hashes.truncate(from as usize);
        self.ledger.set_len(sequence, history.tokens.len() as u32);
        self.probe.truncated();
        Ok(())
    }
}

impl ScriptedBuilder {
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

    /// [`Backend::sampler`] fails.
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

    /// [`Probe::batches`] keeps the rows of every decode.
    #[must_use]
    pub fn record_batches(mut self) -> Self {
        self.records = true;
        self
    }

    /// The backend.
    pub fn build(self) -> ScriptedBackend {
        let limits = self.limits;
        ScriptedBackend {
            model: Arc::new(self.model.clone()),
            ledger: Ledger::new(limits, self.model.vocabulary_size()),
            sequences: (0..limits.sequences).map(|_| History::default()).collect(),
            views: Vec::new(),
            samples: 0,
            probe: Probe::default(),
            settings: self,
        }
    }
}

#[cfg(test)]
mod tests;
