//! The map of the pool: every cell stands for neighbouring blocks.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::screen::below_title;
use crate::part::Cell;
use crate::report::status::Status;
use crate::report::text::grouped;

/// How full a cell is, by quarters.
const SHADES: [char; 5] = ['·', '░', '▒', '▓', '█'];
const HELD: Color = Color::Cyan;
const SHARED: Color = Color::Magenta;
const COMMON: Color = Color::Yellow;

/// The map of the first part that has blocks; nothing where none has.
pub(super) fn map(frame: &mut Frame<'_>, area: Rect, status: &Status) {
    let Some(part) = status.parts.iter().find(|part| !part.map.is_empty()) else { return };
    let fill = part.fill;
    let free = fill.total.saturating_sub(fill.used);
    let title = vec![
        "blocks ".bold(),
        Span::styled("█ held ", HELD),
        Span::styled("█ shared ", SHARED),
        Span::styled("█ common ", COMMON),
        Span::raw(format!("· free {}  {} in flight", grouped(free), grouped(fill.in_flight))),
    ];
    frame.render_widget(Line::from(title), area);
    let inside = below_title(area);
    let (width, height) = (usize::from(inside.width), usize::from(inside.height));
    let cells = joined(&part.map, width * height);
    let row = |cells: &[Cell]| Line::from(cells.iter().map(drawn).collect::<Vec<_>>());
    let rows: Vec<_> = cells.chunks(width.max(1)).map(row).collect();
    frame.render_widget(Paragraph::new(rows), inside);
}

/// The same map in at most so many cells.
fn joined(map: &[Cell], most: usize) -> Vec<Cell> {
    if most == 0 {
        return Vec::new();
    }
    let join = |cells: &[Cell]| {
        cells.iter().fold(Cell::default(), |all, cell| Cell {
            held: all.held + cell.held,
            shared: all.shared + cell.shared,
            common: all.common + cell.common,
            of: all.of + cell.of,
        })
    };
    map.chunks(map.len().div_ceil(most).max(1)).map(join).collect()
}

/// As full as it is, in the colour of what most of its blocks are.
fn drawn(cell: &Cell) -> Span<'static> {
    let Cell { held, shared, common, of } = *cell;
    let used = held + shared + common;
    let shade = SHADES[(used * 4).div_ceil(of.max(1)).min(4) as usize];
    let most = held.max(shared).max(common);
    let colour = match most {
        0 => Color::DarkGray,
        most if most == held => HELD,
        most if most == shared => SHARED,
        _ => COMMON,
    };
    Span::styled(shade.to_string(), Style::new().fg(colour))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_as_full_as_its_blocks_and_of_the_most_s_colour() {
        let drawn = |held, shared, common| {
            let span = drawn(&Cell { held, shared, common, of: 16 });
            (span.content.chars().next().unwrap(), span.style.fg.unwrap())
        };
        assert_eq!(drawn(0, 0, 0), ('·', Color::DarkGray));
        assert_eq!(drawn(1, 0, 0), ('░', HELD));
        assert_eq!(drawn(4, 5, 0), ('▓', SHARED));
        assert_eq!(drawn(2, 4, 10), ('█', COMMON));
    }

    #[test]
    fn a_small_map_has_all_blocks_of_a_large_one() {
        let map: Vec<_> =
            (0..100).map(|i| Cell { held: i % 3, shared: 0, common: 1, of: 4 }).collect();
        for most in [1, 7, 99, 100, 1_000] {
            let joined = joined(&map, most);
            assert!(joined.len() <= most);
            assert_eq!(joined.iter().map(|cell| cell.of).sum::<u32>(), 400);
            assert_eq!(joined.iter().map(|cell| cell.held).sum::<u32>(), 99);
        }
        assert!(joined(&map, 0).is_empty());
    }
}
