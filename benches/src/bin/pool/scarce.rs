//! A pool that is nearly full.

use std::cell::Cell;
use std::rc::Rc;

use latchless_benches::baseline::MutexOwner;
use latchless_benches::latchless_pool::Leases;
use latchless_benches::measure::{Attempts, Entry, Scarce, Summary, interleave};
use latchless_benches::report::table as markdown;
use latchless_benches::{BLOCKS, Contender};

use crate::Settings;
use crate::figures::NearExhaustion;
use crate::matrix::{BASELINE, cell, ratios};

/// The same requests for everybody.
const SEED: u64 = 0x6c61_7463_686c_6573;

fn entry<C: Contender + 'static>(settings: &Settings) -> (Entry, Rc<Cell<Attempts>>) {
    let total = Rc::new(Cell::new(Attempts::default()));
    let seen = Rc::clone(&total);
    let slice = settings.slice;
    let round = Cell::new(SEED);
    let entry = Entry::new(C::NAME, move || {
        round.set(round.get().wrapping_add(1));
        let pool = C::new(BLOCKS);
        let scarce = Scarce::new(&pool, round.get());
        let (time, outcome) = scarce.run(slice, round.get());
        scarce.release();
        seen.set(seen.get().plus(outcome));
        outcome.granted as f64 / time.as_secs_f64() / 1e6
    });
    (entry, total)
}

/// Ours and the baseline.
pub(crate) fn measure(settings: &Settings) -> Vec<NearExhaustion> {
    eprintln!("measuring near exhaustion");
    let mut entries = Vec::new();
    let mut totals = Vec::new();
    if settings.wants(Leases::NAME) {
        let (entry, total) = entry::<Leases>(settings);
        entries.push(entry);
        totals.push(total);
    }
    if settings.wants(MutexOwner::NAME) {
        let (entry, total) = entry::<MutexOwner>(settings);
        entries.push(entry);
        totals.push(total);
    }
    let rounds = interleave(&entries, settings.rounds);
    let ratios = ratios(&entries, &rounds);
    let rows = entries.iter().zip(totals).zip(&rounds).zip(ratios);
    rows.map(|(((entry, total), rates), x_mutex_owner)| {
        let Summary { q1, median, q3 } = Summary::of(rates);
        let Attempts { granted, refused, wrong } = total.get();
        let (backend, threads) = (entry.name, 2);
        let mpairs_per_s = median;
        NearExhaustion {
            backend,
            threads,
            mpairs_per_s,
            q1,
            q3,
            granted,
            refused,
            wrong,
            x_mutex_owner,
        }
    })
    .collect()
}

/// In Markdown.
pub(crate) fn table(rows: &[NearExhaustion]) -> String {
    let title = format!("95 % held, random sizes, 2 threads (x {BASELINE})");
    let lines: Vec<_> = rows
        .iter()
        .map(|row| {
            let share = row.refused as f64 / (row.granted + row.refused).max(1) as f64;
            [
                row.backend.to_owned(),
                cell(row.mpairs_per_s, row.x_mutex_owner),
                format!("{} ({:.1} %)", row.refused, share * 100.0),
                row.wrong.to_string(),
            ]
        })
        .collect();
    markdown([&title, "million pairs/s", "refused", "wrongly"], &lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_measured_and_nobody_is_wrong() {
        let slice = std::time::Duration::from_millis(20);
        let rows = measure(&Settings { rounds: 2, slice, backends: Vec::new() });
        let names: Vec<_> = rows.iter().map(|row| row.backend).collect();
        assert_eq!(names, ["latchless", "mutex_owner"]);
        assert!(rows.iter().all(|row| row.wrong == 0), "{rows:?}");
        assert!(table(&rows).contains("| latchless "));
    }
}
