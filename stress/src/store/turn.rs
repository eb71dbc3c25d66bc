//! What an agent leaves behind at the end of a task, and how to tell that it is whole.

use latchless_engine::store::{
    Change, DocumentEdit, Edit, Expect, Finish, NewTask, PlanId, Scope, TaskId, ToolCall,
};

/// Tasks of each plan.
pub(super) const TASKS: usize = 12;
/// Of so many, each waits for the one before.
pub(super) const CHAIN: usize = 3;
/// Changes that are recorded together, and those of a turn.
pub(super) const CHANGES: usize = 3;
/// Tool calls of a turn.
pub(super) const CALLS: usize = 2;
/// The document of a task, which the end of its turn writes.
pub(super) const REPORT: &str = "report";
/// The document of a plan, to which the end of each turn adds a line.
pub(super) const LOG: &str = "log";
/// The document that all agents add to.
pub(super) const NOTES: &str = "notes";

/// The tasks of a plan.
pub(super) fn tasks() -> Vec<NewTask> {
    let task = |number: usize| {
        let task = NewTask::new(number.to_string(), "count");
        if waits(number) { task.after((number - 1).to_string()) } else { task }
    };
    (0..TASKS).map(task).collect()
}

/// Whether a task of a plan waits for the one before.
pub(super) fn waits(number: usize) -> bool {
    !number.is_multiple_of(CHAIN)
}

/// What a turn is known by.
pub(super) fn title(task: i64, attempt: u32) -> String {
    format!("{task}:{attempt}")
}

/// All that a turn leaves behind.
pub(super) fn end(plan: PlanId, task: TaskId, attempt: u32, bytes: usize) -> Finish {
    let title = title(task.0, attempt);
    let put = |content| Edit::Put { content, expect: Expect::Anything };
    let documents = vec![
        DocumentEdit {
            scope: Scope::Task(task),
            key: REPORT.into(),
            edit: put(report(&title, bytes)),
        },
        DocumentEdit {
            scope: Scope::Plan(plan),
            key: LOG.into(),
            edit: Edit::Append(format!("{title}\n").into_bytes()),
        },
    ];
    Finish {
        title: title.clone(),
        changes: changes(&title),
        tool_calls: (0..CALLS).map(|call| self::call(&format!("{title} {call}"))).collect(),
        documents,
        output: Some(title.clone()),
        ..Finish::new(Ok(title))
    }
}

/// Changes that belong together.
pub(super) fn changes(mark: &str) -> Vec<Change> {
    let change = |number: usize| Change {
        kind: "edit".into(),
        target: mark.into(),
        body: number.to_string(),
    };
    (0..CHANGES).map(change).collect()
}

/// A call that is known by a mark.
pub(super) fn call(mark: &str) -> ToolCall {
    ToolCall { tool: "probe".into(), arguments: mark.into(), result: Ok(String::new()) }
}

/// A document in which half of another one shows, and of which none is the beginning of another.
pub(super) fn report(title: &str, bytes: usize) -> Vec<u8> {
    let times = 1 + bytes / (title.len() + 1);
    format!("{times} {}", format!("{title};").repeat(times)).into_bytes()
}

/// Whether a report is a whole one of this turn.
pub(super) fn is_report(title: &str, found: &[u8]) -> bool {
    let times = str::from_utf8(found).ok().and_then(|text| text.split_once(' '));
    times.is_some_and(|(times, text)| {
        times.parse().is_ok_and(|times: usize| text == format!("{title};").repeat(times))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_report_is_none() {
        let whole = report("7:1", 100);
        assert!(is_report("7:1", &whole));
        assert!(!is_report("7:2", &whole));
        for end in 0..whole.len() {
            assert!(!is_report("7:1", &whole[..end]), "{end}");
        }
        let mut torn = whole;
        torn[50..54].copy_from_slice(b"7:2;");
        assert!(!is_report("7:1", &torn));
    }
}
