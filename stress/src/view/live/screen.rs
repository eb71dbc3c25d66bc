//! The screen as a whole: what has room, the most important first.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};

use super::model::Model;
use super::{parts, pool};
use crate::report::status::Status;
use crate::report::text::{grouped, mebibytes};

/// Columns from which on the map stands beside the times.
const WIDE: u16 = 120;
/// Rows below which a map shows nothing, with its title.
const MAP: u16 = 3;

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model) {
    let [head, rest, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)])
            .areas(frame.area());
    frame.render_widget(headline(model), head);
    let Some(status) = &model.status else {
        frame.render_widget(Paragraph::new("the threads begin"), rest);
        return;
    };
    frame.render_widget(process(status), foot);
    let wanted = status.parts.len() as u16 + 1;
    let so_far = so_far(status);
    let lines = wrapped(&so_far, rest.width);
    let rows = rest.height.saturating_sub(wanted);
    let times: u16 = status.parts.iter().map(|part| part.times.len() as u16).sum::<u16>() + 1;
    let wide = rest.width >= WIDE;
    // What is left for what came in all when the times and the map have a little.
    let most = rows.saturating_sub(times.min(rows / 2) + MAP).max(1).min(rows);
    let [table, middle, bottom] = Layout::vertical([
        Constraint::Length(wanted.min(rest.height)),
        Constraint::Min(0),
        Constraint::Length(lines.min(most)),
    ])
    .areas(rest);
    parts::rates(frame, table, model, status);
    frame.render_widget(Paragraph::new(so_far).wrap(Wrap { trim: true }), bottom);
    let (left, map) = if wide {
        let columns = Layout::horizontal([Constraint::Length(78), Constraint::Min(0)]).spacing(2);
        let [left, map] = columns.areas(middle);
        (left, map)
    } else {
        let times = times.min(middle.height);
        let [left, map] =
            Layout::vertical([Constraint::Length(times), Constraint::Min(0)]).areas(middle);
        (left, map)
    };
    parts::times(frame, left, status);
    if map.height >= MAP {
        pool::map(frame, map, status);
    }
}

/// What runs, for how long, and how it is ended.
fn headline(model: &Model) -> Line<'static> {
    let clock = |time: Duration| {
        let seconds = time.as_secs();
        format!("{}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
    };
    let end = model.end.map(|end| format!(" of {}", clock(end))).unwrap_or_default();
    let how = if model.ending { "ending; ^C again: at once" } else { "^C: end, with the report" };
    Line::from(vec![
        " latchless-stress ".bold().reversed(),
        Span::raw(format!(" {}{end}  ", clock(model.elapsed()))),
        Span::styled(how, Style::new().add_modifier(Modifier::DIM)),
        Span::styled(format!("  seed {}", model.seed), Style::new().add_modifier(Modifier::DIM)),
    ])
}

/// What the process takes of the machine.
fn process(status: &Status) -> Line<'static> {
    let resources = status.resources;
    let growth = status
        .growth
        .map(|growth| format!(" ({:+.2} MiB an hour)", growth / f64::from(1 << 20)))
        .unwrap_or_default();
    Line::from(format!(
        " {}, {} in use{growth} | {} threads | {} descriptors",
        mebibytes(resources.resident),
        mebibytes(resources.in_use),
        resources.threads,
        resources.descriptors
    ))
}

/// Faults and all else that came.
fn so_far(status: &Status) -> Line<'static> {
    let mut spans = vec![
        " so far: ".bold(),
        Span::styled(format!("{} frozen", grouped(status.frozen_in_all)), Style::new().yellow()),
    ];
    for part in &status.parts {
        spans.push(format!("; {} ", part.part).bold());
        let counts = part.gauges.iter().chain(part.outcomes.iter().filter(|(_, count)| *count > 0));
        let counts: Vec<_> =
            counts.map(|(name, count)| format!("{} {name}", grouped(*count))).collect();
        spans.push(Span::raw(counts.join(", ")));
    }
    Line::from(spans)
}

/// Rows that a line takes when it is wrapped: a few more than its characters need, which break at words.
fn wrapped(line: &Line<'_>, width: u16) -> u16 {
    let width = usize::from(width.max(1));
    ((line.width() + line.width() / 10) / width + 1).min(usize::from(u16::MAX)) as u16
}

/// Where a rectangle with a title has its content.
pub(super) fn below_title(area: Rect) -> Rect {
    Rect { y: area.y + area.height.min(1), height: area.height.saturating_sub(1), ..area }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::args::tests::plan;
    use crate::report::status::tests::status;

    fn model() -> Model {
        let mut model = Model::new(&plan(&["--seed", "77", "--duration", "8h"]).unwrap());
        (0..100).for_each(|_| model.take(status()));
        model
    }

    fn drawn(model: &Model, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, model)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn what_matters_most_is_there_at_every_size() {
        for (width, height, words) in [
            (40, 12, &["0:00:0", "pool", "agents", "engine", "MiB", "44 frozen"][..]),
            (
                80,
                24,
                &[
                    "of 8:00:00",
                    "^C: end",
                    "near exhaustion",
                    "100",
                    "6 of 10",
                    "dig",
                    "1.0 us",
                    "p99.9",
                    "blocks",
                    "44 frozen",
                    "70 hole",
                    "3 agents",
                    "+0.95 MiB an hour",
                ],
            ),
            (200, 60, &["seed 77", "near exhaustion", "pool: dig", "blocks", "70 hole", "shared"]),
        ] {
            let screen = drawn(&model(), width, height);
            for word in words {
                assert!(screen.contains(word), "{word} at {width}x{height}:\n{screen}");
            }
        }
    }

    #[test]
    fn no_size_is_too_small_and_none_too_large() {
        let model = model();
        for width in [1, 2, 7, 20, 39, 79, 119, 120, 121, 400] {
            for height in [1, 2, 3, 4, 5, 6, 8, 11, 17, 40, 150] {
                drawn(&model, width, height);
            }
        }
    }

    #[test]
    fn before_the_first_status_there_is_a_screen_too() {
        let mut model = Model::new(&plan(&["--seed", "77", "--rounds", "2"]).unwrap());
        assert!(drawn(&model, 80, 24).contains("the threads begin"));
        model.ending = true;
        assert!(drawn(&model, 80, 24).contains("^C again: at once"));
    }
}
