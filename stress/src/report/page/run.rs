//! The page of a run.

use super::{Line, Page, Scale, Verdict, date};
use crate::fault::Fault;
use crate::part::Kind;
use crate::report::text::{grouped, mebibytes, time};
use crate::report::{PartReport, Report};
use crate::watch::series::{PartSample, Percentiles, Sample};
use crate::watch::slope::{Slope, Unit};

/// Faults that are drawn together: no more than there are colours.
const FAULTS: [(&str, &[Fault]); 3] = [
    (
        "Threads and processes that die, and clocks that jump",
        &[Fault::Panic, Fault::Die, Fault::Kill, Fault::Clock],
    ),
    ("Requests that are cancelled or not read", &[Fault::Cancel, Fault::SlowReader, Fault::Vanish]),
    (
        "Backends, models, files and disks that fail",
        &[Fault::Backend, Fault::Load, Fault::Spoil, Fault::FullDisk, Fault::IoError],
    ),
];

/// The page.
pub(crate) fn page(report: &Report) -> String {
    let verdict = match report.outcome {
        "held" => Verdict::Held,
        "broken" => Verdict::Broken,
        _ => Verdict::Other,
    };
    let mut page = Page::new("latchless-stress", verdict, report.outcome, &report.headline());
    page.facts(&facts(report));
    page.note(if report.violation.is_some() {
        "This runs the same decisions of the round that broke again:"
    } else {
        "This runs the same decisions again:"
    });
    page.command(&report.repeat);

    page.heading("All parts");
    let head = ["operation", "times", "a second", "p50", "p99", "p99.9", "longest"];
    page.table(&head, &report.parts.iter().flat_map(rows).collect::<Vec<_>>());
    let seconds = report.series.last().map_or(0.0, |sample| sample.at);
    let rates: Vec<_> = report
        .parts
        .iter()
        .map(|part| {
            over(report, part.kind, part.kind.name(), |sample, part| {
                Some(part.operations as f64 / sample.seconds.max(1e-9))
            })
        })
        .collect();
    page.plot("Operations a second", seconds, &rates, Scale::Count);
    page.note(
        "Each point of a plot is of the time since the one before. In a long run it stands for several samples: \
         its p99, p99.9 and longest are the worst of them, and its p50 is their mean.",
    );
    for part in &report.parts {
        write_part(&mut page, report, part, seconds);
    }

    page.heading("Faults");
    for (title, faults) in FAULTS {
        let line = |fault: &Fault| {
            all(report, fault.name(), |sample| {
                60.0 * sample.faults.count(*fault) as f64 / sample.seconds.max(1e-9)
            })
        };
        let lines: Vec<_> = faults.iter().map(line).collect();
        page.plot(&format!("{title}, a minute"), seconds, &lines, Scale::Count);
    }
    let freezes = all(report, "freezes", |sample| sample.freezes as f64 / sample.seconds.max(1e-9));
    page.plot("Threads frozen, a second", seconds, &[freezes], Scale::Count);
    page.heading("The process");
    let memory = [
        all(report, "resident", |sample| sample.resources.resident as f64),
        all(report, "in use", |sample| sample.resources.in_use as f64),
    ];
    page.plot("Memory", seconds, &memory, Scale::Bytes);
    let handles = [
        all(report, "descriptors", |sample| sample.resources.descriptors as f64),
        all(report, "threads", |sample| sample.resources.threads as f64),
    ];
    page.plot("Descriptors and threads", seconds, &handles, Scale::Count);
    page.end()
}

fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let growth = |slope: Option<Slope>| {
        slope.map_or_else(
            || "too short to tell whether it grows".to_owned(),
            |slope| format!("growth: {}", slope.told_in(Unit::Megabytes)),
        )
    };
    let [in_use, resident] =
        [(report.growth.in_use, report.most.in_use), (report.growth.memory, report.most.resident)]
            .map(|(slope, most)| format!("at most {}; {}", mebibytes(most), growth(slope)));
    let freezes = report.plan.freezes.map_or_else(
        || "none asked for".to_owned(),
        |freezes| {
            let time = humantime::format_duration(freezes.time);
            format!("{}, of at most {time} each", grouped(report.freezes))
        },
    );
    let rates = report.plan.rates.to_string();
    let mut facts = vec![
        ("seed", report.seed.to_string()),
        (
            "ran for",
            format!("{:.1} s, {} threads in each part", report.wall_s, report.plan.threads),
        ),
        ("freezes", freezes),
        ("memory in use", in_use),
        ("resident memory", resident),
        ("machine", report.machine.clone()),
        ("made", format!("{} by version {}", date(report.made_at), report.version)),
    ];
    if !rates.is_empty() {
        // Beside the other faults.
        facts.insert(3, ("faults, times as often", rates.replace(',', ", ")));
    }
    facts
}

/// A part, and its timed operations.
fn rows(part: &PartReport) -> Vec<Vec<String>> {
    let nothing = || vec![String::new(); 4];
    let mut first = vec![
        part.kind.name().to_owned(),
        grouped(part.operations),
        grouped(part.operations_per_second as u64),
    ];
    first.extend(nothing());
    let timed = part.times.0.iter().map(|(name, times)| {
        let rate = times.count as f64 / part.took_s.max(1e-9);
        let mut row = vec![format!("\u{2003}{name}"), grouped(times.count), grouped(rate as u64)];
        let Percentiles { p50, p99, p99_9, max, .. } = *times;
        row.extend([p50, p99, p99_9, max].map(time));
        row
    });
    std::iter::once(first).chain(timed).collect()
}

fn write_part(page: &mut Page, report: &Report, part: &PartReport, seconds: f64) {
    page.heading(part.kind.name());
    let outcomes =
        part.outcomes.0.iter().chain(&part.gauges.0).map(|(name, count)| (*name, grouped(*count)));
    let rounds = [("rounds", grouped(part.rounds))];
    page.facts(&rounds.into_iter().chain(outcomes).collect::<Vec<_>>());
    for (index, (name, times)) in part.times.0.iter().enumerate() {
        let line = |label, pick: fn(Percentiles) -> u64| {
            over(report, part.kind, label, move |_, part| {
                let times = part.times(index).filter(|times| times.count > 0)?;
                Some(pick(times) as f64)
            })
        };
        let lines = [
            line("p50", |times| times.p50),
            line("p99", |times| times.p99),
            line("p99.9", |times| times.p99_9),
            line("longest", |times| times.max),
        ];
        let [p99_9, max] = [times.p99_9, times.max].map(time);
        let title = format!("{name} (whole run: p99.9 {p99_9}, longest {max})");
        page.plot(&title, seconds, &lines, Scale::Time);
    }
    let used = over(report, part.kind, "in use", |_, part| Some(part.used as f64));
    let title = format!("In use, of {} (at most {})", grouped(part.total), grouped(part.most_used));
    page.plot(&title, seconds, &[used], Scale::Count);
    page.counts("decisions", part.actions.0.iter().map(|(name, count)| (*name, *count)));
}

/// A line of what every sample says.
fn all(report: &Report, name: &str, value: impl Fn(&Sample) -> f64) -> Line {
    let points = report.series.iter().map(|sample| (sample.at, value(sample)));
    Line { name: name.to_owned(), points: points.collect() }
}

/// A line of what samples say of a part.
fn over(
    report: &Report,
    part: Kind,
    name: &str,
    value: impl Fn(&Sample, &PartSample) -> Option<f64>,
) -> Line {
    let point = |sample: &Sample| Some((sample.at, value(sample, sample.part(part)?)?));
    Line { name: name.to_owned(), points: report.series.iter().filter_map(point).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_drawn_once() {
        let mut drawn: Vec<_> = FAULTS.iter().flat_map(|(_, faults)| faults.iter()).collect();
        drawn.sort_unstable_by_key(|fault| **fault as usize);
        assert_eq!(drawn, Fault::ALL.iter().collect::<Vec<_>>());
    }
}
