//! What was measured, told: tables in Markdown, rows in JSON, pictures in SVG.

mod chart;
mod table;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use thiserror::Error;

pub use self::chart::{Chart, Line, Panel};
pub use self::table::{table, table_of};

/// A file that could not be written.
#[derive(Debug, Error)]
#[error("{} could not be written: {source}; name a file in a folder that exists", path.display())]
pub struct NotWritten {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Writes `figures` as JSON, in lines that one can read and compare.
///
/// # Errors
/// [`NotWritten`].
pub fn write_json(path: &Path, figures: &impl Serialize) -> Result<(), NotWritten> {
    let text = serde_json::to_string_pretty(figures).map_err(io::Error::other);
    let written = text.and_then(|text| fs::write(path, text + "\n"));
    written.map_err(|source| NotWritten { path: path.to_owned(), source })
}

/// Writes a picture.
///
/// # Errors
/// [`NotWritten`].
pub fn write_svg(path: &Path, chart: &Chart) -> Result<(), NotWritten> {
    let written = fs::write(path, chart.draw());
    written.map_err(|source| NotWritten { path: path.to_owned(), source })
}

/// Nanoseconds in the unit in which they are read best, to three digits.
pub fn time(nanoseconds: u64) -> String {
    let (unit, divisor) = match nanoseconds {
        0..1_000 => return format!("{nanoseconds} ns"),
        1_000..1_000_000 => ("µs", 1e3),
        1_000_000..1_000_000_000 => ("ms", 1e6),
        _ => ("s", 1e9),
    };
    format!("{} {unit}", figure(nanoseconds as f64 / divisor))
}

/// A number to about three digits.
pub fn figure(number: f64) -> String {
    match number.abs() {
        100.0.. => format!("{number:.0}"),
        10.0..100.0 => format!("{number:.1}"),
        0.095..10.0 => format!("{number:.2}"),
        _ => format!("{number:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_in_the_right_unit() {
        let shown: Vec<_> = [0, 999, 1_000, 12_340, 1_429_000_000].map(time).into();
        assert_eq!(shown, ["0 ns", "999 ns", "1.00 µs", "12.3 µs", "1.43 s"]);
        assert_eq!([0.05, 0.5, 12.0, 123.4].map(figure), ["0.050", "0.50", "12.0", "123"]);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let error = write_json(Path::new("/nowhere/at/all.json"), &[1]).unwrap_err().to_string();
        assert!(error.contains("/nowhere/at/all.json"), "{error}");
        assert!(error.contains("a folder that exists"), "{error}");
    }
}
