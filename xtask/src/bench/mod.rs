//! `cargo xtask bench`: builds the benchmarks in release, with every contender, and hands over to one. The
//! engine's needs a model and what llama.cpp is built with; both are seen to first.
//!
//! [`report`] runs all of them and writes docs/benchmarks; [`instructions`] counts what a noisy machine does
//! not change, and compares it with a committed table.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Args, ValueEnum};

use self::instructions::Then;
use self::report::{Options, Part};
use crate::run::{self, Failed};
use crate::{model, prerequisites};

mod counts;
mod instructions;
mod report;

/// Shown at the end of `cargo xtask bench --help`.
pub(crate) const EXAMPLES: &str = "\
Examples:
  cargo xtask bench pool                          throughput and size; about 2 minutes
  cargo xtask bench pool --json pool.json --svg pool.svg
  cargo xtask bench tails --json tails.json       starved and frozen threads; about 12 minutes
  cargo xtask bench agents --json agents.json     transitions, claims, changes, output; about 2 minutes
  cargo xtask bench tails --quick                 half a minute; not for comparing
  cargo xtask bench engine --json engine.json     a real model; about 10 minutes
  cargo xtask bench store --json store.json       durable claims; some seconds
  cargo xtask bench pool -- --backends latchless,mutex_owner --threads 2
  cargo xtask bench --check                       instructions against the committed table; 2 minutes
  cargo xtask bench --update                      accept them: writes benches/instructions.json
  cargo xtask bench report --quick                all of this, into docs/benchmarks; about 10 minutes
  cargo xtask bench report --only pool,tails      these parts anew, the others as they are
  cargo xtask bench report --redraw               the page from the figures that are there

Leave the machine alone meanwhile. The first build takes a minute or two.
What follows `--` goes to the benchmark; `-- --help` lists it.";

/// The options of the benchmarks.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct BenchArgs {
    /// What to measure
    #[arg(value_enum, required_unless_present_any = ["check", "update"])]
    bench: Option<Bench>,

    /// Count instructions, and fail when an operation takes 5 % more than the committed table says
    #[arg(long, conflicts_with_all = ["bench", "json", "svg", "quick"])]
    check: bool,

    /// Count instructions, and write the committed table
    #[arg(long, conflicts_with_all = ["bench", "check", "json", "svg", "quick"])]
    update: bool,

    /// These parts of the report alone
    #[arg(long, value_name = "PART,…", value_enum, value_delimiter = ',')]
    only: Vec<Part>,

    /// Measure nothing: draw the report from the figures that are there
    #[arg(long, conflicts_with_all = ["only", "quick"])]
    redraw: bool,

    /// Write the figures to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the picture to this file as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// A short run: shows that everything works
    #[arg(long)]
    quick: bool,

    /// Options of the benchmark itself
    #[arg(last = true, value_name = "OPTION")]
    rest: Vec<String>,
}

/// A benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bench {
    /// Pairs of allocate and free beside every other pool, near exhaustion, a million blocks, memory
    Pool,
    /// The worst latencies: priority inversion, and threads frozen at any instruction (Linux)
    Tails,
    /// What agents do: transitions, claims, changes and output beside the locked systems they replace
    Agents,
    /// The engine on a model beside a plain llama.cpp loop: throughput, latency, long prompts, swaps
    Engine,
    /// Durable claims of tasks, on the disk of the temporary files, beside one transaction each
    Store,
    /// Instructions of the hot operations, counted by valgrind, beside the committed table
    Instructions,
    /// All of them, one after another: writes docs/benchmarks with tables, pictures and the figures
    Report,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file could not be written afterwards.
    #[error("{option} {}: {problem}; name a file in a folder that exists", path.display())]
    Output {
        /// The option.
        option: &'static str,
        /// What it names.
        path: PathBuf,
        /// What is wrong with that.
        problem: &'static str,
    },

    /// An option that the benchmark does not have.
    #[error("{option} is no option of this benchmark; leave it out")]
    NoSuchOption {
        /// The option.
        option: &'static str,
    },

    /// Instructions could not be counted, or are more than they may be.
    #[error(transparent)]
    Instructions(#[from] instructions::Error),

    /// Parts of the report failed.
    #[error(
        "{} failed, everything else is written; repeat it with `cargo xtask bench report --only {}`",
        failed.join(" and "), failed.join(",")
    )]
    Parts {
        /// Their names.
        failed: Vec<String>,
    },

    /// The report's page could not be made.
    #[error("the page could not be drawn: {0}; the reason is printed above")]
    Draw(Failed),

    /// A file of the report could not be written.
    #[error("{}: {problem}; make room for it and run this again", path.display())]
    Page {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },

    /// It did not compile.
    #[error("the benchmark could not be built: {0}; the reason is printed above")]
    Build(Failed),

    /// It was built and could not be started.
    #[error("the benchmark could not be started: {0}")]
    Start(Failed),
}

impl Error {
    /// 2 for what the user has to put right, else 1.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Output { .. } | Self::NoSuchOption { .. } => 2,
            Self::Instructions(error) => error.exit_code(),
            Self::Build(_)
            | Self::Start(_)
            | Self::Parts { .. }
            | Self::Draw(_)
            | Self::Page { .. } => 1,
        }
    }
}

/// Runs a benchmark. Returns its exit code, where this process is still there to do so.
///
/// # Errors
/// An option, the machine or the model is to be put right first, or the build failed.
pub(crate) fn run(args: &BenchArgs) -> Result<ExitCode, crate::Error> {
    args.refuse_what_does_not_go_together()?;
    let mut what = vec!["--release"];
    let mut model = None;
    match args.bench {
        Some(Bench::Pool) => what.extend(bin("pool")),
        Some(Bench::Tails) => what.extend(bin("tails")),
        Some(Bench::Agents) => what.extend(bin("agents")),
        Some(Bench::Store) => what.extend(bin("store")),
        Some(Bench::Engine) => {
            prerequisites::ensure()?;
            model = Some(model::locate()?);
            what.extend(ENGINE);
        }
        Some(Bench::Report) => {
            let (quick, redraw, only) = (args.quick, args.redraw, args.only.clone());
            report::run(&Options { quick, only, redraw })?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(Bench::Instructions) | None => {
            let then = match (args.check, args.update) {
                (true, _) => Then::Check,
                (_, true) => Then::Update,
                _ => Then::Show,
            };
            instructions::run(then).map_err(Error::from)?;
            return Ok(ExitCode::SUCCESS);
        }
    }
    eprintln!("building the benchmark (the first time a minute or two, with llama.cpp five)");
    run::run(run::cargo().arg("build").args(&what)).map_err(Error::Build)?;

    // `cargo run` rather than a path: cargo alone knows its target folder.
    let mut command = run::cargo();
    command.args(["run", "--quiet"]).args(&what).arg("--");
    if let Some(model) = &model {
        command.arg("--model").arg(model);
    }
    args.pass_on(&mut command);
    let status = run::hand_over(&mut command).map_err(Error::Start)?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1).into())
}

const ENGINE: [&str; 4] = ["-p", "latchless-engine", "--example", "figures"];

fn bin(name: &str) -> [&str; 6] {
    ["-p", "latchless-benches", "--features", "kvbm", "--bin", name]
}

impl BenchArgs {
    /// A file that cannot be written is told before minutes of measuring, not after.
    fn refuse_what_does_not_go_together(&self) -> Result<(), Error> {
        let report = self.bench == Some(Bench::Report);
        let counts = self.bench == Some(Bench::Instructions);
        for (option, given, known) in [
            ("--svg", self.svg.is_some(), !report && !counts && self.bench != Some(Bench::Engine)),
            ("--json", self.json.is_some(), !report && !counts),
            ("--quick", self.quick, !counts),
            ("--only", !self.only.is_empty(), report),
            ("--redraw", self.redraw, report),
            ("--", !self.rest.is_empty(), !report && !counts && self.bench.is_some()),
        ] {
            if given && !known {
                return Err(Error::NoSuchOption { option });
            }
        }
        for (option, path) in [("--json", &self.json), ("--svg", &self.svg)] {
            let Some(path) = path else { continue };
            let refuse = |problem| Err(Error::Output { option, path: path.clone(), problem });
            if path.is_dir() || path.file_name().is_none() {
                return refuse("that is a folder");
            }
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            if !folder.is_none_or(Path::is_dir) {
                return refuse("its folder does not exist");
            }
        }
        Ok(())
    }

    fn pass_on(&self, command: &mut Command) {
        for (option, path) in [("--json", &self.json), ("--svg", &self.svg)] {
            if let Some(path) = path {
                command.arg(option).arg(path);
            }
        }
        if self.quick {
            command.arg("--quick");
        }
        command.args(&self.rest);
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        args: BenchArgs,
    }

    fn parse(words: &[&str]) -> Result<BenchArgs, clap::Error> {
        let matches = Alone::command().no_binary_name(true).try_get_matches_from(words)?;
        Ok(Alone::from_arg_matches(&matches)?.args)
    }

    #[test]
    fn every_option_is_passed_on() {
        let words = ["tails", "--json", "a.json", "--svg", "b.svg", "--quick", "--", "--seed", "7"];
        let args = parse(&words).unwrap();
        assert_eq!(args.bench, Some(Bench::Tails));
        let mut command = Command::new("tails");
        args.pass_on(&mut command);
        assert_eq!(run::shown(&command), "tails --json a.json --svg b.svg --quick --seed 7");
    }

    #[test]
    fn a_benchmark_must_be_named_and_exist() {
        for words in [[].as_slice(), &["engines"], &["pool", "--check"], &["--check", "--update"]] {
            let error = parse(words).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{words:?}");
        }
    }

    #[test]
    fn an_option_that_a_benchmark_does_not_have_is_refused() {
        for words in [
            &["engine", "--svg", "a.svg"][..],
            &["report", "--json", "a.json"],
            &["instructions", "--quick"],
            &["pool", "--only", "pool"],
            &["tails", "--redraw"],
            &["--check", "--", "--seed", "7"],
        ] {
            let refused = parse(words).unwrap().refuse_what_does_not_go_together().unwrap_err();
            assert_eq!(refused.exit_code(), 2, "{words:?}");
        }
        for words in [
            &["engine", "--json", "a.json"][..],
            &["report", "--quick", "--only", "pool,tails"],
            &["report", "--redraw"],
            &["--check"],
            &["--update"],
        ] {
            parse(words).unwrap().refuse_what_does_not_go_together().unwrap();
        }
    }

    #[test]
    fn files_must_have_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let check = |option, path: &Path| {
            let words = ["pool", option, path.to_str().unwrap()];
            parse(&words).unwrap().refuse_what_does_not_go_together()
        };
        check("--json", &folder.path().join("out.json")).unwrap();
        check("--svg", Path::new("out.svg")).unwrap();
        let error = check("--svg", folder.path()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("--svg"), "{error}");
        let error = check("--json", &folder.path().join("none/out.json")).unwrap_err();
        assert!(error.to_string().contains("does not exist"), "{error}");
    }
}
