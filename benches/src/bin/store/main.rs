//! Measures durable claims beside one transaction a claim.

#![forbid(unsafe_code)]

mod seed;
mod tails;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use latchless_benches::machine;
use latchless_benches::report::{figure, table, time, write_json};
use latchless_engine::store::{Durability, NewTask, SqliteStore, Store, StoreOptions};
use serde::Serialize;

use crate::seed::SeedQueue;
use crate::tails::{Latencies, Tail};

const LEASE: Duration = Duration::from_hours(1);
const AGENT_TYPE: &str = "any";

type Failed = Box<dyn Error + Send + Sync>;

/// Claims tasks from as many threads as a host has agents, each claim durable before the next, and prints
/// claims a second, and how long single ones took, beside the seeds' way: one immediate transaction a claim,
/// one connection a thread.
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
    /// Of single claims, all rounds together.
    durable_tail: Tail,
    relaxed_tail: Tail,
    one_transaction_each_tail: Tail,
}

/// What one way of claiming did in all rounds.
struct Side {
    rates: Vec<f64>,
    latencies: Latencies,
}

impl Side {
    fn new() -> Self {
        Self { rates: Vec::new(), latencies: Latencies::new() }
    }

    fn add(&mut self, (rate, latencies): (f64, Latencies)) {
        self.rates.push(rate);
        self.latencies.add(&latencies);
    }
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
        let [mut durable, mut relaxed, mut seeds] = [(); 3].map(|()| Side::new());
        let mut groups = Vec::new();
        for round in 0..rounds {
            let folder = match &cli.folder {
                Some(folder) => tempfile::tempdir_in(folder)?,
                None => tempfile::tempdir()?,
            };
            let path = |name: &str| folder.path().join(name);
            let (claimed, group) = ours(&path("durable"), tasks, threads, Durability::Durable)?;
            durable.add(claimed);
            groups.push(group);
            seeds.add(theirs(&path("seed"), tasks, threads)?);
            relaxed.add(ours(&path("relaxed"), tasks, threads, Durability::Relaxed)?.0);
            eprintln!("{threads} threads: round {} of {rounds}", round + 1);
        }
        let [durable_tail, relaxed_tail, one_transaction_each_tail] =
            [&durable, &relaxed, &seeds].map(|side| side.latencies.tail());
        let [durable, relaxed, seeds, groups] =
            [durable.rates, relaxed.rates, seeds.rates, groups].map(median);
        rows.push(Row {
            threads,
            durable,
            relaxed,
            one_transaction_each: seeds,
            durable_is_faster: durable / seeds,
            writes_a_group: groups,
            durable_tail,
            relaxed_tail,
            one_transaction_each_tail,
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
    println!("{}\n", table(head, &rows));
    let head = ["threads", "a claim", "p50", "p99", "p99.9", "longest"];
    let line = |threads: usize, way: &str, tail: Tail| {
        let Tail { p50_ns, p99_ns, p999_ns, max_ns, .. } = tail;
        let [p50, p99, p999, max] = [p50_ns, p99_ns, p999_ns, max_ns].map(time);
        [threads.to_string(), way.to_owned(), p50, p99, p999, max]
    };
    let lines = |row: &Row| {
        [
            line(row.threads, "durable", row.durable_tail),
            line(row.threads, "one transaction each", row.one_transaction_each_tail),
            line(row.threads, "relaxed", row.relaxed_tail),
        ]
    };
    println!("{}", table(head, &figures.rows.iter().flat_map(lines).collect::<Vec<_>>()));
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Claims a second of our store, how long each took, and writes a group.
fn ours(
    path: &Path,
    tasks: usize,
    threads: usize,
    durability: Durability,
) -> Result<((f64, Latencies), f64), Failed> {
    let store = SqliteStore::open(path, StoreOptions::default())?;
    let plan: Vec<_> = (0..tasks).map(|number| NewTask::new(number.to_string(), "x")).collect();
    store.create_plan("bench", &plan, Durability::Durable)?;
    let before = store.stats();
    let claimed = claimed(tasks, threads, || {
        Ok(|agent: &str| {
            let claim = store.claim(agent, AGENT_TYPE, LEASE, durability)?;
            Ok(claim.map(|claim| claim.task.0))
        })
    })?;
    let after = store.stats();
    let groups = (after.groups - before.groups).max(1);
    Ok((claimed, (after.writes - before.writes) as f64 / groups as f64))
}

/// Claims a second of the seeds' way, and how long each took.
fn theirs(path: &Path, tasks: usize, threads: usize) -> Result<(f64, Latencies), Failed> {
    SeedQueue::create(path, tasks)?;
    claimed(tasks, threads, || {
        let mut queue = SeedQueue::open(path)?;
        Ok(move |agent: &str| queue.claim(agent))
    })
}

/// Lets `threads` threads claim until nothing is left, and returns claims a second and how long each took.
/// Every task must have been claimed once. `claimer` makes what one thread claims with.
fn claimed<C: FnMut(&str) -> Result<Option<i64>, Failed>>(
    tasks: usize,
    threads: usize,
    claimer: impl Fn() -> Result<C, Failed> + Sync,
) -> Result<(f64, Latencies), Failed> {
    let begin = Barrier::new(threads + 1);
    let (elapsed, claims) = thread::scope(|scope| {
        let agents: Vec<_> = (0..threads)
            .map(|number| {
                let (begin, claimer) = (&begin, &claimer);
                scope.spawn(move || -> Result<(Vec<i64>, Latencies), Failed> {
                    let agent = format!("agent {number}");
                    let claimer = claimer();
                    let (mut claims, mut latencies) = (Vec::new(), Latencies::new());
                    // Behind the fallible part, so that nobody waits for a thread that has given up.
                    begin.wait();
                    let mut claim = claimer?;
                    loop {
                        let asked = Instant::now();
                        let Some(task) = claim(&agent)? else { return Ok((claims, latencies)) };
                        latencies.record(asked.elapsed());
                        claims.push(task);
                    }
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
    let mut latencies = Latencies::new();
    let mut claims: Vec<i64> = claims?
        .into_iter()
        .flat_map(|(claims, of_thread)| {
            latencies.add(&of_thread);
            claims
        })
        .collect();
    claims.sort_unstable();
    claims.dedup();
    if claims.len() != tasks {
        return Err(format!("{} of {tasks} tasks were claimed", claims.len()).into());
    }
    Ok((tasks as f64 / elapsed.as_secs_f64(), latencies))
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
                let ((rate, latencies), _) = ours(&path(&name), 40, threads, durability).unwrap();
                assert!(rate > 0.0 && latencies.tail().p50_ns > 0);
            }
            let (rate, latencies) = theirs(&path("seed"), 40, threads).unwrap();
            assert!(rate > 0.0 && latencies.tail().max_ns > 0);
        }
    }
}
