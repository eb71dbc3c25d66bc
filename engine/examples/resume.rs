//! How much faster an agent resumes from disk than by prefilling its tokens again.
//!
//! `cargo run --release -p latchless-engine --example resume -- --json resume.json`

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use latchless::AgentId;
use latchless_engine::Token;
use latchless_engine::backend::llama::{ContextOptions, LlamaContext, LlamaModel, ModelOptions};
use latchless_engine::backend::{Backend, Batch, BatchRow, Model, Sampling, SequenceId};
use latchless_engine::cache::WarmCache;
use serde::Serialize;

type Error = Box<dyn std::error::Error>;

const SEQUENCE: SequenceId = SequenceId(0);
const TEXT: &str =
    "The lighthouse keeper wrote down every ship that passed, its flag and its course. ";

/// Prefills an agent's tokens, saves its state to disk, opens the cache again as a new process would,
/// resumes, and compares the times.
#[derive(Debug, Parser)]
struct Cli {
    /// The GGUF file; `cargo xtask model` prints where the test model is
    #[arg(long, env = "LATCHLESS_MODEL")]
    model: PathBuf,

    /// Tokens of the agent
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(2..))]
    tokens: u32,

    /// Rounds; the medians count
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// ggml's threads [default: one a core]
    #[arg(long)]
    threads: Option<u32>,

    /// Let the system forget the file before each resume (Linux, as root), so that it is read from disk
    #[arg(long)]
    drop_caches: bool,

    /// Write the figures to this file as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What was measured: medians, in milliseconds.
#[derive(Debug, Serialize)]
struct Figures {
    model: String,
    tokens: u32,
    rounds: u32,
    threads: u32,
    state_bytes: usize,
    file_in_page_cache: bool,
    prefill_ms: f64,
    /// Copying the state out of the context, on the lane's thread.
    copy_out_ms: f64,
    /// Writing it down for good, on another one.
    save_ms: f64,
    /// Opening the folder, reading and checking the file.
    read_ms: f64,
    /// Copying the state in, and one decode for logits.
    copy_in_ms: f64,
    /// `prefill_ms` over `read_ms` and `copy_in_ms` together.
    resume_is_faster: f64,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), Error> {
    let model = LlamaModel::load(&cli.model, &ModelOptions::default())?;
    let options = ContextOptions {
        cells: Some(cli.tokens + 64),
        sequences: 1,
        threads: cli.threads,
        ..ContextOptions::default()
    };
    let tag = model.state_tag(&options)?;
    let tokens = tokens(&*model, cli.tokens as usize)?;
    let folder = tempfile::tempdir()?;
    let agent = AgentId::new("keeper")?;

    let mut times = [const { Vec::new() }; 5];
    let mut context = model.context(&options)?;
    let threads = context.threads();
    let mut state_bytes = 0;
    for round in 0..=cli.rounds {
        context.truncate(SEQUENCE, 0)?;
        let (expected, prefill) = timed(|| decode(&mut context, &tokens))?;
        let (state, copy_out) = timed(|| Ok(context.save_sequence(SEQUENCE)?))?;
        state_bytes = state.len();
        let cache = WarmCache::open(folder.path(), tag.clone(), u64::MAX)?;
        let ((), save) = timed(|| Ok(cache.save(&agent, &tokens, &state)?))?;
        drop((cache, state));

        if cli.drop_caches {
            fs::write("/proc/sys/vm/drop_caches", "1")?;
        }
        let (saved, read) = timed(|| {
            let cache = WarmCache::open(folder.path(), tag.clone(), u64::MAX)?;
            Ok(cache.load(&agent)?)
        })?;
        let (resumed, copy_in) = timed(|| {
            context.load_sequence(SEQUENCE, &saved.state)?;
            context.truncate(SEQUENCE, cli.tokens - 1)?;
            decode(&mut context, &saved.tokens[tokens.len() - 1..])
        })?;
        if resumed != expected {
            return Err(format!("resumed with {resumed:?} where {expected:?} comes next").into());
        }
        // The first round warms up.
        if round > 0 {
            for (times, time) in times.iter_mut().zip([prefill, copy_out, save, read, copy_in]) {
                times.push(time);
            }
        }
    }
    let [prefill_ms, copy_out_ms, save_ms, read_ms, copy_in_ms] = times.map(median);
    let figures = Figures {
        model: model.name().to_owned(),
        tokens: cli.tokens,
        rounds: cli.rounds,
        threads,
        state_bytes,
        file_in_page_cache: !cli.drop_caches,
        prefill_ms,
        copy_out_ms,
        save_ms,
        read_ms,
        copy_in_ms,
        resume_is_faster: prefill_ms / (read_ms + copy_in_ms),
    };
    let text = serde_json::to_string_pretty(&figures)?;
    println!("{text}");
    if let Some(path) = &cli.json {
        fs::write(path, text + "\n")?;
    }
    Ok(())
}

fn tokens(model: &dyn Model, count: usize) -> Result<Vec<Token>, Error> {
    let mut tokens = model.tokenize(&TEXT.repeat(count / 8 + 1), true)?;
    if tokens.len() < count {
        return Err(format!("the text has {} tokens, not {count}", tokens.len()).into());
    }
    tokens.truncate(count);
    Ok(tokens)
}

/// Decodes `tokens` behind what the sequence has, and returns what comes next.
fn decode(context: &mut LlamaContext, tokens: &[Token]) -> Result<Token, Error> {
    let mut position = context.sequence_len(SEQUENCE);
    let end = position + tokens.len() as u32;
    let mut rows = 0;
    for chunk in tokens.chunks(context.limits().batch_rows as usize) {
        let mut batch = Batch::with_capacity(chunk.len());
        for token in chunk {
            let logits = position + 1 == end;
            batch.push(BatchRow { token: *token, sequence: SEQUENCE, position, logits })?;
            position += 1;
        }
        context.decode(&batch)?;
        rows = chunk.len();
    }
    let mut sampler = context.sampler(&Sampling::greedy())?;
    Ok(context.sample(rows - 1, &mut sampler)?)
}

fn timed<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<(T, Duration), Error> {
    let start = Instant::now();
    let value = work()?;
    Ok((value, start.elapsed()))
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}
