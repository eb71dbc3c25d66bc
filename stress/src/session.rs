//! A run from its plan to the exit code: watched, interrupted, told.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use clap::Args;

use crate::exit::Exit;
use crate::plan::Plan;
use crate::report::folder::Folder;
use crate::report::{Report, page};
use crate::run::{self, Ending, Outcome};
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
            process::exit(exit.code().into());
        };
        let outcome = run::run(plan, self.interrupted, self.view, give_up);
        let outcome = outcome.inspect_err(|_| self.view.close())?;
        Ok(self.tell(plan, &outcome))
    }

    /// Tells what came out of a run. What broke is worth more than that it was not written down.
    fn tell(&self, plan: &Plan, outcome: &Outcome) -> Exit {
        self.view.close();
        let exit = match outcome.ending {
            Ending::Held => Exit::Held,
            Ending::Idle => Exit::BadArguments,
            Ending::Broken(_) => Exit::Broken,
            Ending::Interrupted => Exit::Interrupted,
            Ending::Failed(_) => Exit::MachineFailed,
        };
        let report = Report::new(plan, outcome);
        say(format_args!("{report}"));
        let Some(folder) = self.folder else { return exit };
        let written = folder.write(&report, &page::page(&report));
        match written.context("the report was not written; make room, or choose another --report") {
            Ok(path) => say(format_args!("  report: {}", path.display())),
            Err(error) if exit == Exit::Held => {
                complain(&error);
                return Exit::MachineFailed;
            }
            Err(error) => complain(&error),
        }
        exit
    }
}

/// A line on the standard output. Whoever reads it may have gone: the run and its exit code are worth
/// more than its lines.
pub(crate) fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

pub(crate) fn complain(error: &anyhow::Error) {
    let _ = writeln!(io::stderr().lock(), "latchless-stress: {error:#}");
}
