//! docs/migration.md names the tests that show what it says: they exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// Functions that a source defines as tests.
fn tests(source: &str) -> BTreeSet<&str> {
    let after = source.split("#[test]").skip(1);
    let names = after.filter_map(|rest| rest.split_once("fn ")?.1.split('(').next());
    names.map(str::trim).collect()
}

/// Names of tests in the page: words between backticks in the last column of the last table.
fn named(page: &str) -> BTreeSet<&str> {
    let (_, table) = page.split_once("\n## What shows it\n").unwrap_or_default();
    let last_column =
        table.lines().filter_map(|line| line.trim_end_matches(" |").rsplit_once(" | "));
    let code = last_column.flat_map(|(_, cell)| cell.split('`').skip(1).step_by(2));
    code.filter(|name| name.chars().all(|c| c.is_alphanumeric() || c == '_')).collect()
}

#[test]
fn the_tests_that_the_page_names_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for folder in ["core/src", "core/tests", "engine/src", "engine/tests"] {
        sources(&root.join(folder), &mut files);
    }
    let texts: Vec<String> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let known: BTreeSet<&str> = texts.iter().flat_map(|text| tests(text)).collect();
    let page = fs::read_to_string(root.join("docs/migration.md")).unwrap();
    let named = named(&page);
    assert!(named.len() > 60, "the table was not read: {named:?}");
    let missing: Vec<_> = named.difference(&known).collect();
    assert!(missing.is_empty(), "docs/migration.md names tests that are not there: {missing:?}");
}

#[test]
fn a_test_that_is_not_there_is_noticed() {
    let source = "    #[test]\n    #[cfg(unix)]\n    fn one() {}\n    fn helper() {}\n";
    assert_eq!(tests(source), ["one"].into());
    let page = "| 1 | `none` |\n\n## What shows it\n\n| 1 | `what` | `one`, `two` |\n| 2 | - | `cargo test` |\n";
    assert_eq!(named(page), ["one", "two"].into());
}
