//! `cargo xtask stress`: the stress run with the engine on a real model. What llama.cpp is built with, and the
//! model, are seen to first. On a script the run needs none of it: `cargo run --release -p latchless-stress`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args;

use crate::run::{self, Failed};
use crate::{model, prerequisites};

/// Shown at the end of `cargo xtask stress --help`.
pub(crate) const EXAMPLES: &str = "\
Examples:
  cargo xtask stress                                     a minute
  cargo xtask stress -- --duration 20m --chaos --report real
  cargo xtask stress --model ~/models/some.gguf -- --only engine --duration 5m

What follows `--` goes to `latchless-stress run`; `-- --help` lists it. The first run fetches the model (98 MB)
and compiles llama.cpp (about 5 minutes on two cores). The exit code is that of the run: 0 it held, 1 something
broke.";

/// The options of the stress run.
#[derive(Debug, Args)]
pub(crate) struct StressArgs {
    /// The GGUF file to run in place of SmolLM2-135M-Instruct
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,

    /// Options of the run itself
    #[arg(last = true, value_name = "OPTION")]
    rest: Vec<String>,
}

/// Why the run did not begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It did not compile.
    #[error("the stress run could not be built: {0}; the reason is printed above")]
    Build(Failed),

    /// It was built and could not be started.
    #[error("the stress run could not be started: {0}")]
    Start(Failed),
}

/// Runs it. Returns its exit code, where this process is still there to do so.
///
/// # Errors
/// The machine or the model is to be put right first, or the build failed.
pub(crate) fn run(args: &StressArgs) -> Result<ExitCode, crate::Error> {
    // A named model is looked at before anything is installed; the default one is fetched after.
    let named = model::named(args.model.as_deref())?;
    prerequisites::ensure()?;
    let model = named.map_or_else(model::cached, Ok)?;
    eprintln!("building the stress run (the first time llama.cpp takes about 5 minutes)");
    run::run(&mut command("build")).map_err(Error::Build)?;
    // `cargo run` rather than a path: cargo alone knows its target folder.
    let mut command = command("run");
    args.pass_on(&mut command, &model);
    let status = run::hand_over(&mut command).map_err(Error::Start)?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1).into())
}

fn command(what: &str) -> Command {
    let mut command = run::cargo();
    command.args([what, "--release", "-p", "latchless-stress", "--features", "llama"]);
    command
}

impl StressArgs {
    fn pass_on(&self, command: &mut Command, model: &Path) {
        command.args(["--", "run", "--model"]).arg(model).args(&self.rest);
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        args: StressArgs,
    }

    #[test]
    fn the_model_is_named_and_the_rest_passed_on() {
        let words = ["stress", "--model", "m.gguf", "--", "--duration", "5m", "--chaos"];
        let args = Alone::try_parse_from(words).unwrap().args;
        let mut command = command("run");
        args.pass_on(&mut command, Path::new("m.gguf"));
        let shown = run::shown(&command);
        let rest = "--features llama -- run --model m.gguf --duration 5m --chaos";
        assert!(shown.ends_with(rest), "{shown}");
    }
}
