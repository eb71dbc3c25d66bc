//! Blocks of code, and commands that a sentence names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::CommandFactory;
use clap::error::ErrorKind;

use super::finding::Finding;
use super::links::target;
use super::page::{Block, Page};
use super::{Pages, files};

/// Looks at every block of every page.
pub(super) fn check(root: &Path, pages: &Pages) -> io::Result<Vec<Finding>> {
    let compiled = compiled(root)?;
    let mut found = Vec::new();
    for page in pages.values() {
        let is_compiled = compiled.contains(&page.path);
        let looks = page.blocks.iter().filter_map(|block| look(page, block, is_compiled));
        found.extend(looks);
        found.extend(commands(page).into_iter().filter_map(|(line, command)| {
            let problem = refusal(&command)?;
            Some(Finding::NoSuchCommand { at: page.at(line), command, problem })
        }));
    }
    Ok(found)
}

/// What is wrong with a block, if anything is.
fn look(page: &Page, block: &Block, is_compiled: bool) -> Option<Finding> {
    let at = page.at(block.line);
    match block.language() {
        // In a page that is compiled, rustdoc would take it for Rust.
        None if is_compiled || block.info.is_some() => Some(Finding::NoLanguage { at }),
        Some("rust") if block.words().any(|word| word.starts_with("ignore")) => {
            Some(Finding::Ignored { at })
        }
        Some("rust") if !is_compiled => Some(Finding::NotCompiled { at }),
        Some("toml") => {
            let problem = block.text.parse::<toml::Table>().err()?.to_string();
            Some(Finding::BadToml { at, problem })
        }
        _ => None,
    }
}

/// Pages that are the documentation of something in a crate, so that `cargo test --doc` compiles their Rust.
fn compiled(root: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let sources = files(root)?.into_iter();
    let sources = sources.filter(|path| path.extension().is_some_and(|end| end == "rs"));
    let mut pages = BTreeSet::new();
    for path in sources {
        let text = fs::read_to_string(root.join(&path))?;
        let source = Page::parse(path, "");
        let included = text.lines().filter_map(|line| {
            let line = line.trim().strip_prefix("#[doc = include_str!(\"")?;
            target(&source, line.strip_suffix("\")]")?)
        });
        pages.extend(included.map(|(page, _)| page));
    }
    Ok(pages)
}

/// The commands of this repository that a page names, without `cargo xtask`, and their lines.
pub(super) fn commands(page: &Page) -> Vec<(usize, String)> {
    let shells =
        page.blocks.iter().filter(|block| matches!(block.language(), Some("console" | "sh")));
    let typed = shells.flat_map(|block| (block.line + 1..).zip(block.text.lines()));
    let told = page.code.iter().map(|(line, code)| (*line, code.as_str()));
    let named = typed.chain(told).filter_map(|(line, text)| {
        let (_, command) = text.split_once("cargo xtask")?;
        Some((line, command_of(command)))
    });
    named.collect()
}

/// What a shell would take for one command's words. Brackets around what may be left out are none of them.
fn command_of(text: &str) -> String {
    let ends = |word: &&str| !matches!(*word, "#" | "|" | "&&" | ";" | ">" | "…");
    let words: Vec<_> = text.split_whitespace().take_while(ends).collect();
    words.join(" ").replace(['[', ']'], "")
}

/// Why these words are refused; `None` when they are not, or would not be if what stands for a value were one.
fn refusal(command: &str) -> Option<String> {
    let words =
        ["cargo xtask"].into_iter().chain(command.split(' ').filter(|word| !word.is_empty()));
    let error = crate::Cli::command().try_get_matches_from(words).err()?;
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        | ErrorKind::MissingRequiredArgument
        | ErrorKind::MissingSubcommand
        | ErrorKind::ValueValidation => None,
        _ => error.to_string().lines().next().map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::found_in;

    /// What is found in a page with this text, which a crate includes or not.
    fn found(text: &str, included: bool) -> Vec<String> {
        let include =
            if included { "#[doc = include_str!(\"../../docs/a.md\")]\nstruct A;\n" } else { "" };
        let list = ("docs/SUMMARY.md", "- [A](a.md)\n");
        found_in(&[list, ("docs/a.md", text), ("core/src/lib.rs", include)])
    }

    #[test]
    fn rust_that_nobody_compiles_is_found() {
        let rust = "# A\n\n```rust\nlet x = 1;\n```\n";
        let uncompiled = found(rust, false);
        assert_eq!(uncompiled.len(), 1);
        assert!(uncompiled[0].starts_with("docs/a.md:3: no crate compiles"), "{uncompiled:?}");
        assert_eq!(found(rust, true), [""; 0]);
        assert_eq!(found("```rust,no_run\nlet x = 1;\n```\n", true), [""; 0]);
        let ignored = found("```rust,ignore\nlet x;\n```\n", true);
        assert!(ignored.len() == 1 && ignored[0].contains("`ignore` keeps"), "{ignored:?}");
    }

    #[test]
    fn a_block_without_a_language_is_found() {
        let bare = "```\n?\n```\n";
        assert!(found(bare, false)[0].contains("without a language"));
        assert_eq!(found("text\n\n    indented\n", false), [""; 0]);
        assert_eq!(found("text\n\n    indented\n", true).len(), 1, "rustdoc takes it for Rust");
    }

    #[test]
    fn toml_that_is_none_is_found() {
        assert_eq!(found("```toml\n[a]\nb = 1\n```\n", false), [""; 0]);
        let bad = found("```toml\n[a\n```\n", false);
        assert!(bad.len() == 1 && bad[0].starts_with("docs/a.md:1: this is no TOML: "), "{bad:?}");
    }

    #[test]
    fn a_command_that_would_be_refused_is_found() {
        let block = "# A\n\n```console\n$ X=1 cargo xtask test --qiuck   # fast\n```\n";
        let refused = found(block, false);
        assert_eq!(refused.len(), 1);
        let begins = "docs/a.md:4: `cargo xtask` refuses `test --qiuck`: ";
        assert!(refused[0].starts_with(begins), "{refused:?}");
        for words in ["trst", "test --only lunch", "bench lunch", "install --prefixx p", "header x"]
        {
            let found = found(&format!("so `cargo xtask {words}` does\n"), false);
            assert_eq!(found.len(), 1, "{words}: {found:?}");
        }
    }

    #[test]
    fn a_command_that_is_carried_out_or_stands_for_one_is_not() {
        for words in [
            "",
            " test",
            " test --only tests --quick",
            " test --fuzz [--seconds N]",
            " bench",
            " bench engine -- --only frozen",
            " bench report --only pool,tails",
            " demo --help",
            " stress -- --duration 20m",
            " test | bench",
        ] {
            let found = found(&format!("so `cargo xtask{words}` does\n"), false);
            assert!(found.is_empty(), "{words}: {found:?}");
        }
    }
}
