//! Running the loom models of the core and of the engine, and seeing that they ran.
//!
//! A model that explores one execution, or a filter that matches no model, passes and proves
//! nothing. So each model prints how many executions it had, and a run without such a line fails.

use std::process::Command;

use super::{Error, variant};
use crate::run::{self, Failed};

/// What one model explored.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Model {
    name: String,
    executions: u64,
}

/// What has models: the engine without llama.cpp, SQLite and all that is built on them.
pub(super) const PACKAGES: [&str; 7] = [
    "-p",
    "latchless",
    "-p",
    "latchless-engine",
    "-p",
    "latchless-handles",
    "--no-default-features",
];

/// What makes the core, crossbeam-epoch in it, and the engine use loom's primitives.
pub(super) const FLAGS: &str = "--cfg latchless_loom --cfg crossbeam_loom";

/// The command that runs the models: release, because there are many executions.
pub(super) fn command() -> Command {
    let mut command = variant::cargo("test", "loom", FLAGS);
    command.args(["--release", "--lib"]).args(PACKAGES).args(["--", "loom", "--nocapture"]);
    command
}

/// Runs `command`, showing its output, and returns the models that reported.
pub(super) fn run(command: &mut Command) -> Result<Vec<Model>, Failed> {
    let mut models = Vec::new();
    run::run_lines(command, |line| {
        eprintln!("{line}");
        models.extend(Model::from_line(line));
    })?;
    Ok(models)
}

/// Prints a line per model and the sum.
///
/// # Errors
/// [`Error::NoModels`] if nothing was explored.
pub(super) fn report(models: &[Model]) -> Result<(), Error> {
    let executions: u64 = models.iter().map(|model| model.executions).sum();
    if executions == 0 {
        return Err(Error::NoModels);
    }
    eprintln!();
    for Model { name, executions } in models {
        eprintln!("   model {name}: {executions} executions");
    }
    eprintln!("   {} models, {executions} executions", models.len());
    Ok(())
}

impl Model {
    /// Reads `model NAME: N executions`, also behind what the test runner prints in front of it.
    fn from_line(line: &str) -> Option<Self> {
        let (_, rest) = line.split_once("model ")?;
        let (name, executions) = rest.strip_suffix(" executions")?.rsplit_once(": ")?;
        Some(Self { name: name.to_owned(), executions: executions.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str, executions: u64) -> Model {
        Model { name: name.to_owned(), executions }
    }

    #[test]
    fn the_line_of_a_model_is_read_also_behind_the_name_of_its_test() {
        let cases = [
            ("model permits: two threads: 1234 executions", model("permits: two threads", 1234)),
            ("test pool::loom_models::gather ... model gather: 7 executions", model("gather", 7)),
        ];
        for (line, model) in cases {
            assert_eq!(Model::from_line(line), Some(model), "{line}");
        }
        for other in ["test loom ... ok", "model gather: many executions", "7 executions", ""] {
            assert_eq!(Model::from_line(other), None, "{other}");
        }
    }

    #[test]
    fn a_run_without_a_model_proves_nothing() {
        assert!(matches!(report(&[]), Err(Error::NoModels)));
        assert!(matches!(report(&[model("empty", 0)]), Err(Error::NoModels)));
        assert!(report(&[model("one", 1)]).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn models_are_collected_from_the_output() {
        let script = "echo running 2 tests; echo 'model a: 2 executions'; echo test b ... ok";
        let models = run(Command::new("sh").args(["-c", script])).unwrap();
        assert_eq!(models, [model("a", 2)]);
    }
}
