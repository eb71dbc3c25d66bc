//! The table of mutants in docs/proof.md, which is written from the list and compared with it.

use std::fs;
use std::path::PathBuf;

use super::Error;
use super::list::{self, Build, Mutant};
use crate::run;

const BEGIN: &str = "<!-- mutants: written by `cargo xtask test --mutants --bless` -->\n";
const END: &str = "<!-- end of mutants -->\n";

/// Compares the table in docs/proof.md with this one, or writes it there.
pub(super) fn document(bless: bool) -> Result<(), Error> {
    let path = path();
    let text = super::read(&path)?;
    let Some(current) = with_table(&text) else {
        return Err(Error::Stale { path });
    };
    if current == text {
        return Ok(());
    }
    if !bless {
        return Err(Error::Stale { path });
    }
    fs::write(&path, current).map_err(|source| Error::File { path, source })
}

fn path() -> PathBuf {
    run::workspace_root().join("docs").join("proof.md")
}

/// The text with the table as it is now between its marks; `None` when they are not there.
fn with_table(text: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{}{END}{after}", table()))
}

fn table() -> String {
    let row = |mutant: &Mutant| {
        let Mutant { name, weakens, build, killer, file, .. } = mutant;
        let short = killer.rsplit("::").next().unwrap_or(killer);
        let place = match (build, file) {
            (Build::Loom, _) => "loom".to_owned(),
            (Build::Plain, None) => "unit test".to_owned(),
            (Build::Plain, Some(file)) => format!("core/tests/{file}"),
        };
        format!("| `{name}` | {weakens} | {place}: `{short}` |\n")
    };
    let head = "| mutant | what it weakens | killed by |\n|---|---|---|\n".to_owned();
    head + &list::all().map(row).collect::<String>()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// The names by which the code asks whether it is to be weakened.
    fn asked_for(folder: &Path, names: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                asked_for(&path, names);
                continue;
            }
            let text: String = fs::read_to_string(path).unwrap().split_ascii_whitespace().collect();
            for ask in ["mutant(\"", "weaker(\""] {
                let names_there = text.split(ask).skip(1).filter_map(|rest| rest.split_once('"'));
                names.extend(names_there.map(|(name, _)| name.to_owned()));
            }
        }
    }

    #[test]
    fn the_table_has_what_the_code_asks_for() {
        let mut names = BTreeSet::new();
        for library in ["core", "engine"] {
            asked_for(&run::workspace_root().join(library).join("src"), &mut names);
        }
        let listed: BTreeSet<_> = list::all().map(|mutant| mutant.name.to_owned()).collect();
        assert_eq!(listed, names);
        assert_eq!(listed.len(), list::all().count(), "a name is there twice");
        assert!(listed.len() >= 25);
    }

    #[test]
    fn the_documentation_has_the_table() {
        let text = fs::read_to_string(path()).unwrap();
        assert_eq!(with_table(&text).as_deref(), Some(&*text), "see `--bless`");
    }

    #[test]
    fn the_table_replaces_the_one_between_the_marks() {
        let old = format!("a\n{BEGIN}old\n{END}b\n");
        assert_eq!(with_table(&old), Some(format!("a\n{BEGIN}{}{END}b\n", table())));
        assert_eq!(with_table("no marks"), None);
    }
}
