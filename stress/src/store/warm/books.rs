//! What the parent was told of the cache, and whether the folder agrees when nobody uses it.

use std::fs;
use std::path::Path;

use latchless_engine::cache::{CacheError, OpenReport};

use super::room::{agents, budget, id, open, stays};
use super::{Kept, Save};
use crate::phase::Phase;

/// The states of all agents, as they must be.
#[derive(Debug)]
pub(in crate::store) struct Books(Vec<Book>);

impl Default for Books {
    fn default() -> Self {
        Self(agents().map(|_| Book::default()).collect())
    }
}

/// An agent's.
#[derive(Debug, Clone, Copy, Default)]
struct Book {
    /// The last save that was acknowledged: what is there is this one or a later one.
    least: Option<Save>,
    /// Whether something must be there, unless it made room.
    is_there: bool,
    /// Whether this one has gone for good: then only a later one may be there.
    is_gone: bool,
}

type Checked<T> = Result<T, String>;

impl Books {
    /// Takes what a keeper tells.
    pub(in crate::store) fn take(&mut self, kept: &Kept) {
        match *kept {
            Kept::Saved { save, .. } => {
                let book = Book { least: Some(save), is_there: true, is_gone: false };
                self.0[usize::from(save.agent)] = book;
            }
            Kept::Forgetting(agent) => self.0[usize::from(agent)].is_there = false,
            Kept::Forgot(agent) => self.0[usize::from(agent)].is_gone = true,
            Kept::Did(_) | Kept::Loaded | Kept::Evicted | Kept::Refused => {}
        }
    }

    /// Holds the folder against what was told, and says how many files were left half-written, which only a
    /// killed process may leave.
    pub(in crate::store) fn check(
        &mut self,
        folder: &Path,
        phase: Phase,
        killed: bool,
    ) -> Checked<u64> {
        let broken = |error: CacheError| format!("the cache: {error}");
        let cache = open(folder, phase).map_err(broken)?;
        let OpenReport { foreign, partial, damaged, evicted, .. } = cache.report();
        if let Some((path, problem)) = damaged.first() {
            return Err(format!("the cache: {} {problem}", path.display()));
        }
        if *partial > 0 && !killed {
            return Err(format!("the cache: {partial} half-written files, and nobody was killed"));
        }
        if (*foreign, *evicted) != (0, 0) {
            return Err(format!("the cache: {foreign} foreign files, {evicted} beyond its budget"));
        }
        check_files(folder, budget(phase))?;
        for (agent, book) in agents().zip(&mut self.0) {
            let found = match cache.load(&id(agent)) {
                Ok(found) => Some(Save::read(agent, &found)?),
                Err(CacheError::Missing { .. }) => None,
                Err(error) => return Err(broken(error)),
            };
            book.check(agent, found, stays(agent, phase))?;
            // What was found is durable, whoever was told.
            *book = Book { least: found.or(book.least), is_there: found.is_some(), is_gone: false };
        }
        Ok(*partial as u64)
    }
}

impl Book {
    fn check(&self, agent: u16, found: Option<Save>, stays: bool) -> Checked<()> {
        match (found, self.least) {
            (None, Some(least)) if self.is_there && stays => {
                Err(format!("save {} was acknowledged and is not there", least.title()))
            }
            (Some(found), Some(least)) if found < least => {
                Err(format!("agent {agent} has save {}, told {}", found.title(), least.title()))
            }
            (Some(found), Some(least)) if self.is_gone && found == least => {
                Err(format!("save {} was forgotten and is there", found.title()))
            }
            _ => Ok(()),
        }
    }
}

/// No file is half-written after the cache was opened, and all together are within the budget.
fn check_files(folder: &Path, budget: u64) -> Checked<()> {
    let failed = |error: std::io::Error| format!("the cache's folder: {error}");
    let mut bytes = 0;
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        match entry.path().extension().and_then(|extension| extension.to_str()) {
            Some("partial") => {
                return Err(format!("{} is left in the cache", entry.path().display()));
            }
            Some("sequence") => bytes += entry.metadata().map_err(failed)?.len(),
            _ => {}
        }
    }
    if bytes > budget {
        return Err(format!("the cache has {bytes} bytes; its budget is {budget}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHASE: Phase = Phase::Burst;
    /// One that is pinned, and one that is not.
    const PINNED: u16 = 0;
    const OTHER: u16 = 5;

    fn save(agent: u16, number: u32) -> Save {
        Save { agent, life: 0, number }
    }

    /// Puts a save into the folder.
    fn put(folder: &Path, save: Save) {
        let cache = open(folder, PHASE).unwrap();
        cache.save(&id(save.agent), &save.tokens(), &save.state(100)).unwrap();
    }

    fn told(books: &mut Books, save: Save) {
        books.take(&Kept::Saved { save, ns: None });
    }

    #[test]
    fn what_was_acknowledged_is_there_or_has_made_room() {
        let folder = tempfile::tempdir().unwrap();
        let mut books = Books::default();
        let check = |books: &mut Books| books.check(folder.path(), PHASE, false);
        assert_eq!(check(&mut books), Ok(0), "nothing was told, and nothing is there");
        told(&mut books, save(OTHER, 0));
        assert_eq!(check(&mut books), Ok(0), "it made room");
        told(&mut books, save(PINNED, 1));
        assert!(check(&mut books).unwrap_err().contains("acknowledged and is not there"));
        put(folder.path(), save(PINNED, 0));
        assert!(check(&mut books).unwrap_err().contains("has save 0:0:0, told 0:0:1"));
        put(folder.path(), save(PINNED, 2));
        assert_eq!(check(&mut books), Ok(0), "a later one, of which nobody was told");
        open(folder.path(), PHASE).unwrap().remove(&id(PINNED)).unwrap();
        assert!(check(&mut books).is_err(), "it was there after the last life");
    }

    #[test]
    fn what_was_forgotten_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let mut books = Books::default();
        let check = |books: &mut Books| books.check(folder.path(), PHASE, false);
        told(&mut books, save(PINNED, 1));
        books.take(&Kept::Forgetting(PINNED));
        assert_eq!(check(&mut books), Ok(0), "killed in the middle of it");
        told(&mut books, save(PINNED, 2));
        put(folder.path(), save(PINNED, 2));
        books.take(&Kept::Forgetting(PINNED));
        books.take(&Kept::Forgot(PINNED));
        assert!(check(&mut books).unwrap_err().contains("forgotten and is there"));
        put(folder.path(), save(PINNED, 3));
        assert_eq!(check(&mut books), Ok(0));
    }

    #[test]
    fn files_that_are_damaged_or_half_written_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let mut books = Books::default();
        put(folder.path(), save(OTHER, 0));
        let files = || fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.path());
        let is =
            |path: &std::path::PathBuf, extension| path.extension().is_some_and(|e| e == extension);
        let file = files().find(|path| is(path, "sequence")).unwrap();
        let half = file.with_extension("partial");
        fs::write(&half, "half").unwrap();
        assert!(books.check(folder.path(), PHASE, false).unwrap_err().contains("1 half-written"));
        fs::write(&half, "half").unwrap();
        assert_eq!(books.check(folder.path(), PHASE, true), Ok(1));
        fs::File::options().write(true).open(&file).unwrap().set_len(90).unwrap();
        assert!(books.check(folder.path(), PHASE, true).unwrap_err().contains("cut off"));
        // Cut off under a checksum that fits.
        let cache = open(folder.path(), PHASE).unwrap();
        let state = save(OTHER, 1).state(100);
        cache.save(&id(OTHER), &save(OTHER, 1).tokens(), &state[..50]).unwrap();
        drop(cache);
        assert!(books.check(folder.path(), PHASE, true).unwrap_err().contains("not whole"));
    }
}
