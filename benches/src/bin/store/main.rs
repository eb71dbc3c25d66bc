//! Measures durable claims beside one transaction a claim.

#![forbid(unsafe_code)]

mod seed;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use latchless_benches::machine;
use latchless_benches::report::{figure, table, write_json};
use latchless_engine::store::{Durability, NewTask, SqliteStore, Store, StoreOptions};
use serde::Serialize;

use crate::seed::SeedQueue;

const LEASE: Duration = Duration::from_hours(1);
const AGENT_TYPE: &str = "any";

type Failed = Box<dyn Error + Send + Sync>;

/// Claims tasks from as many threads as a host has agents, each claim durable before the next, and prints
/// claims a second beside the seeds' way: one immediate transaction a claim, one connection a thread.
///
/// Both run on the same disk, in turns, round by round.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// Numbers of threads
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 8])]
    threads: Vec<usize>,

    /// Tasks that each round claims
    #[arg(long, default_value_t = 800)]
    tasks: usize,

    /// Rounds; the medians count
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// The folder of the databases, on the disk that counts [default: the system's for temporary files]
    #[arg(long)]
    folder: Option<PathBuf>,

    /// A short run: shows that everything works
    #[arg(long)]
    quick: bool,

    /// Write the figures to this file as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Figures {
    machine: String,
    tasks: usize,
    rounds: usize,
    rows: Vec<Row>,
}

/// Claims a second with so many threads.
#[derive(Debug, Serialize)]
struct Row {
    threads: usize,
    durable: f64,
    relaxed: f64,
    one_transaction_each: f64,
    durable_is_faster: f64,
    /// Writes of a commit, on average.
    writes_a_group: f64,
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

fn run(cli: &Cli) -> Result<(), Failed> {
    let (tasks, rounds) = if cli.quick { (160, 1) } else { (cli.tasks, cli.rounds.max(1)) };
    let mut rows = Vec::new();
    for &threads in &cli.threads {
        let threads = threads.max(1);
        let (mut durable, mut relaxed, mut seeds, mut groups) = (vec![], vec![], vec![], vec![]);
        for round in 0..rounds {
            let folder = match &cli.folder {
                Some(folder) => tempfile::tempdir_in(folder)?,
                None => tempfile::tempdir()?,
            };
            let path = |name: &str| folder.path().join(name);
            let (rate, group) = ours(&path("durable"), tasks, threads, Durability::Durable)?;
            durable.push(rate);
            groups.push(group);
            seeds.push(theirs(&path("seed"), tasks, threads)?);
            relaxed.push(ours(&path("relaxed"), tasks, threads, Durability::Relaxed)?.0);
            eprintln!("{threads} threads: round {} of {rounds}", round + 1);
        }
        let [durable, relaxed, seeds, groups] = [durable, relaxed, seeds, groups].map(median);
        rows.push(Row {
            threads,
            durable,
            relaxed,
            one_transaction_each: seeds,
            durable_is_faster: durable / seeds,
            writes_a_group: groups,
        });
    }
    let figures = Figures { machine: machine::describe(), tasks, rounds, rows };
    print(&figures);
    if let Some(path) = &cli.json {
        write_json(path, &figures)?;
    }
    Ok(())
}

fn print(figures: &Figures) {
    println!("{}\n", figures.machine);
    let head = ["threads", "durable claims/s", "one transaction each", "ratio", "relaxed", "group"];
    let row = |row: &Row| {
        [
            row.threads.to_string(),
            figure(row.durable),
            figure(row.one_transaction_each),
            figure(row.durable_is_faster),
            figure(row.relaxed),
            figure(row.writes_a_group),
        ]
    };
    let rows: Vec<_> = figures.rows.iter().map(row).collect();
    println!("{}", table(head, &rows));
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Claims a second of our store, and writes a group.
fn ours(
    path: &Path,
    tasks: usize,
    threads: usize,
    durability: Durability,
) -> Result<(f64, f64), Failed> {
    let store = SqliteStore::open(path, StoreOptions::default())?;
    let plan: Vec<_> = (0..tasks).map(|number| NewTask::new(number.to_string(), "x")).collect();
    store.create_plan("bench", &plan, Durability::Durable)?;
    let before = store.stats();
    let rate = claimed(tasks, threads, || {
        Ok(|agent: &str| {
            let claim = store.claim(agent, AGENT_TYPE, LEASE, durability)?;
            Ok(claim.map(|claim| claim.task.0))
        })
    })?;
    let after = store.stats();
    let groups = (after.groups - before.groups).max(1);
    Ok((rate, (after.writes - before.writes) as f64 / groups as f64))
}

/// Claims a second of the seeds' way.
fn theirs(path: &Path, tasks: usize, threads: usize) -> Result<f64, Failed> {
    SeedQueue::create(path, tasks)?;
    claimed(tasks, threads, || {
        let mut queue = SeedQueue::open(path)?;
        Ok(move |agent: &str| queue.claim(agent))
    })
}

/// Lets `threads` threads claim until nothing is left, and returns claims a second. Every task must have
/// been claimed once. `claimer` makes what one thread claims with.
fn claimed<C: FnMut(&str) -> Result<Option<i64>, Failed>>(
    tasks: usize,
    threads: usize,
    claimer: impl Fn() -> Result<C, Failed> + Sync,
) -> Result<f64, Failed> {
    let begin = Barrier::new(threads + 1);
    let (elapsed, claims) = thread::scope(|scope| {
        let agents: Vec<_> = (0..threads)
            .map(|number| {
                let (begin, claimer) = (&begin, &claimer);
                scope.spawn(move || -> Result<Vec<i64>, Failed> {
                    let agent = format!("agent {number}");
                    let claimer = claimer();
                    // Behind the fallible part, so that nobody waits for a thread that has given up.
                    begin.wait();
                    let mut claim = claimer?;
                    let mut claims = Vec::new();
                    while let Some(task) = claim(&agent)? {
                        claims.push(task);
                    }
                    Ok(claims)
                })
            })
            .collect();
        begin.wait();
        let start = Instant::now();
        let claims: Result<Vec<_>, Failed> = agents
            .into_iter()
            .map(|agent| agent.join().unwrap_or_else(|_| Err("an agent panicked".into())))
            .collect();
        (start.elapsed(), claims)
    });
    let mut claims = claims?.concat();
    claims.sort_unstable();
    claims.dedup();
    if claims.len() != tasks {
        return Err(format!("{} of {tasks} tasks were claimed", claims.len()).into());
    }
    Ok(tasks as f64 / elapsed.as_secs_f64())
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
    fn both_claim_everything_once() {
        let folder = tempfile::tempdir().unwrap();
        for threads in [1, 3] {
            let path = |name: &str| folder.path().join(format!("{name} {threads}"));
            for durability in [Durability::Durable, Durability::Relaxed] {
                let name = format!("{durability:?}");
                assert!(ours(&path(&name), 40, threads, durability).unwrap().0 > 0.0);
            }
            assert!(theirs(&path("seed"), 40, threads).unwrap() > 0.0);
        }
    }
}
