//! A plan as a file: agents, tasks, what they wait for, and how they are gone about.
//!
//! ```toml
//! name = "release"
//! instructions = "You write short, plain sentences."
//!
//! [[agent]]
//! name = "ada"
//! kind = "writer"                  # or nothing: tasks for anybody
//!
//! [[task]]
//! key = "notes"
//! do = "Write what is new."
//! agent = "writer"                 # the kind of agent that may do it
//! priority = "high"                # low, normal, high, critical
//! max_tokens = 60                  # of each reply
//! steps = [["list"], ["write notes:"]]  # or guide = "grammar" or "free"
//!
//! [[task]]
//! key = "ship"
//! do = "Say that it is shipped."
//! after = ["notes"]
//! guide = "free"
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use thiserror::Error;

use super::super::tools::{Toolbox, ToolboxError};
use super::super::turn::{Guide, Manner, StepError};
use crate::engine::Priority as Urgency;
use crate::store::{ANY_AGENT, NewTask, Priority, StoreError, check_tasks};

/// Bytes of a plan file.
const LONGEST: u64 = 1 << 20;

/// A plan, read and checked: its tasks can be done in some order, by agents that there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanFile {
    /// The plan's name.
    pub name: String,
    /// What every agent is told about its part.
    pub instructions: Option<String>,
    /// The agents; at least one.
    pub agents: Vec<PlanAgent>,
    /// The tasks; at least one.
    pub tasks: Vec<PlanTask>,
}

/// An agent of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanAgent {
    /// Its name.
    pub name: String,
    /// What kind of tasks it does, beside those for anybody.
    #[serde(default = "anybody")]
    pub kind: String,
}

/// A task of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanTask {
    /// What is stored of it.
    pub task: NewTask,
    /// How much of the way is prescribed.
    pub guide: Guide,
    /// Tools that it may use; all of them unless it says which.
    pub tools: Option<Vec<String>>,
    /// Rounds that it may take; as many as its steps and a last one, or 8, unless it says how many.
    pub rounds: u32,
    /// Tokens of a reply; 128 unless it says how many.
    pub max_tokens: u32,
}

/// Why a file is no plan.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PlanFileError {
    /// It cannot be read.
    #[error("{}: {source}; name a plan in TOML", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is too long to be one.
    #[error("{} has more than {LONGEST} bytes; name a plan in TOML", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// It is not written as a plan is.
    #[error("this is no plan: {0}")]
    Syntax(#[from] toml::de::Error),
    /// It has no agents, or no tasks.
    #[error("the plan has no {what}; add a [[{table}]]")]
    Empty {
        /// What is missing.
        what: &'static str,
        /// The table to add.
        table: &'static str,
    },
    /// Two agents with one name.
    #[error("two agents are called {name:?}; name them apart")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// Tasks that cannot be stored: hostile names, circles, unknown dependencies.
    #[error(transparent)]
    Tasks(#[from] StoreError),
    /// A task that no agent does.
    #[error(
        "task {task:?} is for {kind:?}, and no agent is of this kind; add one, or leave it out"
    )]
    NobodyFor {
        /// The task.
        task: String,
        /// What kind of agent it is for.
        kind: String,
    },
    /// A number that cannot be.
    #[error("task {task:?}: {setting} is 0; give it at least 1, or leave it out")]
    Zero {
        /// The task.
        task: String,
        /// The setting.
        setting: &'static str,
    },
    /// Two ways to go about one task.
    #[error("task {task:?} has both steps and a guide; leave one of them out")]
    TwoGuides {
        /// The task.
        task: String,
    },
    /// A step that cannot be taken.
    #[error("task {task:?}, {source}")]
    Step {
        /// The task.
        task: String,
        /// What is wrong with it.
        source: StepError,
    },
    /// A tool that is not there.
    #[error("task {task:?}: {source}")]
    Tool {
        /// The task.
        task: String,
        /// What there is.
        source: ToolboxError,
    },
}

fn anybody() -> String {
    ANY_AGENT.to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    instructions: Option<String>,
    #[serde(default)]
    agent: Vec<PlanAgent>,
    #[serde(default)]
    task: Vec<Task>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Task {
    key: String,
    #[serde(rename = "do")]
    description: String,
    #[serde(default = "anybody")]
    agent: String,
    #[serde(default)]
    priority: Rank,
    #[serde(default)]
    after: Vec<String>,
    steps: Option<Vec<Vec<String>>>,
    guide: Option<Kind>,
    tools: Option<Vec<String>>,
    rounds: Option<u32>,
    max_tokens: Option<u32>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Rank {
    Low,
    #[default]
    Normal,
    High,
    Critical,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Free,
    Grammar,
}

impl PlanFile {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`PlanFileError`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self, PlanFileError> {
        let path = path.as_ref();
        let unreadable = |source| PlanFileError::Unreadable { path: path.to_owned(), source };
        let file = fs::metadata(path).map_err(unreadable)?;
        if !file.is_file() {
            // A pipe would be waited for.
            let source = io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file");
            return Err(PlanFileError::Unreadable { path: path.to_owned(), source });
        }
        if file.len() > LONGEST {
            return Err(PlanFileError::TooLong { path: path.to_owned() });
        }
        fs::read_to_string(path).map_err(unreadable)?.parse()
    }

    /// The tasks as a store takes them.
    pub fn new_tasks(&self) -> Vec<NewTask> {
        self.tasks.iter().map(|task| task.task.clone()).collect()
    }

    /// How `key` is gone about, with the rest as in `otherwise`; `None` when it is no task of the plan.
    ///
    /// # Errors
    /// [`PlanFileError::Tool`], [`PlanFileError::Step`] when it wants tools that are not there.
    pub fn manner(&self, key: &str, otherwise: &Manner) -> Result<Option<Manner>, PlanFileError> {
        let Some(task) = self.tasks.iter().find(|task| task.task.key == key) else {
            return Ok(None);
        };
        let named = || key.to_owned();
        let tools = match &task.tools {
            None => otherwise.tools.clone(),
            Some(names) => otherwise
                .tools
                .only(names.iter().map(String::as_str))
                .map_err(|source| PlanFileError::Tool { task: named(), source })?,
        };
        let manner = Manner {
            instructions: self.instructions.as_ref().unwrap_or(&otherwise.instructions).clone(),
            tools,
            guide: task.guide.clone(),
            rounds: task.rounds,
            max_tokens: task.max_tokens,
            priority: urgency(task.task.priority),
            ..otherwise.clone()
        };
        manner.check().map_err(|source| PlanFileError::Step { task: named(), source })?;
        Ok(Some(manner))
    }

    /// Whether all tasks can be gone about with these tools.
    ///
    /// # Errors
    /// As [`manner`](Self::manner).
    pub fn check(&self, tools: &Toolbox) -> Result<(), PlanFileError> {
        let manner = Manner { tools: tools.clone(), ..Manner::default() };
        self.tasks.iter().try_for_each(|task| self.manner(&task.task.key, &manner).map(drop))
    }
}

/// An urgent task's requests are urgent. The engine has no rank above high.
fn urgency(priority: Priority) -> Urgency {
    match priority {
        Priority::Low => Urgency::Low,
        Priority::Normal => Urgency::Normal,
        Priority::High | Priority::Critical => Urgency::High,
    }
}

impl FromStr for PlanFile {
    type Err = PlanFileError;

    fn from_str(text: &str) -> Result<Self, PlanFileError> {
        let File { name, instructions, agent: agents, task } = toml::from_str(text)?;
        if agents.is_empty() {
            return Err(PlanFileError::Empty { what: "agents", table: "agent" });
        }
        if task.is_empty() {
            return Err(PlanFileError::Empty { what: "tasks", table: "task" });
        }
        for (place, agent) in agents.iter().enumerate() {
            if agents[..place].iter().any(|other| other.name == agent.name) {
                return Err(PlanFileError::Duplicate { name: agent.name.clone() });
            }
        }
        let tasks = task.into_iter().map(Task::checked).collect::<Result<Vec<_>, _>>()?;
        let plan = Self { name, instructions, agents, tasks };
        check_tasks(&plan.name, &plan.new_tasks())?;
        for PlanTask { task, .. } in &plan.tasks {
            let kind = &task.agent_type;
            if kind != ANY_AGENT && !plan.agents.iter().any(|agent| agent.kind == *kind) {
                let (task, kind) = (task.key.clone(), kind.clone());
                return Err(PlanFileError::NobodyFor { task, kind });
            }
        }
        Ok(plan)
    }
}

impl Task {
    fn checked(self) -> Result<PlanTask, PlanFileError> {
        for (setting, number) in [("rounds", self.rounds), ("max_tokens", self.max_tokens)] {
            if number == Some(0) {
                return Err(PlanFileError::Zero { task: self.key, setting });
            }
        }
        let rounds = self.steps.as_ref().map_or(8, |steps| steps.len() as u32 + 1);
        let guide = match (self.steps, self.guide) {
            (Some(_), Some(_)) => return Err(PlanFileError::TwoGuides { task: self.key }),
            (Some(steps), None) => Guide::Steps(steps),
            (None, Some(Kind::Free)) => Guide::Free,
            (None, Some(Kind::Grammar) | None) => Guide::Grammar,
        };
        let mut task = NewTask::new(self.key, self.description).for_type(self.agent);
        task.depends_on = self.after;
        task.priority = match self.priority {
            Rank::Low => Priority::Low,
            Rank::Normal => Priority::Normal,
            Rank::High => Priority::High,
            Rank::Critical => Priority::Critical,
        };
        Ok(PlanTask {
            task,
            guide,
            tools: self.tools,
            rounds: self.rounds.unwrap_or(rounds),
            max_tokens: self.max_tokens.unwrap_or(128),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: &str = "name = \"p\"\n[[agent]]\nname = \"ada\"\nkind = \"writer\"\n";

    fn plan(tasks: &str) -> Result<PlanFile, PlanFileError> {
        format!("{AGENT}{tasks}").parse()
    }

    #[test]
    fn a_plan_says_who_does_what_when_and_how() {
        let plan = plan(
            "[[task]]\nkey = \"a\"\ndo = \"A.\"\nagent = \"writer\"\npriority = \"critical\"\n\
             steps = [[\"list\", \"read x\"], [\"write a:\"]]\nmax_tokens = 9\n\
             [[task]]\nkey = \"b\"\ndo = \"B.\"\nafter = [\"a\"]\nguide = \"free\"\ntools = [\"read\"]\n",
        )
        .unwrap();
        plan.check(&Toolbox::documents()).unwrap();
        let [a, b] = &plan.new_tasks()[..] else { panic!("two tasks") };
        assert_eq!((a.priority, a.agent_type.as_str()), (Priority::Critical, "writer"));
        assert_eq!((b.priority, &b.depends_on), (Priority::Normal, &vec!["a".to_owned()]));
        let manner = |key| plan.manner(key, &Manner::default()).unwrap();
        let a = manner("a").unwrap();
        assert_eq!((a.rounds, a.max_tokens, a.priority), (3, 9, Urgency::High));
        let b = manner("b").unwrap();
        assert_eq!((b.guide, b.tools.names().collect::<Vec<_>>()), (Guide::Free, vec!["read"]));
        assert!(manner("c").is_none());
    }

    #[test]
    fn case_37_what_is_no_plan_says_what_to_do() {
        let task = |rest: &str| format!("[[task]]\nkey = \"a\"\ndo = \"A.\"\n{rest}");
        let long = format!("[[task]]\nkey = \"{}\"\ndo = \"A.\"\n", "x".repeat(101));
        for (tasks, words) in [
            (String::new(), &["no tasks", "[[task]]"][..]),
            (task("after = [\"a\"]"), &["a -> a", "take out"]),
            (task("after = [\"b\"]"), &["\"b\"", "not in its plan"]),
            (task("") + &task(""), &["two tasks", "\"a\""]),
            (task("") + "[[task]]\nkey = \"../b\"\ndo = \"B.\"\n", &["../b"]),
            (long, &["longer than 100"]),
            (task("agent = \"coder\""), &["\"coder\"", "no agent"]),
            (task("rounds = 0"), &["rounds is 0"]),
            (task("guide = \"free\"\nsteps = []"), &["both steps and a guide"]),
            (task("guide = \"whatever\""), &["whatever", "line 8"]),
            (task("colour = \"red\""), &["colour"]),
            ("[[task]".to_owned(), &["no plan"]),
        ] {
            let said = plan(&tasks).unwrap_err().to_string();
            for word in words {
                assert!(said.contains(word), "{said:?} lacks {word:?}");
            }
        }
        let nobody = "name = \"p\"\n[[task]]\nkey = \"a\"\ndo = \"A.\"".parse::<PlanFile>();
        assert!(nobody.unwrap_err().to_string().contains("no agents"));
        let twice = format!("{AGENT}[[agent]]\nname = \"ada\"\n{}", task("")).parse::<PlanFile>();
        assert!(twice.unwrap_err().to_string().contains("two agents"));
    }

    #[test]
    fn steps_and_tools_must_be_there() {
        let check = |rest: &str| {
            let plan = plan(&format!("[[task]]\nkey = \"a\"\ndo = \"A.\"\n{rest}")).unwrap();
            plan.check(&Toolbox::documents()).map_err(|error| error.to_string())
        };
        assert!(
            check("steps = [[\"shell rm\"]]").unwrap_err().contains("step 1: there is no tool")
        );
        assert!(check("steps = [[\"list\"], []]").unwrap_err().contains("step 2 is empty"));
        assert!(check("tools = [\"shell\"]").unwrap_err().contains("\"a\": there is no tool"));
        check("steps = []").unwrap();
    }

    #[test]
    fn files_that_cannot_be_read_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.toml");
        let refused = |word: &str| {
            let said = PlanFile::read(&path).unwrap_err().to_string();
            assert!(said.contains(word) && said.contains("plan.toml"), "{said}");
        };
        refused("o such file");
        fs::write(&path, b"\xff\xfe").unwrap();
        refused("UTF-8");
        fs::write(&path, vec![b'#'; LONGEST as usize + 1]).unwrap();
        refused("more than");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        refused("no regular file");
    }
}
