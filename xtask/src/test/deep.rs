//! The commands of the deep sections, which run only when they are asked for.

use std::env;
use std::process::Command;

use super::variant;
use crate::run;

/// Full speed means release, and one test at a time: the threads of one are all that run.
pub(super) fn histories() -> Command {
    let mut command = run::cargo();
    command.args(["test", "--release", "-p", "latchless", "--test", "histories"]);
    command.args(["--", "--nocapture", "--test-threads", "1"]);
    default_env(&mut command, "LATCHLESS_WINDOWS", "10000");
    command
}

pub(super) fn shuttle() -> Command {
    let mut command = variant::cargo("test", "shuttle", "--cfg latchless_shuttle");
    command.args(["--release", "-p", "latchless", "--test", "shuttle", "--", "--nocapture"]);
    default_env(&mut command, "LATCHLESS_SCHEDULES", "20000");
    command
}

/// The core's tests and a short stress run under each sanitizer. std is not rebuilt, which would need
/// its source; an explicit target keeps the flags from build scripts and macros.
pub(super) fn sanitize() -> Vec<Command> {
    // Std's own synchronisation is not instrumented, so that ThreadSanitizer takes its mutexes and scoped
    // threads for races: it runs the tests that use neither.
    let tests = [
        ("address", &["--lib", "--tests"][..], &[][..]),
        ("leak", &["--lib", "--tests"], &[]),
        ("thread", &["--test", "unsynchronised"], &[]),
    ];
    let mut commands = Vec::new();
    for (sanitizer, targets, filters) in tests {
        commands.push(sanitized(sanitizer, "test", &["-p", "latchless"], targets, filters));
        if sanitizer != "thread" {
            let run = ["run", "--rounds", "7", "--seed", "1"];
            commands.push(sanitized(sanitizer, "run", &["-p", "latchless-stress"], &[], &run));
        }
    }
    commands
}

fn sanitized(
    sanitizer: &str,
    subcommand: &str,
    package: &[&str],
    targets: &[&str],
    args: &[&str],
) -> Command {
    let flags = format!("-Zsanitizer={sanitizer} -Cunsafe-allow-abi-mismatch=sanitizer");
    let mut command = variant::cargo(subcommand, &format!("sanitize-{sanitizer}"), &flags);
    // Sanitizers are unstable options of the compiler; the toolchain is the usual one.
    command.env("RUSTC_BOOTSTRAP", "1").args(package).args(targets);
    // Seen from the package's folder, where tests run.
    command.env("TSAN_OPTIONS", "suppressions=tests/thread-sanitizer.supp");
    if let Some(target) = variant::sanitized_target() {
        command.args(["--target", target]);
    }
    command.arg("--").args(args);
    command
}

/// Lines of the core that its tests run. Tarpaulin's ptrace engine needs nothing of LLVM's.
pub(super) fn coverage() -> Vec<Command> {
    let tools = run::target_folder().join("tools");
    let program = tools.join("bin").join("cargo-tarpaulin");
    let mut commands = Vec::new();
    let on_path = run::probe(run::cargo().get_program(), &["tarpaulin", "--version"]).is_some();
    if !on_path && !program.exists() {
        let mut install = run::cargo();
        install.args(["install", "cargo-tarpaulin", "--version", TARPAULIN, "--locked", "--root"]);
        install.arg(&tools);
        commands.push(install);
    }
    let mut command = if on_path { run::cargo() } else { Command::new(program) };
    command.args(["tarpaulin", "--engine", "ptrace", "--skip-clean", "--out", "Stdout"]);
    command.args(["--packages", "latchless", "--lib", "--tests"]);
    command.args(["--include-files", "core/src/*", "--timeout", "600", "--fail-under", "95"]);
    command.arg("--target-dir").arg(run::target_folder().join("coverage"));
    // A line that was inlined or folded away has no address of its own to be seen at.
    command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "0");
    // It freezes threads with ptrace itself, which a process can be under once.
    command.args(["--", "--skip", "system_call"]);
    // Under ptrace the thread that wants all blocks may find some of them out for ever.
    command.args(["--skip", "case_7_reconfigure_races"]);
    commands.push(command);
    commands
}

const TARPAULIN: &str = "0.37.5";

/// Sets a variable for a command, unless the user has.
fn default_env(command: &mut Command, name: &str, value: &str) {
    if env::var_os(name).is_none() {
        command.env(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sanitizers_have_folders_of_their_own() {
        let commands: Vec<_> = sanitize().iter().map(run::shown).collect();
        for sanitizer in ["address", "leak", "thread"] {
            let flag = format!("-Zsanitizer={sanitizer}");
            let folder = format!("sanitize-{sanitizer} ");
            let own: Vec<_> = commands.iter().filter(|command| command.contains(&flag)).collect();
            assert!(!own.is_empty() && own.iter().all(|command| command.contains(&folder)));
        }
    }
}
