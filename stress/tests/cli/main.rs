//! The binary, as a script runs it: its exit codes, and what it prints, are relied on.

mod compare;
mod config;
mod exit_codes;
mod replay;

use std::process::{Command, Output, Stdio};

/// The binary with its arguments, to be started.
fn stress(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_latchless-stress"));
    command.args(args).stdin(Stdio::null());
    command
}

/// Its exit code, and what it said.
fn run(args: &[&str]) -> (Option<i32>, String, String) {
    ended(&mut stress(args))
}

/// The same of any command.
fn ended(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}
