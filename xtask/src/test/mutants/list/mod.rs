//! Which mutants there are, and which test kills each.

mod agent;
mod engine;
mod plan;
mod pool;
mod task;

use std::fmt;
use std::process::Command;

use crate::test::variant;

/// A deliberate weakening, by the name that the code has for it.
#[derive(Debug)]
pub(super) struct Mutant {
    pub(super) name: &'static str,
    pub(super) weakens: &'static str,
    pub(super) build: Build,
    /// The library that is weakened.
    pub(super) library: &'static str,
    /// The test that has to notice it: for one outside the library behind the name of its file.
    pub(super) killer: &'static str,
    pub(super) file: Option<&'static str>,
}

/// How the test is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// As a loom model.
    Loom,
    /// As any test.
    Plain,
}

impl Build {
    /// What compiles and runs tests of the weakened code.
    pub(super) fn cargo(self) -> Command {
        let (folder, flags) = match self {
            Self::Loom => {
                ("mutants-loom", format!("--cfg latchless_mutants {}", super::super::loom::FLAGS))
            }
            Self::Plain => ("mutants", "--cfg latchless_mutants".to_owned()),
        };
        let mut command = variant::cargo("test", folder, &flags);
        command.arg("--release");
        command
    }

    /// The same for those tests that kill.
    pub(super) fn command(self) -> Command {
        let mut command = self.cargo();
        command.arg("--lib");
        match self {
            Self::Loom => command.args(super::super::loom::PACKAGES),
            // What the engine's mutants weaken, its models see.
            Self::Plain => command.args(["-p", CORE, "--tests"]),
        };
        command
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loom => "loom",
            Self::Plain => "tests",
        })
    }
}

impl Mutant {
    /// The test target that has the killer.
    pub(super) fn binary(&self) -> &'static str {
        self.file.unwrap_or(self.library)
    }
}

/// All mutants, in the order of the layers.
pub(super) fn all() -> impl Iterator<Item = &'static Mutant> {
    let layers = [pool::MUTANTS, agent::MUTANTS, plan::MUTANTS, task::MUTANTS, engine::MUTANTS];
    layers.into_iter().flatten()
}

/// The mutants of each test program.
pub(super) fn binaries() -> Vec<Vec<&'static Mutant>> {
    let mut binaries: Vec<Vec<&Mutant>> = Vec::new();
    for mutant in all() {
        let same = |others: &&mut Vec<&Mutant>| {
            (others[0].build, others[0].binary()) == (mutant.build, mutant.binary())
        };
        match binaries.iter_mut().find(same) {
            Some(others) => others.push(mutant),
            None => binaries.push(vec![mutant]),
        }
    }
    binaries
}

const CORE: &str = "latchless";
const ENGINE: &str = "latchless_engine";

const fn loom(name: &'static str, weakens: &'static str, killer: &'static str) -> Mutant {
    Mutant { name, weakens, build: Build::Loom, library: CORE, killer, file: None }
}

const fn engine_loom(name: &'static str, weakens: &'static str, killer: &'static str) -> Mutant {
    Mutant { library: ENGINE, ..loom(name, weakens, killer) }
}

const fn unit(name: &'static str, weakens: &'static str, killer: &'static str) -> Mutant {
    Mutant { name, weakens, build: Build::Plain, library: CORE, killer, file: None }
}

const fn case(
    name: &'static str,
    weakens: &'static str,
    file: &'static str,
    killer: &'static str,
) -> Mutant {
    Mutant { name, weakens, build: Build::Plain, library: CORE, killer, file: Some(file) }
}
