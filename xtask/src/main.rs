//! The commands of this repository: `cargo xtask demo`, `cargo xtask test`, `cargo xtask bench`,
//! `cargo xtask stress`, `cargo xtask model`.
//!
//! They need nothing but Rust and Python: what else the build needs (cmake, libclang) is looked
//! for, installed where that is possible without asking, and named exactly where it is not. The
//! model is fetched once into the user's cache folder.
//!
//! Exit codes: 0 done; 1 a command or a check failed; 2 the input or this machine has to be put
//! right first; 130 Ctrl-C. `demo`, `bench` and `stress` pass on the exit code of what they run.

#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::bench::BenchArgs;
use crate::demo::DemoArgs;
use crate::install::InstallArgs;
use crate::stress::StressArgs;
use crate::test::TestArgs;

mod bench;
#[cfg(test)]
mod book;
mod demo;
mod install;
mod model;
mod prerequisites;
mod run;
mod stress;
mod test;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, about, long_about = None)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Several agents at work on one engine, at a plan or at prompts: prepares everything, builds, runs
    #[command(after_help = demo::EXAMPLES)]
    Demo(DemoArgs),

    /// Everything a change must pass: format, lints, tests, documentation, loom models
    #[command(after_help = test::EXAMPLES)]
    Test(TestArgs),

    /// Measures the pool beside mutexes and other pools, and the engine beside a plain loop
    #[command(after_help = bench::EXAMPLES)]
    Bench(BenchArgs),

    /// Hours of load with the engine on a real model: prepares everything, builds, runs
    #[command(after_help = stress::EXAMPLES)]
    Stress(StressArgs),

    /// Fetches the model if need be and prints its path
    #[command(after_help = model::EXAMPLES)]
    Model,

    /// Builds the C library in release and installs it with its headers
    #[command(after_help = install::EXAMPLES)]
    Install(InstallArgs),

    /// Writes the C library's header from its sources
    #[command(after_help = install::HEADER_EXAMPLES)]
    Header,
}

/// Why a task ended early.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Prerequisites(#[from] prerequisites::Error),
    #[error(transparent)]
    Model(#[from] model::Error),
    #[error(transparent)]
    Demo(#[from] demo::Error),
    #[error(transparent)]
    Test(#[from] test::Error),
    #[error(transparent)]
    Bench(#[from] bench::Error),
    #[error(transparent)]
    Install(#[from] install::Error),
    #[error(transparent)]
    Stress(#[from] stress::Error),
    #[error("the output cannot be written: {0}; write it to a place that has room")]
    Output(#[source] io::Error),
}

impl Error {
    /// 1 for a check or a build that failed, 2 for what the user has to put right first, 130 for Ctrl-C.
    fn exit_code(&self) -> u8 {
        match self {
            Self::Prerequisites(_) => 2,
            Self::Model(error) => error.exit_code(),
            Self::Demo(error) => error.exit_code(),
            Self::Test(error) => error.exit_code(),
            Self::Bench(error) => error.exit_code(),
            Self::Install(error) => error.exit_code(),
            Self::Stress(_) | Self::Output(_) => 1,
        }
    }
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Demo(args) => demo::run(&args),
        Task::Test(args) => test::run(&args).map(|()| ExitCode::SUCCESS),
        Task::Bench(args) => bench::run(&args),
        Task::Stress(args) => stress::run(&args),
        Task::Model => print_model().map(|()| ExitCode::SUCCESS),
        Task::Install(args) => install::run(&args).map(|()| ExitCode::SUCCESS),
        Task::Header => install::header().map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::from(error.exit_code())
    })
}

fn print_model() -> Result<(), Error> {
    let path = model::locate()?;
    match writeln!(io::stdout(), "{}", path.display()) {
        // Whoever wanted to know has gone: nobody is left to be told so.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(Error::Output),
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

    #[test]
    fn every_command_shows_examples_in_its_help() {
        for task in Cli::command().get_subcommands() {
            let help = task.clone().render_help().to_string();
            let name = task.get_name();
            assert!(help.contains("Examples:"), "{name} has no examples:\n{help}");
            assert!(help.contains(&format!("cargo xtask {name}")), "{name}:\n{help}");
        }
    }
}
