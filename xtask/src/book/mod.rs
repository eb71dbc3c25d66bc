//! The documentation as a book: what the tests look at before somebody reads it.
//!
//! - Every page of docs/ is in docs/SUMMARY.md, once.
//! - Every link of a page leads to a file of this repository, and its anchor to a heading. Links to other places
//!   are not followed.
//! - Every block says its language. Rust is compiled with a crate's documentation, TOML is TOML, and a command of
//!   this repository is one that its own `--help` knows, also where a sentence names it.
//!
//! What is compiled is so by `cargo test --doc`: here it is only seen that no page was left out. C and C++ are
//! compiled by engine/capi's tests.

mod blocks;
mod finding;
mod links;
mod listing;
mod page;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use self::finding::Finding;
use self::page::Page;

/// Where the book is.
const BOOK: &str = "docs";

/// The pages by their paths, seen from the root.
type Pages = BTreeMap<PathBuf, Page>;

/// All that is wrong.
fn check(root: &Path) -> io::Result<Vec<Finding>> {
    let pages = pages(root)?;
    let mut found = listing::check(&pages);
    found.extend(links::check(root, &pages));
    found.extend(blocks::check(root, &pages)?);
    Ok(found)
}

/// The book's pages, and the first page of every folder that has one.
fn pages(root: &Path) -> io::Result<Pages> {
    let is_page = |path: &Path| {
        let in_book = path.starts_with(BOOK) && path.extension().is_some_and(|end| end == "md");
        in_book || path.file_name().is_some_and(|name| name == "README.md")
    };
    let paths = files(root)?.into_iter().filter(|path| is_page(path));
    paths.map(|path| Ok((path.clone(), Page::read(root, path)?))).collect()
}

/// Every file, seen from the root, but for what cargo and git keep there.
fn files(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let name = entry.file_name();
            let hidden = name.to_string_lossy().starts_with('.');
            if entry.file_type()?.is_file() {
                found.push(folder.join(name));
            } else if entry.file_type()?.is_dir() && !hidden && name != "target" {
                folders.push(folder.join(name));
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run;

    #[test]
    fn the_book_is_whole() {
        let root = run::workspace_root();
        let found = check(&root).unwrap();
        let lines: Vec<_> = found.iter().map(|finding| format!("\n  {finding}")).collect();
        assert!(found.is_empty(), "{} findings:{}", lines.len(), lines.concat());

        // A check that reads nothing finds nothing.
        let pages = pages(&root).unwrap();
        let sum = |count: fn(&Page) -> usize| pages.values().map(count).sum::<usize>();
        let links = sum(|page| page.links.len());
        let blocks = sum(|page| page.blocks.len());
        let commands = sum(|page| blocks::commands(page).len());
        let read = [pages.len(), links, blocks, commands];
        assert!(read.iter().zip([20, 100, 20, 30]).all(|(read, least)| *read > least), "{read:?}");
    }

    /// A repository with these files, and what is found there.
    pub(super) fn found_in(files: &[(&str, &str)]) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        check(root.path()).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_book_without_a_fault_has_none() {
        let files = [
            ("docs/SUMMARY.md", "- [One](one.md)\n- [Two](deep/two.md)\n"),
            (
                "docs/one.md",
                "# One\n\n[two](deep/two.md#a-part), ![p](pictures/p.svg), [here](#one)\n",
            ),
            (
                "docs/deep/two.md",
                "# Two\n\n## A part\n\n[code](../../core/src/lib.rs) [first](../one.md)\n",
            ),
            ("docs/pictures/p.svg", "<svg/>"),
            ("core/src/lib.rs", ""),
            (
                "core/README.md",
                "# core\n\n[book](../docs/one.md) [site](https://example.org/none#no)\n",
            ),
            // Not looked at.
            ("target/book/README.md", "[nowhere](nowhere.md)\n"),
            (".git/README.md", "[nowhere](nowhere.md)\n"),
        ];
        assert_eq!(found_in(&files), [""; 0]);
    }
}
