//! The list of pages, docs/SUMMARY.md: mdbook shows what is in it, in its order, and nothing else.

use std::collections::BTreeSet;
use std::path::Path;

use super::finding::Finding;
use super::links::target;
use super::{BOOK, Pages};

/// Every page is listed, and listed once. That what is listed exists is seen as of any link.
pub(super) fn check(pages: &Pages) -> Vec<Finding> {
    let summary = Path::new(BOOK).join("SUMMARY.md");
    let mut found = Vec::new();
    let mut listed = BTreeSet::new();
    if let Some(list) = pages.get(&summary) {
        for link in &list.links {
            let Some((path, _)) = target(list, &link.to) else { continue };
            if !listed.insert(path.clone()) {
                found.push(Finding::ListedTwice { at: list.at(link.line), page: path });
            }
        }
    }
    let missing = pages.keys().filter(|page| {
        page.starts_with(BOOK) && **page != summary && !listed.contains(page.as_path())
    });
    found.extend(missing.map(|page| Finding::NotListed { page: page.clone() }));
    found
}

#[cfg(test)]
mod tests {
    use super::super::tests::found_in;

    #[test]
    fn a_page_that_is_not_listed_is_found() {
        let files = [("docs/SUMMARY.md", "- [A](a.md)\n"), ("docs/a.md", ""), ("docs/b.md", "")];
        assert_eq!(found_in(&files), ["docs/b.md is not in docs/SUMMARY.md; give it a line there"]);
    }

    #[test]
    fn so_is_one_in_a_folder_and_every_one_without_a_list() {
        let found = found_in(&[("docs/a.md", ""), ("docs/deep/README.md", ""), ("README.md", "")]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[1].starts_with("docs/deep/README.md is not in"), "{found:?}");
    }

    #[test]
    fn so_is_a_page_that_is_listed_twice_and_one_that_is_not_there() {
        let list = "- [A](a.md)\n- [Again](./a.md)\n- [Gone](gone.md)\n";
        let found = found_in(&[("docs/SUMMARY.md", list), ("docs/a.md", "")]);
        assert_eq!(
            found,
            [
                "docs/SUMMARY.md:2: docs/a.md is listed before; leave one of both out",
                "docs/SUMMARY.md:3: there is no gone.md; mend the link, or bring back what it led to",
            ]
        );
    }
}
