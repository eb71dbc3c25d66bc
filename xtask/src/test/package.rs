//! What would be published: archives that hold what they need, and a core that builds from its own.
//!
//! Cargo resolves the members of one call among themselves, so nothing has to be published before. Only the core's archive
//! is built: the engine's would be llama.cpp once more.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::run;

/// Asks cargo which members there are.
const METADATA: [&str; 4] = ["metadata", "--no-deps", "--format-version", "1"];

/// Packs every member that may be published, then builds the core from its archive.
pub(crate) fn commands() -> Vec<Command> {
    let package = |words: &[&str]| {
        let mut command = run::cargo();
        // What is tested is what is here, committed or not.
        command.args(["package", "--quiet", "--allow-dirty"]).args(words);
        command
    };
    let mut metadata = run::cargo();
    metadata.args(METADATA);
    let mut pack = package(&["--no-verify"]);
    let Some(members) = published() else {
        // As the section's command it fails where everybody sees why.
        return vec![metadata];
    };
    pack.args(members.iter().flat_map(|(name, _)| ["-p", name]));
    vec![pack, package(&["-p", "latchless"])]
}

/// Names and manifests of the members that do not say `publish = false`; `None` when cargo does not tell.
fn published() -> Option<Vec<(String, PathBuf)>> {
    let told = run::probe(run::cargo().get_program(), &METADATA)?;
    let told: Value = serde_json::from_str(&told).ok()?;
    let packages = told["packages"].as_array()?.iter();
    let member = |package: &Value| {
        let name = package["name"].as_str()?.to_owned();
        Some((name, PathBuf::from(package["manifest_path"].as_str()?)))
    };
    packages.filter(|package| package["publish"].is_null()).map(member).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// A package is what is in its folder: also its licences and its first page.
    #[test]
    fn each_package_has_its_licences_and_its_page() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let published = published().unwrap();
        assert!(published.iter().any(|(name, _)| name == "latchless"), "{published:?}");
        assert!(!published.iter().any(|(name, _)| name == "xtask"), "{published:?}");
        for (name, manifest) in published {
            let folder = manifest.parent().unwrap();
            for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
                assert_eq!(read(&folder.join(licence)), read(&root.join(licence)), "{name}");
            }
            assert!(read(&folder.join("README.md")).starts_with(&format!("# {name}\n")), "{name}");
        }
    }

    #[test]
    fn the_core_is_built_from_its_archive() {
        let commands: Vec<_> = commands().iter().map(run::shown).collect();
        assert_eq!(commands.len(), 2, "{commands:?}");
        assert!(commands[0].contains("--no-verify -p latchless"), "{commands:?}");
        assert_eq!(commands[1], "cargo package --quiet --allow-dirty -p latchless");
    }
}
