//! Measures the worst latencies, when threads are starved and when they are stopped.

#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Starves and stops threads that use a pool, and prints what the others had to wait, in Markdown.
///
/// Two cores are used. A whole run takes about 12 minutes: each contender is frozen 300 times for 200 ms,
/// without and with agents that come and leave meanwhile.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// Seconds of priority inversion
    #[arg(long, value_name = "S", default_value_t = 8,
          value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,

    /// How often a random thread is frozen
    #[arg(long, value_name = "N", default_value_t = 300,
          value_parser = clap::value_parser!(u32).range(1..))]
    freezes: u32,

    /// Milliseconds of each freeze
    #[arg(long, value_name = "MS", default_value_t = 200,
          value_parser = clap::value_parser!(u64).range(1..))]
    freeze_ms: u64,

    /// Chooses the threads and the moments; the same for every contender [default: random]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// A short run: shows that everything works, and the mutexes' waits most of the time
    #[arg(long, conflicts_with_all = ["seconds", "freezes"])]
    quick: bool,

    /// Write the figures to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the picture to this file as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    #[cfg(target_os = "linux")]
    let done = run::run(&cli);
    #[cfg(not(target_os = "linux"))]
    let done: Result<(), &str> = {
        drop(cli);
        Err("threads are starved and stopped by means of Linux; run this there")
    };
    match done {
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
