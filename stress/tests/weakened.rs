//! What the stress run is worth: the core is weakened in one place behind a cfg, and the run has to break, to tell
//! where, and to break again when its report is replayed.
//!
//! `cargo xtask test --mutants` compiles this with `--cfg latchless_mutants`; elsewhere nothing is weakened and
//! there is nothing to see.

#![cfg(latchless_mutants)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// A weakening, and the part that has to see it.
const SEEN: [(&str, &str); 5] = [
    ("permits.refuse-without-gather", "pool"),
    ("owners.holder-uncounted", "pool"),
    ("tasks.claimed-twice", "agents"),
    ("tasks.dependency-ignored", "agents"),
    ("roster.claimed-twice", "engine"),
];

fn stress(mutant: Option<&str>, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_latchless-stress"));
    command.args(args).stdin(Stdio::null()).env_remove("LATCHLESS_MUTANT");
    if let Some(mutant) = mutant {
        command.env("LATCHLESS_MUTANT", mutant);
    }
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn report(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("report.json")).unwrap()).unwrap()
}

#[test]
fn a_weakened_core_breaks_the_run_and_its_replay() {
    for (mutant, part) in SEEN {
        let folder = tempfile::tempdir().unwrap();
        let night = folder.path().join("night");
        let night_arg = night.to_str().unwrap();
        let run = ["run", "--duration", "2m", "--seed", "7", "--only", part, "--report", night_arg];
        let (code, out) = stress(Some(mutant), &run);
        assert_eq!(code, Some(1), "{mutant} lives: {out}");
        let found = report(&night);
        assert_eq!(found["violation"]["part"], part, "{mutant}: {out}");
        let repeat = found["repeat"].as_str().unwrap();
        let weakening = format!("LATCHLESS_MUTANT={mutant} ");
        assert!(
            repeat.contains(&weakening) && repeat.contains("--cfg latchless_mutants"),
            "{repeat}"
        );

        let replay = ["replay", night_arg, "--times", "100"];
        let (code, out) = stress(Some(mutant), &replay);
        assert_eq!(code, Some(1), "{mutant} lives in the replay: {out}");
        let (code, out) = stress(None, &["replay", night_arg]);
        assert_eq!(code, Some(0), "nothing is weakened: {out}");
    }
}
