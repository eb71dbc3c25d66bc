//! Measures durable claims beside one transaction a claim.

#![forbid(unsafe_code)]

mod claims;
mod prototype;
mod tails;

use std::cell::RefCell;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use latchless_benches::machine;
use latchless_benches::measure::{Entry, interleave, median};
use latchless_benches::report::{figure, table, time, write_json};
use latchless_engine::store::{Durability, NewTask, SqliteStore, Store, StoreOptions};
use serde::Serialize;

use crate::claims::claimed;
use crate::prototype::PrototypeQueue;
use crate::tails::{Latencies, Tail};

const LEASE: Duration = Duration::from_hours(1);
const AGENT_TYPE: &str = "any";

type Failed = Box<dyn Error + Send + Sync>;

/// Claims tasks from as many threads as a host has agents, each claim durable before the next, and prints
/// claims a second, and how long single ones took, beside the prototypes' way: one immediate transaction a
/// claim, one connection a thread.
///
/// All run on the same disk, in turns, round by round.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// Numbers of threads
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,2,8",
          value_parser = clap::value_parser!(u8).range(1..=128))]
    threads: Vec<u8>,

    /// Tasks that each round claims
    #[arg(long, value_name = "N", default_value_t = 800,
          value_parser = clap::value_parser!(u32).range(1..))]
    tasks: u32,

    /// Rounds; their median counts
    #[arg(long, value_name = "N", default_value_t = 5,
          value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,

    /// The folder of the databases, on the disk that counts [default: the system's for temporary files]
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,

    /// A short run: shows that everything works; its figures are noise
    #[arg(long, conflicts_with_all = ["rounds", "tasks"])]
    quick: bool,

    /// Write the figures to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Figures {
    machine: String,
    tasks: u32,
    rounds: u16,
    rows: Vec<Row>,
}

/// Claims a second with so many threads.
#[derive(Debug, Serialize)]
struct Row {
    threads: u8,
    durable: f64,
    relaxed: f64,
    one_transaction_each: f64,
    /// The median of the rounds' ratios, which share a moment of the machine.
    durable_is_faster: f64,
    /// Writes of a commit, on average.
    writes_a_group: f64,
    /// Of single claims, all rounds together.
    durable_tail: Tail,
    relaxed_tail: Tail,
    one_transaction_each_tail: Tail,
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
    let (tasks, rounds) = if cli.quick { (160, 1) } else { (cli.tasks, cli.rounds) };
    let mut rows = Vec::new();
    for &threads in &cli.threads {
        rows.push(row(cli.folder.as_deref(), tasks, threads, rounds)?);
    }
    let figures = Figures { machine: machine::describe(), tasks, rounds, rows };
    print(&figures);
    if let Some(path) = &cli.json {
        write_json(path, &figures)?;
    }
    Ok(())
}

/// What the rounds of a row leave beside their rates.
#[derive(Default)]
struct Seen {
    latencies: [Latencies; 3],
    /// Writes of a commit, a round each.
    groups: Vec<f64>,
    /// The first failure; no round begins after it.
    failed: Option<Failed>,
}

/// Claims in all three ways, in turns, each round in a new folder.
fn row(folder: Option<&Path>, tasks: u32, threads: u8, rounds: u16) -> Result<Row, Failed> {
    let seen = Rc::new(RefCell::new(Seen::default()));
    let entry = |name, of: usize, round: fn(&Path, u32, u8) -> Result<Round, Failed>| {
        let (seen, folder) = (Rc::clone(&seen), folder.map(Path::to_owned));
        Entry::new(name, move || {
            let mut seen = seen.borrow_mut();
            if seen.failed.is_some() {
                return f64::NAN;
            }
            eprintln!("{threads} threads: {name}");
            let database = match &folder {
                Some(folder) => tempfile::tempdir_in(folder),
                None => tempfile::tempdir(),
            };
            let round = database
                .map_err(Failed::from)
                .and_then(|database| round(&database.path().join("tasks"), tasks, threads));
            match round {
                Ok(Round { rate, latencies, group }) => {
                    seen.latencies[of].add(&latencies);
                    seen.groups.extend(group);
                    rate
                }
                Err(error) => {
                    seen.failed = Some(error);
                    f64::NAN
                }
            }
        })
    };
    let entries = [
        entry("durable", 0, |path, tasks, threads| ours(path, tasks, threads, Durability::Durable)),
        entry("one transaction each", 1, theirs),
        entry("relaxed", 2, |path, tasks, threads| {
            let round = ours(path, tasks, threads, Durability::Relaxed)?;
            Ok(Round { group: None, ..round })
        }),
    ];
    let rates = interleave(&entries, rounds.into());
    let Seen { latencies, groups, failed } = seen.take();
    if let Some(error) = failed {
        return Err(error);
    }
    let ratios: Vec<_> =
        rates[0].iter().zip(&rates[1]).map(|(ours, theirs)| ours / theirs).collect();
    let [durable_tail, one_transaction_each_tail, relaxed_tail] =
        latencies.map(|latencies| latencies.tail());
    Ok(Row {
        threads,
        durable: median(&rates[0]),
        relaxed: median(&rates[2]),
        one_transaction_each: median(&rates[1]),
        durable_is_faster: median(&ratios),
        writes_a_group: median(&groups),
        durable_tail,
        relaxed_tail,
        one_transaction_each_tail,
    })
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
    let line = |threads: u8, way: &str, tail: Tail| {
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

/// A round of one way of claiming.
struct Round {
    /// Claims a second.
    rate: f64,
    latencies: Latencies,
    /// Writes of a commit, on average, where that is known.
    group: Option<f64>,
}

/// A round of our store.
fn ours(path: &Path, tasks: u32, threads: u8, durability: Durability) -> Result<Round, Failed> {
    let store = SqliteStore::open(path, StoreOptions::default())?;
    let plan: Vec<_> = (0..tasks).map(|number| NewTask::new(number.to_string(), "x")).collect();
    store.create_plan("bench", &plan, Durability::Durable)?;
    let before = store.stats();
    let (rate, latencies) = claimed(tasks, threads, || {
        Ok(|agent: &str| {
            let claim = store.claim(agent, AGENT_TYPE, LEASE, durability)?;
            Ok(claim.map(|claim| claim.task.0))
        })
    })?;
    let after = store.stats();
    let groups = (after.groups - before.groups).max(1);
    let group = (after.writes - before.writes) as f64 / groups as f64;
    Ok(Round { rate, latencies, group: Some(group) })
}

/// A round of the prototypes' way.
fn theirs(path: &Path, tasks: u32, threads: u8) -> Result<Round, Failed> {
    PrototypeQueue::create(path, tasks)?;
    let (rate, latencies) = claimed(tasks, threads, || {
        let mut queue = PrototypeQueue::open(path)?;
        Ok(move |agent: &str| queue.claim(agent))
    })?;
    Ok(Round { rate, latencies, group: None })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
        let error = Cli::try_parse_from(["store", "--tasks", "0"]).unwrap_err().to_string();
        assert!(error.contains("--tasks"), "{error}");
    }

    #[test]
    fn every_way_claims_everything() {
        for threads in [1, 3] {
            let row = row(None, 40, threads, 2).unwrap();
            assert!(row.durable > 0.0 && row.relaxed > 0.0 && row.one_transaction_each > 0.0);
            assert!(row.durable_is_faster > 0.0 && row.writes_a_group >= 1.0, "{row:?}");
            for tail in [row.durable_tail, row.relaxed_tail, row.one_transaction_each_tail] {
                assert_eq!(tail.claims, 80, "{row:?}");
                assert!(tail.p50_ns > 0, "{row:?}");
            }
        }
    }

    #[test]
    fn a_round_that_fails_is_told() {
        let nowhere = Path::new("/nowhere/to/write");
        assert!(row(Some(nowhere), 4, 1, 2).is_err());
    }
}
