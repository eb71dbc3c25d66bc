//! Kills processes that use a store, and processes in which agents work at plans, at random instants under load,
//! and checks everything after each kill.
//!
//! `cargo xtask test --crash`, or
//! `cargo run --release -p latchless-engine --example store_crash -- --kills 1000`

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use latchless_engine::runtime::crash as flows;
use latchless_engine::store::PlanId;
use latchless_engine::store::crash::{self, CrashError, CrashReport};

/// Kills processes that use a store, and checks that nothing acknowledged is lost, doubled or torn.
///
/// Exit codes: 0 everything was kept; 1 a promise was broken; 2 the test could not be run.
#[derive(Debug, Parser)]
struct Cli {
    /// How often
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    kills: u32,

    /// How often processes are killed in which agents work at plans
    #[arg(long, default_value_t = 100)]
    flow_kills: u32,

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

    /// The child's agents work at plans
    #[arg(long, hide = true, requires = "child")]
    flow: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(path) = cli.child.as_ref().filter(|_| cli.flow) {
        let told = |(plan, key): flows::Finished| println!("finished {plan} {key}");
        return match flows::work(path, cli.threads, told) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(2, &error),
        };
    }
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
    println!(
        "seed {seed}, {} and {} kills of processes with {} threads",
        cli.kills, cli.flow_kills, cli.threads
    );
    match torment(&cli, &path, seed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ CrashError::Child { .. }) => fail(2, &error),
        Err(error) => fail(1, &error),
    }
}

fn torment(cli: &Cli, path: &Path, seed: u64) -> Result<(), CrashError> {
    let program = env::current_exe().map_err(|source| CrashError::Child { number: 0, source })?;
    let command = |path: &Path, flow: bool| {
        let mut command = Command::new(&program);
        command.args(["--threads", &cli.threads.to_string(), "--child"]).arg(path);
        command.args(flow.then_some("--flow"));
        command
    };
    let start = Instant::now();
    let acknowledged = |line: &str| line.parse().ok();
    let report = crash::torment(path, cli.kills, seed, || command(path, false), acknowledged)?;
    tell("the store", &report, start);
    // A file of its own: its plans are of another kind.
    let path = path.with_extension("flow.db");
    let start = Instant::now();
    let report = flows::torment(&path, cli.flow_kills, seed, || command(&path, true), finished)?;
    tell("flows", &report, start);
    Ok(())
}

/// What a line says that a flow's process has finished.
fn finished(line: &str) -> Option<flows::Finished> {
    let (plan, key) = line.strip_prefix("finished ")?.split_once(' ')?;
    Some((PlanId(plan.parse().ok()?), key.to_owned()))
}

fn tell(what: &str, report: &CrashReport, start: Instant) {
    let CrashReport { kills, in_the_middle, claimed, completed, .. } = report;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{what}: {kills} kills in {seconds:.0} s, {in_the_middle} of them in the middle of tasks: \
         {claimed} claims, {completed} tasks completed, 0 lost, 0 doubled, 0 unreadable"
    );
}

fn fail(code: u8, error: &dyn std::error::Error) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(code)
}
