//! The mutants: deliberate weakenings of the core and of the engine, one at a time, each of which a named test
//! has to notice.
//!
//! Both are compiled with `--cfg latchless_mutants` for their loom models, and the core once more for its tests. A mutant is then one run of one test with `LATCHLESS_MUTANT` set. Without it the same
//! tests have to pass: a test that always fails kills everything and proves nothing.

mod list;
mod table;

use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, io};

use self::list::{Build, Mutant};
use crate::run::{self, Failed};

/// The longest that one test may take: some models of the unweakened code take half a minute.
const PATIENCE: Duration = Duration::from_mins(5);

/// Why the mutants did not all die.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The core did not compile.
    #[error(transparent)]
    Build(#[from] Failed),

    /// A test of the table fails, or is not there, although nothing is weakened.
    #[error(
        "{passed} of the {wanted} tests in `{build}` that kill mutants pass when nothing is \
         weakened; run `{repeat}` and mend what fails, or the name in the table of mutants"
    )]
    Baseline {
        /// Which tests.
        build: Build,
        /// How many passed.
        passed: usize,
        /// How many there are.
        wanted: usize,
        /// What runs them.
        repeat: String,
    },

    /// Nothing noticed some of them.
    #[error(
        "killed {killed} of {all}; alive: {survivors}; strengthen the test that the table names for \
         each, or name one that sees it"
    )]
    Survivors {
        /// Mutants that were noticed.
        killed: usize,
        /// Mutants there are.
        all: usize,
        /// The others.
        survivors: String,
    },

    /// The table in the documentation is another one.
    #[error(
        "the table of mutants in {path} is not that of this run; write it with `cargo xtask test \
         --mutants --bless` and commit it"
    )]
    Stale {
        /// The file.
        path: PathBuf,
    },

    /// A file could not be read or written.
    #[error("{path} cannot be read or written: {source}; look at its permissions")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Runs every mutant against its test and compares the table in the documentation, or writes it.
pub(super) fn run(bless: bool) -> Result<(), Error> {
    table::document(bless)?;
    let (loom, plain) = (Programs::build(Build::Loom)?, Programs::build(Build::Plain)?);
    let program = |mutant: &Mutant| match mutant.build {
        Build::Loom => loom.of(mutant.binary()),
        Build::Plain => plain.of(mutant.binary()),
    };

    for binary in list::binaries() {
        check_baseline(program(binary[0]), &binary)?;
    }
    let mut survivors = Vec::new();
    let mut all = 0;
    for mutant in list::all() {
        all += 1;
        let start = Instant::now();
        let killed = !passes(program(mutant), mutant)?;
        let verdict = if killed { "killed" } else { "ALIVE " };
        let time = start.elapsed().as_secs_f64();
        eprintln!("   {verdict} {:<36} {time:6.1} s by {}", mutant.name, mutant.killer);
        if !killed {
            survivors.push(mutant.name);
        }
    }
    let killed = all - survivors.len();
    if !survivors.is_empty() {
        return Err(Error::Survivors { killed, all, survivors: survivors.join(", ") });
    }
    eprintln!("\n   killed {killed} of {all}");
    stress_run()
}

/// Some of them once more: the stress run has to break of itself, and again when its report is replayed.
fn stress_run() -> Result<(), Error> {
    let mut command = Build::Plain.cargo();
    command.args(["-p", "latchless-stress", "--test", "weakened"]);
    Ok(run::run(&mut command)?)
}

/// Test programs that were compiled with the mutants in.
struct Programs(Vec<PathBuf>);

impl Programs {
    fn build(build: Build) -> Result<Self, Failed> {
        let mut command = build.command();
        command.args(["--no-run", "--message-format=json"]);
        eprintln!("   {}", run::shown(&command));
        let mut programs = Vec::new();
        run::run_lines(&mut command, |line| programs.extend(executable(line)))?;
        Ok(Self(programs))
    }

    /// The program of a test target; an empty path, which does not start, when there is none.
    fn of(&self, target: &str) -> PathBuf {
        // Cargo's names: the target, a dash and a hash.
        let is_of = |path: &&PathBuf| {
            let stem = path.file_stem().map(|stem| stem.to_string_lossy());
            stem.is_some_and(|stem| stem.rsplit_once('-').is_some_and(|(name, _)| name == target))
        };
        self.0.iter().find(is_of).cloned().unwrap_or_default()
    }
}

/// The program that a message of cargo's tells of.
fn executable(message: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    Some(PathBuf::from(message.get("executable")?.as_str()?))
}

fn test(program: PathBuf) -> Command {
    let mut command = Command::new(program);
    command.arg("--exact").env("RUST_BACKTRACE", "0").env_remove("LATCHLESS_MUTANT");
    command
}

/// All tests of a program that kill mutants, with nothing weakened.
fn check_baseline(program: PathBuf, mutants: &[&Mutant]) -> Result<(), Error> {
    let mut names: Vec<_> = mutants.iter().map(|mutant| mutant.killer).collect();
    names.sort_unstable();
    names.dedup();
    let build = mutants[0].build;
    let mut command = test(program);
    command.args(&names);
    let mut passed = 0;
    eprintln!("   {} tests in `{build}` with nothing weakened", names.len());
    let ended = run::run_lines(&mut command, |line| {
        passed += usize::from(line.starts_with("test ") && line.ends_with("... ok"));
    });
    if ended.is_ok() && passed == names.len() {
        return Ok(());
    }
    let repeat = run::shown(&command);
    Err(Error::Baseline { build, passed, wanted: names.len(), repeat })
}

/// Whether a mutant's test passes with the mutant in. One that takes far too long did not notice it.
fn passes(program: PathBuf, mutant: &Mutant) -> Result<bool, Failed> {
    let mut command = test(program);
    command.arg(mutant.killer).env("LATCHLESS_MUTANT", mutant.name);
    let not_started =
        |source, command: &Command| Failed::NotStarted { command: run::shown(command), source };
    let mut child = match command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn() {
        Ok(child) => child,
        Err(source) => return Err(not_started(source, &command)),
    };
    // What it says is of no interest, and must not fill the pipe up.
    let output = child.stdout.take();
    let reader = thread::spawn(move || output.map(|mut out| out.read_to_end(&mut Vec::new())));
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status.success(),
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
            Ok(None) => {
                eprintln!("   {} took more than {} s", mutant.killer, PATIENCE.as_secs());
                // Its failure means that the child has just ended.
                let _ = child.kill();
                let _ = child.wait();
                break true;
            }
            Err(source) => return Err(not_started(source, &command)),
        }
    };
    // It has ended with the child.
    let _ = reader.join();
    Ok(status)
}

fn read(path: &PathBuf) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::File { path: path.clone(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first() -> &'static Mutant {
        list::all().next().unwrap()
    }

    #[test]
    fn programs_are_found_by_their_target() {
        let line = r#"{"reason":"compiler-artifact","executable":"/t/deps/pool_cases-0f"}"#;
        let programs = Programs(executable(line).into_iter().collect());
        assert_eq!(programs.of("pool_cases"), PathBuf::from("/t/deps/pool_cases-0f"));
        assert_eq!(programs.of("pool"), PathBuf::new());
        assert_eq!(executable(r#"{"executable":null}"#), None);
        assert_eq!(executable("   Compiling latchless"), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_test_that_passes_is_not_a_kill() {
        for (program, passed) in [("true", true), ("false", false)] {
            assert_eq!(passes(PathBuf::from(program), first()).unwrap(), passed);
        }
        assert!(passes(PathBuf::new(), first()).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_baseline_without_tests_is_refused() {
        let error = check_baseline(PathBuf::from("true"), &[first()]).unwrap_err();
        assert!(matches!(error, Error::Baseline { passed: 0, wanted: 1, .. }), "{error}");
    }
}
