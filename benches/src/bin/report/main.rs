//! Writes docs/benchmarks from the figures that the other programs left there: the page and its pictures.
//! `cargo xtask bench report` measures first; this measures nothing.

#![forbid(unsafe_code)]

mod page;
mod pictures;
mod read;
mod wanted;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use latchless_benches::report::{Chart, NotWritten, write_svg};
use thiserror::Error;

use self::read::{Figures, Unreadable};

/// Draws the report from a folder's figures, which are in its subfolder data.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// The folder of the report
    folder: PathBuf,
}

#[derive(Debug, Error)]
enum Failed {
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error(transparent)]
    NotWritten(#[from] NotWritten),
}

fn main() -> ExitCode {
    match run(&Cli::parse().folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(folder: &Path) -> Result<(), Failed> {
    let figures = Figures::read(&folder.join("data"))?;
    for (name, chart) in charts(&figures) {
        write_svg(&folder.join(name), &chart)?;
    }
    let path = folder.join("README.md");
    let written = fs::write(&path, page::write(&figures));
    Ok(written.map_err(|source: io::Error| NotWritten { path, source })?)
}

/// The pictures of what was measured, by their files' names.
fn charts(figures: &Figures) -> Vec<(&'static str, Chart)> {
    let mut charts = Vec::new();
    if let Some(pool) = &figures.pool {
        charts.push(("pool-scaling.svg", pictures::pool(pool)));
    }
    if let Some(tails) = &figures.tails {
        charts.push(("inversion.svg", pictures::tails(tails, "inversion")));
        charts.push(("freeze.svg", pictures::tails(tails, "freeze")));
    }
    if let Some(agents) = &figures.agents {
        charts.push(("agents-scaling.svg", pictures::agents(agents)));
        if !agents.inversion.is_empty() {
            charts.push(("agents-inversion.svg", pictures::agents_inversion(agents)));
        }
    }
    if let Some(store) = &figures.store {
        charts.push(("store.svg", pictures::store(store)));
    }
    charts
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_folder_without_figures_gives_a_page_without_pictures() {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path()).unwrap();
        assert!(folder.path().join("README.md").exists());
        assert!(!folder.path().join("store.svg").exists());
    }

    #[test]
    fn what_was_measured_has_its_picture() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        let row = r#"{"threads": 1, "durable": 9.0, "relaxed": 80.0, "one_transaction_each": 3.0,
                      "durable_is_faster": 3.0, "writes_a_group": 1.0}"#;
        let text = format!(r#"{{"machine": "m", "tasks": 4, "rounds": 1, "rows": [{row}]}}"#);
        fs::write(folder.path().join("data/store.json"), text).unwrap();
        run(folder.path()).unwrap();
        let drawn = fs::read_to_string(folder.path().join("store.svg")).unwrap();
        assert!(drawn.contains("one transaction a claim"), "{drawn}");
    }
}
