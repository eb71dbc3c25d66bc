//! Links: each leads to something that is in the repository.

use std::path::{Component, Path, PathBuf};

use super::Pages;
use super::finding::Finding;
use super::page::{Link, Page};

/// Looks at every link of every page.
pub(super) fn check(root: &Path, pages: &Pages) -> Vec<Finding> {
    let links = pages.values().flat_map(|page| page.links.iter().map(move |link| (page, link)));
    links.filter_map(|(page, link)| look(root, pages, page, link)).collect()
}

/// What is wrong with a link, if anything is.
fn look(root: &Path, pages: &Pages, page: &Page, link: &Link) -> Option<Finding> {
    if is_elsewhere(&link.to) {
        return None;
    }
    let (at, to) = (page.at(link.line), link.to.clone());
    let Some((path, anchor)) = target(page, &link.to) else {
        return Some(Finding::Outside { at, to });
    };
    if !root.join(&path).exists() {
        return Some(Finding::NoSuchFile { at, to });
    }
    let anchor = anchor?;
    let anchors = pages.get(&path).map(|page| &page.anchors);
    if anchors.is_some_and(|anchors| anchors.contains(anchor)) {
        return None;
    }
    let known: Vec<_> = anchors.into_iter().flatten().map(String::as_str).collect();
    Some(Finding::NoSuchHeading { at, anchor: anchor.to_owned(), known: known.join(", ") })
}

/// Whether a link leads out of the repository on purpose.
fn is_elsewhere(to: &str) -> bool {
    to.contains("://") || to.starts_with("mailto:")
}

/// The file that a link of a page leads to, seen from the root, and the anchor there. `None` for one that leads
/// out of the repository.
pub(super) fn target<'a>(page: &Page, to: &'a str) -> Option<(PathBuf, Option<&'a str>)> {
    let (path, anchor) = to.split_once('#').map_or((to, None), |(path, to)| (path, Some(to)));
    if path.is_empty() {
        return Some((page.path.clone(), anchor));
    }
    let folder = page.path.parent().unwrap_or(Path::new(""));
    let mut target = PathBuf::new();
    for component in folder.join(path).components() {
        match component {
            Component::Normal(name) => target.push(name),
            Component::CurDir => {}
            Component::ParentDir => target.pop().then_some(())?,
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some((target, anchor))
}

#[cfg(test)]
mod tests {
    use super::super::tests::found_in;

    /// What is found in a page with this text, beside another one.
    fn found(text: &str) -> Vec<String> {
        let list = ("docs/SUMMARY.md", "- [A](a.md)\n- [B](b.md)\n");
        found_in(&[
            list,
            ("docs/a.md", text),
            ("docs/b.md", "# B\n\n## What it costs\n"),
            ("x.rs", ""),
        ])
    }

    #[test]
    fn a_link_to_nothing_is_found_with_its_line() {
        let broken = "docs/a.md:3: there is no c.md; mend the link, or bring back what it led to";
        assert_eq!(found("# A\n\nsee [c](c.md) and [b](b.md)\n"), [broken]);
        assert_eq!(found("![p](pictures/p.svg)\n").len(), 1, "a picture");
        assert_eq!(found("| [b](B.md) |\n|---|\n").len(), 1, "names differ by their case");
        assert_eq!(found("<img src=\"p.svg\">\n").len(), 1);
        assert_eq!(found("[x](../core/src/lib.rs)\n").len(), 1);
    }

    #[test]
    fn a_dead_anchor_is_found_with_those_that_live() {
        let dead =
            "docs/a.md:1: nothing there is called #what-it-cost; the headings are b, what-it-costs";
        assert_eq!(found("[b](b.md#what-it-cost)\n"), [dead]);
        assert_eq!(found("[b](b.md#what-it-costs)\n"), [""; 0]);
        assert_eq!(found("# A\n\n[here](#a) [there](#b)\n").len(), 1, "on the same page");
        assert_eq!(found("[x](../x.rs#L7)\n").len(), 1, "lines move");
    }

    #[test]
    fn a_link_out_of_the_repository_is_found() {
        let outside = "is not inside the repository; give it a path relative to the page";
        for link in ["../../other/README.md", "/docs/b.md"] {
            let found = found(&format!("[x]({link})\n"));
            assert!(found.len() == 1 && found[0].ends_with(outside), "{found:?}");
        }
        assert_eq!(found("[x](https://example.org) [y](mailto:a@example.org)\n"), [""; 0]);
    }
}
