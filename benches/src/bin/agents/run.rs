//! All operations with all backends: throughput first, then priority inversion.

use std::io;
use std::time::Duration;

use latchless_benches::agents::{LOCKED, Work, WorkVisitor, visit};
use latchless_benches::machine;
use latchless_benches::measure::{Entry, Summary, interleave, steps};
use latchless_benches::report::{NotWritten, figure, table as markdown, write_json};
use serde::Serialize;
use thiserror::Error;

use crate::Cli;

/// Why there is no table.
#[derive(Debug, Error)]
pub(crate) enum Error {
    #[cfg_attr(
        not(target_os = "linux"),
        expect(dead_code, reason = "threads are starved there alone")
    )]
    #[error(
        "threads could not be placed or starved: {0}; this needs a Linux that lets a process lower its own \
         threads' priority and choose their cores, or leave it out with --seconds 0"
    )]
    System(#[source] io::Error),
    #[error(transparent)]
    NotWritten(#[from] NotWritten),
}

/// What the JSON file holds.
#[derive(Debug, Serialize)]
struct Figures {
    machine: String,
    rounds: usize,
    slice_ms: u64,
    rows: Vec<Row>,
    inversion_s: u64,
    inversion: Vec<Tail>,
}

/// One cell of throughput.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Row {
    operation: &'static str,
    backend: &'static str,
    threads: u8,
    /// Million operations a second, all threads together: the median round.
    mops: f64,
    /// The quartiles.
    q1: f64,
    q3: f64,
    /// To the locked system: the median of the rounds' ratios, which share a moment of the machine.
    ratio: f64,
}

/// What a thread of normal priority saw beside starved ones.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Tail {
    operation: &'static str,
    backend: &'static str,
    p50_ns: u64,
    p999_ns: u64,
    max_ns: u64,
    operations: u64,
    over_20_ms: u64,
}

/// An entry for each backend, by operation.
#[derive(Default)]
struct Entries {
    threads: usize,
    slice: Duration,
    operations: Vec<(&'static str, Vec<Entry>)>,
}

impl WorkVisitor for Entries {
    fn visit<W: Work>(&mut self) {
        let (threads, slice) = (self.threads, self.slice);
        let work = W::new();
        let entry = Entry::new(W::BACKEND, move || steps(&work, threads, slice) / 1e6);
        match self.operations.last_mut() {
            Some((operation, entries)) if *operation == W::OPERATION => entries.push(entry),
            _ => self.operations.push((W::OPERATION, vec![entry])),
        }
    }
}

pub(crate) fn run(cli: &Cli) -> Result<(), Error> {
    let (rounds, slice_ms, inversion_s) =
        if cli.quick { (3, 4, 1) } else { (cli.rounds.into(), cli.slice_ms, cli.seconds) };
    let machine = machine::describe();
    println!("{machine};");
    println!("median of {rounds} interleaved rounds of {slice_ms} ms, pinned threads.");
    let mut rows = Vec::new();
    for &threads in &cli.threads {
        let slice = Duration::from_millis(slice_ms);
        let of_threads = throughput(threads, slice, rounds);
        print!("\n{}", throughput_table(threads, &of_threads));
        rows.extend(of_threads);
    }
    let inversion = if inversion_s == 0 { Vec::new() } else { inversion(inversion_s)? };
    if !inversion.is_empty() {
        print!("\n{}", inversion_table(inversion_s, &inversion));
    }
    if let Some(path) = &cli.json {
        write_json(path, &Figures { machine, rounds, slice_ms, rows, inversion_s, inversion })?;
    }
    Ok(())
}

fn throughput(threads: u8, slice: Duration, rounds: usize) -> Vec<Row> {
    let mut entries = Entries { threads: threads.into(), slice, operations: Vec::new() };
    visit(&mut entries);
    let of_operation = |(operation, entries): (_, Vec<Entry>)| {
        let figures = interleave(&entries, rounds);
        let locked = entries.iter().position(|entry| entry.name == LOCKED);
        let rows = entries.iter().zip(&figures).map(|(entry, of_entry)| {
            let ratios = locked.map(|at| {
                of_entry.iter().zip(&figures[at]).map(|(a, b)| a / b).collect::<Vec<_>>()
            });
            let Summary { q1, median: mops, q3 } = Summary::of(of_entry);
            let ratio = Summary::of(&ratios.unwrap_or_default()).median;
            Row { operation, backend: entry.name, threads, mops, q1, q3, ratio }
        });
        rows.collect::<Vec<_>>()
    };
    entries.operations.into_iter().flat_map(of_operation).collect()
}

fn throughput_table(threads: u8, rows: &[Row]) -> String {
    let head = match threads {
        1 => "1 thread".to_owned(),
        _ => format!("{threads} threads"),
    };
    let head = [head.as_str(), "backend", "million a second", "to the locked one"];
    let line = |row: &Row| {
        [row.operation.to_owned(), row.backend.to_owned(), figure(row.mops), figure(row.ratio)]
    };
    markdown(head, &rows.iter().map(line).collect::<Vec<_>>())
}

#[cfg(target_os = "linux")]
fn inversion(seconds: u64) -> Result<Vec<Tail>, Error> {
    use latchless_benches::tails::{Churned, inversion};

    struct Runner {
        time: Duration,
        tails: io::Result<Vec<Tail>>,
    }

    impl WorkVisitor for Runner {
        fn visit<W: Work>(&mut self) {
            let Ok(tails) = &mut self.tails else { return };
            eprintln!("starving: {} of {}", W::OPERATION, W::BACKEND);
            match inversion::run_work::<W>(self.time) {
                Ok(latencies) => {
                    let row = latencies.row(W::OPERATION, W::BACKEND, Churned::default());
                    tails.push(Tail {
                        operation: row.scenario,
                        backend: row.backend,
                        p50_ns: row.p50_ns,
                        p999_ns: row.p999_ns,
                        max_ns: row.max_ns,
                        operations: row.operations,
                        over_20_ms: row.over_20_ms,
                    });
                }
                Err(error) => self.tails = Err(error),
            }
        }
    }

    let mut runner = Runner { time: Duration::from_secs(seconds), tails: Ok(Vec::new()) };
    visit(&mut runner);
    runner.tails.map_err(Error::System)
}

#[cfg(not(target_os = "linux"))]
fn inversion(_: u64) -> Result<Vec<Tail>, Error> {
    eprintln!("threads are starved by means of Linux: left out");
    Ok(Vec::new())
}

fn inversion_table(seconds: u64, tails: &[Tail]) -> String {
    use latchless_benches::report::time;

    let head = format!("inversion, {seconds} s");
    let head = [head.as_str(), "backend", "p50", "p99.9", "max", "operations", "of 20 ms and more"];
    let line = |tail: &Tail| {
        let [p50, p999, max] = [tail.p50_ns, tail.p999_ns, tail.max_ns].map(time);
        let [operations, long] = [tail.operations, tail.over_20_ms].map(|n| n.to_string());
        [tail.operation.to_owned(), tail.backend.to_owned(), p50, p999, max, operations, long]
    };
    markdown(head, &tails.iter().map(line).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_compared_to_the_locked_one() {
        let rows = throughput(2, Duration::from_millis(2), 1);
        for row in &rows {
            assert!(row.mops > 0.0 && row.ratio.is_finite(), "{row:?}");
            assert!(row.backend != LOCKED || (row.ratio - 1.0).abs() < f64::EPSILON, "{row:?}");
        }
        assert_eq!(throughput_table(2, &rows).lines().count(), rows.len() + 2);
    }
}
