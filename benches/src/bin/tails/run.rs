//! The scenarios one after another, each with all contenders.

use std::io;
use std::time::Duration;

use latchless_benches::backends::{self, ChurnVisitor};
use latchless_benches::report::{
    Chart, Line, NotWritten, Panel, table as markdown, time, write_json, write_svg,
};
use latchless_benches::tails::freeze::Freezes;
use latchless_benches::tails::{Row, freeze, inversion};
use latchless_benches::{BLOCKS, Churn, machine};
use serde::Serialize;
use thiserror::Error;

use crate::Cli;

/// Why there is no table.
#[derive(Debug, Error)]
pub(crate) enum Error {
    #[error(
        "threads could not be placed or signalled in `{scenario}`: {source}; this needs a Linux that \
         lets a process lower its own threads' priority and choose their cores"
    )]
    System { scenario: &'static str, source: io::Error },
    #[error(transparent)]
    NotWritten(#[from] NotWritten),
}

/// What is done to threads. `true`: with agents that come and leave, share blocks, and new geometries.
#[derive(Debug, Clone, Copy)]
enum Scenario {
    Inversion(Duration, bool),
    Freeze(Freezes, bool),
}

impl Scenario {
    fn name(self) -> &'static str {
        match self {
            Self::Inversion(_, false) => "inversion",
            Self::Inversion(_, true) => "inversion (with churn)",
            Self::Freeze(_, false) => "freeze",
            Self::Freeze(_, true) => "freeze (with churn)",
        }
    }
}

/// What the JSON file holds.
#[derive(Debug, Serialize)]
struct Figures {
    machine: String,
    pool_blocks: u32,
    blocks_a_request: u32,
    inversion_s: u64,
    freezes: u32,
    freeze_ms: u64,
    seed: u64,
    rows: Vec<Row>,
}

/// Runs a scenario with each contender.
struct Runner {
    scenario: Scenario,
    rows: Vec<Row>,
    failed: Option<io::Error>,
}

impl ChurnVisitor for Runner {
    fn visit<C: Churn + 'static>(&mut self) {
        if self.failed.is_some() {
            return;
        }
        let name = self.scenario.name();
        eprintln!("measuring {name}: {}", C::NAME);
        let outcome = match self.scenario {
            Scenario::Inversion(time, churn) => inversion::run::<C>(time, churn),
            Scenario::Freeze(freezes, churn) => freeze::run::<C>(freezes, churn),
        };
        match outcome {
            Ok((latencies, churned)) => self.rows.push(latencies.row(name, C::NAME, churned)),
            Err(error) => self.failed = Some(error),
        }
    }
}

pub(crate) fn run(cli: &Cli) -> Result<(), Error> {
    let (inversion_s, count) = if cli.quick { (1, 10) } else { (cli.seconds, cli.freezes) };
    let seed = cli.seed.unwrap_or_else(|| fastrand::u64(..));
    let freezes = Freezes { count, time: Duration::from_millis(cli.freeze_ms), seed };
    let starved = Duration::from_secs(inversion_s);
    let machine = machine::describe();
    let request = latchless_benches::tails::REQUEST;
    println!("{machine}; pool of {BLOCKS} blocks, {request} a request;");
    println!(
        "inversion for {inversion_s} s; {count} freezes of {} ms, seed {seed}.\n",
        cli.freeze_ms
    );

    let scenarios = [
        Scenario::Inversion(starved, false),
        Scenario::Freeze(freezes, false),
        Scenario::Inversion(starved, true),
        Scenario::Freeze(freezes, true),
    ];
    let mut rows = Vec::new();
    for scenario in scenarios {
        let mut runner = Runner { scenario, rows: Vec::new(), failed: None };
        backends::tails(&mut runner);
        if let Some(source) = runner.failed {
            return Err(Error::System { scenario: scenario.name(), source });
        }
        println!("{}", table(scenario.name(), &runner.rows));
        rows.extend(runner.rows);
    }

    let figures = Figures {
        machine,
        pool_blocks: BLOCKS,
        blocks_a_request: request,
        inversion_s,
        freezes: count,
        freeze_ms: cli.freeze_ms,
        seed,
        rows,
    };
    if let Some(path) = &cli.json {
        write_json(path, &figures)?;
    }
    if let Some(path) = &cli.svg {
        write_svg(path, &chart(&figures))?;
    }
    Ok(())
}

fn table(scenario: &str, rows: &[Row]) -> String {
    let head = [
        scenario,
        "p50",
        "p99",
        "p99.9",
        "max",
        "operations",
        "of 20 ms and more",
        "refused",
        "churn max",
    ];
    let lines: Vec<_> = rows
        .iter()
        .map(|row| {
            let [p50, p99, p999, max] = [row.p50_ns, row.p99_ns, row.p999_ns, row.max_ns].map(time);
            let counts = [row.operations, row.over_20_ms, row.refused];
            let [operations, long, refused] = counts.map(|count| count.to_string());
            let churn = if row.churn_rounds == 0 { "-".to_owned() } else { time(row.churn_max_ns) };
            [row.backend.to_owned(), p50, p99, p999, max, operations, long, refused, churn]
        })
        .collect();
    markdown(head, &lines)
}

/// A panel for each scenario.
fn chart(figures: &Figures) -> Chart {
    let mut names: Vec<&str> = Vec::new();
    let mut panels: Vec<Panel> = Vec::new();
    for row in &figures.rows {
        if !names.contains(&row.backend) {
            names.push(row.backend);
        }
        if panels.last().is_none_or(|panel| panel.title != row.scenario) {
            let steps = ["p50", "p99", "p99.9", "max"].map(str::to_owned).into();
            panels.push(Panel { title: row.scenario.to_owned(), steps, lines: Vec::new() });
        }
        let values = [row.p50_ns, row.p99_ns, row.p999_ns, row.max_ns];
        let values = values.map(|nanoseconds| nanoseconds.max(1) as f64).into();
        if let Some(panel) = panels.last_mut() {
            panel.lines.push(Line { name: row.backend.to_owned(), values });
        }
    }
    Chart {
        title: "What a starved or a stopped thread does to the others: time of allocate and free"
            .to_owned(),
        subtitle: format!(
            "{} blocks a request, {} s of inversion, {} freezes of {} ms; lower is better",
            figures.blocks_a_request, figures.inversion_s, figures.freezes, figures.freeze_ms
        ),
        machine: figures.machine.clone(),
        unit: |nanoseconds| match nanoseconds {
            1e9.. => format!("{:.0} s", nanoseconds / 1e9),
            1e6.. => format!("{:.0} ms", nanoseconds / 1e6),
            1e3.. => format!("{:.0} µs", nanoseconds / 1e3),
            _ => format!("{nanoseconds:.0} ns"),
        },
        names: backends::coloured(&names),
        panels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use latchless_benches::tails::{Churned, Latencies};

    #[test]
    fn a_table_and_a_picture_have_every_row() {
        let row =
            |scenario, backend| Latencies::default().row(scenario, backend, Churned::default());
        let [a, b] = ["latchless", "mutex_std"];
        let rows = vec![row("one", a), row("one", b), row("two", a), row("two", b)];
        assert_eq!(table("one", &rows[..2]).lines().count(), 4);
        let figures = Figures {
            machine: "m".to_owned(),
            pool_blocks: 1,
            blocks_a_request: 1,
            inversion_s: 1,
            freezes: 1,
            freeze_ms: 1,
            seed: 1,
            rows,
        };
        let chart = chart(&figures);
        assert_eq!(chart.names.iter().map(|(name, _)| name).collect::<Vec<_>>(), [a, b]);
        assert_eq!(chart.panels.iter().map(|panel| panel.lines.len()).collect::<Vec<_>>(), [2, 2]);
    }
}
