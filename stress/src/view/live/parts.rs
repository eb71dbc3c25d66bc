//! The parts: how fast they are, what they are at, and how long their operations take.

use std::collections::VecDeque;

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Text};
use ratatui::widgets::{Row, Table};

use super::model::Model;
use crate::report::status::{PartStatus, Status};
use crate::report::text::{grouped, time};

/// Columns from which on there is room for the phase.
const PHASES_FROM: u16 = 60;
/// Columns from which on there is room for how the rate was.
const HISTORY_FROM: u16 = 100;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A row for each part.
pub(super) fn rates(frame: &mut Frame<'_>, area: Rect, model: &Model, status: &Status) {
    let mut columns = vec![("part", Constraint::Length(7), Alignment::Left)];
    if area.width >= PHASES_FROM {
        columns.push(("phase", Constraint::Length(18), Alignment::Left));
        columns.push(("round", Constraint::Length(7), Alignment::Right));
    }
    columns.push(("op/s", Constraint::Length(11), Alignment::Right));
    columns.push(("in use", Constraint::Length(18), Alignment::Right));
    if area.width >= HISTORY_FROM {
        columns.push(("op/s so far", Constraint::Min(10), Alignment::Left));
    }
    let rows = status.parts.iter().enumerate().map(|(i, part)| {
        let mut cells = vec![part.part.to_string()];
        if area.width >= PHASES_FROM {
            cells.extend([part.phase.to_owned(), grouped(part.round)]);
        }
        let fill = part.fill;
        cells.push(grouped(part.per_second as u64));
        cells.push(format!("{} of {}", grouped(fill.used), grouped(fill.total)));
        if area.width >= HISTORY_FROM {
            cells.push(model.rates.get(i).map(bars).unwrap_or_default());
        }
        cells
    });
    table(frame, area, &columns, rows);
}

/// A row for each timed operation.
pub(super) fn times(frame: &mut Frame<'_>, area: Rect, status: &Status) {
    let figure = |name| (name, Constraint::Length(8), Alignment::Right);
    let operation = ("last second", Constraint::Fill(1), Alignment::Left);
    let columns = [operation, figure("p50"), figure("p99"), figure("p99.9"), figure("longest")];
    let rows = status.parts.iter().flat_map(|part: &PartStatus| {
        part.times.iter().map(|(name, times)| {
            let figures = [times.p50, times.p99, times.p99_9, times.max];
            let figures =
                if times.count == 0 { figures.map(|_| "-".to_owned()) } else { figures.map(time) };
            let mut cells = vec![format!("{}: {name}", part.part)];
            cells.extend(figures);
            cells
        })
    });
    table(frame, area, &columns, rows);
}

fn table(
    frame: &mut Frame<'_>,
    area: Rect,
    columns: &[(&'static str, Constraint, Alignment)],
    rows: impl Iterator<Item = Vec<String>>,
) {
    let cell = |(text, (_, _, alignment)): (String, &(_, _, Alignment))| {
        Text::from(Line::from(text).alignment(*alignment))
    };
    let head = Row::new(columns.iter().map(|column| cell((column.0.to_owned(), column))));
    let rows = rows.map(|texts| Row::new(texts.into_iter().zip(columns).map(cell)));
    let table = Table::new(rows, columns.iter().map(|column| column.1))
        .header(head.style(Style::new().bold().underlined()));
    frame.render_widget(table, area);
}

/// Rates as bars, the highest of them full.
fn bars(rates: &VecDeque<f64>) -> String {
    let highest = rates.iter().copied().fold(1.0, f64::max);
    let bar = |rate: &f64| BARS[((rate / highest * 7.0).round() as usize).min(7)];
    rates.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_rate_is_a_full_bar() {
        assert_eq!(bars(&VecDeque::from([0.0, 50.0, 100.0, 25.0])), "▁▅█▃");
        assert_eq!(bars(&VecDeque::from([0.0])), "▁");
    }
}
