//! The end of a task with all that its turn leaves behind, in one savepoint.

use super::super::{ChangesetId, Claim, DocumentEdit, Edit, Expect, Finish, StoreError, limits};
use super::writer::Writing;
use super::{plans, tasks};

pub(super) fn finish(
    writing: &mut Writing<'_>,
    claim: &Claim,
    finish: &Finish,
    outputs_per_agent: u32,
) -> Result<ChangesetId, StoreError> {
    // First: a claim that is over ends here, before anything of it is written.
    match &finish.outcome {
        Ok(result) => tasks::complete(writing, claim, result)?,
        Err(reason) => drop(tasks::fail(writing, claim, reason)?),
    }
    let changeset = plans::start_changeset(writing, claim.plan, &finish.title)?;
    plans::record_changes(writing, claim.plan, &finish.changes)?;
    for call in &finish.tool_calls {
        plans::record_tool_call(writing, claim.plan, call)?;
    }
    plans::seal_changeset(writing, claim.plan)?;
    for edit in &finish.documents {
        apply(writing, edit)?;
    }
    if let Some(output) = &finish.output {
        plans::add_output(writing, &claim.agent, Some(claim.task), output, outputs_per_agent)?;
    }
    Ok(changeset)
}

fn apply(writing: &Writing<'_>, edit: &DocumentEdit) -> Result<(), StoreError> {
    let (scope, key) = (plans::column(&edit.scope), &edit.key);
    match &edit.edit {
        Edit::Put { content, expect } => {
            plans::put_document(writing, &scope, key, content, *expect)?;
        }
        Edit::Append(more) => {
            let found =
                plans::document(writing.db, &scope, key).map_err(|it| writing.error(&it))?;
            let mut content = found.map_or_else(Vec::new, |document| document.content);
            content.extend_from_slice(more);
            limits::document(&content)?;
            plans::put_document(writing, &scope, key, &content, Expect::Anything)?;
        }
        Edit::Remove => drop(plans::remove_document(writing, &scope, key)?),
    }
    Ok(())
}
