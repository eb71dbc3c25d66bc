//! A run from its plan to the exit code: watched, interrupted, told.

use std::fmt::Display;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, anyhow};
use clap::Args;
use serde::Serialize;

use crate::exit::Exit;
use crate::plan::Plan;
use crate::report::folder::Folder;
use crate::report::{Report, page};
use crate::run::{self, Ending, Outcome};
use crate::scratch;
use crate::view::View;

/// Where the report goes.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Writes report.json, which `replay` reads, and report.html, a page with plots, to this folder.
    #[arg(long, value_name = "FOLDER")]
    report: Option<PathBuf>,

    /// Replaces a report that the folder holds.
    #[arg(long, requires = "report")]
    overwrite: bool,
}

impl ReportArgs {
    /// Tries the folder out: now, rather than after eight hours.
    pub(crate) fn open(&self) -> anyhow::Result<Option<Folder>> {
        self.report.as_deref().map(|path| Folder::open(path, self.overwrite)).transpose()
    }
}

/// What all runs of a process have in common.
pub(crate) struct Session<'a> {
    pub(crate) folder: Option<&'a Folder>,
    pub(crate) view: &'a dyn View,
    pub(crate) interrupted: &'a AtomicBool,
}

impl Session<'_> {
    /// Runs a plan, and tells what came of it.
    pub(crate) fn run(&self, plan: &Plan) -> anyhow::Result<Exit> {
        let give_up = |outcome: &Outcome| {
            let exit = self.tell(plan, outcome);
            // Its threads wait for what never comes: nobody can end them in an orderly way.
            scratch::clear();
            process::exit(exit.code().into());
        };
        let outcome = run::run(plan, self.interrupted, self.view, give_up);
        let outcome = outcome.inspect_err(|_| self.view.close())?;
        Ok(self.tell(plan, &outcome))
    }

    fn tell(&self, plan: &Plan, outcome: &Outcome) -> Exit {
        let exit = match outcome.ending {
            Ending::Held => Exit::Held,
            Ending::Idle => Exit::BadArguments,
            Ending::Broken(_) => Exit::Broken,
            Ending::Interrupted => Exit::Interrupted,
            Ending::Failed(_) => Exit::MachineFailed,
        };
        let report = Report::new(plan, outcome);
        publish(self.folder, &report, page::page, || self.view.close(), exit)
    }
}

/// Tells what came out. The report for programs is written first: the terminal may keep us waiting, and a page
/// may fail to be drawn. What broke is worth more than that it was not written down.
pub(crate) fn publish<R: Serialize + Display>(
    folder: Option<&Folder>,
    report: &R,
    page: impl FnOnce(&R) -> String,
    close: impl FnOnce(),
    exit: Exit,
) -> Exit {
    let written = folder.map(|folder| (folder, folder.write(report)));
    close();
    say(format_args!("{report}"));
    let Some((folder, written)) = written else { return exit };
    let advice = "the report was not written; make room, or choose another --report";
    let path = written.context(advice).and_then(|()| {
        let page = catch_unwind(AssertUnwindSafe(|| page(report)));
        let page =
            page.map_err(|_| anyhow!("the page could not be drawn; report.json is whole"))?;
        folder.write_page(&page).context("the page was not written, report.json was; make room")
    });
    match path {
        Ok(path) => say(format_args!("  report: {}", path.display())),
        Err(error) => {
            complain(&error);
            if exit == Exit::Held {
                return Exit::MachineFailed;
            }
        }
    }
    exit
}

/// A line on the standard output. Whoever reads it may have gone: the run and its exit code are worth
/// more than its lines.
pub(crate) fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

pub(crate) fn complain(error: &anyhow::Error) {
    let _ = writeln!(io::stderr().lock(), "latchless-stress: {error:#}");
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;

    use super::*;

    #[test]
    fn a_page_that_cannot_be_drawn_leaves_the_report_for_programs() {
        let place = tempfile::tempdir().unwrap();
        let json = place.path().join("report.json");
        let page = place.path().join("report.html");
        fs::write(&page, "the page of another run").unwrap();
        let folder = Folder::open(place.path(), true).unwrap();
        for (exit, expected) in [(Exit::Held, Exit::MachineFailed), (Exit::Broken, Exit::Broken)] {
            let closed = Cell::new(false);
            let close = || {
                assert!(json.exists(), "written before the terminal is waited for");
                closed.set(true);
            };
            let panics = |_: &&str| -> String { panic!("no ink") };
            assert_eq!(publish(Some(&folder), &"told", panics, close, exit), expected);
            assert!(closed.get() && !page.exists());
            assert_eq!(fs::read_to_string(&json).unwrap(), "\"told\"");
            fs::remove_file(&json).unwrap();
        }
        let exit = publish(Some(&folder), &"told", |_| "page".to_owned(), || {}, Exit::Held);
        assert_eq!((exit, fs::read_to_string(&page).unwrap().as_str()), (Exit::Held, "page"));
    }
}
