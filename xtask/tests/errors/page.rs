//! The tables of the page.

use std::fmt;

/// A path in a heading: `krate::module::Type` over the variants of an enum, `krate::module` over errors that are
/// structs.
#[derive(Debug)]
pub(crate) struct Path(Vec<String>);

impl Path {
    /// Crate, modules, and the type if it names one.
    pub(crate) fn parts(&self) -> (&str, &[String], Option<&str>) {
        let (krate, rest) = self.0.split_first().map_or(("", &[][..]), |(one, rest)| (one, rest));
        match rest.split_last() {
            Some((name, modules)) if name.starts_with(char::is_uppercase) => {
                (krate, modules, Some(name))
            }
            _ => (krate, rest, None),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("::"))
    }
}

/// A heading that names a path, and what is in the first column below it.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) path: Path,
    pub(crate) rows: Vec<String>,
}

/// The first text between backticks.
fn code(text: &str) -> Option<&str> {
    text.split('`').nth(1)
}

/// The sections of a page, which begin at headings of the third level with code; any heading ends one.
pub(crate) fn sections(page: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut inside = false;
    let mut is_code = false;
    for line in page.lines() {
        is_code ^= line.starts_with("```");
        if is_code {
            continue;
        }
        if line.starts_with('#') {
            inside = false;
            if let Some(path) = line.strip_prefix("### ").and_then(code) {
                let path = Path(path.split("::").map(str::to_owned).collect());
                sections.push(Section { path, rows: Vec::new() });
                inside = true;
            }
        } else if inside
            && let Some(row) = line.strip_prefix("| `")
            && let Some((shape, _)) = row.split_once('`')
            && let Some(section) = sections.last_mut()
        {
            section.rows.push(shape.to_owned());
        }
    }
    sections
}
