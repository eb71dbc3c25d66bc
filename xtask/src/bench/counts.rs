//! The committed table of instructions, and what has changed since.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// What an operation may take more than the table says, in percent.
pub(super) const TOLERANCE: f64 = 5.0;

/// Instructions by operation, in order of names.
pub(super) type Counts = BTreeMap<String, u64>;

/// The file, and what its counts depend on beside the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    /// The compiler: another one makes other code of the same source.
    pub(super) compiler: String,
    /// Instructions.
    pub(super) counts: Counts,
}

/// Why there is no table, or why it does not agree.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// The file is not what it should be.
    #[error(
        "{} is not a table of instructions: {problem}; write it again with `cargo xtask bench --update`",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },

    /// Operations take more instructions, or the table does not name them all.
    #[error(
        "{}{}; make it cheaper, or accept it with `cargo xtask bench --update` and say why in the commit{}",
        broken.join(", "), if *more > 0 { format!(" and {more} more") } else { String::new() },
        if *compiler_differs { " (the table is of another compiler, which alone may explain it)" } else { "" }
    )]
    Grown {
        /// The first of them, in words.
        broken: Vec<String>,
        /// How many there are beside.
        more: usize,
        /// The table was made with another compiler.
        compiler_differs: bool,
    },
}

impl Table {
    /// Reads the file; `None` when there is none yet.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, Error> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::File { path: path.to_owned(), source }),
        };
        let malformed =
            |problem: &str| Error::Malformed { path: path.to_owned(), problem: problem.to_owned() };
        let value: Value =
            serde_json::from_str(&text).map_err(|error| malformed(&error.to_string()))?;
        let compiler = value["compiler"].as_str().ok_or_else(|| malformed("no compiler"))?;
        let counts = value["counts"].as_object().ok_or_else(|| malformed("no counts"))?;
        let count = |(name, count): (&String, &Value)| {
            let count = count.as_u64().ok_or_else(|| malformed(&format!("the count of {name}")))?;
            Ok((name.clone(), count))
        };
        let counts = counts.iter().map(count).collect::<Result<_, Error>>()?;
        Ok(Some(Self { compiler: compiler.to_owned(), counts }))
    }

    /// Writes the file.
    pub(super) fn write(&self, path: &Path) -> Result<(), Error> {
        let value = json!({ "compiler": self.compiler, "counts": self.counts });
        fs::write(path, format!("{value:#}\n"))
            .map_err(|source| Error::File { path: path.to_owned(), source })
    }

    /// A line for each operation of either table: before, now, and by how much it differs.
    pub(super) fn changes(&self, now: &Self) -> String {
        let names: std::collections::BTreeSet<_> =
            self.counts.keys().chain(now.counts.keys()).collect();
        let width = names.iter().map(|name| name.len()).max().unwrap_or(0);
        let mut text = format!("{:<width$}     before        now    change\n", "instructions of");
        for name in names {
            let (before, now) = (self.counts.get(name), now.counts.get(name));
            let show =
                |count: Option<&u64>| count.map_or_else(|| "-".to_owned(), ToString::to_string);
            let change = match (before, now) {
                (Some(before), Some(now)) if before == now => "=".to_owned(),
                (Some(&before), Some(&now)) => format!("{:+.1} %", percent(before, now)),
                (None, _) => "new".to_owned(),
                (_, None) => "gone".to_owned(),
            };
            let line =
                format!("{name:<width$} {:>10} {:>10} {change:>9}\n", show(before), show(now));
            text.push_str(&line);
        }
        text
    }

    /// Whether what was counted now is within what this table allows.
    ///
    /// # Errors
    /// [`Error::Grown`]. An operation that the table does not name is an error, too: it would never be
    /// compared; and so is one that is not counted any more.
    pub(super) fn allows(&self, now: &Self) -> Result<(), Error> {
        let mut broken: Vec<_> = now
            .counts
            .iter()
            .filter_map(|(name, &now)| match self.counts.get(name) {
                None => Some(format!("`{name}` is not in the table")),
                Some(&before) => (percent(before, now) > TOLERANCE).then(|| {
                    let percent = percent(before, now);
                    format!(
                        "`{name}` takes {now} instructions instead of {before} ({percent:+.1} %)"
                    )
                }),
            })
            .collect();
        let gone = self.counts.keys().filter(|name| !now.counts.contains_key(*name));
        broken.extend(gone.map(|name| format!("`{name}` is in the table and was not counted")));
        if broken.is_empty() {
            return Ok(());
        }
        let more = broken.len().saturating_sub(3);
        broken.truncate(3);
        let compiler_differs = self.compiler != now.compiler;
        Err(Error::Grown { broken, more, compiler_differs })
    }
}

fn percent(before: u64, now: u64) -> f64 {
    let (before, now) = (before as f64, now as f64);
    100.0 * (now - before) / before.max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(counts: &[(&str, u64)]) -> Table {
        let counts = counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Table { compiler: "rustc 1".to_owned(), counts }
    }

    #[test]
    fn a_table_is_read_as_it_was_written_and_is_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("instructions.json");
        assert_eq!(Table::read(&path).unwrap(), None);
        let written = table(&[("b", 2), ("a", 1)]);
        written.write(&path).unwrap();
        assert_eq!(Table::read(&path).unwrap(), Some(written));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.find("\"a\": 1") < text.find("\"b\": 2"), "{text}");
        for (text, word) in
            [("{}", "compiler"), ("{\"compiler\": \"x\", \"counts\": {\"a\": -1}}", "count of a")]
        {
            fs::write(&path, text).unwrap();
            let error = Table::read(&path).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("--update"), "{error}");
        }
    }

    #[test]
    fn ten_percent_more_is_refused_and_five_is_not() {
        let before = table(&[("allocate/n8", 1_000), ("free/n8", 100)]);
        before.allows(&before).unwrap();
        before.allows(&table(&[("allocate/n8", 1_050), ("free/n8", 1)])).unwrap();
        let error = before.allows(&table(&[("allocate/n8", 1_100), ("free/n8", 100)])).unwrap_err();
        let said = error.to_string();
        let expected = "`allocate/n8` takes 1100 instructions instead of 1000 (+10.0 %)";
        assert!(said.starts_with(expected) && !said.contains("another compiler"), "{said}");
    }

    #[test]
    fn what_is_not_compared_is_an_error() {
        let before = table(&[("a", 1)]);
        let new = before.allows(&table(&[("a", 1), ("b", 1)])).unwrap_err().to_string();
        assert!(new.starts_with("`b` is not in the table"), "{new}");
        let gone = before.allows(&table(&[])).unwrap_err().to_string();
        assert!(gone.starts_with("`a` is in the table and was not counted"), "{gone}");
        let other = Table { compiler: "rustc 2".to_owned(), ..table(&[("a", 2)]) };
        assert!(before.allows(&other).unwrap_err().to_string().contains("another compiler"));
    }

    #[test]
    fn every_change_has_a_line() {
        let shown = table(&[("a", 100), ("b", 7), ("c", 1)]).changes(&table(&[
            ("a", 110),
            ("b", 7),
            ("d", 2),
        ]));
        let lines: Vec<_> = shown.lines().skip(1).collect();
        for (line, end) in lines.iter().zip(["+10.0 %", "=", "gone", "new"]) {
            assert!(line.ends_with(end), "{shown}");
        }
        assert_eq!(lines.len(), 4);
    }
}
