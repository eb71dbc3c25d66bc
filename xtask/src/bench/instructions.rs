//! Counts the instructions of the hot operations: valgrind, driven by gungraun.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::counts::{self, Counts, Table};
use crate::run::{self, Failed};

/// Of the library that the workspace names, and of the runner: they speak with each other in a form of
/// their own.
const GUNGRAUN: &str = "0.20.0";

/// The committed table, from the workspace's root.
pub(super) const TABLE: &str = "benches/instructions.json";

/// Why nothing was counted, or what was found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It does the counting.
    #[error(
        "instructions are counted by valgrind, which is not on this machine: install it (Debian and Ubuntu: \
         `apt-get install valgrind`; Fedora: `dnf install valgrind`; macOS on ARM has none, use Linux), then \
         run this again"
    )]
    NoValgrind,

    /// The runner could not be installed.
    #[error("gungraun's runner could not be installed: {0}; the reason is printed above")]
    Runner(Failed),

    /// The benchmark failed.
    #[error("the operations could not be counted: {0}; the reason is printed above")]
    Counting(Failed),

    /// What the runner wrote is not what is expected of it.
    #[error(
        "{}: {problem}; gungraun {GUNGRAUN} was expected to write this file, look whether the runner is of \
         that version", path.display()
    )]
    Summary {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },

    /// There is no table to compare with.
    #[error("{TABLE} is not there; write it with `cargo xtask bench --update`")]
    NoTable,

    /// The table, or what it says.
    #[error(transparent)]
    Table(#[from] counts::Error),
}

impl Error {
    /// 2 for what the user has to put right first, else 1.
    pub(crate) fn exit_code(&self) -> u8 {
        if matches!(self, Self::NoValgrind) { 2 } else { 1 }
    }
}

/// What is done with the counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// They are shown.
    Show,
    /// And compared: an operation that has grown too much is an error.
    Check,
    /// And become the table.
    Update,
}

/// Counts, shows what has changed, and does what is asked for then.
pub(super) fn run(then: Then) -> Result<(), Error> {
    let path = run::workspace_root().join(TABLE);
    let before = Table::read(&path)?;
    let now = count()?;
    let empty = || Table { compiler: now.compiler.clone(), counts: Counts::new() };
    let known = before.clone().unwrap_or_else(empty);
    println!("{}, {} operations", now.compiler, now.counts.len());
    print!("{}", known.changes(&now));
    match then {
        Then::Show => {}
        Then::Check => before.ok_or(Error::NoTable)?.allows(&now)?,
        Then::Update => now.write(&path)?,
    }
    Ok(())
}

/// Runs each operation once under valgrind.
pub(super) fn count() -> Result<Table, Error> {
    if run::probe("valgrind", &["--version"]).is_none() {
        return Err(Error::NoValgrind);
    }
    let runner = runner()?;
    let home = run::target_folder().join("gungraun");
    // What was counted before would be read again when an operation has another name now.
    if let Err(error) = fs::remove_dir_all(&home)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(Error::Summary { path: home, problem: error.to_string() });
    }
    let mut command = run::cargo();
    command.args(["bench", "-p", "latchless-benches", "--features", "instructions"]);
    command.args(["--bench", "instructions"]);
    command.env("GUNGRAUN_RUNNER", runner).env("GUNGRAUN_HOME", &home);
    command.env("GUNGRAUN_SAVE_SUMMARY", "json");
    eprintln!("counting instructions (about a minute, and two for the first build)");
    run::run_lines(&mut command, |_| ()).map_err(Error::Counting)?;
    let mut counts = Counts::new();
    collect(&home, &mut counts)?;
    if counts.is_empty() {
        let problem = "there is no summary.json in it".to_owned();
        return Err(Error::Summary { path: home, problem });
    }
    Ok(Table { compiler: compiler(), counts })
}

/// The runner, from the target folder; installed into it if it is not there, or of another version.
fn runner() -> Result<PathBuf, Error> {
    let tools = run::target_folder().join("tools");
    let runner = tools.join("bin").join("gungraun-runner");
    let version = run::probe(&runner, &["--version"]);
    if !version.is_some_and(|version| version.trim().ends_with(GUNGRAUN)) {
        eprintln!("installing gungraun's runner {GUNGRAUN} into {} (two minutes)", tools.display());
        let mut install = run::cargo();
        install.args(["install", "gungraun-runner", "--version", GUNGRAUN, "--locked", "--force"]);
        run::run(install.arg("--root").arg(&tools)).map_err(Error::Runner)?;
    }
    Ok(runner)
}

fn compiler() -> String {
    let version = run::probe("rustc", &["--version"]);
    version.map_or_else(|| "unknown compiler".to_owned(), |version| version.trim().to_owned())
}

/// Reads every summary in a folder and those within.
fn collect(folder: &Path, counts: &mut Counts) -> Result<(), Error> {
    let unreadable =
        |error: io::Error| Error::Summary { path: folder.to_owned(), problem: error.to_string() };
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() {
            collect(&path, counts)?;
        } else if path.file_name().is_some_and(|name| name == "summary.json") {
            let text = fs::read_to_string(&path).map_err(unreadable)?;
            let (name, count) =
                read(&text).map_err(|problem| Error::Summary { path: path.clone(), problem })?;
            counts.insert(name, count);
        }
    }
    Ok(())
}

/// The operation and its count, from a summary of gungraun's.
fn read(summary: &str) -> Result<(String, u64), String> {
    let summary: Value = serde_json::from_str(summary).map_err(|error| error.to_string())?;
    let function = summary["function_name"].as_str().ok_or("it names no function")?;
    let name = match summary["id"].as_str() {
        Some(id) => format!("{function}/{id}"),
        None => function.to_owned(),
    };
    let count = &summary["profiles"][0]["data"]["total"]["metrics"]["Ir"]["values"]["new"];
    count
        .as_u64()
        .map(|count| (name, count))
        .ok_or_else(|| "it has no count of instructions".into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn summary(id: Option<&str>) -> String {
        let metrics = json!({ "Ir": { "values": { "new": 377, "old": 1 } } });
        let profile = json!({ "tool": "Callgrind", "data": { "total": { "metrics": metrics } } });
        json!({ "function_name": "allocate", "id": id, "profiles": [profile] }).to_string()
    }

    #[test]
    fn a_summary_names_its_operation_and_counts_it() {
        assert_eq!(read(&summary(Some("n8"))), Ok(("allocate/n8".to_owned(), 377)));
        assert_eq!(read(&summary(None)), Ok(("allocate".to_owned(), 377)));
        for (text, problem) in [
            ("{}", "no function"),
            ("{\"function_name\": \"f\"}", "no count"),
            ("not JSON", "expected"),
        ] {
            assert!(read(text).unwrap_err().contains(problem), "{text}");
        }
    }

    #[test]
    fn summaries_are_found_wherever_they_lie() {
        let folder = tempfile::tempdir().unwrap();
        for (place, id) in [("a/b", Some("n1")), ("c", None)] {
            let place = folder.path().join(place);
            fs::create_dir_all(&place).unwrap();
            fs::write(place.join("summary.json"), summary(id)).unwrap();
            fs::write(place.join("callgrind.out"), "not read").unwrap();
        }
        let mut counts = Counts::new();
        collect(folder.path(), &mut counts).unwrap();
        assert_eq!(counts.keys().collect::<Vec<_>>(), ["allocate", "allocate/n1"]);
        fs::write(folder.path().join("summary.json"), "{}").unwrap();
        let error = collect(folder.path(), &mut counts).unwrap_err().to_string();
        assert!(error.contains("summary.json") && error.contains(GUNGRAUN), "{error}");
    }

    #[test]
    fn library_and_runner_are_of_one_version() {
        let manifest = fs::read_to_string(run::workspace_root().join("Cargo.toml")).unwrap();
        assert!(manifest.contains(&format!("gungraun = \"={GUNGRAUN}\"")));
    }
}
