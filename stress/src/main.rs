//! `latchless-stress`: threads use every part of the core at once for as long as you like, are frozen at
//! random instructions, and everything is checked: no block in two hands, none lost, no refusal without
//! reason, no task, change or message lost or handled twice, no state that is no state.
//!
//! Exit codes: 0 everything held, 1 an invariant broke, 2 bad arguments, or ones with which a part had
//! nothing to show, 3 interrupted, 4 the machine failed: no room for the report, no more threads.

#![forbid(unsafe_code)]

mod agents;
mod args;
mod compare;
mod config;
mod crew;
mod engine;
mod exit;
mod failure;
mod fault;
mod humane;
mod interrupt;
mod mix;
mod panics;
mod part;
mod phase;
mod plan;
mod pool;
mod repeat;
mod replay;
mod report;
mod run;
mod schedule;
mod scratch;
mod seed;
mod session;
mod stop;
mod store;
mod tally;
mod view;
mod violation;
mod watch;

use std::env;
use std::process::ExitCode;

use latchless_heap::give_large_blocks_back;

use self::args::{Command, RunArgs};
use self::exit::Exit;
use self::interrupt::Interrupt;
use self::replay::ReplayArgs;
use self::session::{Session, complain, say};

fn main() -> ExitCode {
    let done = config::parse(env::args_os()).and_then(|cli| carry_out(&cli.command));
    let exit = done.unwrap_or_else(|error| {
        complain(&error);
        Exit::of(&error)
    });
    exit.into()
}

fn carry_out(command: &Command) -> anyhow::Result<Exit> {
    interrupt::survive_file_limits()?;
    give_large_blocks_back();
    match command {
        Command::StoreChild { life } => store::live(life).map(|()| Exit::Held),
        Command::Run(args) => run(args),
        Command::Replay(args) => replay(args),
        Command::Compare(args) => args.run(Interrupt::on_signals()?.flag()),
    }
}

fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    let plan = args.plan()?;
    let folder = args.report.open()?;
    let interrupt = Interrupt::on_signals()?;
    say(format_args!("seed {}", plan.seed));
    let view = args.view.open(&plan, &interrupt)?;
    Session { folder: folder.as_ref(), view: &*view, interrupted: interrupt.flag() }.run(&plan)
}

fn replay(args: &ReplayArgs) -> anyhow::Result<Exit> {
    let plan = args.plan()?;
    let folder = args.report.open()?;
    let interrupt = Interrupt::on_signals()?;
    say(format_args!("seed {}\n{}", plan.seed, plan.command()));
    let mut exit = Exit::Held;
    for time in 1..=args.times {
        if args.times > 1 {
            say(format_args!("replay {time} of {}", args.times));
        }
        let view = args.view.open(&plan, &interrupt)?;
        let session =
            Session { folder: folder.as_ref(), view: &*view, interrupted: interrupt.flag() };
        exit = session.run(&plan)?;
        if exit != Exit::Held {
            break;
        }
    }
    Ok(exit)
}
