//! `cargo xtask test --crash`: processes that use the store, and flows that do, are killed at random instants.
//!
//! Not a section of the whole run: its children are killed 200 times, where the tests kill 20.

use std::process::Command;

use super::Error;
use crate::run;

/// Builds the example and lets it kill.
pub(super) fn run() -> Result<(), Error> {
    let mut command = command();
    eprintln!("   {}", run::shown(&command));
    run::run(&mut command).map_err(|source| Error::Section {
        section: "crash".to_owned(),
        source,
        repeat: "cargo xtask test --crash".to_owned(),
    })
}

/// Without llama.cpp: the store needs none.
fn command() -> Command {
    let mut command = run::cargo();
    command.args(["run", "--release", "-p", "latchless-engine", "--no-default-features"]);
    command.args(["--features", "runtime", "--example", "store_crash", "--", "--kills", "200"]);
    command.args(["--flow-kills", "100"]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_200_are_killed() {
        let shown = run::shown(&command());
        assert!(
            shown.ends_with("--example store_crash -- --kills 200 --flow-kills 100"),
            "{shown}"
        );
    }
}
