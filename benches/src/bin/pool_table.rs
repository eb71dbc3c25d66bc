//! Prints the README's table: pairs of allocate and free, the pool beside mutex baselines, from one
//! interleaved run.

#![forbid(unsafe_code)]

use std::time::Duration;

use clap::Parser;
use latchless_benches::baseline::{MutexBare, MutexOwner, ParkingLot, Std};
use latchless_benches::latchless_pool::{Handles, Leases};
use latchless_benches::measure::{median, pairs, pairs_in};
use latchless_benches::{BLOCKS, Contender, REQUESTS, machine};

/// Measures pairs of allocate and free and prints a table in Markdown.
///
/// All contenders of a cell take turns, each for a slice of time, round after round; a cell shows the
/// median of its rounds.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// Rounds; their median counts.
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,

    /// Milliseconds of one contender in one round and cell.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    slice_ms: u64,

    /// Threads, one table for each number.
    #[arg(long, value_delimiter = ',', default_value = "1,2",
          value_parser = clap::value_parser!(u8).range(1..=16))]
    threads: Vec<u8>,
}

/// A contender in a cell: does so many pairs and returns the rate in millions a second.
struct Entry {
    name: &'static str,
    round: Box<dyn Fn() -> f64>,
}

impl Entry {
    fn new<C: Contender + 'static>(threads: usize, blocks: u32, slice: Duration) -> Self {
        let count = pairs_in(&C::new(BLOCKS), threads, blocks, slice);
        let round = move || {
            let time = pairs(&C::new(BLOCKS), threads, blocks, count);
            (count * threads as u64) as f64 / time.as_secs_f64() / 1e6
        };
        Self { name: C::NAME, round: Box::new(round) }
    }
}

/// The one that the others are compared with: the same work behind a mutex.
const BASELINE: &str = MutexOwner::NAME;

/// Rates of a cell's contenders, a list of rounds each.
type Rates = Vec<(&'static str, Vec<f64>)>;

fn main() {
    let cli = Cli::parse();
    let slice = Duration::from_millis(cli.slice_ms);
    println!("{}; pool of {BLOCKS} blocks;", machine::describe());
    println!("median of {} interleaved rounds of {} ms, pinned threads.", cli.rounds, cli.slice_ms);
    for threads in cli.threads {
        let cells = REQUESTS.map(|blocks| measure(threads.into(), blocks, slice, cli.rounds));
        print!("\n{}", table(threads, &cells));
    }
}

fn measure(threads: usize, blocks: u32, slice: Duration, rounds: u16) -> Rates {
    let entries = [
        Entry::new::<Leases>(threads, blocks, slice),
        Entry::new::<Handles>(threads, blocks, slice),
        Entry::new::<MutexOwner>(threads, blocks, slice),
        Entry::new::<MutexBare<ParkingLot>>(threads, blocks, slice),
        Entry::new::<MutexBare<Std>>(threads, blocks, slice),
    ];
    let mut rates: Rates = entries.iter().map(|entry| (entry.name, Vec::new())).collect();
    for round in 0..usize::from(rounds) {
        // Each round begins with another one: nobody always follows the same neighbour's heat.
        for turn in 0..entries.len() {
            let i = (round + turn) % entries.len();
            rates[i].1.push((entries[i].round)());
        }
    }
    rates
}

/// Rates, and in brackets the median of the rounds' ratios to the baseline, in Markdown.
fn table(threads: u8, cells: &[Rates]) -> String {
    let plural = if threads == 1 { "" } else { "s" };
    let row = |name: &str, cells: &mut dyn Iterator<Item = String>| {
        cells.fold(format!("| {name} |"), |row, cell| row + " " + &cell + " |") + "\n"
    };
    let title = format!("{threads} thread{plural}, million pairs/s (x {BASELINE})");
    let mut text = row(&title, &mut REQUESTS.iter().map(|blocks| format!("n={blocks}")));
    text += &row("---", &mut REQUESTS.iter().map(|_| "---:".to_owned()));
    for (i, (name, _)) in cells[0].iter().enumerate() {
        let mut columns = cells.iter().map(|cell| {
            let (_, rates) = &cell[i];
            let (_, baseline) = cell.iter().find(|(name, _)| *name == BASELINE).unwrap_or(&cell[i]);
            let ratios = rates.iter().zip(baseline).map(|(rate, base)| rate / base).collect();
            format!("{:.2} ({:.2})", median(rates.clone()), median(ratios))
        });
        text += &row(name, &mut columns);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_round_by_round() {
        let cells =
            REQUESTS.map(|_| vec![("a", vec![2.0, 8.0, 4.0]), (BASELINE, vec![1.0, 2.0, 4.0])]);
        let table = table(2, &cells);
        let lines: Vec<_> = table.lines().collect();
        assert!(lines[0].starts_with("| 2 threads, million pairs/s (x "), "{table}");
        assert!(lines[2].starts_with("| a | 4.00 (2.00) |"), "{table}");
        assert!(lines[3].ends_with("| 2.00 (1.00) |"), "{table}");
    }
}
