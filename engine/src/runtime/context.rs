//! Documents as a host sees them: of a plan, a task, an agent, or everybody.

use std::fmt;
use std::sync::Arc;

use crate::store::{Document, Durability, Expect, Scope, Store, StoreError};

/// The documents of one [`Scope`], shared by threads and by processes.
///
/// A document is read whole and written whole, whatever happens to the process meanwhile. Nobody locks one:
/// a change that takes a reading first is [`update`](Self::update), which repeats when somebody else was
/// faster, so that no change is lost. Names, and what is written, have the limits of the
/// [store](crate::store).
///
/// ```
/// use std::sync::Arc;
/// use latchless_engine::runtime::Context;
/// use latchless_engine::store::{Durability::Durable, Scope, SqliteStore, Store, StoreOptions};
/// # let folder = tempfile::tempdir()?;
/// # let file = folder.path().join("agents.db");
///
/// let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&file, StoreOptions::default())?);
/// let notes = Context::new(store, Scope::Agent("scribe".into()));
/// notes.write("plan.md", b"first the sky", Durable)?;
/// notes.update("plan.md", Durable, |old| [old.unwrap_or_default(), b", then the sea"].concat())?;
/// let plan = notes.read("plan.md")?.expect("it was written");
/// assert_eq!((plan.version, &*plan.content), (2, &b"first the sky, then the sea"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Context {
    store: Arc<dyn Store>,
    scope: Scope,
}

impl Context {
    /// The documents of `scope`.
    pub fn new(store: Arc<dyn Store>, scope: Scope) -> Self {
        Self { store, scope }
    }

    /// Whose documents they are.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// A document, whole.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn read(&self, key: &str) -> Result<Option<Document>, StoreError> {
        self.store.document(&self.scope, key)
    }

    /// Names and versions, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn list(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.store.documents(&self.scope)
    }

    /// Writes a document whole, whatever was there. Returns its version.
    ///
    /// # Errors
    /// [`StoreError::Name`], [`StoreError::TooLarge`]: nothing was written.
    pub fn write(
        &self,
        key: &str,
        content: &[u8],
        durability: Durability,
    ) -> Result<u64, StoreError> {
        self.store.put_document(&self.scope, key, content, Expect::Anything, durability)
    }

    /// Makes a document's next content of the one that is there, `None` before the first. Calls `change`
    /// again when somebody else wrote in between: each repetition is another one's success. Returns the
    /// version.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn update(
        &self,
        key: &str,
        durability: Durability,
        mut change: impl FnMut(Option<&[u8]>) -> Vec<u8>,
    ) -> Result<u64, StoreError> {
        loop {
            let found = self.read(key)?;
            let expect =
                found.as_ref().map_or(Expect::Absent, |found| Expect::Version(found.version));
            let content = change(found.as_ref().map(|found| &*found.content));
            match self.store.put_document(&self.scope, key, &content, expect, durability) {
                Err(StoreError::Version { .. }) => {}
                done => return done,
            }
        }
    }

    /// Removes a document; false when there was none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn remove(&self, key: &str, durability: Durability) -> Result<bool, StoreError> {
        self.store.remove_document(&self.scope, key, durability)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("scope", &self.scope).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::store::Durability::{Durable, Relaxed};
    use crate::store::{DOCUMENT_BYTES, SqliteStore, StoreOptions};

    fn open(folder: &tempfile::TempDir) -> Arc<dyn Store> {
        let path = folder.path().join("agents.db");
        Arc::new(SqliteStore::open(path, StoreOptions::default()).unwrap())
    }

    /// Two stores on one file are two processes as far as the file is concerned.
    #[test]
    fn no_update_of_eight_threads_and_two_stores_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let stores = [open(&folder), open(&folder)];
        thread::scope(|scope| {
            for thread in 0..8 {
                let context = Context::new(Arc::clone(&stores[thread % 2]), Scope::Shared);
                scope.spawn(move || {
                    for _ in 0..20 {
                        let one_more = |old: Option<&[u8]>| {
                            let mut text = old.unwrap_or_default().to_vec();
                            text.push(b'a' + thread as u8);
                            text
                        };
                        context.update("tally", Relaxed, one_more).unwrap();
                    }
                });
            }
        });
        // What is relaxed is there once something durable is that came after it.
        let [first, second] = stores.map(|store| Context::new(store, Scope::Shared));
        second.write("end", b"", Durable).unwrap();
        first.write("end", b"", Durable).unwrap();
        let tally = first.read("tally").unwrap().unwrap();
        assert_eq!((tally.version, tally.content.len()), (160, 160));
        let mut letters = tally.content;
        letters.sort_unstable();
        let each = letters.chunk_by(|a, b| a == b).map(<[u8]>::len).collect::<Vec<_>>();
        assert_eq!(each, [20; 8]);
    }

    #[test]
    fn case_34_hostile_names_and_too_large_documents_write_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let context = Context::new(open(&folder), Scope::Shared);
        for key in ["", "..", "a/b", "a\0b", &*"x".repeat(101)] {
            let refused = context.write(key, b"x", Relaxed).unwrap_err();
            assert!(matches!(refused, StoreError::Name { .. }), "{refused}");
        }
        let large = vec![0; DOCUMENT_BYTES + 1];
        let refused = context.update("a", Relaxed, |_| large.clone()).unwrap_err();
        assert!(matches!(refused, StoreError::TooLarge { .. }), "{refused}");
        assert_eq!(context.list().unwrap(), []);
        assert!(!context.remove("a", Relaxed).unwrap());
    }
}
