//! The engine's figures on a real model, all in one run: `cargo xtask bench engine`.
//!
//! Ratios compare within the run, on the same threads, so that another machine, or another load of this
//! one, gives figures that mean the same. What is measured over steps is stepped by this program's own
//! thread: batches have the same rows in every run.

#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod frozen;
mod interval;
mod latency;
mod machine;
mod memory;
mod overhead;
mod plain;
mod report;
mod rows;
mod swap;
mod throughput;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use latchless_engine::backend::llama::{
    ContextOptions, LlamaContext, LlamaModel, LoadError, ModelOptions, runtime,
};
use latchless_llama_raw::quantize::{Quantization, quantize};

use self::report::Report;

/// The system's allocator has locks: a host that is frozen under one of them stops the lane when that gives
/// back what the host allocated. This one gives back to other threads by an atomic push. Everything that is
/// compared has the same; llama.cpp keeps the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the engine beside a plain llama.cpp loop, and prints a table
#[derive(Debug, Parser)]
#[command(name = "figures", long_about = None)]
struct Args {
    /// The GGUF file to run
    #[arg(long, value_name = "PATH", env = "LATCHLESS_MODEL")]
    model: PathBuf,

    /// Write the figures to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Threads that compute; with one more than there are free cores all of them wait [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<u32>,

    /// Measure the model in another quantisation: `Q4_0`, `Q8_0`, `Q4_K_M`, `F16`. It is made once, in the folder of
    /// the temporary files, from what the file has: its times are true, its answers are worse
    #[arg(long, value_name = "NAME")]
    quantization: Option<Quantization>,

    /// A short run: shows that everything works
    #[arg(long)]
    quick: bool,

    /// Only the figures whose group has this name: rows, throughput, latency, interval, swap, memory,
    /// overhead, frozen (Linux)
    #[arg(long, value_name = "GROUP")]
    only: Option<String>,

    /// Print nothing: for the process that measures memory
    #[arg(long, hide = true)]
    silent: bool,
}

/// What every measurement starts from.
pub(crate) struct Bench {
    pub(crate) path: PathBuf,
    pub(crate) model: Arc<LlamaModel>,
    pub(crate) quick: bool,
    pub(crate) threads: Option<u32>,
}

impl Bench {
    /// `long` rounds, or `short` ones when that is all that is asked for.
    pub(crate) fn rounds(&self, long: usize, short: usize) -> usize {
        if self.quick { short } else { long }
    }

    pub(crate) fn context(&self, cells: u32, sequences: u32) -> Result<LlamaContext, LoadError> {
        self.model.context(&self.options(cells, sequences))
    }

    pub(crate) fn options(&self, cells: u32, sequences: u32) -> ContextOptions {
        let threads = self.threads;
        ContextOptions { cells: Some(cells), sequences, threads, ..ContextOptions::default() }
    }
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let path = match args.quantization {
        Some(quantization) => other(&args.model, quantization)?,
        None => args.model.clone(),
    };
    let model = LlamaModel::load(&path, &ModelOptions::default())?;
    let mut report = Report::new(&path, args.quick, args.silent);
    let bench = Bench { path, model, quick: args.quick, threads: args.threads };
    let wanted = |group| args.only.as_deref().is_none_or(|only| only == group);
    if wanted("overhead") {
        overhead::measure(&bench, &mut report)?;
    }
    if wanted("rows") {
        rows::measure(&bench, &mut report)?;
    }
    if wanted("throughput") {
        throughput::measure(&bench, &mut report)?;
    }
    if wanted("latency") {
        latency::measure(&bench, &mut report)?;
    }
    #[cfg(target_os = "linux")]
    if wanted("frozen") {
        frozen::measure(&bench, &mut report)?;
    }
    if wanted("interval") {
        interval::measure(&bench, &mut report)?;
    }
    if wanted("swap") {
        swap::measure(&bench, &mut report)?;
    }
    if wanted(memory::GROUP) {
        memory::measure(&bench, &mut report)?;
    }
    if let Some(path) = &args.json {
        report.write(path)?;
    }
    Ok(())
}

/// The file with the same model in another quantisation.
fn other(model: &Path, quantization: Quantization) -> Result<PathBuf, Box<dyn Error>> {
    let stem = model.file_stem().unwrap_or_default().to_string_lossy();
    let name = stem.rsplit_once('.').map_or(&*stem, |(name, _)| name);
    let path = std::env::temp_dir().join(format!("latchless-figures-{name}.{quantization}.gguf"));
    if !path.exists() {
        let threads = std::thread::available_parallelism()?.get() as u32;
        quantize(runtime()?, model, &path, quantization, threads)?;
    }
    Ok(path)
}
