//! Pictures: panels side by side, a line for each contender over a few steps, on one logarithmic axis.
//!
//! Composed with the `svg` crate, which writes and escapes elements. The common plotting crates write
//! colours as attributes, so that a picture has one background; here they are rules of a style sheet with
//! a dark variant, and the picture has a card of its own, so that it can be read wherever it is shown.

use svg::Document;
use svg::node::element::{Circle, Group, Line as Stroke, Polyline, Rectangle, Style, Text};

const WIDTH: f64 = 960.0;
const MARGIN: f64 = 20.0;
const AXIS_WIDTH: f64 = 62.0;
const PANEL_GAP: f64 = 20.0;
const PANEL_TOP: f64 = 110.0;
const PANEL_HEIGHT: f64 = 270.0;
const LEGEND_ROW: f64 = 22.0;
const LEGEND_COLUMNS: usize = 4;

/// Colours on a light and on a dark background.
const COLOURS: [(&str, &str); 9] = [
    ("#0969da", "#58a6ff"),
    ("#1b9aaa", "#56d4dd"),
    ("#cf222e", "#ff7b72"),
    ("#bc4c00", "#f0883e"),
    ("#9a6700", "#e3b341"),
    ("#6e7781", "#8b949e"),
    ("#8250df", "#bc8cff"),
    ("#1a7f37", "#3fb950"),
    ("#bf3989", "#f778ba"),
];

/// The colour of a line that the legend does not name: a modest one.
const UNKNOWN: usize = 5;

/// A picture.
#[derive(Debug, Clone)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// What is compared, how, and in which unit.
    pub subtitle: String,
    /// What it was measured on.
    pub machine: String,
    /// A value of the axis, as one reads it.
    pub unit: fn(f64) -> String,
    /// The names of lines, as the legend lists them, each with the number of its colour. Colour 0 is
    /// drawn thicker: the one that the picture is about.
    pub names: Vec<(String, usize)>,
    /// Side by side.
    pub panels: Vec<Panel>,
}

/// A part of a picture.
#[derive(Debug, Clone)]
pub struct Panel {
    /// What it shows.
    pub title: String,
    /// The steps along it.
    pub steps: Vec<String>,
    /// Its lines.
    pub lines: Vec<Line>,
}

/// A line through a panel's steps.
#[derive(Debug, Clone)]
pub struct Line {
    /// One of the picture's names.
    pub name: String,
    /// A value for each step, greater than 0; not a number where there is none.
    pub values: Vec<f64>,
}

/// Whole decades that hold every value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Decades {
    from: i32,
    to: i32,
}

impl Decades {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let logs = values.filter(|value| *value > 0.0 && value.is_finite()).map(f64::log10);
        let bounds = logs.fold(None, |bounds: Option<(f64, f64)>, log| {
            let (least, most) = bounds.unwrap_or((log, log));
            Some((least.min(log), most.max(log)))
        });
        let (least, most) = bounds.unwrap_or((0.0, 1.0));
        let from = least.floor() as i32;
        Self { from, to: (most.ceil() as i32).max(from + 1) }
    }

    /// From the bottom of a panel (0) to its top (1).
    fn place(self, value: f64) -> f64 {
        let log = value.max(f64::MIN_POSITIVE).log10();
        ((log - f64::from(self.from)) / f64::from(self.to - self.from)).clamp(0.0, 1.0)
    }
}

impl Chart {
    /// The picture as SVG.
    pub fn draw(&self) -> String {
        let legend_rows = self.names.len().div_ceil(LEGEND_COLUMNS);
        let legend_top = PANEL_TOP + PANEL_HEIGHT + 52.0;
        let height = legend_top + legend_rows as f64 * LEGEND_ROW + 4.0;
        let values =
            self.panels.iter().flat_map(|panel| &panel.lines).flat_map(|line| &line.values);
        let decades = Decades::of(values.copied());

        let mut document = Document::new()
            .set("viewBox", (0, 0, WIDTH, height))
            .set("width", WIDTH)
            .set("height", height)
            .set("role", "img")
            .set("aria-label", self.title.as_str())
            .add(Style::new(style()))
            .add(
                Rectangle::new()
                    .set("class", "card")
                    .set("x", 0.5)
                    .set("y", 0.5)
                    .set("width", WIDTH - 1.0)
                    .set("height", height - 1.0)
                    .set("rx", 8),
            )
            .add(text(&self.title, "title", MARGIN, 32.0))
            .add(text(&self.subtitle, "note", MARGIN, 52.0))
            .add(text(&self.machine, "note", MARGIN, 70.0))
            .add(self.axis(decades));
        let count = self.panels.len().max(1) as f64;
        let room = WIDTH - 2.0 * MARGIN - AXIS_WIDTH;
        let width = (room - (count - 1.0) * PANEL_GAP) / count;
        for (i, panel) in self.panels.iter().enumerate() {
            let left = MARGIN + AXIS_WIDTH + i as f64 * (width + PANEL_GAP);
            document = document.add(self.panel(panel, decades, left, width));
        }
        document.add(self.legend(legend_top)).to_string() + "\n"
    }

    fn axis(&self, decades: Decades) -> Group {
        let labels = (decades.from..=decades.to).map(|decade| {
            let value = 10_f64.powi(decade);
            let right = MARGIN + AXIS_WIDTH - 8.0;
            text((self.unit)(value), "end", right, height_of(decades.place(value)) + 4.0)
        });
        labels.fold(Group::new(), Group::add)
    }

    fn panel(&self, panel: &Panel, decades: Decades, left: f64, width: f64) -> Group {
        let mut group = Group::new().add(text(&panel.title, "head", left, PANEL_TOP - 12.0));
        for decade in decades.from..=decades.to {
            let y = height_of(decades.place(10_f64.powi(decade)));
            let grid = Stroke::new().set("class", "grid");
            group = group.add(
                grid.set("x1", left)
                    .set("x2", left + width)
                    .set("y1", round(y))
                    .set("y2", round(y)),
            );
        }
        let step = width / panel.steps.len().max(1) as f64;
        let across = |i: usize| left + (i as f64 + 0.5) * step;
        for (i, label) in panel.steps.iter().enumerate() {
            group = group.add(text(label, "middle", across(i), PANEL_TOP + PANEL_HEIGHT + 20.0));
        }
        // The first name's line last: it lies on top.
        for line in panel.lines.iter().rev() {
            let points: Vec<_> = line
                .values
                .iter()
                .enumerate()
                // Nothing was measured there.
                .filter(|(_, value)| value.is_finite())
                .map(|(i, value)| (round(across(i)), round(height_of(decades.place(*value)))))
                .collect();
            group = group.add(mark(self.colour(&line.name), &points));
        }
        group
    }

    fn legend(&self, top: f64) -> Group {
        let column = (WIDTH - 2.0 * MARGIN) / LEGEND_COLUMNS as f64;
        let entries = self.names.iter().enumerate().map(|(i, (name, colour))| {
            let x = MARGIN + (i % LEGEND_COLUMNS) as f64 * column;
            let y = top + (i / LEGEND_COLUMNS) as f64 * LEGEND_ROW;
            let points = [(x, y - 4.0), (x + 12.0, y - 4.0), (x + 24.0, y - 4.0)];
            let style = if *colour == 0 { "strong" } else { "plain" };
            Group::new().add(mark(*colour, &points)).add(text(name, style, x + 32.0, y))
        });
        entries.fold(Group::new(), Group::add)
    }

    fn colour(&self, name: &str) -> usize {
        self.names.iter().find(|(known, _)| known == name).map_or(UNKNOWN, |(_, colour)| *colour)
    }
}

/// A line with a dot at each point.
fn mark(colour: usize, points: &[(f64, f64)]) -> Group {
    let colour = colour % COLOURS.len();
    let path: Vec<_> = points.iter().map(|(x, y)| format!("{x},{y}")).collect();
    let line = Polyline::new().set("class", "line").set("points", path.join(" "));
    let group = Group::new().set("class", format!("c{colour}")).add(line);
    let radius = if colour == 0 { 4.0 } else { 3.0 };
    points.iter().fold(group, |group, (x, y)| {
        group.add(Circle::new().set("cx", *x).set("cy", *y).set("r", radius))
    })
}

fn text(content: impl Into<String>, style: &str, x: f64, y: f64) -> Text {
    Text::new(content).set("class", style).set("x", round(x)).set("y", round(y))
}

/// From a place in a panel to its height in the picture.
fn height_of(place: f64) -> f64 {
    PANEL_TOP + PANEL_HEIGHT * (1.0 - place)
}

/// To a tenth of a pixel.
fn round(pixels: f64) -> f64 {
    (pixels * 10.0).round() / 10.0
}

fn style() -> String {
    let colours = |dark: bool| -> String {
        COLOURS.iter().enumerate().fold(String::new(), |rules, (i, (on_light, on_dark))| {
            let colour = if dark { on_dark } else { on_light };
            rules + &format!(".c{i}{{stroke:{colour};fill:{colour}}}")
        })
    };
    let theme = |card: &str, border: &str, ink: &str, grid: &str| {
        format!(".card{{fill:{card};stroke:{border}}}text{{fill:{ink}}}.grid{{stroke:{grid}}}")
    };
    [
        "text{font:12px -apple-system,'Segoe UI','Noto Sans',Helvetica,Arial,sans-serif}",
        ".title{font-size:17px;font-weight:600}.head,.strong{font-weight:600}",
        ".middle{text-anchor:middle}.end{text-anchor:end}",
        ".line{fill:none;stroke-width:1.6;stroke-linejoin:round}.c0 .line{stroke-width:3.2}",
        "circle{stroke:none}",
        &theme("#ffffff", "#d1d9e0", "#1f2328", "#e4e8ec"),
        &colours(false),
        "@media(prefers-color-scheme:dark){",
        &theme("#0d1117", "#3d444d", "#e6edf3", "#262c36"),
        &colours(true),
        "}",
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart() -> Chart {
        let line = |name: &str, values: [f64; 2]| Line { name: name.into(), values: values.into() };
        Chart {
            title: "A < B & C".to_owned(),
            subtitle: "two steps".to_owned(),
            machine: "here".to_owned(),
            unit: |value| format!("{value} M/s"),
            names: vec![("ours".to_owned(), 0), ("theirs".to_owned(), 1)],
            panels: vec![Panel {
                title: "one".to_owned(),
                steps: vec!["n=1".to_owned(), "n=8".to_owned()],
                lines: vec![line("ours", [100.0, 20.0]), line("theirs", [0.5, 10.0])],
            }],
        }
    }

    #[test]
    fn the_axis_has_whole_decades() {
        assert_eq!(Decades::of([0.5, 20.0].into_iter()), Decades { from: -1, to: 2 });
        assert_eq!(Decades::of([10.0].into_iter()), Decades { from: 1, to: 2 });
        assert_eq!(Decades::of([0.0, f64::NAN].into_iter()), Decades { from: 0, to: 1 });
        let decades = Decades { from: 0, to: 2 };
        for (value, place) in [(1.0, 0.0), (10.0, 0.5), (100.0, 1.0), (0.0, 0.0), (1e9, 1.0)] {
            assert!((decades.place(value) - place).abs() < 1e-12, "{value} is kept in the panel");
        }
    }

    #[test]
    fn a_picture_has_every_line_in_its_colour_and_is_escaped() {
        let drawn = chart().draw();
        // Each name in the panel and in the legend.
        assert_eq!(drawn.matches("<g class=\"c0\">").count(), 2, "{drawn}");
        assert_eq!(drawn.matches("<g class=\"c1\">").count(), 2, "{drawn}");
        assert!(drawn.contains("A &lt; B &amp; C"), "{drawn}");
        assert!(drawn.contains("\n100 M/s\n"), "{drawn}");
        assert!(drawn.contains("prefers-color-scheme:dark"));
    }

    #[test]
    fn the_same_figures_give_the_same_picture() {
        assert_eq!(chart().draw(), chart().draw());
    }
}
