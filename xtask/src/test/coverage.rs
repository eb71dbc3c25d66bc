//! How much of the core its tests run, part by part, read from what tarpaulin prints.

use std::process::Command;

use crate::run::{self, Failed};

/// What is counted, and how many of 100 lines have to be run.
const PARTS: [(&str, &str, f64); 2] =
    [("core", "core/src/", 95.0), ("plan", "core/src/plan/", 97.0)];

/// Too few lines are run, or none were counted.
#[derive(Debug, thiserror::Error)]
#[error(
    "{covered} of {lines} lines of {part} are run by its tests, and {least} of 100 have to be; test what the \
     list above names"
)]
pub(crate) struct TooFew {
    part: &'static str,
    covered: usize,
    lines: usize,
    least: f64,
}

/// A source file's lines.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct File {
    path: String,
    covered: usize,
    lines: usize,
}

impl File {
    /// Reads `|| PATH: COVERED/LINES`, with or without what has changed since the last run.
    fn from_line(line: &str) -> Option<Self> {
        let (path, counts) = line.strip_prefix("|| ")?.split_once(": ")?;
        let counts = counts.split_once(' ').map_or(counts, |(counts, _)| counts);
        let (covered, lines) = counts.split_once('/')?;
        let path = path.trim_start_matches("./").to_owned();
        Some(Self { path, covered: covered.parse().ok()?, lines: lines.parse().ok()? })
    }
}

/// Runs `command`, showing its output, and returns the files that it tells of.
pub(super) fn run(command: &mut Command) -> Result<Vec<File>, Failed> {
    let mut files = Vec::new();
    run::run_lines(command, |line| {
        eprintln!("{line}");
        files.extend(File::from_line(line));
    })?;
    Ok(files)
}

/// Prints a line for each part.
///
/// # Errors
/// [`TooFew`] for the first part of which too little is run.
pub(super) fn report(files: &[File]) -> Result<(), TooFew> {
    let mut result = Ok(());
    eprintln!();
    for (part, folder, least) in PARTS {
        let of_part = || files.iter().filter(|file| file.path.starts_with(folder));
        let covered: usize = of_part().map(|file| file.covered).sum();
        let lines: usize = of_part().map(|file| file.lines).sum();
        let of_100 = 100.0 * covered as f64 / lines.max(1) as f64;
        eprintln!("   {part}: {covered} of {lines} lines, {of_100:.2} of 100; at least {least}");
        if of_100 < least && result.is_ok() {
            result = Err(TooFew { part, covered, lines, least });
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, covered: usize, lines: usize) -> File {
        File { path: path.to_owned(), covered, lines }
    }

    #[test]
    fn the_lines_of_files_are_read_and_no_others() {
        let read = |line| File::from_line(line);
        assert_eq!(read("|| core/src/lib.rs: 3/4"), Some(file("core/src/lib.rs", 3, 4)));
        assert_eq!(read("|| ./core/src/a.rs: 3/4 +0.00%"), Some(file("core/src/a.rs", 3, 4)));
        for other in [
            "|| Tested/Total Lines:",
            "|| core/src/lib.rs: 12, 14-15",
            "|| ",
            "95.20% coverage, 95/100 lines covered",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn each_part_has_a_floor_of_its_own() {
        let core = file("core/src/pool/span.rs", 990, 1_000);
        assert!(report(&[file("core/src/plan/stack.rs", 97, 100), core]).is_ok());
        let core = file("core/src/pool/span.rs", 990, 1_000);
        let few = report(&[file("core/src/plan/stack.rs", 96, 100), core]).unwrap_err();
        assert!(few.to_string().starts_with("96 of 100 lines of plan"), "{few}");
        let few = report(&[]).unwrap_err();
        assert_eq!((few.part, few.lines), ("core", 0), "nothing was counted");
    }
}
