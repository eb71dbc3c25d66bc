//! The errors that the sources of a crate publish: what is `pub`, not inside anything, and derives `Error`.

use std::fs;
use std::path::{Path, PathBuf};

/// An error and where it was found.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) krate: String,
    pub(crate) file: PathBuf,
    pub(crate) name: String,
    pub(crate) shape: Shape,
}

/// What there is to tell of an error, as the page writes it: `Name`, `Name(Type)`, `Name { field, field }`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Of an enum.
    Variants(Vec<String>),
    /// Of a struct, with those fields that are public.
    One(String),
}

/// The name that a shape begins with.
pub(crate) fn name_of(shape: &str) -> &str {
    shape.split(|c: char| !is_word(c)).next().unwrap_or(shape)
}

/// The errors of a crate, and the types that are called `reasons`.
pub(crate) fn published(krate: &str, source: &Path, reasons: &[&str]) -> Vec<Published> {
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).unwrap();
        let file = file.strip_prefix(source).unwrap();
        errors(krate, file, &text, reasons)
    };
    files(source).into_iter().flat_map(read).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    found
}

/// The errors of one file.
pub(crate) fn errors(krate: &str, file: &Path, text: &str, reasons: &[&str]) -> Vec<Published> {
    let lines: Vec<&str> =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let by_hand: Vec<&str> = lines.iter().filter_map(|line| implementor(line)).collect();
    let mut found = Vec::new();
    for (place, line) in lines.iter().enumerate() {
        let item = ["pub enum ", "pub struct "].iter().find_map(|word| line.strip_prefix(word));
        let Some(item) = item else { continue };
        let name = name_of(item);
        let is_error = derives_error(&lines[..place]) || by_hand.contains(&name);
        if !is_error && !reasons.contains(&name) {
            continue;
        }
        let item = without_attributes(&whole(&lines[place..]));
        let shape = if line.starts_with("pub enum ") {
            let variants = inside(&item, '{', '}').map_or_else(Vec::new, split);
            Shape::Variants(variants.into_iter().map(|variant| shape(variant, "")).collect())
        } else {
            Shape::One(shape(item.trim_start_matches("pub struct ").trim_end_matches(';'), "pub "))
        };
        let (krate, name) = (krate.to_owned(), name.to_owned());
        found.push(Published { krate, file: file.to_owned(), name, shape });
    }
    found
}

/// Whether `error` is published by this path in the crate at `source`: each module is public, and the last one defines
/// it or has it in a list.
pub(crate) fn is_public(source: &Path, modules: &[String], error: &Published) -> bool {
    let mut folder = source.to_owned();
    let mut file = source.join("lib.rs");
    for module in modules {
        let declared = fs::read_to_string(&file).unwrap_or_default();
        if !declared.lines().any(|line| line == format!("pub mod {module};")) {
            return false;
        }
        folder.push(module);
        file = folder.join("mod.rs");
        if !file.exists() {
            file = folder.with_extension("rs");
        }
    }
    let text = fs::read_to_string(&file).unwrap_or_default();
    let lists = text.split("\npub use ").skip(1).filter_map(|rest| rest.split_once(';'));
    let mut names = lists.flat_map(|(list, _)| list.split(|c: char| !is_word(c)));
    source.join(&error.file) == file || names.any(|name| name == error.name)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The type of an `impl Error for Type`.
fn implementor(line: &str) -> Option<&str> {
    let (_, of) = line.strip_prefix("impl")?.split_once("Error for ")?;
    Some(name_of(of))
}

/// Whether the attributes at the end of these lines derive `Error`.
fn derives_error(before: &[&str]) -> bool {
    let ends = |line: &&&str| line.is_empty() || **line == "}" || line.ends_with(';');
    let attributes = before.iter().rev().take_while(|line| !ends(line)).copied();
    let text = attributes.collect::<Vec<_>>().into_iter().rev().collect::<String>();
    let derives = text.split("derive(").skip(1).filter_map(|rest| rest.split_once(')'));
    derives.flat_map(|(list, _)| list.split(|c: char| !is_word(c))).any(|word| word == "Error")
}

/// The lines of the item that begins with the first of them.
fn whole(lines: &[&str]) -> String {
    let last = lines.iter().position(|line| line.ends_with(';') || *line == "}");
    lines[..=last.unwrap_or(lines.len() - 1)].join("\n")
}

/// Leaves attributes out, whatever the texts in them say.
fn without_attributes(text: &str) -> String {
    let mut left = String::new();
    let mut rest = text;
    while let Some((before, attribute)) = rest.split_once("#[") {
        left.push_str(before);
        let (mut depth, mut quoted, mut escaped) = (1, false, false);
        let end = attribute.find(|c: char| {
            match c {
                _ if escaped => {}
                '"' => quoted = !quoted,
                '[' if !quoted => depth += 1,
                ']' if !quoted => depth -= 1,
                _ => {}
            }
            escaped = quoted && c == '\\' && !escaped;
            depth == 0
        });
        rest = end.map_or("", |end| &attribute[end + 1..]);
    }
    left + rest
}

/// What is between the first `open` and the last `close`.
fn inside(text: &str, open: char, close: char) -> Option<&str> {
    let (from, to) = (text.find(open)?, text.rfind(close)?);
    text.get(from + 1..to)
}

/// Parts between commas that are in no brackets.
fn split(list: &str) -> Vec<&str> {
    let mut depth = 0;
    let parts = list.split(|c: char| {
        depth += i32::from("([{<".contains(c)) - i32::from(")]}>".contains(c));
        c == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// A variant or a struct as the page writes it, with those fields that begin with `public`.
fn shape(text: &str, public: &str) -> String {
    let name = name_of(text);
    let brace = text.find('{').unwrap_or(text.len());
    let shown = |list: &str, what: fn(&str) -> &str| {
        let fields = split(list).into_iter().filter_map(|field| field.strip_prefix(public));
        fields.map(what).collect::<Vec<_>>().join(", ")
    };
    if let Some(types) = inside(&text[..brace], '(', ')') {
        format!("{name}({})", shown(types, |of| of))
    } else if let Some(fields) = inside(text, '{', '}') {
        format!("{name} {{ {} }}", shown(fields, |field| field.split(':').next().unwrap_or(field)))
    } else {
        name.to_owned()
    }
}
