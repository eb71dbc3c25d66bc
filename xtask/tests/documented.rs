//! Every public type is seen at work in the reference: it has an example, or is in that of another one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    found
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

/// Names of types in the lists that `lib.rs` publishes itself; what a module inside publishes is hidden.
fn published(lib: &str) -> BTreeSet<&str> {
    let uses = lib.split("\npub use ").skip(1).filter_map(|rest| rest.split_once(';'));
    let names = uses.flat_map(|(list, _)| words(list));
    names.filter(|name| name.starts_with(char::is_uppercase)).collect()
}

/// Names that are in examples, and those whose own documentation has one.
fn shown(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let (mut inside, mut has_example) = (false, false);
    for line in text.lines().map(str::trim) {
        let doc = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        match doc.map(str::trim_start) {
            Some(doc) if doc.starts_with("```") => {
                inside = !inside;
                has_example |= inside;
            }
            Some(doc) if inside => names.extend(words(doc).map(str::to_owned)),
            Some(_) => {}
            // An attribute stands between the documentation and what it is of.
            None if line.starts_with("#[") || line.starts_with("pub ") => {
                if has_example && line.starts_with("pub ") {
                    names.extend(words(line).nth(2).map(str::to_owned));
                    has_example = false;
                }
            }
            None => (inside, has_example) = (false, has_example && line.ends_with([',', ')', ']'])),
        }
    }
    names
}

fn unshown(source: &Path) -> Vec<String> {
    let lib = fs::read_to_string(source.join("lib.rs")).unwrap();
    let texts = files(source).into_iter().map(|file| fs::read_to_string(file).unwrap());
    let shown: BTreeSet<String> = texts.flat_map(|text| shown(&text)).collect();
    let published = published(&lib);
    assert!(published.len() > 20, "the lists of {} were not read", source.display());
    let missing = published.into_iter().filter(|name| !shown.contains(*name));
    missing.map(str::to_owned).collect()
}

#[test]
fn every_public_type_is_in_an_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for source in ["core/src", "engine/src"] {
        let missing = unshown(&root.join(source));
        assert!(missing.is_empty(), "{source}: give these an example: {missing:?}");
    }
}

#[test]
fn a_type_without_an_example_is_noticed() {
    let with = "/// What.\n///\n/// ```\n/// use crate_name::Other;\n/// ```\n#[derive(Debug)]\npub struct Thing;";
    assert_eq!(shown(with), ["Other", "Thing", "crate_name", "use"].map(str::to_owned).into());
    let without = "/// What: see [`Other`].\npub struct Thing;\n/// A call.\nfn f() {}\n";
    assert_eq!(shown(without), BTreeSet::new());
    assert_eq!(
        published("//! What.\npub use self::a::{One, Two};\npub use b::f;\n    pub use c::Hidden;"),
        ["One", "Two"].into()
    );
}
