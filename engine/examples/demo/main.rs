//! `cargo xtask demo`, or `cargo run --release --example demo`: agents at work on one model.
//!
//! They do the tasks of a plan, with tools, on a store that outlives them ([`flow`]). With `--prompts`, or any
//! option that only prompts have, each answers a prompt instead: every agent is a thread of this program that
//! submits to one engine and reads its own stream. On a terminal each has a line that shows what it says as it
//! says it. At the end come the answers, a table of who waited how long for what, and the same batch in a plain
//! llama.cpp loop for comparison.

#![forbid(unsafe_code)]

mod agents;
mod args;
mod comparison;
mod error;
mod figures;
mod flow;
mod format;
mod interrupt;
mod plain;
mod prompts;
mod report;
mod screen;
mod setup;
mod swap;

use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;

use clap::Parser;
use latchless_engine::backend::Model;

use self::agents::Round;
use self::args::Args;
use self::comparison::CompareError;
use self::error::DemoError;
use self::figures::{Count, Figures};
use self::format::{counted, grouped};
use self::interrupt::Interrupt;
use self::plain::Shape;
use self::screen::Screen;
use self::setup::{Setup, Started};

fn main() -> ExitCode {
    let args = Args::parse();
    let ended = if args.answers_prompts() { run(&args) } else { flow::run(&args) };
    match ended {
        Ok(code) => code,
        Err(error) => {
            if !error.is_closed_pipe() {
                eprintln!("error: {error}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(args: &Args) -> Result<ExitCode, DemoError> {
    if let Some(path) = &args.json {
        figures::check(path)?;
    }
    let interrupt = Interrupt::on_ctrl_c()?;
    let screen = Screen::of_stdout();
    let mut out = io::stdout();

    screen.status("loading the model")?;
    let started = Setup::new(args).and_then(|setup| Ok((setup.start()?, setup)));
    screen.clear()?;
    let (started, setup) = started?;
    if interrupt.is_requested() {
        return Ok(ExitCode::from(interrupt::EXIT_CODE));
    }
    let headline = format::paragraphs(&headline(&setup, &started), "", screen.columns());
    out.write_all(headline.as_bytes())?;

    let Started { engine, threads } = started;
    let mut watch = screen.watch(&setup.agents, &engine.pool());
    let (round, swapped) = thread::scope(|scope| {
        let swap = args.swap.then(|| scope.spawn(|| swap::under_way(&setup, &engine, &interrupt)));
        let round = agents::ask_all(&engine, &setup.agents, setup.manner, &interrupt, &mut *watch);
        if round.is_err() {
            interrupt.request();
        }
        let panicked = || Err(DemoError::Swap("its thread panicked".to_owned()));
        let swapped = swap.map(|swap| swap.join().unwrap_or_else(|_| panicked()));
        (round, swapped.transpose())
    });
    let (round, swapped) = (round?, swapped?.flatten());
    drop(watch);
    let shape = Shape { limits: setup.limits(engine.limits()), threads };
    // Its context goes before the plain loop makes its own.
    engine.shutdown();
    drop(engine);

    if screen.is_live() {
        // The last live line has no end.
        writeln!(out)?;
        report::answers(&mut out, &setup.agents, &round, screen.columns())?;
    }
    report::table(&mut out, &setup.agents, &round)?;
    report::prompts(&mut out, &round)?;
    if let Some(swapped) = &swapped {
        report::swapped(&mut out, swapped)?;
    }
    report::failures(&mut io::stderr(), &setup.agents, &round)?;
    if interrupt.is_requested() {
        return Ok(ExitCode::from(interrupt::EXIT_CODE));
    }

    let compared = comparison::compare(&setup, &round, shape, &interrupt, &screen);
    screen.clear()?;
    let comparison = match compared {
        Ok(Some(comparison)) => Some(comparison),
        Ok(None) => return Ok(ExitCode::from(interrupt::EXIT_CODE)),
        Err(CompareError::Output(error)) => return Err(error.into()),
        Err(error) => {
            eprintln!("nothing to compare with: {error}");
            None
        }
    };
    if let Some(comparison) = &comparison {
        report::comparison(&mut out, comparison)?;
    }
    if let Some(path) = &args.json {
        Figures::new(&setup.model_name(), threads, &round, comparison.as_ref()).write(path)?;
    }
    Ok(exit_code(&round))
}

/// 1 when a request failed or a block was lost.
fn exit_code(round: &Round) -> ExitCode {
    let failed = Count::of(round).failed > 0 || round.leaked_blocks > 0;
    ExitCode::from(u8::from(failed))
}

fn headline(setup: &Setup, Started { engine, threads }: &Started) -> String {
    let limits = setup.limits(engine.limits());
    let blocks: u32 = engine.pools().iter().map(|pool| pool.usage().total).sum();
    let mut line = format!(
        "{}: {}, context {}, pool {}, {}",
        setup.model_name(),
        counted(setup.model.spec().layers(), "layer"),
        counted(limits.cells, "token"),
        counted(blocks, "block"),
        counted(*threads, "thread"),
    );
    let lanes = engine.pools().len() as u32;
    if lanes > 1 {
        line.extend([" in ", &grouped(lanes), " lanes"]);
    }
    if !setup.manner.chat {
        line.push_str("; no chat template, so prompts are continued as text");
    }
    line
}
