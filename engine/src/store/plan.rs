//! Plans, and what agents did for them: changes and tool calls by changeset; outputs; documents.

use super::{ChangesetId, PlanId, TaskId};

/// A plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The plan.
    pub id: PlanId,
    /// Its name.
    pub name: String,
}

/// One change: what was done to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// For example `"create"`, `"edit"`.
    pub kind: String,
    /// What was changed. It is a label, not a path that anybody follows.
    pub target: String,
    /// The change itself.
    pub body: String,
}

/// One call of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// The tool.
    pub tool: String,
    /// What it was asked, in its own form.
    pub arguments: String,
    /// What it answered: a failure is an answer too.
    pub result: Result<String, String>,
}

/// What belongs together, in the order in which it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changeset {
    /// The changeset.
    pub id: ChangesetId,
    /// What it is about.
    pub title: String,
    /// Whether it is closed: nothing is added any more.
    pub sealed: bool,
    /// Its changes.
    pub changes: Vec<Change>,
    /// Its tool calls.
    pub tool_calls: Vec<ToolCall>,
}

/// What an agent has put out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Grows with every output of the store.
    pub number: i64,
    /// For which task, if any.
    pub task: Option<TaskId>,
    /// The text.
    pub text: String,
}

/// Whom a document is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Everybody.
    Shared,
    /// Whoever works at a plan.
    Plan(PlanId),
    /// Whoever works at a task.
    Task(TaskId),
    /// One agent.
    Agent(String),
}

/// What must be there for a document to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expect {
    /// Whatever there is goes.
    #[default]
    Anything,
    /// Nothing.
    Absent,
    /// This version: nobody has written since it was read.
    Version(u64),
}

/// A document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its name.
    pub key: String,
    /// Grows by one with every write, from 1; goes on where it was when the document was removed and
    /// written again.
    pub version: u64,
    /// What it says.
    pub content: Vec<u8>,
}

/// A change to a document that is made together with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentEdit {
    /// Whom the document is for.
    pub scope: Scope,
    /// Its name.
    pub key: String,
    /// What happens to it.
    pub edit: Edit,
}

/// What happens to a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// It is written whole.
    Put {
        /// What it says from now on.
        content: Vec<u8>,
        /// What must be there before.
        expect: Expect,
    },
    /// This is added at its end, whoever has written it meanwhile; it begins with this if it is not there.
    Append(Vec<u8>),
    /// It goes, if it is there.
    Remove,
}

/// All that a turn leaves behind. It is stored together with the end of its task: whole, or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    /// The result, or why the task is given up.
    pub outcome: Result<String, String>,
    /// What the turn's changeset is about.
    pub title: String,
    /// Its changes, in order.
    pub changes: Vec<Change>,
    /// Its tool calls, in order.
    pub tool_calls: Vec<ToolCall>,
    /// What happens to documents, in order.
    pub documents: Vec<DocumentEdit>,
    /// What the agent has put out.
    pub output: Option<String>,
}

impl Finish {
    /// The end of a task that leaves nothing else behind.
    pub fn new(outcome: Result<String, String>) -> Self {
        Self {
            outcome,
            title: String::new(),
            changes: Vec::new(),
            tool_calls: Vec::new(),
            documents: Vec::new(),
            output: None,
        }
    }
}
