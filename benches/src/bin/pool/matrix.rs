//! The matrix: contenders, threads, sizes of requests.

use latchless_benches::backends::{self, Visitor};
use latchless_benches::baseline::MutexOwner;
use latchless_benches::measure::{Entry, Summary, interleave, median, rate};
use latchless_benches::report::{Chart, Line, Panel, figure, table as markdown};
use latchless_benches::{BLOCKS, Contender, REQUESTS};

use crate::Settings;
use crate::figures::{Figures, Row};

/// The one that the others are compared with: the same work behind a mutex.
pub(crate) const BASELINE: &str = MutexOwner::NAME;

/// Collects a cell's contenders.
struct Cell<'a> {
    settings: &'a Settings,
    threads: usize,
    blocks: u32,
    entries: Vec<Entry>,
}

impl Visitor for Cell<'_> {
    fn visit<C: Contender + 'static>(&mut self) {
        if !self.settings.wants(C::NAME) {
            return;
        }
        let Self { threads, blocks, .. } = *self;
        let slice = self.settings.slice;
        self.entries.push(Entry::new(C::NAME, move || {
            let pool = C::new(BLOCKS);
            let rate = rate(&pool, threads, blocks, slice) / 1e6;
            assert_eq!(pool.free(), BLOCKS, "{} lost blocks", C::NAME);
            rate
        }));
    }
}

/// The rows of a number of threads.
pub(crate) fn measure(settings: &Settings, threads: u8) -> Vec<Row> {
    let mut rows = Vec::new();
    for n in REQUESTS {
        eprintln!("measuring: threads {threads}, blocks a request {n}");
        let mut cell = Cell { settings, threads: threads.into(), blocks: n, entries: Vec::new() };
        backends::all(&mut cell);
        let rounds = interleave(&cell.entries, settings.rounds);
        let ratios = ratios(&cell.entries, &rounds);
        for ((entry, rates), x_mutex_owner) in cell.entries.iter().zip(&rounds).zip(ratios) {
            let Summary { q1, median, q3 } = Summary::of(rates);
            let backend = entry.name;
            rows.push(Row { backend, threads, n, mpairs_per_s: median, q1, q3, x_mutex_owner });
        }
    }
    rows
}

/// For each entry the median of its rounds' ratios to the baseline, which a machine that changes its
/// speed between rounds does not change. `None` without a baseline.
pub(crate) fn ratios(entries: &[Entry], rounds: &[Vec<f64>]) -> Vec<Option<f64>> {
    let baseline = entries.iter().position(|entry| entry.name == BASELINE).map(|i| &rounds[i]);
    let ratio = |rates: &Vec<f64>| {
        let ratios: Vec<_> = rates.iter().zip(baseline?).map(|(rate, base)| rate / base).collect();
        Some(median(&ratios))
    };
    rounds.iter().map(ratio).collect()
}

/// A rate, and in brackets its ratio to the baseline.
pub(crate) fn cell(rate: f64, ratio: Option<f64>) -> String {
    let ratio = ratio.map(|ratio| format!(" ({})", figure(ratio)));
    figure(rate) + &ratio.unwrap_or_default()
}

/// Rates in Markdown.
pub(crate) fn table(threads: u8, rows: &[Row]) -> String {
    let plural = if threads == 1 { "" } else { "s" };
    let title = format!("{threads} thread{plural}, million pairs/s (x {BASELINE})");
    let columns = REQUESTS.map(|n| format!("n={n}"));
    let [a, b, c, d] = columns.each_ref().map(String::as_str);
    let backends = rows.iter().filter(|row| row.n == REQUESTS[0]).map(|row| row.backend);
    let lines: Vec<_> = backends
        .map(|backend| {
            let at = |n| {
                let row = rows.iter().find(|row| row.backend == backend && row.n == n);
                row.map_or_else(String::new, |row| cell(row.mpairs_per_s, row.x_mutex_owner))
            };
            let [a, b, c, d] = REQUESTS.map(at);
            [backend.to_owned(), a, b, c, d]
        })
        .collect();
    markdown([&title, a, b, c, d], &lines)
}

/// A panel for each number of threads.
pub(crate) fn chart(figures: &Figures) -> Chart {
    let mut names: Vec<&str> = Vec::new();
    let mut threads: Vec<u8> = Vec::new();
    for row in &figures.rows {
        if !names.contains(&row.backend) {
            names.push(row.backend);
        }
        if !threads.contains(&row.threads) {
            threads.push(row.threads);
        }
    }
    let panels = threads.into_iter().map(|threads| {
        let of = |name: &&str| {
            let rows = figures.rows.iter();
            let rows = rows.filter(|row| row.threads == threads && row.backend == *name);
            let values = rows.map(|row| row.mpairs_per_s).collect();
            Line { name: (*name).to_owned(), values }
        };
        let plural = if threads == 1 { "" } else { "s" };
        Panel {
            title: format!("{threads} thread{plural}"),
            steps: REQUESTS.map(|n| format!("n={n}")).into(),
            lines: names.iter().map(of).collect(),
        }
    });
    Chart {
        title: "Pairs of allocate and free a second, by blocks of a request (n)".to_owned(),
        subtitle: format!(
            "{} blocks, pinned threads, all of them together; higher is better; one axis for all panels",
            figures.pool_blocks
        ),
        machine: figures.machine.clone(),
        unit: |millions| match millions {
            1.0.. => format!("{millions:.0} M/s"),
            0.001.. => format!("{:.0} k/s", millions * 1e3),
            _ => format!("{:.0} /s", millions * 1e6),
        },
        panels: panels.collect(),
        names: backends::coloured(&names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(backend: &'static str, n: u32, rate: f64) -> Row {
        let (q1, q3) = (rate, rate);
        Row { backend, threads: 2, n, mpairs_per_s: rate, q1, q3, x_mutex_owner: Some(2.0) }
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let entries = [Entry::new("a", || 0.0), Entry::new(BASELINE, || 0.0)];
        let rounds = [vec![2.0, 8.0, 4.0], vec![1.0, 2.0, 4.0]];
        assert_eq!(ratios(&entries, &rounds), [Some(2.0), Some(1.0)]);
        assert_eq!(ratios(&entries[..1], &rounds[..1]), [None]);
    }

    #[test]
    fn a_table_has_a_line_for_each_contender() {
        let rows: Vec<_> =
            ["a", "b"].into_iter().flat_map(|name| REQUESTS.map(|n| row(name, n, 4.0))).collect();
        let table = table(2, &rows);
        let lines: Vec<_> = table.lines().collect();
        assert!(lines[0].starts_with("| 2 threads, million pairs/s (x mutex_owner) |"), "{table}");
        assert!(lines[2].starts_with("| a ") && lines[3].starts_with("| b "), "{table}");
        assert_eq!(lines[3].matches("4.00 (2.00)").count(), 4, "{table}");
    }

    #[test]
    fn every_contender_is_measured() {
        let slice = std::time::Duration::from_millis(5);
        let settings = Settings { rounds: 1, slice, backends: Vec::new() };
        let rows = measure(&settings, 2);
        assert_eq!(rows.len(), backends::names().len() * REQUESTS.len());
        assert!(rows.iter().all(|row| row.mpairs_per_s > 0.0), "{rows:?}");
    }
}
