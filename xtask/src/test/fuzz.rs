//! `cargo xtask test --fuzz`: the fuzz targets of engine/fuzz, each for a while.
//!
//! libFuzzer is linked in, and told where the code goes by what LLVM's pass `sancov-module` adds: the flags are
//! those that cargo-fuzz gives, so that neither it nor a nightly toolchain is needed. What is found stays in
//! the target folder; the committed corpus is read only.

use std::path::PathBuf;
use std::process::Command;
use std::{fs, io};

use super::variant;
use crate::run::{self, Failed};

/// The targets of engine/fuzz/Cargo.toml.
pub(super) const TARGETS: [&str; 4] = ["cache_header", "capi", "gguf", "store"];

/// What cargo-fuzz 0.13 compiles with. Debug assertions stay on, also those of overflows.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Zsanitizer=address \
    -Cunsafe-allow-abi-mismatch=sanitizer -Ccodegen-units=1 -Cdebug-assertions";

/// Why fuzzing ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It did not compile, or an input made it fail.
    #[error("{source}; an input that made it fail is in {}: add it to engine/fuzz/corpus/{target}, \
             and mend what it shows", found.display())]
    Failed {
        /// Which one.
        target: &'static str,
        /// Where inputs are kept that made it fail.
        found: PathBuf,
        /// The command.
        source: Failed,
    },

    /// A folder could not be made.
    #[error("{} cannot be made: {source}; look at its parent's permissions", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Runs each target for so many seconds.
pub(super) fn run(seconds: u32) -> Result<(), Error> {
    for target in TARGETS {
        let found = run::target_folder().join("fuzz").join("found").join(target);
        fs::create_dir_all(&found)
            .map_err(|source| Error::Folder { path: found.clone(), source })?;
        let mut command = command(target, seconds);
        eprintln!("   {}", run::shown(&command));
        run::run(&mut command).map_err(|source| Error::Failed { target, found, source })?;
    }
    Ok(())
}

fn command(target: &str, seconds: u32) -> Command {
    let folder = run::workspace_root().join("engine").join("fuzz");
    let found = run::target_folder().join("fuzz").join("found").join(target);
    let mut command = variant::cargo("run", "fuzz", FLAGS);
    // Sanitizers are unstable options of the compiler; the toolchain is the usual one.
    command.env("RUSTC_BOOTSTRAP", "1").arg("--release");
    // SQLite has constants of one name in several places, which is not ours to mend.
    command.env("ASAN_OPTIONS", "detect_odr_violation=0");
    command.arg("--manifest-path").arg(folder.join("Cargo.toml"));
    // An explicit target keeps the flags from build scripts and macros.
    if let Some(host) = variant::sanitized_target() {
        command.args(["--target", host]);
    }
    command.args(["--bin", target, "--"]);
    // New inputs go into the first folder.
    command.arg(&found).arg(folder.join("corpus").join(target));
    command.arg(format!("-artifact_prefix={}/", found.display()));
    command.arg(format!("-max_total_time={seconds}"));
    command.args(["-seed=1", "-print_final_stats=1", "-verbosity=0"]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_its_program_and_a_corpus() {
        let folder = run::workspace_root().join("engine").join("fuzz");
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        for target in TARGETS {
            assert!(manifest.contains(&format!("name = \"{target}\"")), "{target}");
            assert!(fs::read_dir(folder.join("corpus").join(target)).unwrap().count() > 0);
        }
        assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len(), "one is never run");
        let shown = run::shown(&command("gguf", 7));
        assert!(shown.contains("sancov-module") && shown.contains("-max_total_time=7"), "{shown}");
    }
}
