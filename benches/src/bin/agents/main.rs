//! Measures what agents do beside the block pool: transitions, claims, changes recorded, output.

#![forbid(unsafe_code)]

mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Measures each operation beside the locked system that it replaces, and prints tables in Markdown:
/// throughput, and what a thread has to wait for starved ones.
///
/// All backends of an operation take turns, each for a slice of time, round after round; a cell shows the
/// median of its rounds. A whole run takes about 2 minutes.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// Rounds; their median counts
    #[arg(long, value_name = "N", default_value_t = 21,
          value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,

    /// Milliseconds of one backend in one round and cell
    #[arg(long, value_name = "MS", default_value_t = 20,
          value_parser = clap::value_parser!(u64).range(1..))]
    slice_ms: u64,

    /// Numbers of threads
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,2",
          value_parser = clap::value_parser!(u8).range(1..=128))]
    threads: Vec<u8>,

    /// Seconds of priority inversion for each backend; 0 leaves that out
    #[arg(long, value_name = "S", default_value_t = 8)]
    seconds: u64,

    /// A short run: shows that everything works; its figures are noise
    #[arg(long, conflicts_with_all = ["rounds", "slice_ms", "seconds"])]
    quick: bool,

    /// Write the figures to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run::run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
