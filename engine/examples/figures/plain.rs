//! The same batches in a plain llama.cpp loop: all prompts in one, then a row a sequence.

use std::error::Error;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::{Duration, Instant};

use latchless_engine::Token;
use latchless_engine::backend::llama::runtime;
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;

/// The tokens of each answer, and the time that all took.
pub(crate) type Answers = (Vec<Vec<Token>>, Duration);

pub(crate) struct Plain {
    model: LlamaModel,
    cells: u32,
    sequences: u32,
    threads: u32,
}

impl Plain {
    /// With the options of the engine's context.
    pub(crate) fn load(
        path: &Path,
        cells: u32,
        sequences: u32,
        threads: u32,
    ) -> Result<Self, Box<dyn Error>> {
        let model = LlamaModel::load_from_file(runtime()?, path, &LlamaModelParams::default())?;
        Ok(Self { model, cells, sequences, threads })
    }

    pub(crate) fn context(&self) -> Result<LlamaContext<'_>, Box<dyn Error>> {
        let params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(self.cells))
            .with_n_batch(512)
            .with_n_ubatch(512)
            .with_n_seq_max(self.sequences)
            .with_n_threads(self.threads as i32)
            .with_n_threads_batch(self.threads as i32)
            .with_no_perf(true)
            .with_kv_unified(true)
            .with_swa_full(true);
        Ok(self.model.new_context(runtime()?, params)?)
    }

    /// Greedy answers of at most `most` tokens to all prompts together; the context is empty before and
    /// after.
    pub(crate) fn answer(
        &self,
        context: &mut LlamaContext<'_>,
        prompts: &[Vec<Token>],
        most: usize,
    ) -> Result<Answers, Box<dyn Error>> {
        let mut batch = LlamaBatch::new(512, 1);
        let mut sampler = LlamaSampler::greedy();
        let mut next: Vec<Vec<Token>> = prompts.to_vec();
        let mut positions = vec![0_i32; prompts.len()];
        let mut said = vec![Vec::new(); prompts.len()];
        let mut text = Vec::new();
        let started = Instant::now();
        loop {
            batch.clear();
            let mut from = Vec::with_capacity(prompts.len());
            for (sequence, tokens) in next.iter().enumerate() {
                for (index, token) in tokens.iter().enumerate() {
                    let last = index + 1 == tokens.len();
                    let position = positions[sequence] + index as i32;
                    batch.add(LlamaToken(token.0), position, &[sequence as i32], last)?;
                    if last {
                        from.push((sequence, batch.n_tokens() - 1));
                    }
                }
                positions[sequence] += tokens.len() as i32;
            }
            if from.is_empty() {
                break;
            }
            context.decode(&mut batch)?;
            for (sequence, row) in from {
                let token = sampler.sample(context, row);
                next[sequence].clear();
                if self.model.vocab().is_eog(token) {
                    continue;
                }
                text.clear();
                self.model.vocab().token_to_piece_into(token, &mut text, false, None);
                said[sequence].push(Token(token.0));
                if said[sequence].len() < most {
                    next[sequence].push(Token(token.0));
                }
            }
        }
        let took = started.elapsed();
        context.clear_kv_cache();
        Ok((said, took))
    }
}
