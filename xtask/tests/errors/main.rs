//! docs/errors.md has every error that a library crate publishes, with its fields, and no other.
//!
//! The sources are read as text that rustfmt has written, which `cargo xtask test` sees to: so nothing is compiled for
//! this, not even what needs llama.cpp.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use self::page::{Section, sections};
use self::sources::{Published, Shape, is_public, name_of, published};

mod page;
mod sources;

/// The library crates, and where they are.
const CRATES: [(&str, &str); 4] = [
    ("latchless", "core/src"),
    ("latchless_engine", "engine/src"),
    ("latchless_handles", "engine/capi/handles/src"),
    ("latchless_llama_raw", "engine/llama-raw/src"),
];

/// Reasons that are on the page and are no errors.
const REASONS: [&str; 4] = ["CancelReason", "Failure", "FinishReason", "TagDifference"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What is wrong with a page that should have all of `published`; `is_public` says whether a type is at a path.
fn complaints(
    page: &str,
    published: &[Published],
    is_public: impl Fn(&Published, &[String]) -> bool,
) -> Vec<String> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for Section { path, rows } in sections(page) {
        let (krate, modules, name) = path.parts();
        // An enum has a table of its own; an error that is a struct has a row.
        let mut by_name: BTreeMap<&str, Vec<&str>> =
            name.map(|name| (name, vec![])).into_iter().collect();
        for row in &rows {
            by_name.entry(name.unwrap_or(name_of(row))).or_default().push(row);
        }
        for (name, rows) in by_name {
            let error = published.iter().find(|error| error.krate == krate && error.name == name);
            let Some(error) = error else {
                found.push(format!("`{name}` is no error of {krate}; take it out"));
                continue;
            };
            if !seen.insert((krate.to_owned(), name.to_owned())) {
                found.push(format!("`{name}` of {krate} is there twice; leave one"));
            }
            if !is_public(error, modules) {
                found.push(format!("`{name}` is not public at `{path}`; correct the heading"));
            }
            compare(error, &rows, &mut found);
        }
    }
    for Published { krate, file, name, .. } in published {
        if !seen.contains(&(krate.clone(), name.clone())) {
            found.push(format!("`{name}` of {krate} is missing ({}); add it", file.display()));
        }
    }
    found
}

/// The rows of one error beside its source.
fn compare(error: &Published, rows: &[&str], found: &mut Vec<String>) {
    let (name, file) = (&error.name, error.file.display());
    let known: Vec<&str> = match &error.shape {
        Shape::Variants(variants) => variants.iter().map(String::as_str).collect(),
        Shape::One(shape) => vec![shape],
    };
    for shape in known.iter().filter(|shape| !rows.contains(shape)) {
        found.push(format!("`{name}` of {file}: `{shape}` is missing; add its row"));
    }
    for (place, row) in rows.iter().enumerate() {
        if !known.contains(row) {
            found.push(format!("`{name}` of {file}: there is no `{row}`; correct its row"));
        } else if rows[..place].contains(row) {
            found.push(format!("`{name}` of {file}: `{row}` is there twice; leave one"));
        }
    }
}

#[test]
fn every_error_is_on_the_page_and_no_other() {
    let root = root();
    let page = std::fs::read_to_string(root.join("docs/errors.md")).unwrap();
    let mut errors = Vec::new();
    for (krate, source) in CRATES {
        let of_crate = published(krate, &root.join(source), &REASONS);
        assert!(!of_crate.is_empty(), "the errors of {source} were not read");
        errors.extend(of_crate);
    }
    assert!(errors.len() > 60, "only {} errors were read", errors.len());
    let is_public = |error: &Published, modules: &[String]| {
        let source = CRATES.into_iter().find(|(krate, _)| *krate == error.krate);
        source.is_some_and(|(_, source)| is_public(&root.join(source), modules, error))
    };
    let wrong = complaints(&page, &errors, is_public);
    assert!(wrong.is_empty(), "docs/errors.md and the sources differ:\n  {}", wrong.join("\n  "));
}

mod tests {
    use super::*;

    const SOURCE: &str = "\
/// No room.
#[derive(Debug, Error)]
pub enum RoomError {
    /// None at all.
    #[error(\"{free} of {total} are free; [sic] }, take fewer\")]
    Full {
        /// Those that are.
        free: u32,
        total: u32,
    },
    /// Never.
    #[error(transparent)]
    Never(#[from] NeverError),
    Closed,
}

#[derive(Debug, Clone, Error)]
#[error(\"never\")]
pub struct NeverError {
    pub asked: u32,
    why: String,
}

#[derive(Debug)]
pub enum NoError {
    A,
}
";

    const PAGE: &str = "\
## Rooms, `None` and `false`

| call | says |
|---|---|
| `NotOfAnError` | before any heading of one |

### `rooms::RoomError`

| variant | when | do |
|---|---|---|
| `Full { free, total }` | always | go |
| `Never(NeverError)` | `Closed`, for instance | go |
| `Closed` | always | go |

### With one reason: `rooms`

| error | of | when |
|---|---|---|
| `NeverError { asked }` | `room` | always |
";

    fn told(page: &str, source: &str) -> Vec<String> {
        let errors = sources::errors("rooms", Path::new("rooms.rs"), source, &[]);
        complaints(page, &errors, |_, modules| modules.is_empty())
    }

    #[test]
    fn a_page_that_has_all_is_right() {
        assert_eq!(told(PAGE, SOURCE), [""; 0]);
    }

    /// Each change of the source or of the page, and what is said of it.
    #[test]
    fn every_difference_is_told() {
        let source = |from: &str, to: &str| {
            assert!(SOURCE.contains(from), "{from}");
            told(PAGE, &SOURCE.replace(from, to))
        };
        let page = |from: &str, to: &str| {
            assert!(PAGE.contains(from), "{from}");
            told(&PAGE.replace(from, to), SOURCE)
        };
        for (wrong, word) in [
            (source("    Closed,\n", "    Closed,\n    Planted,\n"), "`Planted` is missing"),
            (source("    Closed,\n", ""), "there is no `Closed`"),
            (source("        total: u32,\n", ""), "there is no `Full { free, total }`"),
            (source("pub asked: u32", "pub number: u32"), "`NeverError { number }` is missing"),
            (source("#[derive(Debug)]", "#[derive(\n    Debug,\n    Error,\n)]"), "`NoError`"),
            (
                source(
                    "pub enum NoError",
                    "impl std::error::Error for NoError {}\n\npub enum NoError",
                ),
                "`NoError`",
            ),
            (page("| `Closed` | always | go |\n", ""), "`Closed` is missing"),
            (page("| `Closed` |", "| `Shut` |"), "there is no `Shut`"),
            (page("`Never(NeverError)`", "`Closed`"), "`Closed` is there twice"),
            (
                page("rooms::RoomError", "rooms::inner::RoomError"),
                "not public at `rooms::inner::RoomError`",
            ),
            (page("rooms::RoomError", "rooms::RumError"), "`RumError` is no error of rooms"),
            (
                page("| `NeverError { asked }` | `room` | always |\n", ""),
                "`NeverError` of rooms is missing",
            ),
        ] {
            assert!(wrong.iter().any(|one| one.contains(word)), "{word}: {wrong:?}");
        }
        let twice = format!("{PAGE}\n### `rooms::RoomError`\n");
        assert!(told(&twice, SOURCE).iter().any(|one| one.contains("is there twice")));
    }

    #[test]
    fn a_reason_that_is_no_error_is_read_where_it_is_named() {
        let errors = sources::errors("rooms", Path::new("rooms.rs"), SOURCE, &["NoError"]);
        let reason = errors.iter().find(|error| error.name == "NoError").unwrap();
        assert_eq!(reason.shape, Shape::Variants(vec!["A".to_owned()]));
    }

    /// Where the real ones are: at the root by a list, in a public module, and nowhere else.
    #[test]
    fn a_path_is_public_when_its_modules_and_its_list_are() {
        let engine = root().join("engine/src");
        let errors = published("latchless_engine", &engine, &REASONS);
        let of = |name: &str| errors.iter().find(|error| error.name == name).unwrap();
        let at = |name: &str, modules: &[&str]| {
            let modules: Vec<String> = modules.iter().map(|&one| one.to_owned()).collect();
            is_public(&engine, &modules, of(name))
        };
        assert!(at("SubmitError", &[]) && !at("SubmitError", &["engine"]), "a module of its own");
        assert!(at("GgufError", &["backend", "llama"]) && !at("GgufError", &["backend"]));
        assert!(at("CrashError", &["store", "crash"]), "in the module's own file");
        assert!(!at("StoreError", &[]) && !at("StoreError", &["nowhere"]));
    }
}
