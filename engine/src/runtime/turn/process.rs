//! A task that a program does.

use std::ffi::OsString;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use latchless::{AgentState, PlanContext};

use super::claimed::Claimed;
use super::watch::Happening;
use super::{Done, Turn, TurnError};
use crate::runtime::cancel::CancelReason;
use crate::runtime::spawner::{AgentProcess, Stream};

/// Between two looks at what the program has put out.
const LOOK: Duration = Duration::from_millis(50);
/// Characters of a result; the end of what is longer is kept.
const RESULT: usize = 100_000;
/// Lines of an error.
const LAST_WORDS: usize = 5;

/// A program that does tasks, each in a process of its own.
///
/// The task's description is its standard input, and `LATCHLESS_TASK` and `LATCHLESS_ATTEMPT` are in its
/// environment. What it writes to its standard output is the result, if it ends with 0. It is killed, with all
/// that it started, when its time is over, when its claim is lost, and when the flow ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The program.
    pub program: OsString,
    /// What it is given.
    pub arguments: Vec<OsString>,
    /// The longest that it may take.
    pub time_limit: Duration,
}

impl Program {
    /// A program without arguments that has ten minutes.
    pub fn new(program: impl Into<OsString>) -> Self {
        let time_limit = Duration::from_mins(10);
        Self { program: program.into(), arguments: Vec::new(), time_limit }
    }

    /// The same with one argument more.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }
}

impl Turn<'_> {
    /// Lets a program do the task.
    ///
    /// # Errors
    /// [`TurnError`]: the claim is still there, for [`Claimed::give_up`] or to be dropped.
    pub fn run(&self, claimed: &mut Claimed, program: &Program) -> Result<Done, TurnError> {
        let at_work = self.begin(claimed)?;
        self.agent.machine().transition(AgentState::Assistant)?;
        let claim = claimed.claim();
        let mut command = Command::new(&program.program);
        command.args(&program.arguments);
        command.env("LATCHLESS_TASK", &claim.key);
        command.env("LATCHLESS_ATTEMPT", claim.attempt.to_string());
        let slot = Arc::clone(self.slot);
        let process = AgentProcess::start(slot, &mut command, claim.description.clone().into())?;
        self.watch.see(self.agent, &Happening::Submitted);
        let result = self.output_of(&process, program.time_limit)?;
        self.agent.machine().transition(AgentState::Response)?;
        self.watch.see(self.agent, &Happening::Responded);
        let recorded = PlanContext::new();
        recorded.start()?;
        let changeset = self.end(claimed, &recorded, None, Ok(result.clone()))?;
        drop(at_work);
        self.watch.see(self.agent, &Happening::Finished(&result));
        Ok(Done { result, rounds: 0, changeset })
    }

    /// Reads what it puts out until it ends.
    fn output_of(&self, process: &AgentProcess, limit: Duration) -> Result<String, TurnError> {
        let begun = Instant::now();
        let mut result = String::new();
        let mut last = Vec::new();
        loop {
            let exit = process.wait(LOOK)?;
            while let Some(line) = process.line() {
                self.agent.say(&format!("{}\n", line.text));
                self.watch.see(self.agent, &Happening::Said(&line.text));
                match line.stream {
                    Stream::Out => result.extend([&*line.text, "\n"]),
                    Stream::Err => {
                        last.push(line.text);
                        let old = last.len().saturating_sub(LAST_WORDS);
                        last.drain(..old);
                    }
                }
                if result.len() > 2 * RESULT {
                    let keep = result.ceil_char_boundary(result.len() - RESULT);
                    result.drain(..keep);
                }
            }
            let Some(exit) = exit else {
                if begun.elapsed() >= limit {
                    process.kill(CancelReason::TimeLimit);
                }
                continue;
            };
            return match exit.killed {
                Some(reason) => Err(TurnError::Cancelled(reason)),
                None if exit.is_success() => Ok(result.trim_end().to_owned()),
                None => {
                    let last = last.join("\n").chars().take(1_000).collect();
                    Err(TurnError::Program { exit, last })
                }
            };
        }
    }
}
