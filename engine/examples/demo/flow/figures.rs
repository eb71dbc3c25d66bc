//! The flow's figures as JSON.

use std::path::Path;

use serde::Serialize;

use super::outcome::Outcome;
use super::setup::FlowSetup;
use crate::error::DemoError;
use crate::figures;
use crate::format::rate;

/// What `--json` writes of a flow.
#[derive(Debug, Serialize)]
pub(super) struct FlowFigures<'a> {
    model: &'a str,
    plan: &'a str,
    agents: usize,
    tasks: usize,
    completed: u64,
    failed: u64,
    skipped: u64,
    is_over: bool,
    turns_finished: u64,
    turns_stopped: u64,
    taken_back: u64,
    tokens_generated: u64,
    tokens_per_second: f64,
    tool_calls: usize,
    changesets: usize,
    documents: Vec<Document<'a>>,
    leaked_blocks: u32,
    wall_s: f64,
    machine: figures::Machine,
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    name: &'a str,
    text: &'a str,
}

impl<'a> FlowFigures<'a> {
    pub(super) fn new(setup: &'a FlowSetup, outcome: &'a Outcome) -> Self {
        let report = &outcome.report;
        let documents = outcome.documents.iter().map(|(name, text)| Document { name, text });
        Self {
            model: &setup.model_name,
            plan: &setup.plan_file.name,
            agents: outcome.agents.len(),
            tasks: outcome.tasks.len(),
            completed: report.tasks.completed,
            failed: report.tasks.failed,
            skipped: report.tasks.skipped,
            is_over: report.is_over,
            turns_finished: report.finished,
            turns_stopped: report.stopped,
            taken_back: report.taken_back,
            tokens_generated: outcome.tokens(),
            tokens_per_second: rate(outcome.tokens(), report.wall),
            tool_calls: outcome.calls,
            changesets: outcome.changesets,
            documents: documents.collect(),
            leaked_blocks: outcome.leaked_blocks,
            wall_s: report.wall.as_secs_f64(),
            machine: figures::Machine::here(setup.threads),
        }
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), DemoError> {
        figures::write_json(self, path)
    }
}
