//! The tools that an agent has.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::super::limit::Limit;
use super::Tool;

/// Characters of a tool's name.
const NAME: usize = 40;

/// A set of tools, each with its own name. Cheap to clone; what was measured of a tool's calls is shared by all
/// sets that it has come into from one.
#[derive(Clone, Default)]
pub struct Toolbox(Arc<Vec<Entry>>);

/// A tool, and how long its calls may take.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) tool: Arc<dyn Tool>,
    pub(super) limit: Arc<Limit>,
}

impl Entry {
    fn new(tool: impl Tool) -> Self {
        let limit = Limit::new(tool.least_time_limit(), tool.time_limit());
        Self { tool: Arc::new(tool), limit: Arc::new(limit) }
    }
}

/// A tool that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ToolboxError {
    /// Two tools with one name.
    #[error("two tools are called {name:?}; give one of them another name")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A name that cannot be asked for.
    #[error("a tool cannot be called {name:?}; use 1 to {NAME} letters, digits, '_' or '-'")]
    Name {
        /// The name.
        name: String,
    },
    /// A tool that was asked for and is not there.
    #[error("there is no tool {name:?}; there are {}", known.join(", "))]
    Unknown {
        /// The name.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
}

impl Toolbox {
    /// No tools.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tools that work on documents: [`list`](super::ListDocuments), [`read`](super::ReadDocument),
    /// [`write`](super::WriteDocument), [`append`](super::AppendDocument).
    pub fn documents() -> Self {
        use super::{AppendDocument, ListDocuments, ReadDocument, WriteDocument};
        Self(Arc::new(vec![
            Entry::new(ListDocuments),
            Entry::new(ReadDocument),
            Entry::new(WriteDocument),
            Entry::new(AppendDocument),
        ]))
    }

    /// The same with one more.
    ///
    /// # Errors
    /// [`ToolboxError`] when its name is there already or cannot be asked for.
    pub fn with(mut self, tool: impl Tool) -> Result<Self, ToolboxError> {
        let name = tool.name();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || name.len() > NAME || !name.chars().all(plain) {
            return Err(ToolboxError::Name { name: name.chars().take(NAME).collect() });
        }
        if self.get(name).is_some() {
            return Err(ToolboxError::Duplicate { name: name.to_owned() });
        }
        Arc::make_mut(&mut self.0).push(Entry::new(tool));
        Ok(self)
    }

    /// Of these tools the ones with these names, in this order.
    ///
    /// # Errors
    /// [`ToolboxError::Unknown`].
    pub fn only<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Self, ToolboxError> {
        let mut tools: Vec<Entry> = Vec::new();
        for name in names {
            let known = || self.names().map(str::to_owned).collect();
            let found = self
                .entry(name)
                .ok_or_else(|| ToolboxError::Unknown { name: name.to_owned(), known: known() })?;
            if !tools.iter().any(|entry| entry.tool.name() == name) {
                tools.push(found.clone());
            }
        }
        Ok(Self(Arc::new(tools)))
    }

    /// The tool with this name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Tool>> {
        self.entry(name).map(|entry| &entry.tool)
    }

    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.tool.name() == name)
    }

    /// How long the next call of the tool with this name may take.
    pub fn time_limit(&self, name: &str) -> Option<Duration> {
        self.entry(name).map(|entry| entry.limit.now())
    }

    /// The tools, in the order in which they came.
    pub fn tools(&self) -> impl Iterator<Item = &Arc<dyn Tool>> {
        self.0.iter().map(|entry| &entry.tool)
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tools().map(|tool| tool.name())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Toolbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::ReadDocument;
    use super::super::scripted::Scripted;
    use super::*;

    #[test]
    fn names_are_plain_and_there_once() {
        let tools = Toolbox::documents();
        assert_eq!(tools.names().collect::<Vec<_>>(), ["list", "read", "write", "append"]);
        let twice = tools.clone().with(ReadDocument).unwrap_err();
        assert_eq!(twice, ToolboxError::Duplicate { name: "read".into() });
        for name in ["", "two words", "a\nb", "ü", &*"x".repeat(41)] {
            let refused = tools.clone().with(Scripted::reading(name, |_| Ok(String::new())));
            assert!(matches!(refused, Err(ToolboxError::Name { .. })), "{name:?}");
        }
        let some = tools.only(["write", "read", "write"]).unwrap();
        assert_eq!(some.names().collect::<Vec<_>>(), ["write", "read"]);
        let unknown = tools.only(["write", "shell"]).unwrap_err().to_string();
        assert_eq!(unknown, "there is no tool \"shell\"; there are list, read, write, append");
    }
}
