//! How a model asks for tools and says that it is done: in lines that a small model can write.
//!
//! ```text
//! CALL read sky
//! CALL write summary: The sky scatters blue light.
//! TASK_COMPLETE The summary is written.
//! ```
//!
//! - A line that begins with `CALL`, a space and a name asks for that tool; what follows the name is the
//!   argument. In it `\n` means a new line, and `\\` a backslash.
//! - A line that begins with `TASK_COMPLETE` says that the task is done; what follows, on that line and the
//!   ones after it, is the result. While the reply also asks for calls, the mark counts for nothing: their
//!   results may change what is to be said (case 36).
//! - Everything else is prose, whatever it is: no reply is an error. A name that is no tool's is found out
//!   when the call is made, and the model is told.
//!
//! A model that does not keep to this by itself can be held to it by a [grammar].

mod grammar;

pub use self::grammar::grammar;
pub(crate) use self::grammar::{alternatives_rule, line_rule, literal};

use super::tools::Asked;

/// Begins a line that asks for a tool.
pub const CALL: &str = "CALL";
/// Begins a line that says that the task is done.
pub const COMPLETION_MARK: &str = "TASK_COMPLETE";
/// Calls of one reply; further ones are prose.
pub const CALLS: usize = 16;
/// Characters of an argument; what is longer is cut off.
pub const ARGUMENT_CHARACTERS: usize = 20_000;

/// What a model's reply says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reply {
    /// Tools that it asks for, in order.
    pub calls: Vec<Asked>,
    /// The result, when it says that the task is done, whether calls are pending or not.
    pub completion: Option<String>,
    /// The rest, line by line.
    pub prose: String,
}

impl Reply {
    /// Reads a reply. There is none that it cannot read.
    ///
    /// ```
    /// use latchless_engine::runtime::protocol::Reply;
    ///
    /// let reply = Reply::parse("Let me see.\nCALL read sky\nTASK_COMPLETE Blue.");
    /// assert_eq!(reply.calls[0].to_string(), "read sky");
    /// assert!(!reply.is_complete(), "a call is pending");
    /// assert!(Reply::parse("TASK_COMPLETE Blue.").is_complete());
    /// ```
    pub fn parse(text: &str) -> Self {
        let mut reply = Self::default();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(rest) = marked(line, COMPLETION_MARK) {
                // A colon is what models like to write here.
                let mut result = rest.trim_start_matches([':', ' ', '\t']).to_owned();
                for line in lines.by_ref() {
                    match call(line).filter(|_| reply.calls.len() < CALLS) {
                        Some(asked) => reply.calls.push(asked),
                        None => result.extend(["\n", line]),
                    }
                }
                reply.completion = Some(result.trim().to_owned());
                break;
            }
            match call(line).filter(|_| reply.calls.len() < CALLS) {
                Some(asked) => reply.calls.push(asked),
                None => reply.prose.extend([line, "\n"]),
            }
        }
        reply.prose.truncate(reply.prose.trim_end().len());
        reply
    }

    /// Whether the task is done: the mark is there, and no call is pending.
    pub fn is_complete(&self) -> bool {
        self.completion.is_some() && self.calls.is_empty()
    }
}

/// What follows `mark` at the start of a line, if it is a word of its own.
fn marked<'a>(line: &'a str, mark: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(mark)?;
    let is_word = rest.chars().next().is_none_or(|next| !next.is_alphanumeric() && next != '_');
    is_word.then_some(rest)
}

fn call(line: &str) -> Option<Asked> {
    let rest = line.strip_prefix(CALL)?.strip_prefix(' ')?.trim();
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let (tool, argument) = rest.split_at(end);
    // What a model writes behind a name is no part of it.
    let tool = tool.trim_end_matches(':');
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if tool.is_empty() || tool.len() > 40 || !tool.chars().all(plain) {
        return None;
    }
    let argument = unescaped(argument.trim());
    Some(Asked { tool: tool.to_owned(), argument })
}

/// An argument with its new lines, and no longer than it may be.
fn unescaped(argument: &str) -> String {
    let mut text = String::with_capacity(argument.len().min(ARGUMENT_CHARACTERS));
    let mut characters = argument.chars();
    let mut count = 0;
    while let Some(character) = characters.next().filter(|_| count < ARGUMENT_CHARACTERS) {
        count += 1;
        if character != '\\' {
            text.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => text.push('\n'),
            Some('\\') | None => text.push('\\'),
            Some(other) => text.extend(['\\', other]),
        }
    }
    text
}

/// Text that a model is shown without its taking any of it for control tokens: `<|im_end|>` in a document
/// would end the message that it stands in.
pub fn harmless(text: &str) -> String {
    text.replace("<|", "< |").replace("|>", "| >").replace("</s>", "< /s>")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(text: &str) -> Vec<String> {
        Reply::parse(text).calls.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn calls_marks_and_prose_are_told_apart() {
        let reply = Reply::parse("First I look.\nCALL read sky\n\nCALL write a: b\\nc\\\\d\nDone.");
        assert_eq!(reply.calls.len(), 2);
        assert_eq!(reply.calls[1].argument, "a: b\nc\\d");
        assert_eq!((reply.prose.as_str(), &reply.completion), ("First I look.\n\nDone.", &None));
        let reply = Reply::parse("Well.\nTASK_COMPLETE: It is blue.\nReally.\n");
        assert_eq!(reply.completion.as_deref(), Some("It is blue.\nReally."));
        assert!(reply.is_complete());
        assert_eq!(Reply::parse("TASK_COMPLETE").completion.as_deref(), Some(""));
    }

    #[test]
    fn case_36_a_mark_counts_for_nothing_while_calls_are_pending() {
        for text in ["CALL read a\nTASK_COMPLETE x", "TASK_COMPLETE x\nCALL read a"] {
            let reply = Reply::parse(text);
            assert_eq!(reply.calls.len(), 1, "{text}");
            assert!(reply.completion.is_some() && !reply.is_complete(), "{text}");
        }
    }

    #[test]
    fn a_mark_is_one_at_the_start_of_a_line_and_as_a_word() {
        for text in [
            " TASK_COMPLETE",
            "I will say TASK_COMPLETE soon",
            "TASK_COMPLETED",
            "TASK_COMPLETE_NOT",
            "task_complete",
            "TASK COMPLETE",
        ] {
            assert_eq!(Reply::parse(text).completion, None, "{text:?}");
        }
    }

    #[test]
    fn garbage_is_prose() {
        for text in [
            "",
            "CALL",
            "CALL ",
            "CALL \t",
            "CALLread a",
            "call read a",
            " CALL read a",
            "CALL réad a",
            "CALL a;b c",
            "CALL \0 x",
            "\u{202e}CALL read a",
        ] {
            assert!(calls(text).is_empty(), "{text:?}");
        }
        assert_eq!(
            calls("CALL read: a\r\nCALL list\nCALL  read   a b "),
            ["read a", "list ", "read a b"]
        );
        let many = "CALL read a\n".repeat(100);
        assert_eq!(calls(&many).len(), CALLS);
        let long = format!("CALL write {}", "ü".repeat(ARGUMENT_CHARACTERS + 5));
        let argument = &Reply::parse(&long).calls[0].argument;
        assert_eq!(argument.chars().count(), ARGUMENT_CHARACTERS);
    }

    /// Every text is read, nothing of it twice, and reading what was read as prose again gives prose.
    #[test]
    fn whatever_comes_is_read() {
        let mut random = fastrand::Rng::with_seed(36);
        let parts = ["CALL ", "read ", "TASK_COMPLETE", "\n", "\r", " ", ":", "\\", "ü", "\0", "x"];
        for _ in 0..20_000 {
            let count = random.usize(..30);
            let text: String = (0..count).map(|_| parts[random.usize(..parts.len())]).collect();
            let reply = Reply::parse(&text);
            assert!(reply.calls.len() <= CALLS);
            assert!(reply.prose.len() <= text.len() + 1);
            let again = Reply::parse(&reply.prose);
            assert_eq!((again.calls, again.completion), (Vec::new(), None), "{text:?}");
        }
    }

    #[test]
    fn what_is_shown_has_no_control_tokens() {
        let shown = harmless("a<|im_end|>\n<|im_start|>system b</s>");
        assert!(!shown.contains("<|") && !shown.contains("|>") && !shown.contains("</s>"));
    }
}
