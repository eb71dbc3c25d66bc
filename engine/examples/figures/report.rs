//! Rows of a table and of a JSON file, and the few statistics that they need.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

/// One figure.
#[derive(Debug, Serialize)]
struct Row {
    group: &'static str,
    figure: String,
    value: f64,
    unit: &'static str,
    /// What it is to be, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    wanted: Option<&'static str>,
}

/// All figures of a run; each is printed as soon as it is there.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    model: String,
    quick: bool,
    cores: usize,
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn new(model: &Path, quick: bool) -> Self {
        let stem = model.file_stem().unwrap_or_default().to_string_lossy();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        println!("{stem}, {cores} cores{}", if quick { ", a short run" } else { "" });
        Self { model: stem.into_owned(), quick, cores, rows: Vec::new() }
    }

    pub(crate) fn add(
        &mut self,
        group: &'static str,
        figure: impl Into<String>,
        value: f64,
        unit: &'static str,
        wanted: Option<&'static str>,
    ) {
        let figure = figure.into();
        let aim = wanted.map_or_else(String::new, |wanted| format!("  (wanted {wanted})"));
        println!("{group:10}  {figure:62} {value:10.3} {unit}{aim}");
        self.rows.push(Row { group, figure, value, unit, wanted });
    }

    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut file = File::create(path)?;
        serde_json::to_writer_pretty(&mut file, self)?;
        writeln!(file)
    }
}

/// The value below which the part `part` of `values` lies; they are sorted.
pub(crate) fn percentile(values: &mut [Duration], part: f64) -> Duration {
    values.sort_unstable();
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * part).ceil() as usize).copied().unwrap_or_default()
}

/// The middle one.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
