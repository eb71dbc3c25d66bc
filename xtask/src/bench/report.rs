//! `cargo xtask bench report`: everything that is measured, one after another, and the page that tells it.
//!
//! What a part measured is kept as JSON beside the page as soon as the part is through, and the page is made
//! of what is kept: a part that fails, or is left out, does not take the others along, and the page can be
//! drawn again without measuring.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::available_parallelism;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use clap::builder::PossibleValue;
use serde_json::{Value, json};

use super::{Error, bin, instructions};
use crate::{model, prerequisites, run};

/// Where the page is, from the workspace's root.
const FOLDER: &str = "docs/benchmarks";

/// A part of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Part {
    /// Pairs of allocate and free, from one thread to more than there are cores
    Pool,
    /// The worst latencies, beside starved and frozen threads
    Tails,
    /// Transitions, claims, changes and output
    Agents,
    /// Durable claims of tasks
    Store,
    /// Instructions of the hot operations
    Instructions,
    /// The engine on a model, beside a plain llama.cpp loop
    Engine,
}

/// How much is measured.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    pub(super) quick: bool,
    /// These parts alone; all when there is none.
    pub(super) only: Vec<Part>,
    /// Nothing is measured.
    pub(super) redraw: bool,
}

/// Why a part is not in the report, or is there from before.
enum Missing {
    /// The machine lacks something.
    Skipped(String),
    /// It failed.
    Failed(String),
}

impl Part {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn purpose(self) -> String {
        let value = self.to_possible_value();
        let help = value.as_ref().and_then(PossibleValue::get_help);
        help.map(ToString::to_string).unwrap_or_default()
    }

    /// How long it takes on two cores, about, without building.
    fn takes(self, quick: bool) -> Duration {
        let seconds = match (self, quick) {
            (Self::Pool | Self::Store, true) => 30,
            (Self::Agents, true) => 45,
            (Self::Store, false) | (Self::Instructions, _) => 90,
            (Self::Engine, true) => 120,
            (Self::Pool, false) => 150,
            (Self::Tails, true) | (Self::Agents, false) => 180,
            (Self::Engine, false) => 480,
            (Self::Tails, false) => 900,
        };
        Duration::from_secs(seconds)
    }

    /// What cargo builds and runs; `None` for what is not a program of its own.
    fn target(self) -> Option<Vec<&'static str>> {
        Some(match self {
            Self::Pool => bin("pool").into(),
            Self::Tails => bin("tails").into(),
            Self::Agents => bin("agents").into(),
            Self::Store => bin("store").into(),
            Self::Engine => super::ENGINE.into(),
            Self::Instructions => return None,
        })
    }

    /// What the program is told. A short run is long enough for the figures to mean something; the programs'
    /// own `--quick` only shows that they work.
    fn options(self, quick: bool) -> Vec<String> {
        let threads = threads(available_parallelism().map_or(1, NonZero::get));
        let threads = threads.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let words: &[&str] = match (self, quick) {
            (Self::Pool, true) => &["--rounds", "7", "--slice-ms", "10", "--threads", &threads],
            (Self::Pool | Self::Agents, false) => &["--threads", &threads],
            (Self::Tails, true) => &["--seconds", "4", "--freezes", "50"],
            (Self::Agents, true) => {
                &["--rounds", "7", "--slice-ms", "10", "--seconds", "2", "--threads", &threads]
            }
            (Self::Store, true) => &["--tasks", "400", "--rounds", "3"],
            (Self::Engine, true) => &["--quick"],
            (Self::Tails | Self::Store | Self::Engine, false) | (Self::Instructions, _) => &[],
        };
        words.iter().map(ToString::to_string).collect()
    }
}

/// Numbers of threads for a curve: powers of two, from one to twice the cores and to 16 at the least, and
/// the number of cores itself.
fn threads(cores: usize) -> Vec<usize> {
    let most = (2 * cores).clamp(16, 128);
    let mut threads: Vec<_> = (0..8).map(|power| 1 << power).filter(|n| *n <= most).collect();
    threads.push(cores.min(most));
    threads.sort_unstable();
    threads.dedup();
    threads
}

/// Measures, and writes the page.
pub(super) fn run(options: &Options) -> Result<(), Error> {
    let folder = run::workspace_root().join(FOLDER);
    let data = folder.join("data");
    fs::create_dir_all(&data)
        .map_err(|source| Error::Page { path: data.clone(), problem: source.to_string() })?;
    let wanted =
        |part: &Part| !options.redraw && (options.only.is_empty() || options.only.contains(part));
    let parts: Vec<_> = Part::value_variants().iter().copied().filter(wanted).collect();

    let mut missing = Vec::new();
    let model = parts.contains(&Part::Engine).then(engine_s_model).transpose();
    let model = model.unwrap_or_else(|why| {
        missing.push((Part::Engine, Missing::Skipped(why)));
        None
    });
    let parts: Vec<_> =
        parts.into_iter().filter(|part| *part != Part::Engine || model.is_some()).collect();

    build(&parts, &mut missing)?;
    let mut rest: Duration = parts.iter().map(|part| part.takes(options.quick)).sum();
    for (index, &part) in parts.iter().enumerate() {
        if missing.iter().any(|(failed, _)| *failed == part) {
            continue;
        }
        eprintln!(
            "\n== {} ({} of {}): {}; about {} s, {} s with what follows",
            part.name(),
            index + 1,
            parts.len(),
            part.purpose(),
            part.takes(options.quick).as_secs(),
            rest.as_secs(),
        );
        rest = rest.saturating_sub(part.takes(options.quick));
        let begun = Instant::now();
        match measure(part, options.quick, model.as_deref(), &data) {
            Ok(()) => note_run(&data, part, options.quick, begun.elapsed())?,
            Err(why) => missing.push((part, Missing::Failed(why))),
        }
    }

    let mut draw = run::cargo();
    draw.args(["run", "--quiet", "--release"]).args(bin("report")).arg("--").arg(&folder);
    run::run(&mut draw).map_err(Error::Draw)?;
    eprintln!("\nwritten: {}", folder.join("README.md").display());
    let mut failed = Vec::new();
    for (part, why) in &missing {
        match why {
            Missing::Skipped(why) => eprintln!("{} was left out: {why}", part.name()),
            Missing::Failed(why) => {
                eprintln!("{} failed: {why}", part.name());
                failed.push(part.name());
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Error::Parts { failed }) }
}

/// The model, when engine and model are there already: a report fetches and compiles nothing of that size.
fn engine_s_model() -> Result<PathBuf, String> {
    let once = "run `cargo xtask bench engine --quick` once, which sees to it";
    prerequisites::present().map_err(|error| format!("{error}; {once}"))?;
    let model = model::present().map_err(|error| error.to_string())?;
    let model = model.ok_or_else(|| format!("there is no model on this machine; {once}"))?;
    let built = run::target_folder().join("release/examples/figures");
    if !built.exists() {
        return Err(format!("llama.cpp has not been compiled in release; {once}"));
    }
    Ok(model)
}

/// Builds what all parts run, so that nothing is compiled while another part is measured. What cannot be
/// built fails its part.
fn build(parts: &[Part], missing: &mut Vec<(Part, Missing)>) -> Result<(), Error> {
    eprintln!("building the benchmarks (the first time some minutes)");
    let built = |target: &[&str]| run::run(run::cargo().args(["build", "--release"]).args(target));
    built(&bin("report")).map_err(Error::Build)?;
    for &part in parts {
        let Some(target) = part.target() else { continue };
        if let Err(error) = built(&target) {
            missing.push((part, Missing::Failed(format!("it could not be built: {error}"))));
        }
    }
    Ok(())
}

/// Runs one part, and keeps its figures when it is through.
fn measure(part: Part, quick: bool, model: Option<&Path>, data: &Path) -> Result<(), String> {
    let kept = data.join(part.name()).with_extension("json");
    let unfinished = kept.with_extension("json.unfinished");
    if let Some(target) = part.target() {
        let mut command: Command = run::cargo();
        command.args(["run", "--quiet", "--release"]).args(&target).arg("--");
        if part == Part::Engine
            && let Some(model) = model
        {
            command.arg("--model").arg(model);
        }
        command.arg("--json").arg(&unfinished).args(part.options(quick));
        run::run(&mut command).map_err(|error| error.to_string())?;
    } else {
        let table = instructions::count().map_err(|error| error.to_string())?;
        table.write(&unfinished).map_err(|error| error.to_string())?;
    }
    fs::rename(&unfinished, &kept).map_err(|error| format!("{}: {error}", kept.display()))
}

/// Notes when a part was measured, and of which commit.
fn note_run(data: &Path, part: Part, quick: bool, took: Duration) -> Result<(), Error> {
    let path = data.join("runs.json");
    let mut runs: BTreeMap<String, Value> = fs::read(&path)
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let run = json!({
        "unix_s": now.as_secs(),
        "took_s": took.as_secs(),
        "quick": quick,
        "commit": commit(),
    });
    runs.insert(part.name(), run);
    let text = serde_json::to_string_pretty(&runs).unwrap_or_default();
    fs::write(&path, text + "\n")
        .map_err(|source| Error::Page { path, problem: source.to_string() })
}

/// The commit that is checked out, as far as there is one, and whether sources differ from it.
fn commit() -> String {
    let git = |words: &[&str]| run::probe("git", words).map(|text| text.trim().to_owned());
    let changed = git(&["status", "--porcelain", "--untracked-files=no", "--", ":!docs"]);
    let more =
        if changed.is_some_and(|changed| !changed.is_empty()) { ", with changes" } else { "" };
    git(&["rev-parse", "--short=9", "HEAD"]).map_or_else(|| "unknown".to_owned(), |id| id + more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_go_to_the_cores_and_beyond() {
        assert_eq!(threads(2), [1, 2, 4, 8, 16]);
        assert_eq!(threads(12), [1, 2, 4, 8, 12, 16]);
        assert_eq!(threads(48), [1, 2, 4, 8, 16, 32, 48, 64]);
        assert_eq!(threads(500).last(), Some(&128));
    }

    #[test]
    fn a_short_report_takes_less_than_twelve_minutes() {
        let sum = |quick| -> Duration {
            Part::value_variants().iter().map(|part| part.takes(quick)).sum()
        };
        assert!(sum(true) < Duration::from_mins(12) && sum(false) > sum(true));
    }

    #[test]
    fn runs_are_noted_beside_each_other() {
        let folder = tempfile::tempdir().unwrap();
        for part in [Part::Pool, Part::Tails, Part::Pool] {
            note_run(folder.path(), part, true, Duration::from_secs(7)).unwrap();
        }
        let text = fs::read_to_string(folder.path().join("runs.json")).unwrap();
        let runs: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(runs.keys().collect::<Vec<_>>(), ["pool", "tails"]);
        assert_eq!((&runs["pool"]["took_s"], &runs["pool"]["quick"]), (&json!(7), &json!(true)));
    }
}
