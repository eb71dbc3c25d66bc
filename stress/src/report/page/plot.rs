//! Plots of values over the time of a run, as SVG that stands in a page. Black and white in it are the page's
//! ink and paper: its style sheet turns them round where the reader's screen is dark.

use plotters::coord::ranged1d::ValueFormatter;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use crate::report::text::{grouped, mebibytes, time};

const SIZE: (u32, u32) = (860, 260);
/// Of lines that are drawn together; told apart by eyes that see few colours, on light and on dark (Okabe
/// and Ito).
const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
];

/// A line of a plot: when, in seconds, and how much. What is not there is a gap.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// The colours of lines in their order, as a page writes them.
pub(super) fn colours() -> impl Iterator<Item = String> {
    COLOURS.iter().cycle().map(|RGBColor(r, g, b)| format!("#{r:02x}{g:02x}{b:02x}"))
}

/// How the values of a plot are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    Count,
    Bytes,
    /// Nanoseconds, by powers of ten.
    Time,
}

impl Scale {
    fn label(self, value: f64) -> String {
        match self {
            Self::Count => grouped(value as u64),
            Self::Bytes => mebibytes(value as u64),
            Self::Time => time(value as u64),
        }
    }

    /// Powers of ten have no zero.
    fn has(self, value: f64) -> bool {
        value > 0.0 || self != Self::Time
    }
}

type DrawError = Box<dyn std::error::Error>;

/// Draws lines over `seconds` from the beginning.
pub(super) fn plot(seconds: f64, lines: &[Line], scale: Scale) -> Result<String, DrawError> {
    let values = || lines.iter().flat_map(|line| line.points.iter().map(|(_, value)| *value));
    let last = seconds.max(1e-3);
    let highest = values().fold(1.0, f64::max);
    let lowest = values().filter(|value| *value > 0.0).fold(highest, f64::min);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area);
        chart.margin(8).x_label_area_size(28).y_label_area_size(72);
        let time = 0.0..last;
        if scale == Scale::Time {
            let values = (lowest / 1.5..highest * 2.0).log_scale();
            draw(chart.build_cartesian_2d(time, values)?, lines, scale)?;
        } else {
            draw(chart.build_cartesian_2d(time, 0.0..highest * 1.15)?, lines, scale)?;
        }
        area.present()?;
    }
    Ok(svg)
}

fn draw<'a, 'svg: 'a, Y>(
    mut chart: ChartContext<'a, SVGBackend<'svg>, Cartesian2d<RangedCoordf64, Y>>,
    lines: &[Line],
    scale: Scale,
) -> Result<(), DrawError>
where
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let length = chart.x_range().end;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .axis_style(BLACK.mix(0.4))
        .label_style(("sans-serif", 13))
        .x_labels(8)
        .y_labels(6)
        .x_label_formatter(&|seconds| clock(*seconds, length))
        .y_label_formatter(&|value| scale.label(*value))
        .draw()?;
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let points = line.points.iter().copied().filter(|(_, value)| scale.has(*value));
        let points: Vec<_> = points.collect();
        chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
        // One sample makes no line.
        if let [point] = points[..] {
            chart.draw_series([Circle::new(point, 3, colour.filled())])?;
        }
    }
    Ok(())
}

/// Seconds as a clock of a run of such a length shows them.
fn clock(seconds: f64, length: f64) -> String {
    if length < 10.0 {
        return format!("{seconds:.1} s");
    }
    let seconds = seconds as u64;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{}:{:02} min", seconds / 60, seconds % 60),
        _ => format!("{}:{:02} h", seconds / 3_600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(points: &[(f64, f64)]) -> Line {
        Line { name: "one".to_owned(), points: points.to_vec() }
    }

    #[test]
    fn whatever_the_values_are_there_is_a_plot() {
        for scale in [Scale::Count, Scale::Bytes, Scale::Time] {
            for points in [&[][..], &[(0.5, 0.0)], &[(0.0, 0.0), (1.0, 1e12)], &[(0.0, 7.0)]] {
                let svg = plot(0.0, &[line(points), line(points)], scale).unwrap();
                assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
            }
        }
    }

    #[test]
    fn a_clock_grows_with_the_run() {
        let shown = [5.0, 130.0, 9_000.0].map(|seconds| clock(seconds, 9_000.0));
        assert_eq!(shown, ["5 s", "2:10 min", "2:30 h"]);
        assert_eq!(clock(1.5, 3.0), "1.5 s");
    }
}
