//! `cargo xtask test`: everything that a change must pass, section by section.
//!
//! All sections but the loom models share one profile and one target folder, so that llama.cpp is
//! compiled once. The first failure ends the run and names the command that repeats its section.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use crate::run::{self, Failed};
use crate::{model, prerequisites};

mod coverage;
mod crash;
mod deep;
mod fuzz;
mod loom;
mod mutants;
mod package;
mod variant;

/// Shown at the end of `cargo xtask test --help`.
pub(crate) const EXAMPLES: &str = "\
Examples:
  cargo xtask test                   everything; under 30 minutes from a cold clone
  cargo xtask test --quick           without llama.cpp: no cmake, no model
  cargo xtask test --only clippy --only tests
  cargo xtask test --loom            the loom models of core and engine alone; 5 minutes
  LOOM_MAX_PREEMPTIONS=4 cargo xtask test --loom
  cargo xtask test --mutants         what the tests are worth; 10 minutes
  cargo xtask test --histories       what threads saw at full speed; 2 minutes
  cargo xtask test --shuttle         many threads under schedules drawn by chance; 3 minutes
  cargo xtask test --sanitize        address, leak and thread sanitizer; 10 minutes
  cargo xtask test --coverage        lines of the core that its tests run; 5 minutes
  cargo xtask test --fuzz            hostile files and texts, each kind for 60 seconds
  cargo xtask test --crash           kills processes that use the store, 200 times

docs/proof.md tells what each of them proves.

LATCHLESS_MODEL, where it is set, names the GGUF file for the tests.";

/// No default features of anything, and tested all the same. The same ones in every command: others would
/// compile llama.cpp again.
const FEATURES: &str = "latchless/metrics,latchless-engine/metrics,latchless-benches/instructions";

/// The options of the tests.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct TestArgs {
    /// Run this section alone; may be given more than once
    #[arg(long, value_name = "SECTION", value_enum)]
    only: Vec<Section>,

    /// Run the loom models alone
    #[arg(long, conflicts_with_all = ["only", "no_loom"])]
    loom: bool,

    /// Weaken the core in many ways, one at a time, and see that a test fails for each
    #[arg(long, conflicts_with_all = ["only", "no_loom"])]
    mutants: bool,

    /// Check what threads saw at full speed against the same structures without threads
    #[arg(long, conflicts_with_all = ["only", "no_loom"])]
    histories: bool,

    /// Run many threads under schedules that are drawn by chance
    #[arg(long, conflicts_with_all = ["only", "no_loom"])]
    shuttle: bool,

    /// Run the core's tests and a short stress run under sanitizers
    #[arg(long, conflicts_with_all = ["only", "no_loom"])]
    sanitize: bool,

    /// Count the lines of the core that its tests run
    #[arg(long, conflicts_with_all = ["only", "no_loom"])]
    coverage: bool,

    /// Write the table of mutants into docs/proof.md instead of comparing it
    #[arg(long, requires = "mutants")]
    bless: bool,

    /// Kill processes that use the store at random instants under load, and check what is left
    #[arg(long, exclusive = true)]
    crash: bool,

    /// Hand hostile files and texts in, for a while each kind
    #[arg(long, conflicts_with_all = ["only", "no_loom", "crash"])]
    fuzz: bool,

    /// How long each fuzz target runs
    #[arg(long, requires = "fuzz", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,

    /// Leave out the loom models
    #[arg(long, conflicts_with = "only")]
    no_loom: bool,

    /// Leave out what needs llama.cpp: it is not compiled and no model is fetched
    #[arg(long)]
    quick: bool,
}

/// A part of the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// The code is formatted
    Format,
    /// No lint of the compiler or of clippy warns
    Clippy,
    /// Unit and integration tests
    Tests,
    /// Examples in the documentation
    Doctests,
    /// The documentation builds without a warning
    Rustdoc,
    /// What is published is whole, and the core builds from its archive
    Package,
    /// The loom models of the core
    Loom,
    /// Weakenings of the core, each of which a test has to notice
    Mutants,
    /// What threads saw at full speed, against the same structures without threads
    Histories,
    /// Many threads under schedules that are drawn by chance
    Shuttle,
    /// The core's tests and a short stress run under the address, leak and thread sanitizers
    Sanitize,
    /// Lines of the core that its tests run: 95 of 100 at least
    Coverage,
}

/// Why the tests ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A command of a section failed.
    #[error("section `{section}` failed: {source}; repeat it with `{repeat}`")]
    Section {
        /// The section's name.
        section: String,
        /// The command and how it ended.
        source: Failed,
        /// What runs this section alone.
        repeat: String,
    },

    /// The loom run succeeded without running a model, which proves nothing.
    #[error(
        "section `loom` failed: no model reported its executions; each has to print a line \
         `model NAME: N executions`; repeat it with `cargo xtask test --loom`"
    )]
    NoModels,

    /// A mutant was not noticed, or could not be tried.
    #[error("section `mutants` failed: {0}")]
    Mutants(#[from] mutants::Error),

    /// Too few lines are run by tests.
    #[error("section `coverage` failed: {0}; repeat it with `cargo xtask test --coverage`")]
    Coverage(#[from] coverage::TooFew),

    /// A fuzz target failed, or did not run.
    #[error("section `fuzz` failed: {0}; repeat it with `cargo xtask test --fuzz`")]
    Fuzz(#[from] fuzz::Error),

    /// A part of the toolchain is not installed.
    #[error(
        "`cargo {command}` does not run: install {component} (with rustup: `rustup component add \
         {component}`), then run this command again"
    )]
    Component {
        /// The subcommand of cargo.
        command: &'static str,
        /// The component of the toolchain that brings it.
        component: &'static str,
    },
}

impl Error {
    /// 1 for a failed section, 2 for an incomplete toolchain.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Section { .. }
            | Self::NoModels
            | Self::Mutants(_)
            | Self::Coverage(_)
            | Self::Fuzz(_) => 1,
            Self::Component { .. } => 2,
        }
    }
}

/// Runs the sections that `args` ask for and prints how long each took.
///
/// # Errors
/// The machine or the toolchain is to be put right first, or a section failed.
pub(crate) fn run(args: &TestArgs) -> Result<(), crate::Error> {
    if args.crash {
        return Ok(crash::run()?);
    }
    if args.fuzz {
        return Ok(fuzz::run(args.seconds).map_err(Error::from)?);
    }
    let sections = args.sections();
    let mut times = Vec::new();

    let start = Instant::now();
    let setting = Setting::prepare(args, &sections)?;
    times.push(("prepare".to_owned(), start.elapsed()));

    for (index, &section) in sections.iter().enumerate() {
        eprintln!("\n== {section} ({} of {}): {}", index + 1, sections.len(), section.purpose());
        let start = Instant::now();
        setting.run(section)?;
        let elapsed = start.elapsed();
        eprintln!("== {section} passed in {}", seconds(elapsed));
        times.push((section.to_string(), elapsed));
    }
    eprintln!("\n{}", table(&times));
    Ok(())
}

impl TestArgs {
    fn sections(&self) -> Vec<Section> {
        let flags = [
            (self.loom, Section::Loom),
            (self.mutants, Section::Mutants),
            (self.histories, Section::Histories),
            (self.shuttle, Section::Shuttle),
            (self.sanitize, Section::Sanitize),
            (self.coverage, Section::Coverage),
        ];
        let alone: Vec<_> = flags
            .into_iter()
            .filter_map(|(asked, section)| asked.then_some(section))
            .chain(self.only.iter().copied())
            .collect();
        let wanted = |section: &Section| {
            if alone.is_empty() {
                !(section.is_deep() || self.no_loom && *section == Section::Loom)
            } else {
                alone.contains(section)
            }
        };
        Section::value_variants().iter().copied().filter(wanted).collect()
    }
}

impl Section {
    /// What it checks, in the words of `--help`.
    fn purpose(self) -> String {
        let value = self.to_possible_value();
        let help = value.as_ref().and_then(PossibleValue::get_help);
        help.map(ToString::to_string).unwrap_or_default()
    }

    /// Whether it runs only when it is asked for.
    fn is_deep(self) -> bool {
        matches!(
            self,
            Self::Mutants | Self::Histories | Self::Shuttle | Self::Sanitize | Self::Coverage
        )
    }

    fn compiles_llama(self) -> bool {
        !matches!(self, Self::Format | Self::Package | Self::Loom) && !self.is_deep()
    }

    fn reads_model(self) -> bool {
        matches!(self, Self::Tests | Self::Doctests)
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

/// What the sections need to know.
#[derive(Debug)]
struct Setting {
    quick: bool,
    bless: bool,
    model: Option<PathBuf>,
    nextest: bool,
}

impl Setting {
    fn prepare(args: &TestArgs, sections: &[Section]) -> Result<Self, crate::Error> {
        let quick = args.quick;
        if sections.contains(&Section::Format) {
            component("fmt", "rustfmt")?;
        }
        if sections.contains(&Section::Clippy) {
            component("clippy", "clippy")?;
        }
        let needs = |need: fn(Section) -> bool| !quick && sections.iter().any(|&s| need(s));
        let named = if needs(Section::reads_model) { model::named(None)? } else { None };
        if needs(Section::compiles_llama) {
            prerequisites::ensure()?;
            eprintln!("the first time, llama.cpp is compiled: about 5 minutes on two cores");
        }
        let model = match named {
            None if needs(Section::reads_model) => Some(model::cached()?),
            named => named,
        };
        let nextest = sections.contains(&Section::Tests)
            && run::probe(run::cargo().get_program(), &["nextest", "--version"]).is_some();
        Ok(Self { quick, bless: args.bless, model, nextest })
    }

    fn run(&self, section: Section) -> Result<(), Error> {
        let failed = |source| Error::Section {
            section: section.to_string(),
            source,
            repeat: self.repeat(section),
        };
        let (mut models, mut files) = (Vec::new(), Vec::new());
        for mut command in self.commands(section) {
            eprintln!("   {}", run::shown(&command));
            if section == Section::Loom {
                models.extend(loom::run(&mut command).map_err(failed)?);
            } else if section == Section::Coverage {
                files.extend(coverage::run(&mut command).map_err(failed)?);
            } else {
                run::run(&mut command).map_err(failed)?;
            }
        }
        match section {
            Section::Loom => loom::report(&models),
            Section::Coverage => Ok(coverage::report(&files)?),
            Section::Mutants => Ok(mutants::run(self.bless)?),
            _ => Ok(()),
        }
    }

    fn commands(&self, section: Section) -> Vec<Command> {
        // llama.cpp is a default feature of the engine.
        // What is nothing without llama.cpp would compile it.
        let without_llama = &["--no-default-features", "--exclude", "latchless-llama-raw"];
        let features: &[&str] = if self.quick { without_llama } else { &[] };
        let workspace = |words: &[&str]| {
            let mut command = run::cargo();
            command.args(words).args(["--workspace", "--features", FEATURES]).args(features);
            if let Some(model) = &self.model
                && section.reads_model()
            {
                command.env(model::VARIABLE, model);
            }
            command
        };
        match section {
            Section::Format => {
                let mut command = run::cargo();
                command.args(["fmt", "--all", "--check"]);
                vec![command]
            }
            Section::Clippy => {
                let mut all = workspace(&["clippy", "--all-targets"]);
                all.args(["--", "-D", "warnings"]);
                let mut without_llama = run::cargo();
                without_llama.args(["clippy", "-p", "latchless-engine", "-p", "latchless-capi"]);
                without_llama.args(["--all-targets", "--no-default-features"]);
                without_llama.args(["--", "-D", "warnings"]);
                // Under `--quick` the first of them leaves llama.cpp out already.
                if self.quick { vec![all] } else { vec![all, without_llama] }
            }
            Section::Tests if self.nextest => vec![workspace(&["nextest", "run"])],
            Section::Tests => {
                // The doctests are a section of their own.
                vec![workspace(&["test", "--lib", "--bins", "--tests", "--examples"])]
            }
            Section::Doctests => vec![workspace(&["test", "--doc"])],
            Section::Rustdoc => {
                let mut command = workspace(&["doc", "--no-deps"]);
                command.env("RUSTDOCFLAGS", "-D warnings");
                vec![command]
            }
            Section::Package => package::commands(),
            Section::Loom => vec![loom::command()],
            // Their commands depend on each other.
            Section::Mutants => Vec::new(),
            Section::Histories => vec![deep::histories()],
            Section::Shuttle => vec![deep::shuttle()],
            Section::Sanitize => deep::sanitize(),
            Section::Coverage => deep::coverage(),
        }
    }

    fn repeat(&self, section: Section) -> String {
        let quick = if self.quick { " --quick" } else { "" };
        format!("cargo xtask test --only {section}{quick}")
    }
}

/// Makes sure that `cargo COMMAND` runs; a toolchain of rustup's minimal profile lacks some.
fn component(command: &'static str, component: &'static str) -> Result<(), Error> {
    let runs = || run::probe(run::cargo().get_program(), &[command, "--version"]).is_some();
    if runs() {
        return Ok(());
    }
    eprintln!("cargo {command} is missing; asking rustup for {component}");
    // Its failure needs no words of its own: what counts is whether the command runs now.
    let _ = run::run(Command::new("rustup").args(["component", "add", component]));
    if runs() { Ok(()) } else { Err(Error::Component { command, component }) }
}

fn table(times: &[(String, Duration)]) -> String {
    let total: Duration = times.iter().map(|(_, time)| *time).sum();
    let line = |name: &str, time| format!("{name:<10}{:>10}\n", seconds(time));
    let mut table = format!("{:<10}{:>10}\n", "section", "time");
    table.extend(times.iter().map(|(name, time)| line(name, *time)));
    table + &line("total", total) + "every section passed"
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        args: TestArgs,
    }

    fn parse(words: &[&str]) -> Result<TestArgs, clap::Error> {
        let command = Alone::command().no_binary_name(true);
        Ok(Alone::from_arg_matches(&command.try_get_matches_from(words)?)?.args)
    }

    fn names(words: &[&str]) -> String {
        let sections = parse(words).unwrap().sections();
        sections.iter().map(Section::to_string).collect::<Vec<_>>().join(" ")
    }

    fn commands(setting: &Setting, section: Section) -> Vec<String> {
        setting.commands(section).iter().map(run::shown).collect()
    }

    #[test]
    fn options_choose_sections_in_their_order() {
        let all = "format clippy tests doctests rustdoc package loom";
        assert_eq!(names(&[]), all);
        assert_eq!(names(&["--quick"]), all);
        assert_eq!(names(&["--no-loom"]), "format clippy tests doctests rustdoc package");
        assert_eq!(names(&["--loom"]), "loom");
        assert_eq!(names(&["--mutants", "--loom"]), "loom mutants");
        assert_eq!(names(&["--only", "tests", "--only", "format"]), "format tests");
    }

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        for words in [
            &["--loom", "--no-loom"][..],
            &["--loom", "--only", "tests"],
            // Nothing would run, and every section of it would pass.
            &["--no-loom", "--only", "loom"],
            &["--only", "x"],
            &["--bless"],
        ] {
            assert_eq!(parse(words).unwrap_err().exit_code(), 2, "{words:?}");
        }
    }

    #[test]
    fn the_model_is_named_for_what_reads_it() {
        let model = Some(PathBuf::from("/m.gguf"));
        let setting = Setting { quick: false, bless: false, model, nextest: true };
        assert_eq!(
            commands(&setting, Section::Tests),
            [
                "LATCHLESS_MODEL=/m.gguf cargo nextest run --workspace --features latchless/metrics,latchless-engine/metrics,latchless-benches/instructions"
            ]
        );
        assert_eq!(
            commands(&setting, Section::Doctests),
            [
                "LATCHLESS_MODEL=/m.gguf cargo test --doc --workspace --features latchless/metrics,latchless-engine/metrics,latchless-benches/instructions"
            ]
        );
        assert_eq!(
            commands(&setting, Section::Rustdoc),
            [
                "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --workspace --features latchless/metrics,latchless-engine/metrics,latchless-benches/instructions"
            ]
        );
    }

    #[test]
    fn without_nextest_the_doctests_do_not_run_twice() {
        let setting = Setting { quick: false, bless: false, model: None, nextest: false };
        assert_eq!(
            commands(&setting, Section::Tests),
            [
                "cargo test --lib --bins --tests --examples --workspace --features latchless/metrics,latchless-engine/metrics,latchless-benches/instructions"
            ]
        );
    }

    #[test]
    fn quick_compiles_no_llama() {
        let setting = Setting { quick: true, bless: false, model: None, nextest: true };
        for section in Section::value_variants().iter().filter(|section| section.compiles_llama()) {
            for command in commands(&setting, *section) {
                assert!(command.contains("--no-default-features"), "{command}");
                let everything = command.contains("--workspace");
                assert_eq!(
                    everything,
                    command.contains("--exclude latchless-llama-raw"),
                    "{command}"
                );
            }
        }
        let repeat = setting.repeat(Section::Clippy);
        assert_eq!(repeat, "cargo xtask test --only clippy --quick");
    }

    #[test]
    fn a_failed_section_says_how_to_repeat_it() {
        let source = run::run(&mut Command::new("latchless-no-such-program")).unwrap_err();
        let error = Error::Section {
            section: Section::Tests.to_string(),
            source,
            repeat: "cargo xtask test --only tests".to_owned(),
        };
        assert_eq!(error.exit_code(), 1);
        let sentence = error.to_string();
        assert!(sentence.starts_with("section `tests` failed: `latchless-no-such-program`"));
        assert!(sentence.ends_with("repeat it with `cargo xtask test --only tests`"), "{sentence}");
    }

    #[test]
    fn the_table_lists_every_section_and_the_sum() {
        let times = [
            ("prepare".to_owned(), Duration::ZERO),
            ("tests".to_owned(), Duration::from_millis(1_250)),
        ];
        let expected = "\
section         time
prepare        0.0 s
tests          1.2 s
total          1.2 s
every section passed";
        assert_eq!(table(&times), expected);
    }
}
