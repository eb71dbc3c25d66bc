//! Measures what the pool promises about throughput and size, beside every contender, in one run.

#![forbid(unsafe_code)]

mod figures;
mod matrix;
mod scale;
mod scarce;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::builder::PossibleValuesParser;
use latchless_benches::os::counting::Counting;
use latchless_benches::report::{NotWritten, write_json, write_svg};
use latchless_benches::{BLOCKS, backends, machine};

use crate::figures::Figures;

/// For the size of the pool; see there for what it costs.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Measures pairs of allocate and free and prints tables in Markdown.
///
/// All contenders of a cell take turns, each for a slice of time, round after round; a cell shows the
/// median of its rounds.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// Rounds; their median counts
    #[arg(long, value_name = "N", default_value_t = 21,
          value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,

    /// Milliseconds of one contender in one round and cell
    #[arg(long, value_name = "MS", default_value_t = 20,
          value_parser = clap::value_parser!(u64).range(1..))]
    slice_ms: u64,

    /// Numbers of threads
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,2,8",
          value_parser = clap::value_parser!(u8).range(1..=128))]
    threads: Vec<u8>,

    /// These contenders alone [default: all]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',',
          value_parser = PossibleValuesParser::new(backends::names()))]
    backends: Vec<String>,

    /// A short run: shows that everything works; its figures are noise
    #[arg(long, conflicts_with_all = ["rounds", "slice_ms"])]
    quick: bool,

    /// Write the figures to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the picture to this file as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// How everything is measured.
#[derive(Debug)]
struct Settings {
    rounds: usize,
    slice: Duration,
    backends: Vec<String>,
}

impl Settings {
    fn wants(&self, backend: &str) -> bool {
        self.backends.is_empty() || self.backends.iter().any(|wanted| wanted == backend)
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<(), NotWritten> {
    let (rounds, slice_ms) = if cli.quick { (3, 4) } else { (cli.rounds, cli.slice_ms) };
    let slice = Duration::from_millis(slice_ms);
    let settings = Settings { rounds: rounds.into(), slice, backends: cli.backends };

    let machine = machine::describe();
    println!("{machine}; pool of {BLOCKS} blocks;");
    println!("median of {rounds} interleaved rounds of {slice_ms} ms, pinned threads.");
    let mut rows = Vec::new();
    for &threads in &cli.threads {
        let of_threads = matrix::measure(&settings, threads);
        print!("\n{}", matrix::table(threads, &of_threads));
        rows.extend(of_threads);
    }
    let near_exhaustion = scarce::measure(&settings);
    print!("\n{}", scarce::table(&near_exhaustion));
    let size = scale::measure(&settings);
    print!("\n{}", scale::table(&size));
    let memory = scale::memory();
    print!("\n{}", scale::memory_table(&memory));

    let figures = Figures {
        machine,
        pool_blocks: BLOCKS,
        rounds,
        slice_ms,
        rows,
        near_exhaustion,
        size,
        memory,
    };
    if let Some(path) = &cli.json {
        write_json(path, &figures)?;
    }
    if let Some(path) = &cli.svg {
        write_svg(path, &matrix::chart(&figures))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
        let error = Cli::try_parse_from(["pool", "--backends", "nobody"]).unwrap_err().to_string();
        assert!(error.contains("mutex_owner"), "{error}");
    }

    #[test]
    fn a_list_of_contenders_leaves_the_others_out() {
        let cli = Cli::parse_from(["pool", "--backends", "latchless,event_queue"]);
        let slice = Duration::from_millis(1);
        let settings = Settings { rounds: 1, slice, backends: cli.backends };
        assert!(settings.wants("event_queue") && !settings.wants("mutex_std"));
        assert!(Settings { backends: Vec::new(), ..settings }.wants("mutex_std"));
    }
}
