//! `replay`: what a report tells of is run once more.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use thiserror::Error;

use crate::exit;
use crate::part::Kind;
use crate::plan::Plan;
use crate::plan::limits::PlanError;
use crate::report::{FORMAT, PROGRAM};
use crate::session::ReportArgs;
use crate::view::ViewArgs;

/// What to repeat, and how often.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The report.json of the run, or the folder that it is in.
    file: PathBuf,

    /// The whole run, also when one round of it broke: how the parts share the machine is repeated, too.
    #[arg(long)]
    whole: bool,

    /// At most so often, until it breaks: how threads interleave is another each time.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) times: u64,

    #[command(flatten)]
    pub(crate) view: ViewArgs,

    #[command(flatten)]
    pub(crate) report: ReportArgs,
}

/// Why a file cannot be replayed.
#[derive(Debug, Error)]
pub(crate) enum ReplayError {
    /// It is not there, or not for us to read.
    #[error("{path} cannot be read; name the report.json that `run --report FOLDER` wrote")]
    Unreadable { path: PathBuf, source: io::Error },
    /// No JSON, or not to its end.
    #[error(
        "{path} is damaged: line {line}, column {column}: {what}; take the file as it was written, or \
         begin anew with `run --seed`"
    )]
    Damaged { path: PathBuf, line: usize, column: usize, what: String },
    /// The JSON of something else.
    #[error("{path} is no report of a run; name the report.json that `run --report FOLDER` wrote")]
    Foreign { path: PathBuf },
    /// A program that decides otherwise wrote it.
    #[error(
        "{path} is a report of format {found}, by latchless-stress {version}; this one repeats format \
         {FORMAT}: repeat it with the sources that wrote it"
    )]
    OtherFormat { path: PathBuf, found: u32, version: String },
    /// Somebody has changed it.
    #[error(
        "{path} holds a plan that cannot be run; take the file as it was written, or correct it"
    )]
    Unfit { path: PathBuf, source: PlanError },
}

/// What tells a report from any other file.
#[derive(Deserialize)]
struct Head {
    program: String,
    format: u32,
    version: String,
}

/// What a repetition needs.
#[derive(Deserialize)]
struct Kept {
    plan: Plan,
    violation: Option<KeptViolation>,
}

#[derive(Deserialize)]
struct KeptViolation {
    part: Option<Kind>,
    round: u64,
}

impl ReplayArgs {
    /// What is to be run.
    pub(crate) fn plan(&self) -> anyhow::Result<Plan> {
        let inside = self.file.join("report.json");
        let path = if self.file.is_dir() { &inside } else { &self.file };
        let plan = again(read(path)?, self.whole);
        plan.check().map_err(|source| ReplayError::Unfit { path: path.clone(), source })?;
        Ok(plan)
    }
}

/// The round that broke alone, if one did; else all of it.
fn again(Kept { plan, violation }: Kept, whole: bool) -> Plan {
    match violation {
        Some(KeptViolation { part: Some(part), round }) if !whole => plan.round_alone(part, round),
        _ => plan,
    }
}

fn read(path: &Path) -> anyhow::Result<Kept> {
    let path = || path.to_owned();
    let text = match fs::read_to_string(path()) {
        Ok(text) => text,
        Err(source) if source.kind() == io::ErrorKind::InvalidData => {
            return Err(ReplayError::Foreign { path: path() }.into());
        }
        Err(source) => {
            let error = ReplayError::Unreadable { path: path(), source };
            return Err(exit::bad_arguments(error));
        }
    };
    let damaged = |error: serde_json::Error| ReplayError::Damaged {
        path: path(),
        line: error.line(),
        column: error.column(),
        what: error.to_string(),
    };
    let head = serde_json::from_str(&text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => ReplayError::Foreign { path: path() },
        _ => damaged(error),
    });
    let Head { program, format, version } = head?;
    if program != PROGRAM {
        return Err(ReplayError::Foreign { path: path() }.into());
    }
    if format != FORMAT {
        return Err(ReplayError::OtherFormat { path: path(), found: format, version }.into());
    }
    Ok(serde_json::from_str(&text).map_err(damaged)?)
}
