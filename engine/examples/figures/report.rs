//! Rows of a table and of a JSON file, and the few statistics that they need.

use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::machine;

/// One figure.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    group: String,
    figure: String,
    value: f64,
    unit: String,
    /// What it is to be, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    wanted: Option<String>,
}

/// All figures of a run; each is printed as soon as it is there.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    machine: String,
    model: String,
    quick: bool,
    cores: usize,
    rows: Vec<Row>,
    #[serde(skip)]
    silent: bool,
}

impl Report {
    pub(crate) fn new(model: &Path, quick: bool, silent: bool) -> Self {
        let stem = model.file_stem().unwrap_or_default().to_string_lossy();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let machine = machine::describe();
        if !silent {
            println!("{machine}; {stem}{}", if quick { ", a short run" } else { "" });
        }
        Self { machine, model: stem.into_owned(), quick, cores, rows: Vec::new(), silent }
    }

    pub(crate) fn add(
        &mut self,
        group: &'static str,
        figure: impl Into<String>,
        value: f64,
        unit: &'static str,
        wanted: Option<&'static str>,
    ) {
        let (group, unit) = (group.to_owned(), unit.to_owned());
        self.push(Row {
            group,
            figure: figure.into(),
            value,
            unit,
            wanted: wanted.map(Into::into),
        });
    }

    /// Adds the rows that another process has written.
    pub(crate) fn take_over(&mut self, json: &[u8]) -> Result<(), Box<dyn Error>> {
        let theirs: Self = serde_json::from_slice(json)?;
        theirs.rows.into_iter().for_each(|row| self.push(row));
        Ok(())
    }

    fn push(&mut self, row: Row) {
        let Row { group, figure, value, unit, wanted } = &row;
        let aim = wanted.as_ref().map_or_else(String::new, |wanted| format!("  (wanted {wanted})"));
        if !self.silent {
            println!("{group:10}  {figure:62} {value:10.3} {unit}{aim}");
        }
        self.rows.push(row);
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
