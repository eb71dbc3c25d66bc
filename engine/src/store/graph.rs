//! Which tasks wait for which: every name known, no two the same, no cycle (case 37). The core's graph of
//! tasks decides that; this is its answer in the words of a store.

use std::collections::HashMap;

use latchless::{GraphError, TaskGraph};

use super::{NewTask, StoreError, limits};

/// Positions of the dependencies of each task, or why the plan makes no sense.
pub(super) fn resolve(tasks: &[NewTask]) -> Result<Vec<Vec<usize>>, StoreError> {
    let mut graph = TaskGraph::new();
    let mut positions = HashMap::with_capacity(tasks.len());
    for (position, task) in tasks.iter().enumerate() {
        limits::name("task", &task.key)?;
        limits::name("agent type", &task.agent_type)?;
        limits::text("the task", &task.description)?;
        graph.add(&task.key, latchless::NewTask::new(()), &task.depends_on);
        positions.insert(task.key.as_str(), position);
    }
    graph.check()?;
    let edges = tasks.iter().map(|task| {
        let known = |key: &String| positions.get(key.as_str()).copied();
        let mut on: Vec<usize> = task.depends_on.iter().filter_map(known).collect();
        on.sort_unstable();
        on.dedup();
        on
    });
    Ok(edges.collect())
}

impl From<GraphError> for StoreError {
    fn from(error: GraphError) -> Self {
        match error {
            GraphError::Duplicate { task } => Self::DuplicateTask { key: task },
            GraphError::Unknown { task, dependency } => {
                Self::UnknownDependency { task, dependency }
            }
            GraphError::Circular { mut cycle } => {
                cycle.extend(cycle.first().cloned());
                Self::Circular { cycle }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(tasks: &[(&str, &[&str])]) -> Vec<NewTask> {
        let depends = |(key, on): &(&str, &[&str])| {
            on.iter().fold(NewTask::new(*key, "x"), |task, on| task.after(*on))
        };
        tasks.iter().map(depends).collect()
    }

    #[test]
    fn a_cycle_is_named() {
        let tasks = plan(&[("a", &["b"]), ("b", &["d", "c"]), ("c", &["b"]), ("d", &[])]);
        let error = resolve(&tasks).unwrap_err();
        assert!(error.to_string().contains("b -> c -> b;"), "{error}");
        let error = resolve(&plan(&[("me", &["me"])])).unwrap_err();
        assert!(error.to_string().contains("me -> me"), "{error}");
    }

    #[test]
    fn unknown_and_doubled_names_are_refused() {
        let error = resolve(&plan(&[("a", &["b"])])).unwrap_err();
        assert!(matches!(error, StoreError::UnknownDependency { .. }), "{error}");
        let error = resolve(&plan(&[("a", &[]), ("a", &[])])).unwrap_err();
        assert!(matches!(error, StoreError::DuplicateTask { .. }), "{error}");
    }

    #[test]
    fn diamonds_and_long_chains_are_no_cycles() {
        let diamond = [("a", &["b", "c"][..]), ("b", &["d"]), ("c", &["d", "d"]), ("d", &[])];
        assert_eq!(resolve(&plan(&diamond)).unwrap(), [vec![1, 2], vec![3], vec![3], vec![]]);
        let mut chain = vec![NewTask::new("0", "x")];
        for number in 1..20_000 {
            chain.push(NewTask::new(number.to_string(), "x").after((number - 1).to_string()));
        }
        assert_eq!(resolve(&chain).unwrap().len(), 20_000);
        chain[0].depends_on.push("19999".into());
        let Err(StoreError::Circular { cycle }) = resolve(&chain) else { panic!("no cycle") };
        assert_eq!(cycle.len(), 20_001);
    }
}
