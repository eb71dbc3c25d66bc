//! Whoever is shown a run while it goes on.

mod lines;
pub(crate) mod live;

use std::io::{IsTerminal, stdin, stdout};
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};

use self::lines::Lines;
use self::live::Live;
use crate::args::duration;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::plan::Plan;
use crate::report::status::Status;

/// Is told how the run goes. By the watcher, which has other things to do: it must not be kept waiting.
pub(crate) trait View: Sync {
    /// Time between two statuses.
    fn every(&self) -> Duration;

    fn show(&self, status: Status);

    /// Cells of a part's map that can be shown.
    fn cells(&self) -> usize {
        0
    }

    /// The run is over: what is said from now on is said by others.
    fn close(&self) {}
}

/// How a run is watched.
#[derive(Debug, Args)]
pub(crate) struct ViewArgs {
    /// How the run is shown: live takes the whole terminal, and lines go anywhere.
    #[arg(long, value_enum, default_value_t = Style::Auto)]
    view: Style,

    /// Time between two status lines; the live view has its own pace.
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = duration)]
    status_interval: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Style {
    /// Live on a terminal, lines elsewhere.
    Auto,
    Live,
    Lines,
}

impl ViewArgs {
    /// The view that was asked for.
    pub(crate) fn open(&self, plan: &Plan, interrupt: &Interrupt) -> anyhow::Result<Box<dyn View>> {
        let terminal = stdin().is_terminal() && stdout().is_terminal();
        // A terminal that cannot place a cursor says so.
        let capable = terminal && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        match self.view {
            Style::Live if !terminal => {
                anyhow::bail!("there is no terminal for a live view; use --view lines")
            }
            Style::Live => Ok(live(plan, interrupt)?),
            // Whatever is the matter with the terminal, the run goes on.
            Style::Auto if capable => live(plan, interrupt).or_else(|_| self.lines()),
            Style::Auto | Style::Lines => self.lines(),
        }
    }

    fn lines(&self) -> anyhow::Result<Box<dyn View>> {
        let lines = Lines::open(self.status_interval).map_err(Failure::thread)?;
        Ok(Box::new(lines))
    }
}

fn live(plan: &Plan, interrupt: &Interrupt) -> anyhow::Result<Box<dyn View>> {
    let live = Live::open(plan, interrupt.clone());
    Ok(Box::new(live.context("the terminal cannot be drawn on; use --view lines")?))
}

/// For tests.
#[cfg(test)]
pub(crate) struct Nobody;

#[cfg(test)]
impl View for Nobody {
    fn every(&self) -> Duration {
        Duration::MAX
    }

    fn show(&self, _: Status) {}
}
