//! What is stored at all (case 34).

use super::{Change, DocumentEdit, Edit, Finish, Scope, StoreError, ToolCall};

/// Characters of a key or a name.
pub const KEY_CHARACTERS: usize = 100;
/// Characters of an output, a result or a reason.
pub const OUTPUT_CHARACTERS: usize = 1_000_000;
/// Bytes of a document.
pub const DOCUMENT_BYTES: usize = 10_000_000;

/// Refuses a name that is too long, could lead out of a folder, or cannot be shown.
pub(super) fn name(what: &'static str, name: &str) -> Result<(), StoreError> {
    let problem = if name.is_empty() {
        "is empty"
    } else if name.chars().nth(KEY_CHARACTERS).is_some() {
        "is longer than 100 characters"
    } else if name == "." || name.contains("..") {
        "could name a parent folder"
    } else if name.contains(['/', '\\']) {
        "contains a path separator"
    } else if name.chars().any(char::is_control) {
        "contains a control character"
    } else if name.chars().any(is_unseen) {
        "contains a character that cannot be seen"
    } else {
        return Ok(());
    };
    Err(StoreError::Name { what, name: name.chars().take(40).collect(), problem })
}

/// Characters that change how others are shown, or are not shown themselves: two names that look alike could be
/// two documents, and one that is written backwards could look like any other.
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Refuses a text of more than a million characters.
pub(crate) fn text(what: &'static str, text: &str) -> Result<(), StoreError> {
    // Characters are at most as many as bytes, so that most texts need no count.
    let size = if text.len() > OUTPUT_CHARACTERS { text.chars().count() } else { 0 };
    size_within(what, size, "characters", OUTPUT_CHARACTERS)
}

/// Refuses a document of more than ten megabytes.
pub(crate) fn document(bytes: &[u8]) -> Result<(), StoreError> {
    size_within("the document", bytes.len(), "bytes", DOCUMENT_BYTES)
}

/// Refuses a change that says too much.
pub(crate) fn change(change: &Change) -> Result<(), StoreError> {
    name("kind of change", &change.kind)?;
    text("the target", &change.target)?;
    text("the change", &change.body)
}

/// Refuses a call that says too much.
pub(super) fn tool_call(call: &ToolCall) -> Result<(), StoreError> {
    name("tool", &call.tool)?;
    text("the arguments", &call.arguments)?;
    let (Ok(result) | Err(result)) = &call.result;
    text("the result", result)
}

/// Refuses a document's name, and that of the agent whom it is for.
pub(crate) fn key(scope: &Scope, key: &str) -> Result<(), StoreError> {
    if let Scope::Agent(agent) = scope {
        name("agent", agent)?;
    }
    name("document", key)
}

/// Refuses an edit under a bad name, or of too much.
pub(crate) fn edit(edit: &DocumentEdit) -> Result<(), StoreError> {
    key(&edit.scope, &edit.key)?;
    match &edit.edit {
        Edit::Put { content, .. } | Edit::Append(content) => document(content),
        Edit::Remove => Ok(()),
    }
}

/// Refuses the end of a turn of which any part would be refused.
pub(super) fn finish(finish: &Finish) -> Result<(), StoreError> {
    let (Ok(outcome) | Err(outcome)) = &finish.outcome;
    text("the result", outcome)?;
    text("the title", &finish.title)?;
    finish.changes.iter().try_for_each(change)?;
    finish.tool_calls.iter().try_for_each(tool_call)?;
    finish.documents.iter().try_for_each(edit)?;
    finish.output.as_deref().map_or(Ok(()), |output| text("the output", output))
}

fn size_within(
    what: &'static str,
    size: usize,
    unit: &'static str,
    most: usize,
) -> Result<(), StoreError> {
    if size <= most {
        return Ok(());
    }
    Err(StoreError::TooLarge { what, size: size as u64, unit, most: most as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused() {
        for good in ["a", "plan 7", "ü.md", &"x".repeat(100), &"ü".repeat(100)] {
            name("key", good).unwrap();
        }
        for (bad, problem) in [
            ("", "is empty"),
            (&*"x".repeat(101), "longer"),
            ("..", "parent"),
            ("a..b", "parent"),
            (".", "parent"),
            ("a/b", "separator"),
            ("a\\b", "separator"),
            ("a\0", "control"),
            ("a\nb", "control"),
            ("a\u{202e}b", "seen"),
            ("a\u{200b}", "seen"),
        ] {
            let error = name("key", bad).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn sizes_are_counted_in_their_own_unit() {
        let most = "ü".repeat(OUTPUT_CHARACTERS);
        text("the output", &most).unwrap();
        assert!(text("the output", &(most + "x")).is_err());
        document(&vec![0; DOCUMENT_BYTES]).unwrap();
        let error = document(&vec![0; DOCUMENT_BYTES + 1]).unwrap_err().to_string();
        assert!(error.contains("10000001 bytes, at most 10000000"), "{error}");
    }
}
