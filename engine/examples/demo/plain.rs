//! The same batch in a plain llama.cpp loop: what one would write without Latchless.
//!
//! One thread, one context made with the same options, every agent's prompt in a sequence of its own,
//! all decoded together; no pool, no threads to talk to, no streams. The clock runs from the first
//! prompt's tokenising to the last token's text, as it does for the engine.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::{Duration, Instant};

use latchless_engine::Sampling;
use latchless_engine::backend::Limits;
use latchless_engine::backend::llama::{LoadError, runtime};
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::kv_cache::KvCacheConversionError;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_batch::{BatchAddError, LlamaBatch};
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::{DecodeError, LlamaContextLoadError, LlamaModelLoadError};

use crate::agents::Manner;
use crate::interrupt::Interrupt;
use crate::setup::WARM_UP_TOKENS;

/// Why there is nothing to compare with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlainError {
    #[error(transparent)]
    Runtime(#[from] LoadError),
    #[error(transparent)]
    Model(#[from] LlamaModelLoadError),
    #[error(transparent)]
    Context(#[from] LlamaContextLoadError),
    #[error(transparent)]
    Batch(#[from] BatchAddError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Clear(#[from] KvCacheConversionError),
}

/// What a loop took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) tokens: u64,
    pub(crate) wall: Duration,
}

/// The options that a loop shares with the engine's context.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) limits: Limits,
    pub(crate) threads: u32,
}

/// The model, loaded without the engine. Its weights are mapped, so they are in memory once.
pub(crate) struct Plain(LlamaModel);

impl Plain {
    pub(crate) fn load(path: &Path) -> Result<Self, PlainError> {
        let params = LlamaModelParams::default();
        Ok(Self(LlamaModel::load_from_file(runtime()?, path, &params)?))
    }

    /// Answers all `prompts` in a fresh context, warmed up as the engine's is. `None` after Ctrl-C.
    pub(crate) fn answer(
        &self,
        prompts: &[String],
        manner: Manner,
        shape: Shape,
        interrupt: &Interrupt,
    ) -> Result<Option<Measured>, PlainError> {
        let Shape { limits, threads } = shape;
        // As `LlamaContext::new` of the engine's backend has them.
        let params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(limits.cells))
            .with_n_batch(limits.batch_rows)
            .with_n_ubatch(limits.batch_rows.min(512))
            .with_n_seq_max(limits.sequences)
            .with_n_threads(threads as i32)
            .with_n_threads_batch(threads as i32)
            .with_no_perf(true)
            .with_kv_unified(true)
            .with_swa_full(true);
        let mut plain_loop = Loop {
            model: &self.0,
            context: self.0.new_context(runtime()?, params)?,
            batch: LlamaBatch::new(limits.batch_rows as usize, 1),
            limits,
            interrupt,
        };
        let short = Manner { max_tokens: WARM_UP_TOKENS, seed: None, ..manner };
        if plain_loop.run(prompts.get(..1).unwrap_or_default(), short)?.is_none() {
            return Ok(None);
        }
        let started = Instant::now();
        let tokens = plain_loop.run(prompts, manner)?;
        let wall = started.elapsed();
        Ok(tokens.map(|tokens| Measured { tokens, wall }))
    }
}

struct Loop<'a> {
    model: &'a LlamaModel,
    context: LlamaContext<'a>,
    batch: LlamaBatch<'static>,
    limits: Limits,
    interrupt: &'a Interrupt,
}

/// One prompt and its answer.
struct Sequence {
    id: i32,
    prompt: Vec<LlamaToken>,
    /// Tokens that are computed.
    position: usize,
    /// The token that was drawn last; `None` in the prompt.
    next: Option<LlamaToken>,
    /// The row of the batch to draw from.
    row: Option<i32>,
    sampler: LlamaSampler,
    text: Vec<u8>,
    generated: u32,
    max_tokens: u32,
    over: bool,
}

impl Loop<'_> {
    /// Answers all prompts; returns how many tokens were generated.
    fn run(&mut self, prompts: &[String], manner: Manner) -> Result<Option<u64>, PlainError> {
        let mut waiting: VecDeque<Sequence> =
            prompts.iter().enumerate().map(|(id, text)| self.sequence(id, text, manner)).collect();
        let mut free = self.limits.cells as usize;
        let mut running: Vec<Sequence> = Vec::with_capacity(waiting.len());
        let mut generated = 0;
        while !(waiting.is_empty() && running.is_empty()) {
            if self.interrupt.is_requested() {
                return Ok(None);
            }
            while let Some(first) = waiting.pop_front_if(|first| first.cells() <= free) {
                free -= first.cells();
                running.push(first);
            }
            self.step(&mut running)?;
            for over in running.extract_if(.., |sequence| sequence.over) {
                self.context.clear_kv_cache_seq(Some(over.id as u32), None, None)?;
                free += over.cells();
                generated += u64::from(over.generated);
            }
        }
        Ok(Some(generated))
    }

    fn sequence(&self, id: usize, text: &str, manner: Manner) -> Sequence {
        let prompt = self.model.vocab().tokenize(text.as_bytes(), true, true);
        let room = self.limits.tokens_per_sequence.saturating_sub(prompt.len() as u32);
        Sequence {
            id: id as i32,
            max_tokens: manner.max_tokens.min(room).max(1),
            prompt,
            position: 0,
            next: None,
            row: None,
            sampler: sampler(&manner.sampling(id)),
            text: Vec::new(),
            generated: 0,
            over: false,
        }
    }

    /// One batch: a row for every sequence that generates, the rest for prompts.
    fn step(&mut self, running: &mut [Sequence]) -> Result<(), PlainError> {
        self.batch.clear();
        for sequence in running.iter_mut() {
            if let Some(token) = sequence.next {
                sequence.row = Some(self.batch.n_tokens());
                self.batch.add(token, sequence.position as i32, &[sequence.id], true)?;
                sequence.position += 1;
            }
        }
        for sequence in running.iter_mut() {
            let end = sequence.prompt.len();
            while sequence.position < end && self.batch.n_tokens() < self.limits.batch_rows as i32 {
                let (position, last) = (sequence.position, sequence.position + 1 == end);
                sequence.row = last.then(|| self.batch.n_tokens());
                self.batch.add(sequence.prompt[position], position as i32, &[sequence.id], last)?;
                sequence.position += 1;
            }
        }
        self.context.decode(&mut self.batch)?;
        for sequence in running {
            if let Some(row) = sequence.row.take() {
                let token = sequence.sampler.sample(&self.context, row);
                sequence.accept(token, self.model);
            }
        }
        Ok(())
    }
}

impl Sequence {
    /// Cells that it may come to need.
    fn cells(&self) -> usize {
        self.prompt.len() + self.max_tokens as usize
    }

    fn accept(&mut self, token: LlamaToken, model: &LlamaModel) {
        if model.vocab().is_eog(token) {
            self.over = true;
            return;
        }
        model.vocab().token_to_piece_into(token, &mut self.text, false, None);
        self.generated += 1;
        self.over = self.generated >= self.max_tokens;
        self.next = Some(token);
    }
}

/// The engine's sampler in llama.cpp's words.
fn sampler(sampling: &Sampling) -> LlamaSampler {
    let Some(draw) = sampling.draw else { return LlamaSampler::greedy() };
    let chain = [
        LlamaSampler::top_k(draw.top_k as i32),
        LlamaSampler::top_p(draw.top_p, 1),
        LlamaSampler::temp(draw.temperature),
        // `u32::MAX` would mean a random seed.
        LlamaSampler::dist(draw.seed.min(u32::MAX - 1)),
    ];
    LlamaSampler::chain(chain, true)
}
