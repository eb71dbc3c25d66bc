//! What is seen while the agents work: live lines on a terminal, plain ones elsewhere.

mod lines;
mod live;

use std::sync::Arc;

use console::{Term, colors_enabled};
use latchless::BlockPool;

use self::lines::Lines;
use self::live::Live;
pub(crate) use self::live::bar;
use crate::agents::{NotAsked, Outcome, Watch};
use crate::prompts::Agent;

/// The longest line of text that is comfortable to read.
const READABLE: usize = 100;

/// Where the demo prints to.
#[derive(Debug, Clone)]
pub(crate) struct Screen {
    /// `None` when stdout is no terminal, or one that cannot move its cursor.
    terminal: Option<Term>,
}

impl Screen {
    /// Whatever stdout is.
    pub(crate) fn of_stdout() -> Self {
        let terminal = Term::stdout();
        let dumb = std::env::var_os("TERM").is_none_or(|kind| kind == "dumb");
        let terminal = (terminal.is_term() && !dumb).then_some(terminal);
        if terminal.is_none() && colors_enabled() {
            // `CLICOLOR_FORCE` would put escape codes into files.
            console::set_colors_enabled(false);
        }
        Self { terminal }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.terminal.is_some()
    }

    /// Columns for text.
    pub(crate) fn columns(&self) -> usize {
        let columns = |terminal: &Term| usize::from(terminal.size().1);
        self.terminal.as_ref().map_or(READABLE, |terminal| columns(terminal).clamp(20, READABLE))
    }

    /// Something that shows these agents at work.
    pub(crate) fn watch(&self, agents: &[Agent], pool: &Arc<BlockPool>) -> Box<dyn Watch> {
        match &self.terminal {
            Some(terminal) => Box::new(Live::new(terminal.clone(), agents, pool)),
            None => Box::new(Lines::new(agents)),
        }
    }

    /// A line about what takes a moment; on a terminal it is replaced by the next, and by
    /// [`clear`](Self::clear).
    pub(crate) fn status(&self, text: &str) -> std::io::Result<()> {
        match &self.terminal {
            Some(terminal) => {
                terminal.clear_line()?;
                terminal.write_str(&crate::format::tail(text, self.columns() - 1))
            }
            None => Ok(()),
        }
    }

    /// Removes the line of [`status`](Self::status).
    pub(crate) fn clear(&self) -> std::io::Result<()> {
        self.terminal.as_ref().map_or(Ok(()), Term::clear_line)
    }
}

/// How an agent ended, in few words.
pub(crate) fn ending(outcome: &Outcome) -> String {
    match &outcome.end {
        Ok(completion) => completion.reason.to_string(),
        Err(NotAsked::Interrupted) => "cancelled".to_owned(),
        Err(error) => format!("failed: {error}"),
    }
}

/// The longest name of these agents.
pub(crate) fn name_width(agents: &[Agent]) -> usize {
    agents.iter().map(|agent| agent.name.chars().count()).max().unwrap_or(0)
}
