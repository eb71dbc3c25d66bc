//! Does this CPU have the instructions that `.cargo/config.toml` lets the compiler use?
//!
//! `is_x86_feature_detected!` cannot answer: this program is compiled with the same flags, and the
//! macro is a constant `true` for a feature that the compiler may use anyway. So the kernel is
//! asked. A best effort: on a CPU that lacks them this program may not get as far as this check.

/// What x86-64-v3 adds to the levels below, by the names that the kernel uses.
#[cfg(any(test, all(target_arch = "x86_64", target_os = "linux")))]
const X86_64_V3: [&str; 9] =
    ["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"];

/// The CPU lacks instructions that everything here is compiled with.
#[derive(Debug, thiserror::Error)]
#[error(
    "this CPU lacks {}: it is older than x86-64-v3, which everything here is compiled for; \
     write `target-cpu=x86-64-v2` in place of `x86-64-v3` in .cargo/config.toml, or use another \
     machine (a virtual machine may hide them: choose its CPU model `host`)",
    missing.join(", ")
)]
pub(crate) struct Unsuitable {
    /// The missing features, by the kernel's names.
    missing: Vec<&'static str>,
}

/// Compares the CPU with the flags that this program was compiled with, which are the flags that
/// everything else will be compiled with.
///
/// # Errors
/// Names the features that the CPU lacks.
pub(crate) fn check() -> Result<(), Unsuitable> {
    #[cfg(target_arch = "x86_64")]
    if !cfg!(target_feature = "avx2") {
        // RUSTFLAGS in the environment replaces the flags of the configuration file.
        eprintln!(
            "note: the compiler flags name no CPU with AVX2 (is RUSTFLAGS set?): llama.cpp will \
             be several times slower than it could be"
        );
        return Ok(());
    }
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if let Ok(cpuinfo) = std::fs::read_to_string("/proc/cpuinfo") {
        let missing = missing_features(&cpuinfo);
        if !missing.is_empty() {
            return Err(Unsuitable { missing });
        }
    }
    Ok(())
}

/// The features of x86-64-v3 that the first CPU of a `/proc/cpuinfo` lacks; none if the file does
/// not say.
#[cfg(any(test, all(target_arch = "x86_64", target_os = "linux")))]
fn missing_features(cpuinfo: &str) -> Vec<&'static str> {
    let flags = cpuinfo.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "flags").then(|| value.split_whitespace().collect::<Vec<_>>())
    });
    match flags {
        Some(flags) => X86_64_V3.into_iter().filter(|feature| !flags.contains(feature)).collect(),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_of_2013_lacks_nothing() {
        let haswell = "processor\t: 0\nflags\t\t: fpu sse4_2 movbe popcnt xsave avx f16c abm bmi1 \
                       avx2 bmi2 fma\nbugs\t\t:\n";
        assert!(missing_features(haswell).is_empty());
    }

    #[test]
    fn a_cpu_before_avx2_is_told_what_it_lacks() {
        let sandy_bridge = "flags : fpu sse4_2 popcnt xsave avx\nflags : avx2\n";
        let missing = missing_features(sandy_bridge);
        assert_eq!(missing, ["avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"]);
        let sentence = Unsuitable { missing }.to_string();
        assert!(sentence.contains("avx2") && sentence.contains(".cargo/config.toml"), "{sentence}");
    }

    #[test]
    fn a_file_without_flags_is_no_refusal() {
        assert!(missing_features("processor : 0\nFeatures : neon\n").is_empty());
    }
}
