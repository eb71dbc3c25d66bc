//! The flow: agents work at a plan, with tools, on a store that outlives them.
//!
//! Killed and started again it goes on where it was. Started twice at the same time, both work at the plan.

mod figures;
mod outcome;
mod setup;
mod show;
mod state;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use latchless_engine::runtime::flow::FlowError;
use latchless_engine::runtime::{Cancel, CancelReason};

use self::figures::FlowFigures;
use self::outcome::Outcome;
use self::setup::FlowSetup;
use self::show::Reporter;
use crate::args::Args;
use crate::error::DemoError;
use crate::format;
use crate::interrupt::{self, Interrupt};
use crate::screen::Screen;

/// How often the screen is redrawn, and Ctrl-C looked for.
const TICK: Duration = Duration::from_millis(100);

pub(crate) fn run(args: &Args) -> Result<ExitCode, DemoError> {
    if let Some(path) = &args.json {
        crate::figures::check(path)?;
    }
    let interrupt = Interrupt::on_ctrl_c()?;
    let screen = Screen::of_stdout();
    let mut out = io::stdout();
    // The plan and the state are looked at before the model is loaded, which takes longer.
    let prepared = FlowSetup::prepare(args)?;
    screen.status("loading the model")?;
    let started = prepared.start(args);
    screen.clear()?;
    let setup = started?;
    let headline = format::paragraphs(&setup.headline(), "", screen.columns());
    out.write_all(headline.as_bytes())?;

    let (sender, news) = mpsc::channel();
    let reporter = Reporter::new(sender);
    let cancel = Cancel::new();
    let mut view = show::view(&screen, &setup);
    let (report, shown) = thread::scope(|scope| {
        let (flow, plan, told) = (&setup.flow, setup.plan, cancel.clone());
        // The reporter goes when the flow ends, and with it the news.
        let working = scope.spawn(move || flow.run(plan, &told, &reporter));
        let mut shown = Ok(());
        loop {
            match news.recv_timeout(TICK) {
                Ok(news) if shown.is_ok() => shown = view.see(&news),
                Err(RecvTimeoutError::Disconnected) => break,
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            }
            if shown.is_ok() {
                shown = view.tick();
            }
            if interrupt.is_requested() || shown.is_err() {
                cancel.cancel(CancelReason::User);
            }
        }
        let panicked = || Err(FlowError::EngineClosed);
        (working.join().unwrap_or_else(|_| panicked()), shown)
    });
    drop(view);
    shown?;
    let report = report?;
    setup.engine.shutdown();
    let outcome = Outcome::read(&setup, report)?;
    if screen.is_live() {
        // The last live line has no end.
        writeln!(out)?;
    }
    outcome.write(&mut out, screen.columns())?;
    if let Some(path) = &args.json {
        FlowFigures::new(&setup, &outcome).write(path)?;
    }
    if interrupt.is_requested() {
        return Ok(ExitCode::from(interrupt::EXIT_CODE));
    }
    Ok(ExitCode::from(u8::from(!outcome.is_success())))
}
