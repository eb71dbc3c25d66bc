//! The protocol as a grammar, for models that do not keep to it by themselves.
//!
//! A sampler that follows it can only write lines of the protocol, with tools and documents that there are.
//! What the model writes into them is its own.

use std::fmt::Write;

use super::super::documents::Documents;
use super::super::tools::Toolbox;

/// Characters of a result.
const RESULT: u32 = 300;

/// What a reply may be, in GBNF: one to four calls of these tools, or, if `may_complete`, the mark with a
/// result. With no tools it is the mark.
pub fn grammar(tools: &Toolbox, documents: &Documents, may_complete: bool) -> String {
    let mut rules = String::new();
    let mut calls = Vec::new();
    for (number, tool) in tools.tools().enumerate() {
        let rule = format!("call{number}");
        // Writing to a String does not fail.
        let _ = writeln!(
            rules,
            "{rule} ::= {} ({})",
            literal(&format!("CALL {} ", tool.name())),
            tool.argument_rule(documents)
        );
        calls.push(rule);
    }
    let done = format!("{} {}", literal("TASK_COMPLETE "), line_rule(1, RESULT));
    let root = if calls.is_empty() {
        "done".to_owned()
    } else {
        let more = "call (\"\\n\" call){0,3}";
        if may_complete { format!("{more} | done") } else { more.to_owned() }
    };
    let mut grammar = format!("root ::= {root}\n");
    if root.contains("done") {
        let _ = writeln!(grammar, "done ::= {done}");
    }
    if !calls.is_empty() {
        let _ = writeln!(grammar, "call ::= {}", calls.join(" | "));
    }
    grammar + &rules
}

/// A line of so many characters, as the right side of a rule.
pub(crate) fn line_rule(least: u32, most: u32) -> String {
    format!("[^\\n\\r]{{{least},{most}}}")
}

/// Exactly this text.
pub(crate) fn literal(text: &str) -> String {
    let mut shown = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => shown.push_str("\\\""),
            '\\' => shown.push_str("\\\\"),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            character => shown.push(character),
        }
    }
    shown.push('"');
    shown
}

/// One of these texts; `None` of none.
pub(crate) fn alternatives_rule(texts: &[String]) -> Option<String> {
    let texts: Vec<_> = texts.iter().map(|text| literal(text)).collect();
    (!texts.is_empty()).then(|| texts.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_documents_cannot_break_out_of_the_grammar() {
        let names = ["a\" | root ::= \"x".to_owned(), "b\\".to_owned()];
        assert_eq!(alternatives_rule(&names).unwrap(), r#""a\" | root ::= \"x" | "b\\""#);
        assert_eq!(alternatives_rule(&[]), None);
    }
}
