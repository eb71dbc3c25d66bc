//! Documents as a turn sees them: the store's, and on top of them what the turn has written and nobody else
//! sees before the turn has ended well.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::store::{
    Change, Claim, DocumentEdit, Edit, Expect, PlanId, Scope, Store, StoreError, TaskId, limits,
};

/// What one turn reads and has written. Cloning it copies what was written so far: a tool works on a copy,
/// which the turn takes over when the call ended in time, and drops when it did not.
///
/// A document that was read before it is written is only replaced if nobody else has replaced it meanwhile;
/// the turn's end is refused otherwise, and the next attempt reads it anew. What is appended is added to
/// whatever is there.
#[derive(Clone)]
pub struct Documents {
    store: Arc<dyn Store>,
    plan: PlanId,
    task: TaskId,
    agent: String,
    edits: Vec<DocumentEdit>,
    changes: Vec<Change>,
    /// Versions of the store's documents when they were first looked at; 0 of those that were not there.
    seen: Vec<(Scope, String, u64)>,
}

impl Documents {
    /// What `agent` sees when it begins to work at what it has claimed. Its own documents are kept under
    /// this name, whatever name the claim was made under.
    pub fn new(store: Arc<dyn Store>, claim: &Claim, agent: impl Into<String>) -> Self {
        let (edits, changes, seen) = (Vec::new(), Vec::new(), Vec::new());
        let (plan, task, agent) = (claim.plan, claim.task, agent.into());
        Self { store, plan, task, agent, edits, changes, seen }
    }

    /// A name as tools write it: `task/key`, `agent/key`, `shared/key` or `plan/key`; a key alone is the
    /// plan's.
    pub fn address<'a>(&self, name: &'a str) -> (Scope, &'a str) {
        match name.split_once('/') {
            Some(("task", key)) => (Scope::Task(self.task), key),
            Some(("agent", key)) => (Scope::Agent(self.agent.clone()), key),
            Some(("shared", key)) => (Scope::Shared, key),
            Some(("plan", key)) => (Scope::Plan(self.plan), key),
            // With its slash, which no key may have.
            _ => (Scope::Plan(self.plan), name),
        }
    }

    /// A document as this turn sees it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn read(&mut self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let (scope, key) = self.address(name);
        limits::key(&scope, key)?;
        let own = |edit: &&DocumentEdit| edit.scope == scope && edit.key == key;
        let whole = |edit: &DocumentEdit| !matches!(edit.edit, Edit::Append(_));
        let mine: Vec<_> = self.edits.iter().filter(own).collect();
        let mut content = if mine.iter().any(|edit| whole(edit)) {
            None
        } else {
            let found = self.store.document(&scope, key)?;
            let seen = self.seen.iter().any(|(of, name, _)| *of == scope && name == key);
            if !seen {
                let version = found.as_ref().map_or(0, |found| found.version);
                self.seen.push((scope.clone(), key.to_owned(), version));
            }
            found.map(|found| found.content)
        };
        for edit in mine {
            match &edit.edit {
                Edit::Put { content: new, .. } => content = Some(new.clone()),
                Edit::Append(more) => content.get_or_insert_default().extend_from_slice(more),
                Edit::Remove => content = None,
            }
        }
        Ok(content)
    }

    /// Names of the plan's documents, of the task's, the agent's and everybody's, as
    /// [`address`](Self::address) reads them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn list(&self) -> Result<Vec<String>, StoreError> {
        let mut names = BTreeSet::new();
        for (scope, prefix) in self.scopes() {
            let found = self.store.documents(&scope)?;
            let mut keys: BTreeSet<_> = found.into_iter().map(|(key, _)| key).collect();
            for edit in self.edits.iter().filter(|edit| edit.scope == scope) {
                match edit.edit {
                    Edit::Remove => drop(keys.remove(&edit.key)),
                    Edit::Put { .. } | Edit::Append(_) => drop(keys.insert(edit.key.clone())),
                }
            }
            names.extend(keys.into_iter().map(|key| format!("{prefix}{key}")));
        }
        Ok(names.into_iter().collect())
    }

    fn scopes(&self) -> [(Scope, &'static str); 4] {
        [
            (Scope::Plan(self.plan), ""),
            (Scope::Task(self.task), "task/"),
            (Scope::Agent(self.agent.clone()), "agent/"),
            (Scope::Shared, "shared/"),
        ]
    }

    /// Writes a document whole.
    ///
    /// # Errors
    /// [`StoreError::Name`], [`StoreError::TooLarge`]: nothing was written.
    pub fn write(&mut self, name: &str, content: Vec<u8>) -> Result<(), StoreError> {
        let (scope, key) = self.address(name);
        let expect = self.expect(&scope, key);
        let before = self.edits.len();
        self.edit("write", name, Edit::Put { content, expect })?;
        // It takes the place of what the turn did to the document before.
        let replaced = |edit: &DocumentEdit| edit.scope == scope && edit.key == key;
        let mut place = 0;
        self.edits.retain(|edit| {
            place += 1;
            place > before || !replaced(edit)
        });
        Ok(())
    }

    /// Adds to a document's end.
    ///
    /// # Errors
    /// As [`write`](Self::write). That the whole is too large shows when the turn ends.
    pub fn append(&mut self, name: &str, more: Vec<u8>) -> Result<(), StoreError> {
        self.edit("append", name, Edit::Append(more))
    }

    /// Removes a document, if it is there.
    ///
    /// # Errors
    /// [`StoreError::Name`].
    pub fn remove(&mut self, name: &str) -> Result<(), StoreError> {
        self.edit("remove", name, Edit::Remove)
    }

    /// Notes a change of something else than a document.
    ///
    /// # Errors
    /// [`StoreError::Name`], [`StoreError::TooLarge`].
    pub fn record(&mut self, change: Change) -> Result<(), StoreError> {
        limits::change(&change)?;
        self.changes.push(change);
        Ok(())
    }

    fn edit(&mut self, kind: &str, name: &str, edit: Edit) -> Result<(), StoreError> {
        let (scope, key) = self.address(name);
        let edit = DocumentEdit { scope, key: key.to_owned(), edit };
        limits::edit(&edit)?;
        let body = match &edit.edit {
            Edit::Put { content, .. } | Edit::Append(content) => {
                format!("{} bytes", content.len())
            }
            Edit::Remove => String::new(),
        };
        self.changes.push(Change { kind: kind.to_owned(), target: name.to_owned(), body });
        self.edits.push(edit);
        Ok(())
    }

    /// What must be there for a document to be replaced: what this turn saw of it first, if it did.
    fn expect(&self, scope: &Scope, key: &str) -> Expect {
        let of = |edit: &&DocumentEdit| edit.scope == *scope && edit.key == key;
        for edit in self.edits.iter().filter(of) {
            if let Edit::Put { expect, .. } = &edit.edit {
                return *expect;
            }
        }
        let seen = self.seen.iter().find(|(of, name, _)| of == scope && name == key);
        seen.map_or(Expect::Anything, |(_, _, version)| match version {
            0 => Expect::Absent,
            version => Expect::Version(*version),
        })
    }

    /// Edits so far.
    pub fn edits(&self) -> &[DocumentEdit] {
        &self.edits
    }

    /// Takes over what another copy has seen, without what it has written: calls that only read go on from
    /// the same copy at the same time.
    pub(crate) fn have_seen(&mut self, other: Self) {
        for (scope, key, version) in other.seen {
            if !self.seen.iter().any(|(of, name, _)| *of == scope && *name == key) {
                self.seen.push((scope, key, version));
            }
        }
    }

    /// The changes that were noted since they were last taken.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// What is to happen to the store's documents, in order.
    pub fn into_edits(self) -> Vec<DocumentEdit> {
        self.edits
    }
}

impl fmt::Debug for Documents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Documents")
            .field("plan", &self.plan)
            .field("task", &self.task)
            .field("agent", &self.agent)
            .field("edits", &self.edits.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::Durability::Durable;
    use crate::store::{Finish, NewTask, SqliteStore, StoreOptions};

    struct Fixture {
        store: Arc<dyn Store>,
        claim: Claim,
        _folder: tempfile::TempDir,
    }

    impl Fixture {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("agents.db");
            let store = SqliteStore::open(path, StoreOptions::default()).unwrap();
            store.create_plan("p", &[NewTask::new("t", "x")], Durable).unwrap();
            let claim = store.claim("a", "any", Duration::from_mins(1), Durable).unwrap().unwrap();
            store.start(&claim, Durable).unwrap();
            Self { store: Arc::new(store), claim, _folder: folder }
        }

        fn documents(&self) -> Documents {
            Documents::new(Arc::clone(&self.store), &self.claim, "a")
        }

        fn put(&self, key: &str, text: &str) {
            let scope = Scope::Plan(self.claim.plan);
            let anything = Expect::Anything;
            self.store.put_document(&scope, key, text.as_bytes(), anything, Durable).unwrap();
        }

        fn finish(&self, documents: Documents) -> Result<(), StoreError> {
            let documents = documents.into_edits();
            let finish = Finish { documents, ..Finish::new(Ok(String::new())) };
            self.store.finish(&self.claim, &finish, Durable).map(drop)
        }
    }

    #[test]
    fn a_turn_reads_what_it_wrote_and_nobody_else_does() {
        let fixture = Fixture::new();
        fixture.put("old", "one");
        let mut documents = fixture.documents();
        documents.append("old", b" two".into()).unwrap();
        documents.write("task/new", b"x".into()).unwrap();
        documents.write("gone", b"x".into()).unwrap();
        documents.remove("gone").unwrap();
        documents.append("gone", b"back".into()).unwrap();
        let mut read =
            |name| documents.read(name).unwrap().map(|it| String::from_utf8(it).unwrap());
        assert_eq!(read("old").as_deref(), Some("one two"));
        assert_eq!(read("plan/old").as_deref(), Some("one two"));
        assert_eq!(read("gone").as_deref(), Some("back"));
        assert_eq!(read("agent/new"), None);
        assert_eq!(documents.list().unwrap(), ["gone", "old", "task/new"]);
        assert_eq!(fixture.documents().list().unwrap(), ["old"]);
        let kinds: Vec<_> = documents.take_changes().into_iter().map(|it| it.kind).collect();
        assert_eq!(kinds, ["append", "write", "write", "remove", "append"]);
        fixture.finish(documents).unwrap();
        assert_eq!(fixture.documents().list().unwrap(), ["gone", "old", "task/new"]);
        assert_eq!(fixture.documents().read("old").unwrap().unwrap(), b"one two");
    }

    #[test]
    fn what_was_read_is_only_replaced_if_it_is_still_the_same() {
        let fixture = Fixture::new();
        fixture.put("a", "1");
        let mut documents = fixture.documents();
        documents.read("a").unwrap();
        documents.write("a", b"mine".into()).unwrap();
        documents.append("a", b"mine".into()).unwrap();
        documents.write("a", b"mine again".into()).unwrap();
        assert_eq!(documents.edits().len(), 1, "the last one takes the place of the others");
        fixture.put("a", "2");
        let refused = fixture.finish(documents).unwrap_err();
        assert!(matches!(refused, StoreError::Version { expected: 1, found: 2, .. }), "{refused}");

        let mut absent = fixture.documents();
        assert_eq!(absent.read("b").unwrap(), None);
        absent.write("b", b"mine".into()).unwrap();
        fixture.put("b", "theirs");
        assert!(fixture.finish(absent).is_err());

        let mut blind = fixture.documents();
        blind.write("a", b"whatever was there".into()).unwrap();
        blind.read("a").unwrap();
        blind.append("a", b"!".into()).unwrap();
        fixture.finish(blind).unwrap();
        assert_eq!(fixture.documents().read("a").unwrap().unwrap(), b"whatever was there!");
    }

    #[test]
    fn case_34_hostile_names_are_refused_before_anything_is_written() {
        let fixture = Fixture::new();
        let mut documents = fixture.documents();
        for name in ["", "..", "task/..", "a/b", "agent/a/b", "a\0", &*"x".repeat(101)] {
            assert!(matches!(documents.read(name), Err(StoreError::Name { .. })), "{name:?}");
            let refused = documents.write(name, b"x".into()).unwrap_err();
            assert!(matches!(refused, StoreError::Name { .. }), "{refused}");
        }
        let large = vec![0; crate::store::DOCUMENT_BYTES + 1];
        assert!(matches!(documents.append("a", large), Err(StoreError::TooLarge { .. })));
        assert_eq!(documents.edits(), []);
    }
}
