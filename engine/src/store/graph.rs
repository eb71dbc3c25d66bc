//! Which tasks wait for which: every name known, no two the same, no cycle (case 37).

use std::collections::HashMap;

use super::{NewTask, StoreError, limits};

/// Positions of the dependencies of each task, or why the plan makes no sense.
pub(super) fn resolve(tasks: &[NewTask]) -> Result<Vec<Vec<usize>>, StoreError> {
    let mut positions = HashMap::with_capacity(tasks.len());
    for (position, task) in tasks.iter().enumerate() {
        limits::name("task", &task.key)?;
        limits::name("agent type", &task.agent_type)?;
        limits::text("the task", &task.description)?;
        if positions.insert(task.key.as_str(), position).is_some() {
            return Err(StoreError::DuplicateTask { key: task.key.clone() });
        }
    }
    let mut edges = Vec::with_capacity(tasks.len());
    for task in tasks {
        let mut on = Vec::with_capacity(task.depends_on.len());
        for dependency in &task.depends_on {
            let Some(position) = positions.get(dependency.as_str()) else {
                let (task, dependency) = (task.key.clone(), dependency.clone());
                return Err(StoreError::UnknownDependency { task, dependency });
            };
            on.push(*position);
        }
        on.sort_unstable();
        on.dedup();
        edges.push(on);
    }
    match cycle(&edges) {
        None => Ok(edges),
        Some(cycle) => {
            let cycle = cycle.into_iter().map(|position| tasks[position].key.clone()).collect();
            Err(StoreError::Circular { cycle })
        }
    }
}

/// A cycle, first and last the same; depth first, on a stack of our own: a plan may be one long chain.
fn cycle(edges: &[Vec<usize>]) -> Option<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        Never,
        OnPath,
        Done,
    }
    let mut seen = vec![Seen::Never; edges.len()];
    for start in 0..edges.len() {
        if seen[start] != Seen::Never {
            continue;
        }
        seen[start] = Seen::OnPath;
        let mut path = vec![(start, 0)];
        while let Some((task, next)) = path.last_mut() {
            let Some(on) = edges[*task].get(*next).copied() else {
                seen[*task] = Seen::Done;
                path.pop();
                continue;
            };
            *next += 1;
            match seen[on] {
                Seen::Done => {}
                Seen::Never => {
                    seen[on] = Seen::OnPath;
                    path.push((on, 0));
                }
                Seen::OnPath => {
                    let tasks = path.iter().map(|(task, _)| *task);
                    return Some(tasks.skip_while(|task| *task != on).chain([on]).collect());
                }
            }
        }
    }
    None
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
