//! The report as a page: one file with its plots inside, readable without a network.

use std::fmt::Write;

use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;

use super::Report;
use super::text::{grouped, mebibytes, time};
use crate::watch::series::{Percentiles, Sample};

const SIZE: (u32, u32) = (860, 260);
/// Of lines that are drawn together; told apart by eyes that see few colours, too (Okabe and Ito).
const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
];

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:900px;margin:2em auto;padding:0 \
1em;color:#222}h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}table{border-collapse:collapse}td,th\
{padding:.2em .8em .2em 0;text-align:left;vertical-align:top}td.n{text-align:right;font-variant-numeric:\
tabular-nums}pre{background:#f4f4f4;padding:.8em;white-space:pre-wrap}svg{max-width:100%;height:auto}.held\
{color:#060}.broken{color:#a00}";

/// What a line shows of a sample; none where it has a gap.
type Value<'a> = dyn Fn(&Sample) -> Option<f64> + 'a;

/// A line of a plot.
struct Line<'a> {
    name: String,
    value: Box<Value<'a>>,
}

impl<'a> Line<'a> {
    fn new(name: impl Into<String>, value: impl Fn(&Sample) -> Option<f64> + 'a) -> Self {
        Self { name: name.into(), value: Box::new(value) }
    }
}

/// How the values of a plot are written.
#[derive(Clone, Copy)]
enum Scale {
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
}

/// The page.
pub(crate) fn page(report: &Report) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write_page(&mut page, report);
    page
}

fn write_page(page: &mut String, report: &Report) -> std::fmt::Result {
    let class = if report.violation.is_some() { "broken" } else { "held" };
    let headline = escape(&report.headline());
    write!(
        page,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>latchless-stress: \
         {}</title><style>{STYLE}</style></head><body><h1>latchless-stress {}: <span \
         class=\"{class}\">{}</span></h1><p>{headline}</p>",
        report.outcome, report.version, report.outcome
    )?;
    write!(
        page,
        "<p>{:.1} s, seed {}, {} threads in each part, {} freezes, at most {} resident{}.</p><p>The same \
         decisions again:</p><pre>{}</pre>",
        report.wall_s,
        report.seed,
        report.threads,
        grouped(report.freezes),
        mebibytes(report.most.resident),
        report.memory_growth.map_or_else(String::new, |growth| format!(
            ", growing by {:.2} MiB an hour",
            growth / f64::from(1 << 20)
        )),
        escape(&report.repeat)
    )?;
    let names: Vec<_> = report.parts.iter().map(|part| part.name).collect();
    let rates = names.iter().map(|name| {
        Line::new(*name, |sample: &Sample| {
            let part = sample.parts.get(*name)?;
            Some(part.operations as f64 / sample.seconds.max(1e-9))
        })
    });
    section(page, "Operations a second", report, &rates.collect::<Vec<_>>(), Scale::Count)?;
    for part in &report.parts {
        write!(page, "<h2>{}</h2><table>", escape(part.name))?;
        row(page, "operations", part.operations)?;
        row(page, "rounds", part.rounds)?;
        for (name, count) in &part.outcomes.0 {
            row(page, name, *count)?;
        }
        page.push_str("</table>");
        for (index, (name, times)) in part.times.0.iter().enumerate() {
            let at = |sample: &Sample| sample.parts.get(part.name)?.times.get(index).copied();
            let line = |label: &str, pick: fn(Percentiles) -> u64| {
                Line::new(label, move |sample: &Sample| {
                    at(sample).filter(|times| times.count > 0).map(|times| pick(times) as f64)
                })
            };
            let lines = [
                line("p50", |times| times.p50),
                line("p99", |times| times.p99),
                line("p99.9", |times| times.p99_9),
                line("max", |times| times.max),
            ];
            let title = format!("{name} (whole run: p99.9 {}, max {})", time(times.p99_9), {
                time(times.max)
            });
            section(page, &title, report, &lines, Scale::Time)?;
        }
        let used =
            Line::new("in use", |sample: &Sample| Some(sample.parts.get(part.name)?.used as f64));
        let title = format!("in use, of {}", grouped(part.total));
        section(page, &title, report, &[used], Scale::Count)?;
        write!(page, "<details><summary>actions</summary><table>")?;
        for (name, count) in &part.actions.0 {
            row(page, name, *count)?;
        }
        page.push_str("</table></details>");
    }
    page.push_str("<h2>The process</h2>");
    let resident = Line::new("resident", |sample: &Sample| Some(sample.resources.resident as f64));
    section(page, "Resident memory", report, &[resident], Scale::Bytes)?;
    let handles = [
        Line::new("descriptors", |sample: &Sample| Some(sample.resources.descriptors as f64)),
        Line::new("threads", |sample: &Sample| Some(sample.resources.threads as f64)),
    ];
    section(page, "Descriptors and threads", report, &handles, Scale::Count)?;
    let freezes = Line::new("freezes", |sample: &Sample| {
        Some(sample.freezes as f64 / sample.seconds.max(1e-9))
    });
    section(page, "Freezes a second", report, &[freezes], Scale::Count)?;
    page.push_str("</body></html>\n");
    Ok(())
}

fn row(page: &mut String, name: &str, count: u64) -> std::fmt::Result {
    write!(page, "<tr><td>{}</td><td class=\"n\">{}</td></tr>", escape(name), grouped(count))
}

fn section(
    page: &mut String,
    title: &str,
    report: &Report,
    lines: &[Line<'_>],
    scale: Scale,
) -> std::fmt::Result {
    write!(page, "<h3>{}</h3>", escape(title))?;
    match plot(&report.series, lines, scale) {
        Ok(svg) => page.push_str(&svg),
        Err(error) => write!(page, "<p>No plot: {}</p>", escape(&error.to_string()))?,
    }
    Ok(())
}

type DrawError = Box<dyn std::error::Error>;

fn plot(samples: &[Sample], lines: &[Line<'_>], scale: Scale) -> Result<String, DrawError> {
    let values = || {
        let values = |line| {
            samples.iter().filter_map(|sample: &Sample| (line as &Line<'_>).value.as_ref()(sample))
        };
        lines.iter().flat_map(values)
    };
    let last = samples.last().map_or(0.0, |sample| sample.at).max(1e-3);
    let highest = values().fold(1.0, f64::max);
    let lowest = values().filter(|value| *value > 0.0).fold(highest, f64::min);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area);
        chart.margin(8).x_label_area_size(28).y_label_area_size(72);
        match scale {
            Scale::Time => {
                let range = (lowest / 1.5..highest * 2.0).log_scale();
                draw(chart.build_cartesian_2d(0.0..last, range)?, samples, lines, scale)?;
            }
            Scale::Count | Scale::Bytes => {
                draw(
                    chart.build_cartesian_2d(0.0..last, 0.0..highest * 1.15)?,
                    samples,
                    lines,
                    scale,
                )?;
            }
        }
        area.present()?;
    }
    Ok(svg)
}

fn draw<'a, 'svg: 'a, Y>(
    mut chart: ChartContext<
        'a,
        SVGBackend<'svg>,
        Cartesian2d<plotters::coord::types::RangedCoordf64, Y>,
    >,
    samples: &[Sample],
    lines: &[Line<'_>],
    scale: Scale,
) -> Result<(), DrawError>
where
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.1))
        .x_labels(8)
        .y_labels(6)
        .x_label_formatter(&|seconds| clock(*seconds))
        .y_label_formatter(&|value| scale.label(*value))
        .draw()?;
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let points = samples.iter().filter_map(|sample| {
            (line.value)(sample)
                .filter(|value| *value > 0.0 || !matches!(scale, Scale::Time))
                .map(|value| (sample.at, value))
        });
        let points: Vec<_> = points.collect();
        let drawn =
            chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(1)))?;
        if lines.len() > 1 {
            drawn.label(line.name.as_str()).legend(move |(x, y)| {
                PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2))
            });
        }
        // One sample makes no line.
        if let [point] = points[..] {
            chart.draw_series([Circle::new(point, 3, colour.filled())])?;
        }
    }
    if lines.len() > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .draw()?;
    }
    Ok(())
}

/// Seconds as a clock of the run shows them.
fn clock(seconds: f64) -> String {
    let seconds = seconds as u64;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{}:{:02} min", seconds / 60, seconds % 60),
        _ => format!("{}:{:02} h", seconds / 3_600, seconds / 60 % 60),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\n', "<br>")
}
