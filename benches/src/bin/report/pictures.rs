//! The pictures: one for each question, all with the same colours.

use latchless_benches::backends;
use latchless_benches::report::{Chart, Line, Panel};

use crate::read::{Agents, PoolFigures, Store, TailRow, Tails};

/// What a value of time is called.
fn nanoseconds(value: f64) -> String {
    match value {
        1e9.. => format!("{:.0} s", value / 1e9),
        1e6.. => format!("{:.0} ms", value / 1e6),
        1e3.. => format!("{:.0} µs", value / 1e3),
        _ => format!("{value:.0} ns"),
    }
}

/// What a number of millions is called.
fn millions(value: f64) -> String {
    match value {
        1.0.. => format!("{value:.0} M/s"),
        0.001.. => format!("{:.0} k/s", value * 1e3),
        _ => format!("{:.0} /s", value * 1e6),
    }
}

/// The values of a field, each once and in the order in which they come.
pub(crate) fn distinct<T, V: PartialEq>(rows: &[T], field: impl Fn(&T) -> V) -> Vec<V> {
    let mut values = Vec::new();
    for value in rows.iter().map(field) {
        if !values.contains(&value) {
            values.push(value);
        }
    }
    values
}

fn steps(threads: &[u32]) -> Vec<String> {
    threads.iter().map(ToString::to_string).collect()
}

/// Threads that come after the last one that has a core.
fn beyond(machine: &str) -> String {
    let cores = machine.split(", ").find_map(|part| part.strip_suffix(" cores"));
    cores.map_or_else(String::new, |cores| format!("; threads beyond {cores} share cores"))
}

/// Pairs a second by threads, a panel for each size of request.
pub(crate) fn pool(figures: &PoolFigures) -> Chart {
    let threads = distinct(&figures.rows, |row| row.threads);
    let names = distinct(&figures.rows, |row| row.backend.clone());
    let panels = distinct(&figures.rows, |row| row.n).into_iter().map(|n| {
        let line = |name: &String| {
            let rate = |threads: &u32| {
                let found = figures
                    .rows
                    .iter()
                    .find(|row| row.n == n && row.threads == *threads && row.backend == *name);
                found.map_or(f64::NAN, |row| row.mpairs_per_s)
            };
            Line { name: name.clone(), values: threads.iter().map(rate).collect() }
        };
        let plural = if n == 1 { "" } else { "s" };
        Panel {
            title: format!("{n} block{plural} a request"),
            steps: steps(&threads),
            lines: names.iter().map(line).collect(),
        }
    });
    Chart {
        title: "Pool: pairs of allocate and free a second, by threads".to_owned(),
        subtitle: format!(
            "all threads together, higher is better; median of {} rounds in turns, {} blocks{}",
            figures.rounds,
            figures.pool_blocks,
            beyond(&figures.machine)
        ),
        machine: figures.machine.clone(),
        unit: millions,
        panels: panels.collect(),
        names: backends::coloured(&names.iter().map(String::as_str).collect::<Vec<_>>()),
    }
}

/// The scenarios whose name begins with `kind`, from the median to the longest. Each step leaves a tenth of
/// the operations before it: a logarithmic axis.
pub(crate) fn tails(figures: &Tails, kind: &str) -> Chart {
    let of_kind: Vec<&TailRow> =
        figures.rows.iter().filter(|row| row.scenario.starts_with(kind)).collect();
    let names = distinct(&of_kind, |row| row.backend.clone());
    let panels = distinct(&of_kind, |row| row.scenario.clone()).into_iter().map(|scenario| {
        let lines = of_kind.iter().filter(|row| row.scenario == scenario).map(|row| {
            let values = [
                row.p50_ns,
                row.p90_ns,
                row.p99_ns,
                row.p999_ns,
                row.p9999_ns,
                row.p99999_ns,
                row.max_ns,
            ];
            let values = values.map(|time| time.max(1) as f64).into();
            Line { name: row.backend.clone(), values }
        });
        let steps = ["p50", "p90", "p99", "p99.9", "p99.99", "p99.999", "max"];
        let lines = lines.collect();
        Panel { title: scenario.clone(), steps: steps.map(str::to_owned).into(), lines }
    });
    let (title, how) = if kind == "inversion" {
        let how = format!("one pair every 100 µs for {} s", figures.inversion_s);
        ("Priority inversion: what a thread waits while others are starved of their cores", how)
    } else {
        let how = format!("{} freezes of {} ms", figures.freezes, figures.freeze_ms);
        ("Freezes: what threads wait while another one is stopped at any instruction", how)
    };
    let blocks = figures.blocks_a_request;
    Chart {
        title: title.to_owned(),
        subtitle: format!(
            "latency of allocate and free by percentile, lower is better; {how}, {blocks} blocks a request"
        ),
        machine: figures.machine.clone(),
        unit: nanoseconds,
        panels: panels.collect(),
        names: backends::coloured(&names.iter().map(String::as_str).collect::<Vec<_>>()),
    }
}

/// Operations a second by threads, a panel for each operation.
pub(crate) fn agents(figures: &Agents) -> Chart {
    let threads = distinct(&figures.rows, |row| row.threads);
    let names = distinct(&figures.rows, |row| row.backend.clone());
    let panels =
        distinct(&figures.rows, |row| row.operation.clone()).into_iter().map(|operation| {
            let line = |name: &String| {
                let rate = |threads: &u32| {
                    let found = figures.rows.iter().find(|row| {
                        row.operation == operation
                            && row.threads == *threads
                            && row.backend == *name
                    });
                    found.map_or(f64::NAN, |row| row.mops)
                };
                Line { name: name.clone(), values: threads.iter().map(rate).collect() }
            };
            let lines = names.iter().map(line).collect();
            Panel { title: operation.clone(), steps: steps(&threads), lines }
        });
    Chart {
        title: "Agents: operations a second, by threads".to_owned(),
        subtitle: format!(
            "all threads together, higher is better; median of {} rounds in turns{}",
            figures.rounds,
            beyond(&figures.machine)
        ),
        machine: figures.machine.clone(),
        unit: millions,
        panels: panels.collect(),
        names: backends::coloured(&names.iter().map(String::as_str).collect::<Vec<_>>()),
    }
}

/// The worst of the agents' operations beside starved threads.
pub(crate) fn agents_inversion(figures: &Agents) -> Chart {
    let names = distinct(&figures.inversion, |row| row.backend.clone());
    let operations = distinct(&figures.inversion, |row| row.operation.clone());
    let panels = operations.into_iter().map(|operation| {
        let of_operation = figures.inversion.iter().filter(|row| row.operation == operation);
        let lines = of_operation.map(|row| {
            let values = [row.p50_ns, row.p999_ns, row.max_ns].map(|time| time.max(1) as f64);
            Line { name: row.backend.clone(), values: values.into() }
        });
        let lines = lines.collect();
        let steps = ["p50", "p99.9", "max"].map(str::to_owned).into();
        Panel { title: operation.clone(), steps, lines }
    });
    Chart {
        title: "Agents under priority inversion: what a thread waits while others are starved"
            .to_owned(),
        subtitle: format!(
            "latency of one operation every 100 µs for {} s, lower is better",
            figures.inversion_s
        ),
        machine: figures.machine.clone(),
        unit: nanoseconds,
        panels: panels.collect(),
        names: backends::coloured(&names.iter().map(String::as_str).collect::<Vec<_>>()),
    }
}

/// Durable claims a second by threads.
pub(crate) fn store(figures: &Store) -> Chart {
    let line = |name: &str, value: fn(&crate::read::StoreRow) -> f64| Line {
        name: name.to_owned(),
        values: figures.rows.iter().map(value).collect(),
    };
    let names = ["latchless, durable", "latchless, relaxed", "one transaction a claim"];
    let lines = vec![
        line(names[0], |row| row.durable),
        line(names[1], |row| row.relaxed),
        line(names[2], |row| row.one_transaction_each),
    ];
    let threads: Vec<_> = figures.rows.iter().map(|row| row.threads).collect();
    Chart {
        title: "Store: claims of tasks a second, by threads".to_owned(),
        subtitle: format!(
            "SQLite on the disk of temporary files, higher is better; median of {} rounds of {} tasks",
            figures.rounds, figures.tasks
        ),
        machine: figures.machine.clone(),
        unit: |claims| format!("{claims:.0} /s"),
        panels: vec![Panel { title: "claims".to_owned(), steps: steps(&threads), lines }],
        names: names
            .iter()
            .zip([0, 1, 3])
            .map(|(name, colour)| ((*name).to_owned(), colour))
            .collect(),
    }
}
