//! Builds of the core with other flags than usual: each has a target folder of its own, because other
//! flags would have everything else compiled again.

use std::env;
use std::process::Command;

use crate::run;

/// A cargo command with `flags` before the compiler's usual ones, in the target folder `folder`.
pub(super) fn cargo(subcommand: &str, folder: &str, flags: &str) -> Command {
    // RUSTFLAGS replaces the flags of the configuration file, so they are said again.
    let configured = if cfg!(target_arch = "x86_64") { "-Ctarget-cpu=x86-64-v3" } else { "" };
    let usual = env::var("RUSTFLAGS").unwrap_or_else(|_| configured.to_owned());
    let mut command = run::cargo();
    command.env("RUSTFLAGS", format!("{flags} {usual}").trim());
    // It would go before RUSTFLAGS.
    command.env_remove("CARGO_ENCODED_RUSTFLAGS");
    command.args([subcommand, "--target-dir"]).arg(run::target_folder().join(folder));
    command
}

/// The target that rustc has sanitizers for on this machine; `None` where we know none.
pub(super) fn sanitized_target() -> Option<&'static str> {
    match (env::consts::OS, env::consts::ARCH) {
        ("linux", "x86_64") => Some("x86_64-unknown-linux-gnu"),
        ("linux", "aarch64") => Some("aarch64-unknown-linux-gnu"),
        ("macos", "aarch64") => Some("aarch64-apple-darwin"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_has_its_own_flags_and_folder() {
        let command = cargo("test", "loom", "--cfg latchless_loom");
        let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
        assert!(args[..2] == ["test", "--target-dir"] && args[2].ends_with("loom"), "{args:?}");
        assert!(run::shown(&command).contains("--cfg latchless_loom"), "{command:?}");
    }
}
