//! What a table was measured on.

use std::fs;
use std::num::NonZero;
use std::thread::available_parallelism;

/// CPU model, cores, kernel and compiler, in one line.
pub fn describe() -> String {
    let cores = available_parallelism().map_or(1, NonZero::get);
    let cpu = fs::read_to_string("/proc/cpuinfo").ok();
    let cpu = cpu.as_deref().and_then(cpu_model).unwrap_or(std::env::consts::ARCH).to_owned();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
    let kernel = kernel.as_deref().map_or("unknown", str::trim).to_owned();
    let (os, rustc) = (std::env::consts::OS, env!("LATCHLESS_RUSTC"));
    format!("{cpu}, {cores} cores, {os} {kernel}, {rustc}")
}

fn cpu_model(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_a_cpu_and_a_compiler() {
        assert_eq!(cpu_model("processor\t: 0\nmodel name\t: Fast 9000 \n"), Some("Fast 9000"));
        assert_eq!(cpu_model("Processor : AArch64"), None);
        assert!(describe().contains("rustc"), "{}", describe());
    }
}
