//! The page of a comparison.

use super::outcome::{Compared, SideReport, explained};
use super::turns::Turn;
use crate::report::page::{Line, Page, Scale, Verdict, date};
use crate::report::text::{grouped, time};
use crate::watch::series::Percentiles;

/// The page.
pub(super) fn page(compared: &Compared) -> String {
    let verdict = match compared.outcome {
        "held" => Verdict::Held,
        "broken" => Verdict::Broken,
        _ => Verdict::Other,
    };
    let title = "latchless-stress compare";
    let mut page = Page::new(title, verdict, compared.outcome, &compared.headline());
    let rows: Vec<_> = compared.rows().into_iter().map(Vec::from).collect();
    page.table(&Compared::head(), &rows);
    page.note(&explained());
    let contest = &compared.contest;
    let freezes = contest.freezes.map_or_else(
        || "none".to_owned(),
        |freezes| {
            let time = humantime::format_duration(freezes.time);
            format!("{} a second, of at most {time} each", freezes.per_second)
        },
    );
    page.facts(&[
        ("seed", contest.seed.to_string()),
        ("threads", contest.threads.to_string()),
        ("blocks", grouped(contest.blocks.into())),
        ("freezes", freezes),
        ("machine", compared.machine.clone()),
        ("made", format!("{} by version {}", date(compared.made_at), compared.version)),
    ]);
    page.note("This makes the same decisions again:");
    page.command(&compared.command);

    let seconds = compared.sides.iter().map(|side| side.seconds).fold(0.0, f64::max);
    let lines = |value: fn(&Turn) -> f64| {
        compared.sides.each_ref().map(|side| Line {
            name: side.name.to_owned(),
            points: side.turns.iter().map(|turn| (turn.at, value(turn))).collect(),
        })
    };
    page.heading("Turn by turn");
    let rates = lines(|turn| turn.operations as f64 / turn.seconds.max(1e-9));
    page.plot("Operations a second", seconds, &rates, Scale::Count);
    let title = "The longest operation of a thread that was not frozen within it";
    page.plot(title, seconds, &lines(|turn| turn.longest_ns as f64), Scale::Time);

    page.heading("By operation");
    let head = ["", "times", "p50", "p99", "p99.9", "longest"];
    let rows = compared.sides.iter().flat_map(|side: &SideReport| {
        side.times.iter().map(|(name, times)| {
            let Percentiles { count, p50, p99, p99_9, max } = *times;
            let mut row = vec![format!("{name}, {}", side.name), grouped(count)];
            row.extend([p50, p99, p99_9, max].map(time));
            row
        })
    });
    page.table(&head, &rows.collect::<Vec<_>>());
    page.end()
}
