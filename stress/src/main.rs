//! `latchless-stress`: threads use every part of the core at once for as long as you like, are frozen at
//! random instructions, and everything is checked: no block in two hands, none lost, no refusal without
//! reason, no task, change or message lost or handled twice, no state that is no state.
//!
//! Exit codes: 0 everything held, 1 an invariant broke, 2 bad arguments, or ones with which a part had
//! nothing to show, 3 interrupted, 4 the machine failed, such as a disk that is full.

#![forbid(unsafe_code)]

mod agents;
mod args;
mod crew;
mod engine;
mod mix;
mod part;
mod phase;
mod plan;
mod pool;
mod report;
mod run;
mod seed;
mod stop;
mod tally;
mod violation;
mod watch;

use std::io::{self, Write};
use std::path::Path;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use self::args::{Cli, Command, RunArgs};
use self::plan::Plan;
use self::report::Report;
use self::report::folder::Folder;
use self::report::status::Status;
use self::run::{Ending, Outcome};

/// Exit code of a run in which something did not hold.
const BROKEN: u8 = 1;
/// Exit code of arguments that cannot be run; clap's own too.
const BAD_ARGUMENTS: u8 = 2;
/// Exit code of a run that was interrupted.
const INTERRUPTED: u8 = 3;
/// Exit code of a run whose report could not be written.
const MACHINE_FAILED: u8 = 4;

fn main() -> ExitCode {
    let Command::Run(args) = Cli::parse().command;
    match run(&args) {
        Ok((outcome, Ok(()))) => code(&outcome).into(),
        Ok((outcome, Err(error))) => {
            complain(&error);
            // What broke is worth more than that it was not written down.
            match code(&outcome) {
                0 => MACHINE_FAILED.into(),
                code => code.into(),
            }
        }
        Err(error) => {
            complain(&error);
            BAD_ARGUMENTS.into()
        }
    }
}

fn code(outcome: &Outcome) -> u8 {
    match outcome.ending {
        Ending::Held => 0,
        Ending::Idle => BAD_ARGUMENTS,
        Ending::Broken(_) => BROKEN,
        Ending::Interrupted => INTERRUPTED,
    }
}

fn complain(error: &anyhow::Error) {
    eprintln!("latchless-stress: {error:#}");
}

/// What came out of a run, and of writing it down.
type Told = (Outcome, anyhow::Result<()>);

fn run(args: &RunArgs) -> anyhow::Result<Told> {
    // Now, rather than after eight hours.
    let folder = args.report.as_deref().map(open).transpose()?;
    let interrupted = on_interrupt()?;
    let plan = args.plan();
    say(format_args!("seed {}", plan.seed));
    let print = |status: &Status| say(format_args!("{status}"));
    let give_up = |outcome: &Outcome| {
        if let Err(error) = tell(&plan, outcome, folder.as_ref()) {
            complain(&error);
        }
        // Its threads wait for what never comes: nobody can end them in an orderly way.
        process::exit(BROKEN.into());
    };
    let outcome = run::run(&plan, &interrupted, print, give_up)?;
    let told = tell(&plan, &outcome, folder.as_ref());
    Ok((outcome, told))
}

fn open(path: &Path) -> anyhow::Result<Folder> {
    let why = || format!("{} cannot be written; choose another --report", path.display());
    Folder::open(path).with_context(why)
}

/// Tells what came out of a run.
fn tell(plan: &Plan, outcome: &Outcome, folder: Option<&Folder>) -> anyhow::Result<()> {
    let report = Report::new(plan, outcome);
    say(format_args!("{report}"));
    if let Some(folder) = folder {
        let path = folder.write(&report).context("the report was not written")?;
        say(format_args!("  report: {}", path.display()));
    }
    Ok(())
}

/// A line on the standard output. Whoever reads it may have gone: the run and its exit code are worth
/// more than its lines.
fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// A flag that is set by Ctrl-C, or by a request to end; the second one ends the process at once.
fn on_interrupt() -> anyhow::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the second one finds the flag that the first one sets.
        flag::register_conditional_shutdown(signal, INTERRUPTED.into(), Arc::clone(&interrupted))?;
        flag::register(signal, Arc::clone(&interrupted))?;
    }
    Ok(interrupted)
}
