//! Running other programs, with failures that say which command it was and how it ended.
//!
//! What a child says goes to this process's standard error: standard output belongs to the demo
//! and to results that a script may read.

use std::borrow::Cow;
use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// A command that did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// The program could not be started at all.
    #[error("`{command}` could not be started: {source}")]
    NotStarted {
        /// The command as one would type it.
        command: String,
        /// What the system said.
        source: io::Error,
    },

    /// The program ran and ended with something other than success.
    #[error("`{command}` failed ({status})")]
    Ended {
        /// The command as one would type it.
        command: String,
        /// Its exit code, or the signal that ended it.
        status: ExitStatus,
    },

    /// Its output could not be read.
    #[error("the output of `{command}` could not be read: {source}")]
    Unreadable {
        /// The command as one would type it.
        command: String,
        /// What the system said.
        source: io::Error,
    },
}

/// A command of the cargo that runs this task: the same toolchain, in the user's own folder, so
/// that relative paths mean what the user meant.
pub(crate) fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The root of the workspace. Cargo's value at run time wins: a checkout may have been moved since
/// this program was compiled.
pub(crate) fn workspace_root() -> PathBuf {
    let own =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&own).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Where cargo builds.
pub(crate) fn target_folder() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace_root().join("target"), PathBuf::from)
}

/// Runs `command` to its end, its output on standard error.
pub(crate) fn run(command: &mut Command) -> Result<(), Failed> {
    let status = command.stdout(io::stderr()).status();
    finish(command, status)
}

/// Runs `command` to its end and hands each line of its standard output to `line`, as it comes.
pub(crate) fn run_lines(command: &mut Command, mut line: impl FnMut(&str)) -> Result<(), Failed> {
    let mut child = match command.stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(source) => {
            return Err(Failed::NotStarted { command: shown(command), source });
        }
    };
    let read = child.stdout.take().map_or(Ok(()), |stdout| {
        let mut reader = BufReader::new(stdout);
        let mut bytes = Vec::new();
        // Not `lines()`: a test may print bytes that are not UTF-8.
        while reader.read_until(b'\n', &mut bytes)? > 0 {
            line(String::from_utf8_lossy(&bytes).trim_end());
            bytes.clear();
        }
        Ok(())
    });
    let status = child.wait();
    finish(command, status)?;
    read.map_err(|source| Failed::Unreadable { command: shown(command), source })
}

/// Runs `command` in this process's place, where the system can do that (then this returns only if
/// it could not be started), else as a child: either way its exit code and the signals that it
/// gets are its own.
pub(crate) fn hand_over(command: &mut Command) -> Result<ExitStatus, Failed> {
    #[cfg(unix)]
    let outcome = Err(std::os::unix::process::CommandExt::exec(command));
    #[cfg(not(unix))]
    let outcome = command.status();
    outcome.map_err(|source| Failed::NotStarted { command: shown(command), source })
}

/// What `command` prints on its standard output; `None` if it is missing or fails. Nothing is
/// shown: this is for finding out what a machine has.
pub(crate) fn probe<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, args: &[S]) -> Option<String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The command as one would type it, with the variables it sets in front.
pub(crate) fn shown(command: &Command) -> String {
    let assignments = command.get_envs().filter_map(|(name, value)| {
        let (name, value) = (name.to_string_lossy(), value?.to_string_lossy());
        Some(format!("{name}={}", quoted(&value)))
    });
    let program = match command.get_program() {
        program if Some(program) == env::var_os("CARGO").as_deref() => OsString::from("cargo"),
        program => program.to_os_string(),
    };
    let args = command.get_args().map(|arg| quoted(&arg.to_string_lossy()));
    let words: Vec<_> =
        assignments.chain([quoted(&program.to_string_lossy())]).chain(args).collect();
    words.join(" ")
}

fn finish(command: &Command, status: io::Result<ExitStatus>) -> Result<(), Failed> {
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failed::Ended { command: shown(command), status }),
        Err(source) => Err(Failed::NotStarted { command: shown(command), source }),
    }
}

fn quoted(word: &str) -> String {
    // shlex quotes these as well, for shells in which they mean something beside braces or before a command.
    if word
        .replace(['=', ','], "")
        .bytes()
        .all(|c| c.is_ascii_alphanumeric() || b"-_./:".contains(&c))
        && !word.is_empty()
    {
        return word.to_owned();
    }
    // A word with a NUL cannot be quoted, and no program can be given it.
    shlex::try_quote(word).map_or_else(|_| word.to_owned(), Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let mut command = Command::new("make");
        command.args(["all", "two words", "it's", ""]).env("CFLAGS", "-O2 -g").env_remove("HOME");
        assert_eq!(shown(&command), r#"CFLAGS='-O2 -g' make all 'two words' "it's" ''"#);
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        let error = run(&mut Command::new("latchless-no-such-program")).unwrap_err();
        assert!(matches!(&error, Failed::NotStarted { .. }), "{error:?}");
        assert!(error.to_string().contains("latchless-no-such-program"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn the_exit_code_of_a_failed_command_is_told() {
        let error = run(Command::new("sh").args(["-c", "exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "`sh -c 'exit 3'` failed (exit status: 3)");
    }

    #[cfg(unix)]
    #[test]
    fn lines_are_handed_over_also_when_the_command_fails_or_prints_foreign_bytes() {
        let mut seen = Vec::new();
        let script = r"printf 'one\nt\377o\nlast without newline'; exit 1";
        let outcome = run_lines(Command::new("sh").args(["-c", script]), |line| {
            seen.push(line.to_owned());
        });
        assert!(matches!(outcome, Err(Failed::Ended { .. })), "{outcome:?}");
        assert_eq!(seen, ["one", "t\u{fffd}o", "last without newline"]);
    }

    #[test]
    fn the_workspace_root_holds_the_workspace_manifest() {
        let manifest = std::fs::read_to_string(workspace_root().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"));
    }
}
