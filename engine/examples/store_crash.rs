//! Kills processes that use a store, at random instants under load, and checks everything after each kill.
//!
//! `cargo xtask test --crash`, or
//! `cargo run --release -p latchless-engine --example store_crash -- --kills 1000`

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use latchless_engine::store::crash::{self, CrashError, CrashReport};

/// Kills processes that use a store, and checks that nothing acknowledged is lost, doubled or torn.
///
/// Exit codes: 0 everything was kept; 1 a promise was broken; 2 the test could not be run.
#[derive(Debug, Parser)]
struct Cli {
    /// How often
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    kills: u32,

    /// Threads of each process
    #[arg(long, default_value_t = 8)]
    threads: usize,

    /// Chooses the instants [default: random, and printed]
    #[arg(long)]
    seed: Option<u64>,

    /// The database, which is kept [default: one that is thrown away]
    #[arg(long)]
    file: Option<PathBuf>,

    /// What a process that will be killed does: it works on this database
    #[arg(long, hide = true)]
    child: Option<PathBuf>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(path) = &cli.child {
        return match crash::work(path, cli.threads, |done| println!("{done}")) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(2, &error),
        };
    }
    let folder = match tempfile::tempdir() {
        Ok(folder) => folder,
        Err(error) => return fail(2, &error),
    };
    let path = cli.file.clone().unwrap_or_else(|| folder.path().join("agents.db"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = cli.seed.unwrap_or(now.as_nanos() as u64);
    println!("seed {seed}, {} kills of processes with {} threads", cli.kills, cli.threads);
    let start = Instant::now();
    match torment(&cli, &path, seed) {
        Ok(report) => {
            let CrashReport { kills, in_the_middle, claimed, completed, .. } = report;
            let seconds = start.elapsed().as_secs_f64();
            println!(
                "{kills} kills in {seconds:.0} s, {in_the_middle} of them in the middle of tasks: \
                 {claimed} claims, {completed} tasks completed, 0 lost, 0 doubled, 0 unreadable"
            );
            ExitCode::SUCCESS
        }
        Err(error @ CrashError::Child { .. }) => fail(2, &error),
        Err(error) => fail(1, &error),
    }
}

fn torment(cli: &Cli, path: &Path, seed: u64) -> Result<CrashReport, CrashError> {
    let program = env::current_exe().map_err(|source| CrashError::Child { number: 0, source })?;
    let command = || {
        let mut command = Command::new(&program);
        command.args(["--threads", &cli.threads.to_string(), "--child"]).arg(path);
        command
    };
    crash::torment(path, cli.kills, seed, command, |line| line.parse().ok())
}

fn fail(code: u8, error: &dyn std::error::Error) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(code)
}
