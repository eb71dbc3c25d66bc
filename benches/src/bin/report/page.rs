//! The page: prose from a template, tables from figures.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use latchless_benches::report::{figure, table, table_of, time};

use crate::pictures::distinct;
use crate::read::{Agents, Engine, Figures, Instructions, PoolFigures, Run, Store, Tails};
use crate::wanted::falls_short;

/// The prose. What is in braces is put in.
const TEMPLATE: &str = include_str!("page.md");

/// The whole page.
pub(crate) fn write(figures: &Figures) -> String {
    let parts = [
        ("{runs}", runs(&figures.runs)),
        ("{pool}", tell(figures.pool.as_ref(), POOL, pool)),
        ("{tails}", tell(figures.tails.as_ref(), TAILS, tails)),
        ("{agents}", tell(figures.agents.as_ref(), "", agents)),
        ("{store}", tell(figures.store.as_ref(), STORE, store)),
        ("{instructions}", tell(figures.instructions.as_ref(), "", instructions)),
        ("{engine}", tell(figures.engine.as_ref(), "", engine)),
    ];
    let mut page = TEMPLATE.to_owned();
    for (place, text) in parts {
        page = page.replace(place, text.trim_end());
    }
    page
}

const POOL: &str = "![Pairs of allocate and free a second, by threads](pool-scaling.svg)\n\n";
const TAILS: &str = "![Latency by percentile under priority inversion](inversion.svg)\n\n\
                     ![Latency by percentile beside stopped threads](freeze.svg)\n\n";
const AGENTS: &str = "![Operations of agents a second, by threads](agents-scaling.svg)\n\n";
const AGENTS_INVERSION: &str =
    "![Latency of agents' operations under priority inversion](agents-inversion.svg)\n\n";
const STORE: &str = "![Claims a second, by threads](store.svg)\n\n";

/// A part that was measured, with its pictures, or that it was not.
fn tell<T>(part: Option<&T>, pictures: &str, tell: fn(&T) -> String) -> String {
    part.map_or_else(
        || "*Not measured on this machine.*".to_owned(),
        |part| pictures.to_owned() + &tell(part),
    )
}

fn runs(runs: &BTreeMap<String, Run>) -> String {
    let row = |(part, run): (&String, &Run)| {
        let at = UNIX_EPOCH + Duration::from_secs(run.unix_s);
        // To the minute, as `2026-01-31 12:30`.
        let at: String = humantime::format_rfc3339_seconds(at).to_string();
        let at = at.replace('T', " ");
        let at = at.get(..16).unwrap_or(&at);
        let kind = if run.quick { "short rounds" } else { "long rounds" };
        let took = format!("{} s", run.took_s);
        [part.clone(), format!("{at} UTC"), run.commit.clone(), kind.to_owned(), took]
    };
    table(["measured", "when", "commit", "how", "took"], &runs.iter().map(row).collect::<Vec<_>>())
}

/// A ratio, and the figure after it.
fn ratio_first(ratio: Option<f64>, rate: f64) -> String {
    match ratio {
        Some(ratio) => format!("{} ({})", figure(ratio), figure(rate)),
        None => figure(rate),
    }
}

fn bold(name: &str) -> String {
    if name == "latchless" { format!("**{name}**") } else { name.to_owned() }
}

fn pool(pool: &PoolFigures) -> String {
    let mut text = format!(
        "{}; pool of {} blocks; median of {} rounds of {} ms. Times `mutex_owner`, and in brackets million pairs \
         a second:\n",
        pool.machine, pool.pool_blocks, pool.rounds, pool.slice_ms
    );
    for threads in distinct(&pool.rows, |row| row.threads) {
        let sizes = [1, 8, 48, 512];
        let at = |backend: &str, n: u32| {
            let mut rows = pool.rows.iter();
            let found =
                rows.find(|row| (row.threads, row.n) == (threads, n) && row.backend == backend);
            found.map_or_else(String::new, |row| ratio_first(row.x_mutex_owner, row.mpairs_per_s))
        };
        let of_threads = pool.rows.iter().filter(|row| (row.threads, row.n) == (threads, 1));
        let lines: Vec<_> = of_threads
            .map(|row| {
                let [a, b, c, d] = sizes.map(|n| at(&row.backend, n));
                [bold(&row.backend), a, b, c, d]
            })
            .collect();
        let title = format!("{threads} thread{}", if threads == 1 { "" } else { "s" });
        text += "\n";
        text += &table([&title, "n=1", "n=8", "n=48", "n=512"], &lines);
    }
    let lines: Vec<_> = pool
        .near_exhaustion
        .iter()
        .map(|row| {
            let refused = row.refused as f64 / (row.granted + row.refused).max(1) as f64 * 100.0;
            [
                bold(&row.backend),
                ratio_first(row.x_mutex_owner, row.mpairs_per_s),
                format!("{refused:.1} %"),
                row.wrong.to_string(),
            ]
        })
        .collect();
    let head = ["95 % held, random sizes, 2 threads", "granted", "refused", "wrongly"];
    text += "\n";
    text += &table(head, &lines);
    let lines: Vec<_> = pool
        .size
        .iter()
        .map(|row| {
            let [ratio, small, large] = [row.ratio, row.small_ns, row.large_ns].map(figure);
            [format!("n={}, {} blocks", row.n, row.blocks), ratio, small, large]
        })
        .collect();
    text += "\n";
    text +=
        &table(["a large pool beside the small one", "ratio", "small, ns", "large, ns"], &lines);
    let memory = pool.memory.iter().map(|row| {
        let each = figure(row.bytes_per_block);
        format!("{} blocks take {} bytes, {each} a block", row.blocks, row.bytes)
    });
    text + "\nMemory: " + &memory.collect::<Vec<_>>().join("; ") + ".\n"
}

fn tails(tails: &Tails) -> String {
    let mut text = format!("{}; {} blocks a request.\n", tails.machine, tails.blocks_a_request);
    for scenario in distinct(&tails.rows, |row| row.scenario.clone()) {
        let rows = tails.rows.iter().filter(|row| row.scenario == scenario);
        let ours = rows.clone().find(|row| row.backend == "latchless").map(|row| row.max_ns);
        let lines: Vec<_> = rows
            .map(|row| {
                let times = [row.p50_ns, row.p99_ns, row.p999_ns, row.p9999_ns].map(time);
                let [p50, p99, p999, p9999] = times;
                let ratio = ours.map(|ours| row.max_ns as f64 / ours.max(1) as f64);
                let longest = ratio.map_or_else(
                    || time(row.max_ns),
                    |ratio| format!("{} ({})", figure(ratio), time(row.max_ns)),
                );
                let long = format!("{} of {}", row.over_20_ms, row.operations);
                [bold(&row.backend), longest, p50, p99, p999, p9999, long]
            })
            .collect();
        let head = [
            &scenario,
            "longest, times ours",
            "p50",
            "p99",
            "p99.9",
            "p99.99",
            "of 20 ms and more",
        ];
        text += "\n";
        text += &table(head, &lines);
    }
    text
}

fn agents(agents: &Agents) -> String {
    let inversion = if agents.inversion.is_empty() { "" } else { AGENTS_INVERSION };
    let mut text = format!(
        "{AGENTS}{inversion}{}; median of {} rounds of {} ms. Times `locked_port`, and in brackets million operations a second:\n",
        agents.machine, agents.rounds, agents.slice_ms
    );
    let threads = distinct(&agents.rows, |row| row.threads);
    let pairs = distinct(&agents.rows, |row| (row.operation.clone(), row.backend.clone()));
    // No more columns than a page is wide: the first ones, the middle and the last numbers of threads.
    let columns = [0, 1, threads.len() / 2, threads.len().saturating_sub(1)];
    let columns = distinct(&columns, |i| threads.get(*i).copied());
    let columns: Vec<u32> = columns.into_iter().flatten().collect();
    let lines: Vec<_> = pairs
        .iter()
        .map(|(operation, backend)| {
            let at = |threads: u32| {
                let mut rows = agents.rows.iter();
                let found = rows.find(|row| {
                    row.threads == threads && (&row.operation, &row.backend) == (operation, backend)
                });
                found.map_or_else(String::new, |row| ratio_first(Some(row.ratio), row.mops))
            };
            let mut line = vec![format!("{operation}, {}", bold(backend))];
            line.extend(columns.iter().map(|threads| at(*threads)));
            line
        })
        .collect();
    let mut head = vec!["operation".to_owned()];
    head.extend(columns.iter().map(|n| format!("{n} thread{}", if *n == 1 { "" } else { "s" })));
    text += "\n";
    text += &table_of(&head.iter().map(String::as_str).collect::<Vec<_>>(), &lines);
    if !agents.inversion.is_empty() {
        let lines: Vec<_> = agents
            .inversion
            .iter()
            .map(|row| {
                let ours = agents
                    .inversion
                    .iter()
                    .find(|ours| ours.operation == row.operation && ours.backend == "latchless");
                let ratio =
                    ours.map_or(f64::NAN, |ours| row.max_ns as f64 / ours.max_ns.max(1) as f64);
                [
                    format!("{}, {}", row.operation, bold(&row.backend)),
                    format!("{} ({})", figure(ratio), time(row.max_ns)),
                    time(row.p50_ns),
                    time(row.p999_ns),
                    row.operations.to_string(),
                ]
            })
            .collect();
        let head = format!("inversion, {} s", agents.inversion_s);
        text += "\n";
        text += &table([&head, "longest, times ours", "p50", "p99.9", "operations"], &lines);
    }
    text
}

fn store(store: &Store) -> String {
    let lines: Vec<_> = store
        .rows
        .iter()
        .map(|row| {
            let rates = [row.durable, row.one_transaction_each, row.relaxed].map(figure);
            let [durable, each, relaxed] = rates;
            let threads =
                format!("{} thread{}", row.threads, if row.threads == 1 { "" } else { "s" });
            [threads, figure(row.durable_is_faster), durable, each, relaxed]
        })
        .collect();
    let head = ["claims a second", "ratio", "durable", "one transaction each", "relaxed"];
    format!("{}; {} tasks a round.\n\n", store.machine, store.tasks) + &table(head, &lines)
}

fn instructions(instructions: &Instructions) -> String {
    let row = |(name, count): (&String, &u64)| [format!("`{name}`"), count.to_string()];
    let lines: Vec<_> = instructions.counts.iter().map(row).collect();
    format!("{}.\n\n", instructions.compiler) + &table(["operation", "instructions"], &lines)
}

fn engine(engine: &Engine) -> String {
    let mut fell_short = false;
    let mut lines = Vec::new();
    for row in &engine.rows {
        let value = format!("{} {}", figure(row.value), row.unit);
        let mut value = value.trim_end().to_owned();
        let wanted = row.wanted.clone().unwrap_or_default();
        if falls_short(row.value, &wanted) {
            value = format!("**{value}**");
            fell_short = true;
        }
        lines.push([format!("{}: {}", row.group, row.figure), value, wanted]);
    }
    let mut text = match &engine.machine {
        Some(machine) => format!("{machine}; {}.\n\n", engine.model),
        None => format!("{}, {} cores.\n\n", engine.model, engine.cores),
    };
    text += &table(["figure", "value", "wanted"], &lines);
    if fell_short {
        text += "\nWhat is bold fell short. *About* is within a fifth.\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        let pool = serde_json::json!({
            "machine": "m, 2 cores", "pool_blocks": 8192, "rounds": 3, "slice_ms": 4,
            "rows": [
                { "backend": "latchless", "threads": 1, "n": 1, "mpairs_per_s": 12.0, "x_mutex_owner": 2.0 },
                { "backend": "mutex_owner", "threads": 1, "n": 1, "mpairs_per_s": 6.0, "x_mutex_owner": 1.0 },
            ],
            "near_exhaustion": [], "size": [],
            "memory": [{ "blocks": 8192, "bytes": 100_000, "bytes_per_block": 12.2 }],
        });
        let run = Run { unix_s: 1_769_862_600, took_s: 31, quick: true, commit: "abc".to_owned() };
        Figures {
            runs: [("pool".to_owned(), run)].into(),
            pool: Some(serde_json::from_value(pool).unwrap()),
            ..Figures::default()
        }
    }

    #[test]
    fn ratios_come_first_and_what_is_missing_is_said() {
        let page = write(&figures());
        assert!(page.contains("| **latchless** | 2.00 (12.0) |"), "{page}");
        let run = page.lines().find(|line| line.starts_with("| pool ")).unwrap_or_default();
        let cells: Vec<_> = run.split('|').map(str::trim).collect();
        assert_eq!(cells[1..6], ["pool", "2026-01-31 12:30 UTC", "abc", "short rounds", "31 s"]);
        assert_eq!(page.matches("*Not measured on this machine.*").count(), 5);
    }

    #[test]
    fn what_fell_short_is_bold_and_the_page_says_so() {
        let row = |figure: &str, value: f64, wanted: &str| {
            serde_json::json!({
                "group": "g", "figure": figure, "value": value, "unit": "ms", "wanted": wanted,
            })
        };
        let told = |rows: &[serde_json::Value], machine: Option<&str>| {
            let mut text = serde_json::json!({ "model": "small", "cores": 2, "rows": rows });
            if let Some(machine) = machine {
                text["machine"] = machine.into();
            }
            engine(&serde_json::from_value(text).unwrap())
        };
        let good = row("good", 1.0, "at most 1.5");
        let bad = row("bad", 3.0, "at most 1.5");
        let page = told(&[good.clone(), bad], Some("m, 2 cores, llama.cpp"));
        assert!(page.contains("**3.00 ms**") && !page.contains("**1.00 ms**"), "{page}");
        assert!(page.contains("What is bold fell short"), "{page}");
        assert!(page.starts_with("m, 2 cores, llama.cpp; small."), "{page}");
        let page = told(&[good], None);
        assert!(page.starts_with("small, 2 cores.") && !page.contains("bold"), "{page}");
    }

    #[test]
    fn a_number_of_threads_has_one_column_and_a_picture_is_linked_when_it_was_drawn() {
        let row = |threads: u32, backend: &str| {
            serde_json::json!({
                "operation": "claim", "backend": backend, "threads": threads, "mops": 2.0, "ratio": 1.0,
            })
        };
        let rows: Vec<_> =
            [2, 1].iter().flat_map(|n| [row(*n, "latchless"), row(*n, "other")]).collect();
        let mut measured: Agents = serde_json::from_value(serde_json::json!({
            "machine": "m", "rounds": 1, "slice_ms": 4, "inversion_s": 0, "rows": rows, "inversion": [],
        }))
        .unwrap();
        let page = agents(&measured);
        let lines: Vec<_> = page.lines().filter(|line| line.starts_with('|')).collect();
        assert_eq!((lines.len(), lines[0].matches("thread").count()), (4, 2), "{page}");
        assert!(!page.contains("agents-inversion.svg"), "{page}");
        measured.inversion = serde_json::from_value(serde_json::json!([{
            "operation": "claim", "backend": "latchless",
            "p50_ns": 1, "p999_ns": 2, "max_ns": 3, "operations": 4,
        }]))
        .unwrap();
        assert!(agents(&measured).contains("agents-inversion.svg"));
    }

    #[test]
    fn every_place_of_the_template_is_filled() {
        let page = write(&figures());
        assert!(!page.contains('{') && !page.contains('}'), "{page}");
    }
}
