//! Tools that work on the documents of a plan, a task, an agent, or everybody.

use super::super::documents::Documents;
use super::super::protocol::{alternatives_rule, line_rule, literal};
use super::{Access, Call, Tool, ToolError};

/// `read NAME`: what a document says.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadDocument;

/// `list`: which documents there are.
#[derive(Debug, Clone, Copy, Default)]
pub struct ListDocuments;

/// `write NAME: TEXT`: a document from now on says this.
#[derive(Debug, Clone, Copy, Default)]
pub struct WriteDocument;

/// `append NAME: TEXT`: a document says this, too, on a line of its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct AppendDocument;

impl Tool for ReadDocument {
    fn name(&self) -> &'static str {
        "read"
    }

    fn usage(&self) -> &'static str {
        "NAME: shows the document of that name"
    }

    fn access(&self) -> Access {
        Access::Read
    }

    /// The documents that there are.
    fn argument_rule(&self, documents: &Documents) -> String {
        let names = documents.list().unwrap_or_default();
        alternatives_rule(&names).unwrap_or_else(|| line_rule(1, 60))
    }

    fn call(&self, call: &mut Call) -> Result<String, ToolError> {
        let name = call.argument().trim().to_owned();
        let found = call.read(&name)?;
        found.ok_or_else(|| ToolError::Failed(format!("there is no document {name:?}")))
    }
}

impl Tool for ListDocuments {
    fn name(&self) -> &'static str {
        "list"
    }

    fn usage(&self) -> &'static str {
        "- shows the names of all documents"
    }

    fn access(&self) -> Access {
        Access::Read
    }

    fn argument_rule(&self, _documents: &Documents) -> String {
        literal("all")
    }

    fn call(&self, call: &mut Call) -> Result<String, ToolError> {
        let names = call.list()?;
        Ok(if names.is_empty() { "no documents".to_owned() } else { names.join(", ") })
    }
}

impl Tool for WriteDocument {
    fn name(&self) -> &'static str {
        "write"
    }

    fn usage(&self) -> &'static str {
        "NAME: TEXT - writes the document of that name"
    }

    fn access(&self) -> Access {
        Access::Write
    }

    fn argument_rule(&self, _documents: &Documents) -> String {
        named_line_rule()
    }

    fn call(&self, call: &mut Call) -> Result<String, ToolError> {
        let (name, text) = named(call, self)?;
        call.documents()?.write(&name, text.into_bytes())?;
        Ok(format!("{name} is written"))
    }
}

impl Tool for AppendDocument {
    fn name(&self) -> &'static str {
        "append"
    }

    fn usage(&self) -> &'static str {
        "NAME: TEXT - adds a line to the document of that name"
    }

    fn access(&self) -> Access {
        Access::Write
    }

    fn argument_rule(&self, _documents: &Documents) -> String {
        named_line_rule()
    }

    fn call(&self, call: &mut Call) -> Result<String, ToolError> {
        let (name, text) = named(call, self)?;
        call.documents()?.append(&name, format!("{text}\n").into_bytes())?;
        Ok(format!("{name} has one line more"))
    }
}

fn named_line_rule() -> String {
    format!("[a-z] [a-z0-9_-]{{0,30}} \": \" {}", line_rule(1, 300))
}

/// `NAME: TEXT` in its parts.
fn named(call: &Call, tool: &dyn Tool) -> Result<(String, String), ToolError> {
    let wrong = |problem: &str| ToolError::Argument {
        problem: problem.to_owned(),
        usage: format!("{} {}", tool.name(), tool.usage()),
    };
    let (name, text) = call
        .argument()
        .split_once(':')
        .ok_or_else(|| wrong("a colon is missing after the name"))?;
    let (name, text) = (name.trim(), text.trim());
    if name.is_empty() {
        return Err(wrong("the name is missing"));
    }
    if text.is_empty() {
        return Err(wrong("the text is missing"));
    }
    Ok((name.to_owned(), text.to_owned()))
}
