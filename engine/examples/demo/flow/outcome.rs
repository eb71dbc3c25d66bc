//! What is there in the end: tasks, documents, and where they are.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use console::style;
use latchless_engine::runtime::flow::FlowReport;
use latchless_engine::store::{Scope, Task, TaskStatus};

use super::setup::FlowSetup;
use crate::error::DemoError;
use crate::format::{counted, paragraphs, rate, time};

/// What the store has, and what this run did.
pub(super) struct Outcome {
    pub(super) tasks: Vec<Task>,
    /// Names and texts.
    pub(super) documents: Vec<(String, String)>,
    pub(super) changesets: usize,
    pub(super) calls: usize,
    /// Name, turns, tokens.
    pub(super) agents: Vec<(String, u64, u64)>,
    pub(super) report: FlowReport,
    pub(super) leaked_blocks: u32,
    folder: PathBuf,
    database: PathBuf,
}

impl Outcome {
    /// Reads it, and writes the documents into files for people.
    pub(super) fn read(setup: &FlowSetup, report: FlowReport) -> Result<Self, DemoError> {
        let scope = Scope::Plan(setup.plan);
        let mut documents = Vec::new();
        for (key, _) in setup.store.documents(&scope)? {
            if let Some(found) = setup.store.document(&scope, &key)? {
                documents.push((key, String::from_utf8_lossy(&found.content).into_owned()));
            }
        }
        let folder = setup.state.documents();
        let written = || {
            fs::create_dir_all(&folder)?;
            for (key, text) in &documents {
                // Names have no separators: the store refuses them.
                let hidden = folder.join(format!(".{key}"));
                fs::write(&hidden, text)?;
                fs::rename(&hidden, folder.join(key))?;
            }
            Ok(())
        };
        written().map_err(|error: io::Error| DemoError::State {
            folder: folder.clone(),
            problem: format!("the documents were not written for reading: {error}"),
        })?;
        let changesets = setup.store.changesets(setup.plan)?;
        let agents = setup
            .flow
            .agents()
            .map(|agent| (agent.name().to_owned(), agent.turns(), agent.tokens()));
        let pools = setup.engine.pools();
        Ok(Self {
            tasks: setup.store.tasks(setup.plan)?,
            documents,
            changesets: changesets.len(),
            calls: changesets.iter().map(|changeset| changeset.tool_calls.len()).sum(),
            agents: agents.collect(),
            report,
            leaked_blocks: pools.iter().map(|pool| pool.usage().used).sum(),
            folder,
            database: setup.state.database(),
        })
    }

    /// Whether everything was done and nothing lost.
    pub(super) fn is_success(&self) -> bool {
        let completed = |task: &Task| task.status == TaskStatus::Completed;
        self.tasks.iter().all(completed) && self.leaked_blocks == 0
    }

    pub(super) fn tokens(&self) -> u64 {
        self.agents.iter().map(|(_, _, tokens)| tokens).sum()
    }

    pub(super) fn write(&self, out: &mut impl Write, columns: usize) -> io::Result<()> {
        let key = |task: &Task| task.key.chars().count();
        let width = self.tasks.iter().map(key).max().unwrap_or(0).max("task".len());
        let head = format!("{:width$}  {:11}  {:8}  attempts  result", "task", "status", "agent");
        writeln!(out, "\n{}", style(head).bold())?;
        for task in &self.tasks {
            // Claims carry the number of the run behind the agent's name.
            let agent = task.agent.as_deref().unwrap_or("-").split('@').next().unwrap_or("-");
            let outcome = task.outcome.as_deref().unwrap_or("").replace('\n', " ");
            let row = format!(
                "{:width$}  {:11}  {agent:8}  {:>8}  {outcome}",
                task.key,
                task.status.as_str(),
                task.attempt
            );
            writeln!(out, "{}", console::truncate_str(&row, columns, "…"))?;
        }
        for (name, text) in &self.documents {
            writeln!(out, "\n{}", style(name).bold())?;
            out.write_all(paragraphs(text, "  ", columns - 2).as_bytes())?;
        }
        let turns: Vec<_> = self
            .agents
            .iter()
            .map(|(name, turns, tokens)| {
                format!("{name} {} ({})", counted(*turns, "turn"), counted(*tokens, "token"))
            })
            .collect();
        writeln!(out, "\nagents: {}", turns.join(", "))?;
        writeln!(
            out,
            "this run: {} ended well, {} did not, {} taken back, in {}, {:.1} tokens/s, {} leaked",
            counted(self.report.finished, "turn"),
            self.report.stopped,
            self.report.taken_back,
            time(self.report.wall),
            rate(self.tokens(), self.report.wall),
            counted(self.leaked_blocks, "block")
        )?;
        if let Some(wait) = self.report.longest_wait {
            let lease = time(self.report.lease);
            writeln!(
                out,
                "queue: a task waited {} at most; claims are leased for {lease}",
                time(wait)
            )?;
        }
        writeln!(
            out,
            "stored: {} with {}, {}",
            counted(self.changesets as u64, "changeset"),
            counted(self.calls as u64, "tool call"),
            counted(self.documents.len() as u64, "document")
        )?;
        writeln!(out, "documents: {}", self.folder.display())?;
        writeln!(out, "database:  {}", self.database.display())?;
        if self.report.is_over && self.report.finished == 0 {
            writeln!(out, "The plan was done before; begin anew with --fresh.")?;
        } else if !self.report.is_over {
            writeln!(out, "The plan is not done; start the demo again, and it goes on.")?;
        }
        Ok(())
    }
}
