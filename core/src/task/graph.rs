//! Tasks that depend on each other, before they come into a queue.

use std::collections::HashMap;

use thiserror::Error;

use super::NewTask;

/// Tasks with names, some of which depend on others: a plan.
///
/// Names may be used before they are defined. What cannot be carried out is refused as a whole when the
/// graph is [checked](Self::check) or [submitted](super::TaskQueue::submit_graph).
///
/// ```
/// use latchless::{GraphError, NewTask, TaskGraph};
///
/// let mut graph = TaskGraph::new();
/// graph.add("test", NewTask::new("run the tests"), ["write"]);
/// graph.add("write", NewTask::new("write the code"), ["test"]);
/// let error = graph.check().unwrap_err();
/// assert_eq!(error, GraphError::Circular { cycle: vec!["test".into(), "write".into()] });
/// assert!(error.to_string().starts_with("test → write → test is a circle"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskGraph<T> {
    pub(super) tasks: Vec<GraphTask<T>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GraphTask<T> {
    pub(super) name: String,
    pub(super) task: NewTask<T>,
    dependencies: Vec<String>,
}

/// Why a graph cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GraphError {
    /// Two tasks have one name.
    #[error("two tasks are called {task:?}; give one of them another name")]
    Duplicate {
        /// The name.
        task: String,
    },
    /// A task depends on one that is not there.
    #[error(
        "task {task:?} depends on {dependency:?}, which is not in the graph; add it, or correct the name"
    )]
    Unknown {
        /// The task.
        task: String,
        /// What it depends on.
        dependency: String,
    },
    /// Tasks wait for each other.
    #[error("{} is a circle, in which each depends on the next; take one of these dependencies out", Circle(.cycle))]
    Circular {
        /// The tasks of the circle, each of which depends on the next, and the last on the first.
        cycle: Vec<String>,
    },
}

struct Circle<'a>(&'a [String]);

impl std::fmt::Display for Circle<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for name in self.0 {
            write!(f, "{name} → ")?;
        }
        f.write_str(self.0.first().map_or("", String::as_str))
    }
}

/// For each task, the tasks that it depends on, by their places in the graph.
pub(super) type Edges = Vec<Vec<u32>>;

impl<T> Default for TaskGraph<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> TaskGraph<T> {
    /// An empty graph.
    pub fn new() -> Self {
        Self { tasks: Vec::new() }
    }

    /// Adds a task, and the names of those that must be completed before it begins.
    pub fn add<D: Into<String>>(
        &mut self,
        name: impl Into<String>,
        task: NewTask<T>,
        dependencies: impl IntoIterator<Item = D>,
    ) -> &mut Self {
        let dependencies = dependencies.into_iter().map(Into::into).collect();
        self.tasks.push(GraphTask { name: name.into(), task, dependencies });
        self
    }

    /// Tasks.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// The names, in the order in which they were added: that of the ids that submitting returns.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tasks.iter().map(|task| task.name.as_str())
    }

    /// Whether the graph can be carried out, in time proportional to its tasks and dependencies.
    ///
    /// # Errors
    /// [`GraphError`] with names.
    pub fn check(&self) -> Result<(), GraphError> {
        self.edges().map(drop)
    }

    pub(super) fn edges(&self) -> Result<Edges, GraphError> {
        let mut places = HashMap::with_capacity(self.tasks.len());
        for (place, task) in self.tasks.iter().enumerate() {
            if places.insert(task.name.as_str(), place as u32).is_some() {
                return Err(GraphError::Duplicate { task: task.name.clone() });
            }
        }
        let mut edges = Edges::with_capacity(self.tasks.len());
        for task in &self.tasks {
            let mut of_task = Vec::with_capacity(task.dependencies.len());
            for dependency in &task.dependencies {
                let place = places.get(dependency.as_str()).ok_or_else(|| GraphError::Unknown {
                    task: task.name.clone(),
                    dependency: dependency.clone(),
                })?;
                of_task.push(*place);
            }
            // Named twice is meant once.
            of_task.sort_unstable();
            of_task.dedup();
            edges.push(of_task);
        }
        match cycle(&edges) {
            None => Ok(edges),
            Some(cycle) => {
                let name = |place: u32| self.tasks[place as usize].name.clone();
                Err(GraphError::Circular { cycle: cycle.into_iter().map(name).collect() })
            }
        }
    }
}

/// For each task, the tasks that depend on it.
pub(super) fn dependents(edges: &Edges) -> Edges {
    let mut dependents = vec![Vec::new(); edges.len()];
    for (task, dependencies) in edges.iter().enumerate() {
        for dependency in dependencies {
            dependents[*dependency as usize].push(task as u32);
        }
    }
    dependents
}

/// A circle, if there is one: the tasks that are left when those without open dependencies are taken out
/// again and again (A. B. Kahn, 1962) all depend on another of them. No recursion: the graph may be deep.
fn cycle(edges: &Edges) -> Option<Vec<u32>> {
    let dependents = dependents(edges);
    let mut open: Vec<_> = edges.iter().map(Vec::len).collect();
    let mut free: Vec<_> = (0..edges.len()).filter(|task| open[*task] == 0).collect();
    while let Some(task) = free.pop() {
        for dependent in &dependents[task] {
            let dependent = *dependent as usize;
            open[dependent] -= 1;
            if open[dependent] == 0 {
                free.push(dependent);
            }
        }
    }
    let first = open.iter().position(|open| *open > 0)?;
    // From dependency to dependency among those that are left: some task comes again.
    let mut place_on_way = vec![None; edges.len()];
    let mut way = Vec::new();
    let mut task = first as u32;
    loop {
        if let Some(begin) = place_on_way[task as usize] {
            return Some(way.split_off(begin));
        }
        place_on_way[task as usize] = Some(way.len());
        way.push(task);
        task = *edges[task as usize].iter().find(|dependency| open[**dependency as usize] > 0)?;
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;

    fn graph(tasks: &[(&str, &[&str])]) -> TaskGraph<()> {
        let mut graph = TaskGraph::new();
        for (name, dependencies) in tasks {
            graph.add(*name, NewTask::new(()), dependencies.iter().copied());
        }
        graph
    }

    #[test]
    fn case_37_circles_are_named() {
        let graph =
            graph(&[("a", &["x"]), ("x", &["z"]), ("b", &["y"]), ("y", &["x"]), ("z", &["y"])]);
        let error = graph.check().unwrap_err();
        let cycle = ["x", "z", "y"].map(str::to_owned).to_vec();
        assert_eq!(error, GraphError::Circular { cycle });
        assert_eq!(
            error.to_string(),
            "x → z → y → x is a circle, in which each depends on the next; take one of these dependencies \
             out"
        );
    }

    #[test]
    fn a_task_that_waits_for_itself_is_a_circle() {
        let cycle = vec!["a".to_owned()];
        assert_eq!(graph(&[("a", &["a"])]).check(), Err(GraphError::Circular { cycle }));
    }

    #[test]
    fn names_must_be_there_once() {
        let unknown = GraphError::Unknown { task: "a".into(), dependency: "../b".into() };
        assert_eq!(graph(&[("a", &["../b"])]).check(), Err(unknown));
        let duplicate = GraphError::Duplicate { task: "a".into() };
        assert_eq!(graph(&[("a", &[]), ("b", &[]), ("a", &[])]).check(), Err(duplicate));
    }

    #[test]
    fn no_circle_is_seen_where_there_is_none() {
        assert_eq!(graph(&[]).check(), Ok(()));
        let diamond = graph(&[("d", &["b", "c", "b"]), ("b", &["a"]), ("c", &["a"]), ("a", &[])]);
        assert_eq!(diamond.edges().unwrap(), [vec![1, 2], vec![3], vec![3], vec![]]);
        assert_eq!(diamond.names().collect::<Vec<_>>(), ["d", "b", "c", "a"]);
    }

    /// A chain that would take more stack than there is, if this were recursive; and its circle.
    #[test]
    fn depth_is_no_danger() {
        const DEPTH: usize = 200_000;
        let mut chain: Edges = (0..DEPTH as u32).map(|task| vec![task + 1]).collect();
        chain.push(Vec::new());
        assert_eq!(cycle(&chain), None);
        chain[DEPTH].push(0);
        assert_eq!(cycle(&chain).map(|cycle| cycle.len()), Some(DEPTH + 1));
    }
}
