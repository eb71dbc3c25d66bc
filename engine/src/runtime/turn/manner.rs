//! How an agent goes about a task.

use std::fmt::Write;
use std::time::Duration;

use thiserror::Error;

use super::super::documents::Documents;
use super::super::protocol;
use super::super::tools::{Toolbox, ToolboxError};
use crate::backend::Sampling;
use crate::engine::{Priority, Prompt, Request};

/// How much of the way is prescribed. The less a model can do by itself, the more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Guide {
    /// Nothing: the model is told how, and keeps to it or not.
    #[default]
    Free,
    /// It can only write calls of tools that there are, or that it is done.
    Grammar,
    /// In each round it can only make these calls, and after the last round only say that it is done; the
    /// result is what the last calls have answered. What is written is its own: a call is a tool's name and as
    /// much of its argument as is prescribed, and after a colon at its end the model goes on. Any backend that
    /// follows grammars can do it.
    Steps(Vec<Vec<String>>),
}

/// How an agent goes about a task.
#[derive(Debug, Clone)]
pub struct Manner {
    /// What the model is told about its part, before the tools.
    pub instructions: String,
    /// What it may do.
    pub tools: Toolbox,
    /// How much is prescribed.
    pub guide: Guide,
    /// Rounds of a turn: replies that may ask for tools, and one that says that the task is done.
    pub rounds: u32,
    /// Tokens of a reply.
    pub max_tokens: u32,
    /// The longest that a reply may take.
    pub time_limit: Duration,
    /// How tokens are drawn. A guide's grammar takes the place of its own.
    pub sampling: Sampling,
    /// How urgent its requests are.
    pub priority: Priority,
    /// Characters of a tool's answer that the model is shown.
    pub shown: usize,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            instructions: "You are an assistant who does one task.".to_owned(),
            tools: Toolbox::documents(),
            guide: Guide::Free,
            rounds: 8,
            max_tokens: 256,
            time_limit: Duration::from_mins(10),
            sampling: Sampling::greedy(),
            priority: Priority::Normal,
            shown: 2_000,
        }
    }
}

/// A prescribed step that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StepError {
    /// It names no tool.
    #[error("step {step} is empty; write a tool's name and its argument")]
    Empty {
        /// The step's number, from 1.
        step: usize,
    },
    /// It names a tool that is not there.
    #[error("step {step}: {source}")]
    Tool {
        /// The step's number, from 1.
        step: usize,
        /// What there is.
        source: ToolboxError,
    },
    /// More calls than a reply can have.
    #[error("step {step} has {calls} calls, a reply can have {}; make two of it", protocol::CALLS)]
    Calls {
        /// The step's number, from 1.
        step: usize,
        /// Calls.
        calls: usize,
    },
}

impl Manner {
    /// Whether every prescribed step can be taken with these tools.
    ///
    /// # Errors
    /// [`StepError`].
    pub fn check(&self) -> Result<(), StepError> {
        let Guide::Steps(steps) = &self.guide else { return Ok(()) };
        for (step, calls) in (1..).zip(steps) {
            if calls.is_empty() {
                return Err(StepError::Empty { step });
            }
            if calls.len() > protocol::CALLS {
                return Err(StepError::Calls { step, calls: calls.len() });
            }
            for call in calls {
                let name = call.split_whitespace().next().ok_or(StepError::Empty { step })?;
                self.tools.only([name]).map_err(|source| StepError::Tool { step, source })?;
            }
        }
        Ok(())
    }

    /// What the model is told: its part, and how to ask for what.
    pub(super) fn told(&self) -> String {
        let mut told = self.instructions.clone();
        if matches!(self.guide, Guide::Steps(_)) {
            return told;
        }
        if !self.tools.is_empty() {
            told.push_str("\nYou have these tools. To use one, write a line like these:\n");
            for tool in self.tools.tools() {
                // Writing to a String does not fail.
                let _ = writeln!(told, "{} {} {}", protocol::CALL, tool.name(), tool.usage());
            }
        }
        let mark = protocol::COMPLETION_MARK;
        let _ = write!(told, "When the task is done, write a line {mark} and the result.");
        told
    }

    /// The request of a round, from 1.
    pub(super) fn request(
        &self,
        prompt: Prompt,
        round: u32,
        documents: &Documents,
    ) -> Result<Request, StepError> {
        let sampling = match &self.guide {
            Guide::Free => self.sampling.clone(),
            Guide::Grammar => {
                let grammar = protocol::grammar(&self.tools, documents, true);
                self.sampling.clone().grammar(grammar)
            }
            Guide::Steps(steps) => {
                let step = steps.get(round as usize - 1);
                let grammar = match step {
                    Some(calls) => self.step(round as usize, calls, documents)?,
                    // The result is what the last calls have shown.
                    None => format!("root ::= {}\n", protocol::literal(protocol::COMPLETION_MARK)),
                };
                self.sampling.clone().grammar(grammar)
            }
        };
        let request = Request::new(prompt).max_tokens(self.max_tokens).sampling(sampling);
        Ok(request.priority(self.priority).within(self.time_limit))
    }

    /// Exactly these calls, as a grammar.
    fn step(
        &self,
        step: usize,
        calls: &[String],
        documents: &Documents,
    ) -> Result<String, StepError> {
        let mut rule = String::from("root ::= ");
        for (number, call) in calls.iter().enumerate() {
            let call = call.trim();
            let (name, argument) = call.split_once(char::is_whitespace).unwrap_or((call, ""));
            let tool = self.tools.get(name).ok_or_else(|| {
                let known = self.tools.names().map(str::to_owned).collect();
                let source = ToolboxError::Unknown { name: name.to_owned(), known };
                StepError::Tool { step, source }
            })?;
            let line_end = if number > 0 { "\n" } else { "" };
            let written = format!("{line_end}{} {name} {}", protocol::CALL, argument.trim());
            let open = argument.trim_end().ends_with(':');
            let _ = if open {
                write!(
                    rule,
                    "{} {} ",
                    protocol::literal(&format!("{written} ")),
                    protocol::line_rule(8, 300)
                )
            } else if argument.is_empty() {
                let written = protocol::literal(&written);
                write!(rule, "{written} ({}) ", tool.argument_rule(documents))
            } else {
                write!(rule, "{} ", protocol::literal(&written))
            };
        }
        rule.push('\n');
        Ok(rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::fixture::Fixture;
    use crate::store::NewTask;
    use std::sync::Arc;

    #[test]
    fn steps_prescribe_what_is_written_and_leave_the_rest_to_the_model() {
        let fixture = Fixture::new(&[NewTask::new("t", "x")]);
        let claimed = fixture.claim("ada");
        let documents = Documents::new(Arc::clone(&fixture.store), claimed.claim(), "ada");
        let manner = Manner::default();
        let rule = |calls: &[&str]| {
            let calls: Vec<_> = calls.iter().map(|call| (*call).to_owned()).collect();
            manner.step(1, &calls, &documents).unwrap()
        };
        assert_eq!(rule(&["read sky"]), "root ::= \"CALL read sky\" \n");
        assert_eq!(
            rule(&["list", "write a\"b:"]),
            "root ::= \"CALL list \" (\"all\") \"\\nCALL write a\\\"b: \" [^\\n\\r]{8,300} \n"
        );
        let unknown = manner.step(3, &["shell rm".into()], &documents).unwrap_err().to_string();
        assert!(unknown.starts_with("step 3: there is no tool \"shell\""), "{unknown}");
    }
}
