//! What the figures were measured on, in the words of the other benchmarks.

use std::fs;
use std::process::Command;
use std::thread::available_parallelism;

/// The lock file of the workspace, which says whose llama.cpp this is.
const LOCK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock");
/// The crate that brings llama.cpp's source.
const LLAMA: &str = "llama-cpp-sys-2";

/// CPU model, cores, kernel, compiler and llama.cpp, in one line. What cannot be told is left out.
pub(crate) fn describe() -> String {
    let cpu = read("/proc/cpuinfo").and_then(|text| Some(cpu_model(&text)?.to_owned()));
    let cpu = cpu.unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let cores = available_parallelism().map_or(1, std::num::NonZero::get);
    let kernel = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let system = format!("{} {}", std::env::consts::OS, kernel.trim());
    let llama = read(LOCK).and_then(|text| Some(version(&text, LLAMA)?.to_owned()));
    let llama = llama.map(|version| format!("llama.cpp of {LLAMA} {version}"));
    let known = [Some(cpu), Some(format!("{cores} cores")), Some(system), rustc(), llama];
    known.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn cpu_model(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim())
}

/// The compiler that cargo takes in this folder: the one that has just built this.
fn rustc() -> Option<String> {
    let output = Command::new("rustc").arg("--version").output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    Some(version.trim().to_owned()).filter(|version| !version.is_empty())
}

/// The version of a package in a lock file.
fn version<'lock>(lock: &'lock str, package: &str) -> Option<&'lock str> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name).skip(1);
    lines.next()?.strip_prefix("version = \"")?.strip_suffix('"')
}
