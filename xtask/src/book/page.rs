//! A page of Markdown, as far as the checks need it: its links, its headings, its blocks.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use super::finding::Place;

/// What mdbook reads, too.
const DIALECT: Options = Options::ENABLE_TABLES
    .union(Options::ENABLE_FOOTNOTES)
    .union(Options::ENABLE_STRIKETHROUGH)
    .union(Options::ENABLE_TASKLISTS);

/// A page.
#[derive(Debug)]
pub(super) struct Page {
    /// Where it is, seen from the root.
    pub(super) path: PathBuf,
    /// Links and pictures.
    pub(super) links: Vec<Link>,
    /// What can stand behind a `#`.
    pub(super) anchors: BTreeSet<String>,
    /// Blocks of code.
    pub(super) blocks: Vec<Block>,
    /// Code in a sentence, with its line.
    pub(super) code: Vec<(usize, String)>,
}

/// A link or a picture.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) line: usize,
    /// As it is written.
    pub(super) to: String,
}

/// A block of code.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// That of its fence.
    pub(super) line: usize,
    /// What stands behind the fence; `None` for a block that is only indented.
    pub(super) info: Option<String>,
    pub(super) text: String,
}

impl Block {
    /// The words behind the fence: `rust`, `no_run`.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        let info = self.info.as_deref().unwrap_or_default();
        info.split([',', ' ']).filter(|word| !word.is_empty())
    }

    /// The first of them.
    pub(super) fn language(&self) -> Option<&str> {
        self.words().next()
    }
}

impl Page {
    /// The page at `path`, seen from the root.
    pub(super) fn read(root: &Path, path: PathBuf) -> io::Result<Self> {
        let text = fs::read_to_string(root.join(&path))?;
        Ok(Self::parse(path, &text))
    }

    pub(super) fn parse(path: PathBuf, text: &str) -> Self {
        let mut page = Self {
            path,
            links: Vec::new(),
            anchors: BTreeSet::new(),
            blocks: Vec::new(),
            code: Vec::new(),
        };
        let mut heading: Option<String> = None;
        let mut block: Option<Block> = None;
        for (event, range) in Parser::new_ext(text, DIALECT).into_offset_iter() {
            let line = text[..range.start].matches('\n').count() + 1;
            match event {
                Event::Start(Tag::Link { dest_url: to, .. } | Tag::Image { dest_url: to, .. }) => {
                    page.links.push(Link { line, to: to.into_string() });
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    page.add_heading(&heading.take().unwrap_or_default());
                }
                Event::Start(Tag::CodeBlock(kind)) => {
                    let info = match kind {
                        CodeBlockKind::Fenced(info) => Some(info.into_string()),
                        CodeBlockKind::Indented => None,
                    };
                    block = Some(Block { line, info, text: String::new() });
                }
                Event::End(TagEnd::CodeBlock) => page.blocks.extend(block.take()),
                Event::Text(text) => match (&mut block, &mut heading) {
                    (Some(block), _) => block.text.push_str(&text),
                    (None, Some(heading)) => heading.push_str(&text),
                    (None, None) => {}
                },
                Event::Code(code) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&code);
                    }
                    page.code.push((line, code.into_string()));
                }
                Event::Html(html) | Event::InlineHtml(html) => {
                    let to = attributes(&html, "href").chain(attributes(&html, "src"));
                    page.links.extend(to.map(|to| Link { line, to: to.to_owned() }));
                    page.anchors.extend(attributes(&html, "id").map(str::to_owned));
                }
                _ => {}
            }
        }
        page
    }

    pub(super) fn at(&self, line: usize) -> Place {
        Place { page: self.path.clone(), line }
    }

    /// The second heading of a name has a number, as the code hosts give it.
    fn add_heading(&mut self, heading: &str) {
        let name = anchor(heading);
        let numbered = (1..).map(|number| format!("{name}-{number}"));
        let names = std::iter::once(name.clone()).chain(numbered);
        let free = names.into_iter().find(|name| !self.anchors.contains(name));
        self.anchors.extend(free);
    }
}

/// What a heading is called in links: small letters, dashes for spaces, and nothing but letters, digits,
/// dashes and underscores.
fn anchor(heading: &str) -> String {
    let kept = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | ' ');
    let dashed = |c: char| if c == ' ' { '-' } else { c };
    heading.trim().chars().filter(|c| kept(*c)).map(dashed).flat_map(char::to_lowercase).collect()
}

/// The values of an attribute in some HTML.
fn attributes<'a>(html: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let named = html.split_whitespace().filter_map(move |word| word.strip_prefix(name));
    let quoted = named.filter_map(|rest| rest.strip_prefix("=\""));
    quoted.filter_map(|rest| rest.split_once('"')).map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Page {
        Page::parse("page.md".into(), text)
    }

    #[test]
    fn anchors_are_those_of_the_code_hosts() {
        for (heading, expected) in [
            ("What it costs", "what-it-costs"),
            (
                "Threads that are frozen, and the allocator",
                "threads-that-are-frozen-and-the-allocator",
            ),
            ("0.1.0 — not yet published", "010--not-yet-published"),
            ("How `allocate_within` waits", "how-allocate_within-waits"),
            ("Größe", "größe"),
            ("C++", "c"),
        ] {
            let page = page(&format!("## {heading}\n"));
            assert_eq!(page.anchors, [expected.to_owned()].into(), "{heading}");
        }
    }

    #[test]
    fn the_second_heading_of_a_name_has_a_number() {
        let page = page("# Same\n\n## Same\n\nSame\n----\n\n<a id=\"mine\"></a>\n");
        assert_eq!(page.anchors, ["mine", "same", "same-1", "same-2"].map(str::to_owned).into());
    }

    #[test]
    fn links_are_found_in_every_form() {
        let page = page(
            "[a](a.md) ![b](b.svg)\n\n| [c](c.md) |\n|---|\n| [d][1] |\n\n[1]: d.md\n\
             <img alt=\"\" src=\"e.png\">\n\n`[no](no.md)`\n\n```text\n[no](no.md)\n```\n",
        );
        let links: Vec<_> = page.links.iter().map(|link| (link.line, link.to.as_str())).collect();
        assert_eq!(links, [(1, "a.md"), (1, "b.svg"), (3, "c.md"), (5, "d.md"), (8, "e.png")]);
    }

    #[test]
    fn blocks_have_their_language_line_and_text() {
        let page = page("```rust,no_run\nlet x = 1;\n```\n\ntext\n\n    indented\n\n```\n?\n```\n");
        let [rust, indented, bare] = &page.blocks[..] else { panic!("{page:?}") };
        assert_eq!((rust.line, rust.text.as_str()), (1, "let x = 1;\n"));
        assert_eq!(rust.words().collect::<Vec<_>>(), ["rust", "no_run"]);
        assert_eq!((indented.info.as_deref(), indented.line), (None, 7));
        assert_eq!((bare.info.as_deref(), bare.language()), (Some(""), None));
    }
}
