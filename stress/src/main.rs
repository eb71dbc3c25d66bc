//! `latchless-stress`: threads allocate, split, merge, transfer, share, free, register and unregister
//! against one block pool for as long as you like, and everything is checked: no block in two hands, no
//! block lost, no agent charged for what it does not have, no refusal without reason.
//!
//! Exit codes: 0 everything held, 1 an invariant broke, 2 bad arguments, or ones with which nobody had a
//! block, 3 interrupted.

#![forbid(unsafe_code)]

mod args;
mod canary;
mod check;
mod commons;
mod phases;
mod report;
mod run;
mod tally;
mod violation;
mod watch;
mod worker;

use std::fs::File;
use std::io::{self, Write};
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use self::args::{Cli, Command, RunArgs};
use self::report::{Report, Status};
use self::run::{Ending, Outcome, Plan};

/// Exit code of a run in which something did not hold.
const BROKEN: u8 = 1;
/// Exit code of arguments that cannot be run; clap's own too.
const BAD_ARGUMENTS: u8 = 2;
/// Exit code of a run that was interrupted.
const INTERRUPTED: u8 = 3;

fn main() -> ExitCode {
    let Command::Run(args) = Cli::parse().command;
    match run(&args) {
        Ok(Outcome { ending: Ending::Held, .. }) => ExitCode::SUCCESS,
        Ok(Outcome { ending: Ending::Idle, .. }) => BAD_ARGUMENTS.into(),
        Ok(Outcome { ending: Ending::Broken(_), .. }) => BROKEN.into(),
        Ok(Outcome { ending: Ending::Interrupted, .. }) => INTERRUPTED.into(),
        Err(error) => {
            eprintln!("latchless-stress: {error:#}");
            BAD_ARGUMENTS.into()
        }
    }
}

fn run(args: &RunArgs) -> anyhow::Result<Outcome> {
    // Now, rather than after eight hours.
    let file = args.report.as_ref().map(|path| {
        let why = || format!("{} cannot be written; choose another --report", path.display());
        File::create(path).with_context(why)
    });
    let file = file.transpose()?;
    let interrupted = on_interrupt()?;
    let plan = args.plan();
    say(format_args!("seed {}", plan.seed));
    let print = |status: &Status| say(format_args!("{status}"));
    let give_up = |outcome: &Outcome| {
        if let Err(error) = tell(&plan, outcome, file.as_ref()) {
            eprintln!("latchless-stress: {error:#}");
        }
        // Its threads wait for what never comes: nobody can end them in an orderly way.
        process::exit(BROKEN.into());
    };
    let outcome = run::run(&plan, &interrupted, print, give_up)?;
    tell(&plan, &outcome, file.as_ref())?;
    Ok(outcome)
}

/// Tells what came out of a run.
fn tell(plan: &Plan, outcome: &Outcome, file: Option<&File>) -> anyhow::Result<()> {
    let report = Report::new(plan, outcome);
    say(format_args!("{report}"));
    if let Some(mut file) = file {
        serde_json::to_writer_pretty(file, &report).context("the report was not written")?;
        writeln!(file).context("the report was not written")?;
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
