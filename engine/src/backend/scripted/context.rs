//! The changing side: sequences of tokens, and the logits of the last batch.

use std::sync::Arc;
use std::thread;

use super::super::ledger::Ledger;
use super::super::{
    Backend, BackendError, Batch, BatchRow, DecodeError, Limits, Model, Sampling, SequenceId, Token,
};
use super::script::Drawing;
use super::store::Store;
use super::{Probe, Script, ScriptedBuilder, ScriptedModel};
use crate::cache::ModelTag;

/// A context that says what its [`Script`] tells, and fails when it is told to.
#[derive(Debug)]
pub struct ScriptedBackend {
    settings: ScriptedBuilder,
    model: Arc<ScriptedModel>,
    ledger: Ledger,
    store: Store,
    /// What each row of the last batch saw; entries of rows without logits are stale.
    views: Vec<View>,
    samples: u64,
    probe: Probe,
}

/// A sequence in host memory.
#[derive(Debug, Clone)]
pub struct ScriptedParked {
    state: Vec<u8>,
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

impl ScriptedBackend {
    /// A backend with 8 sequences of 1,024 tokens each, 4,096 cells and 64 rows a batch, unless the
    /// builder is told otherwise.
    pub fn builder(script: Script) -> ScriptedBuilder {
        ScriptedBuilder::new(script)
    }

    pub(super) fn new(settings: ScriptedBuilder) -> Self {
        let limits = settings.limits;
        Self {
            model: Arc::new(settings.model.clone()),
            ledger: Ledger::new(limits, settings.model.vocabulary_size()),
            store: Store::new(limits),
            views: Vec::new(),
            samples: 0,
            probe: Probe::default(),
            settings,
        }
    }

    /// Counts of what this backend does, readable while a lane owns it.
    pub fn probe(&self) -> Probe {
        self.probe.clone()
    }

    fn bytes_a_token(&self) -> usize {
        size_of::<i32>() + self.settings.token_bytes
    }

    /// What is remembered of a sequence: each token, and as many bytes as it is said to take.
    fn state(&self, sequence: SequenceId) -> Vec<u8> {
        let tokens = self.store.tokens(sequence);
        let mut state = vec![0; tokens.len() * self.bytes_a_token()];
        for (token, bytes) in tokens.iter().zip(state.chunks_exact_mut(self.bytes_a_token())) {
            bytes[..size_of::<i32>()].copy_from_slice(&token.0.to_le_bytes());
        }
        state
    }

    /// Puts [`Self::state`] into an empty sequence.
    fn set_state(&mut self, sequence: SequenceId, state: &[u8]) {
        for bytes in state.chunks_exact(self.bytes_a_token()) {
            let token = bytes.first_chunk().map_or(0, |token| i32::from_le_bytes(*token));
            self.store.push(sequence, Token(token));
        }
        let len = self.store.tokens(sequence).len() as u32;
        self.ledger.set_len(sequence, len);
    }

    fn holds(&self, sequence: SequenceId, token: Token) -> bool {
        self.store.tokens(sequence).contains(&token)
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
                self.store.push(row.sequence, row.token);
                self.ledger.set_len(row.sequence, row.position + 1);
            }
            self.probe.computed(rows.min(batch.len()));
            return Err(error);
        }
        if batch.len() > self.store.free() {
            return Err(DecodeError::NoRoom);
        }
        for (index, row) in batch.rows().iter().enumerate() {
            let hash = self.store.push(row.sequence, row.token);
            if row.logits {
                self.keep_view(index, *row, hash);
            }
        }
        self.ledger.commit(batch);
        self.probe.computed(batch.len());
        Ok(())
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
            view.tokens.extend_from_slice(self.store.tokens(row.sequence));
        }
    }
}

impl Backend for ScriptedBackend {
    type Sampler = ScriptedSampler;
    type Parked = ScriptedParked;

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
        let len = self.store.truncate(sequence, from);
        self.ledger.set_len(sequence, len);
        self.probe.truncated();
        Ok(())
    }

    fn shares_cells(&self) -> bool {
        !self.settings.divided
    }

    fn share(&mut self, from: SequenceId, to: SequenceId, tokens: u32) -> Result<(), BackendError> {
        self.ledger.shareable(from, to, tokens)?;
        if self.settings.divided || self.settings.share_fails {
            let reason = "a fault was injected";
            return Err(BackendError::NotShared { from, to, tokens, reason });
        }
        self.store.share(from, to, tokens);
        self.ledger.set_len(to, tokens);
        self.probe.shared(tokens);
        Ok(())
    }

    fn park(&mut self, sequence: SequenceId) -> Result<ScriptedParked, BackendError> {
        self.ledger.known(sequence)?;
        if self.settings.park_fails {
            let reason = "a fault was injected".into();
            return Err(BackendError::Failed { doing: "parking a sequence", reason });
        }
        self.probe.parked_one();
        Ok(ScriptedParked { state: self.state(sequence) })
    }

    fn unpark(
        &mut self,
        sequence: SequenceId,
        parked: &ScriptedParked,
    ) -> Result<(), BackendError> {
        self.ledger.vacant(sequence)?;
        let tokens = parked.state.len() / self.bytes_a_token();
        if self.settings.unpark_fails || tokens > self.store.free() {
            return Err(BackendError::NoRoom { tokens: tokens as u32 });
        }
        self.set_state(sequence, &parked.state);
        self.probe.unparked_one();
        Ok(())
    }

    fn state_tag(&self) -> Result<ModelTag, BackendError> {
        if self.settings.tag_fails {
            let reason = "a fault was injected".into();
            return Err(BackendError::Failed { doing: "identifying the model", reason });
        }
        Ok(ModelTag::of("script 1", &*self.model))
    }

    fn state_bytes(&self, sequence: SequenceId) -> u64 {
        (self.bytes_a_token() * self.store.tokens(sequence).len()) as u64
    }

    fn save_sequence(&mut self, sequence: SequenceId) -> Result<Vec<u8>, BackendError> {
        self.ledger.known(sequence)?;
        let tokens = self.store.tokens(sequence);
        if tokens.is_empty() || self.settings.state_faults.contains(&sequence) {
            let reason =
                if tokens.is_empty() { "it has no tokens" } else { "a fault was injected" };
            return Err(BackendError::State { sequence, reason: reason.into() });
        }
        self.probe.saved_one();
        Ok(self.state(sequence))
    }

    fn load_sequence(&mut self, sequence: SequenceId, state: &[u8]) -> Result<u32, BackendError> {
        self.ledger.known(sequence)?;
        self.store.truncate(sequence, 0);
        self.ledger.set_len(sequence, 0);
        let refused = |reason: &str| Err(BackendError::State { sequence, reason: reason.into() });
        let (tokens, rest) =
            (state.len() / self.bytes_a_token(), state.len() % self.bytes_a_token());
        if self.settings.state_faults.contains(&sequence) {
            return refused("a fault was injected");
        }
        if tokens == 0 || rest != 0 {
            return refused("it is no state of a script");
        }
        let most = self.ledger.limits().tokens_per_sequence as usize;
        if tokens > self.store.free().min(most) {
            return refused("it has more tokens than there is room");
        }
        self.set_state(sequence, state);
        self.probe.loaded_one();
        Ok(tokens as u32)
    }
}

#[cfg(test)]
mod tests;
