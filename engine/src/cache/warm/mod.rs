//! Sequences on disk: a file for each agent, under a budget.

mod catalog;
mod folder;
mod header;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use latchless::AgentId;

use self::catalog::Shelf;
use self::folder::{Folder, io_error};
use self::header::{Header, HeaderError};
use super::index::{Index, PrefixMatch, Room};
use super::{CacheError, FileProblem, ModelTag};
use crate::backend::Token;

/// The sequences of agents in the files of one folder, as one model sees them.
///
/// The finished files of the folder never have more than the budget together; while a save is under way
/// there is one more, because the old file has to be whole until the new one is. Where room is needed, the
/// least recently used go, pinned ones stay. Cloning is cheap, and all clones are one cache; so are those
/// for [other models](Self::for_model), with one budget and one file an agent.
///
/// Every method but the queries waits for the disk.
#[derive(Debug, Clone)]
pub struct WarmCache {
    inner: Arc<Inner>,
    shelf: Arc<Shelf>,
}

#[derive(Debug)]
struct Inner {
    folder: Folder,
    report: OpenReport,
    /// Held for a rename or an unlink, so that the index says what the folder has; never while data is
    /// read, written or synced.
    table: Mutex<Table>,
}

/// What the folder has.
#[derive(Debug)]
struct Table {
    index: Index<Stored>,
    /// The models that there are files of, and those that were asked for, by their numbers.
    shelves: Vec<Arc<Shelf>>,
}

impl Table {
    /// The shelf of a model, which is put up if there is none.
    fn shelf(&mut self, tag: &ModelTag) -> Arc<Shelf> {
        if let Some(shelf) = self.shelves.iter().find(|shelf| shelf.tag == *tag) {
            return Arc::clone(shelf);
        }
        let shelf = Arc::new(Shelf::new(self.shelves.len(), tag.clone()));
        self.shelves.push(Arc::clone(&shelf));
        shelf
    }

    /// Tells those who look without the lock what there is now.
    fn publish(&self) {
        for shelf in &self.shelves {
            shelf.publish(self.index.sequences(shelf.number));
        }
    }
}

/// A file: another number for each one of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stored {
    save: u64,
}

/// What was found in the folder.
#[derive(Debug, Default)]
pub struct OpenReport {
    /// Sequences of this model.
    pub usable: usize,
    /// Sequences of other models, which are the first to make room, and of newer formats, which are not
    /// touched.
    pub foreign: usize,
    /// Files that a crash left half-written; they are removed.
    pub partial: usize,
    /// Damaged files, and what was wrong with them; they are removed.
    pub damaged: Vec<(PathBuf, FileProblem)>,
    /// Sequences that went because the budget is smaller than the folder was.
    pub evicted: usize,
}

/// A sequence as it was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedSequence {
    /// Its tokens.
    pub tokens: Vec<Token>,
    /// What the model remembers of them.
    pub state: Vec<u8>,
}

/// Keeps an agent's file from making room for others, until it is dropped.
#[derive(Debug)]
pub struct Pin {
    inner: Arc<Inner>,
    agent: AgentId,
}

impl WarmCache {
    /// Opens `folder`, which is made if need be, for states of the model that `tag` names, and for
    /// `budget` bytes. Reads the header of every file.
    ///
    /// # Errors
    /// [`CacheError::InUse`] while another cache has the folder, [`CacheError::Io`].
    pub fn open(folder: impl AsRef<Path>, tag: ModelTag, budget: u64) -> Result<Self, CacheError> {
        let folder = Folder::open(folder.as_ref())?;
        let mut report = OpenReport::default();
        let contents = folder.contents()?;
        for partial in &contents.partial {
            folder::remove(partial)?;
            report.partial += 1;
        }
        let mut found: Vec<Found> = Vec::new();
        for path in contents.finished {
            match Found::read(&folder, &path)? {
                Ok(file) => found.push(file),
                // Of no use here, and of use to the version that wrote it.
                Err(FileProblem::Version { .. }) => report.foreign += 1,
                Err(problem) => {
                    tracing::warn!(path = %path.display(), %problem, "removed from the cache");
                    folder::remove(&path)?;
                    report.damaged.push((path, problem));
                }
            }
        }
        let index = Index::new(Room { entries: usize::MAX, bytes: budget });
        let shelf = Arc::new(Shelf::new(0, tag));
        let mut table = Table { index, shelves: vec![Arc::clone(&shelf)] };
        // Oldest first, and foreign ones before them.
        found.sort_by_key(|file| (file.tag == shelf.tag, file.used));
        for (save, file) in (0..).zip(found) {
            let usable = file.tag == shelf.tag;
            report.usable += usize::from(usable);
            report.foreign += usize::from(!usable);
            let number = table.shelf(&file.tag).number;
            table.index.insert(file.agent, number, file.tokens.into(), file.len, Stored { save });
        }
        for agent in table.index.surplus() {
            folder::remove(&folder.file(&agent)?)?;
            let usable = table.index.model(&agent) == Some(shelf.number);
            table.index.remove(&agent);
            report.usable -= usize::from(usable);
            report.foreign -= usize::from(!usable);
            report.evicted += 1;
        }
        table.publish();
        let inner = Arc::new(Inner { folder, report, table: Mutex::new(table) });
        Ok(Self { inner, shelf })
    }

    /// The same folder and budget for the states of another model, which is in use from now on.
    #[must_use]
    pub fn for_model(&self, tag: &ModelTag) -> Self {
        let shelf = self.table().shelf(tag);
        // Relaxed, here and below: a hint, and nothing is read through it.
        shelf.superseded.store(false, Ordering::Relaxed);
        Self { inner: Arc::clone(&self.inner), shelf }
    }

    /// Notes that this model has been replaced: what is saved for it would take the place of what can still
    /// be used.
    pub fn supersede(&self) {
        self.shelf.superseded.store(true, Ordering::Relaxed);
    }

    /// Whether this model has been [replaced](Self::supersede).
    pub fn is_superseded(&self) -> bool {
        self.shelf.superseded.load(Ordering::Relaxed)
    }

    /// The model that states are saved for, and that they have to be of to be loaded.
    pub fn tag(&self) -> &ModelTag {
        &self.shelf.tag
    }

    /// What was found when the folder was opened.
    pub fn report(&self) -> &OpenReport {
        &self.inner.report
    }

    /// Writes down `state`, what the model remembers of `tokens`, in place of what `agent` had. When this
    /// returns, it outlives the process and a loss of power; when it fails, what was stored before is
    /// still there, or, when only the folder could not be synced any more, the new.
    ///
    /// Takes no memory for the state: it is written from where it is.
    ///
    /// # Errors
    /// [`CacheError`]; [`CacheError::NoRoom`] when the state is larger than what is not pinned.
    pub fn save(&self, agent: &AgentId, tokens: &[Token], state: &[u8]) -> Result<(), CacheError> {
        let (folder, tag) = (&self.inner.folder, &self.shelf.tag);
        let finished = folder.file(agent)?;
        let header = Header::encode(agent, tag, tokens, state);
        let len = header.len() as u64 + state.len() as u64;
        // Asked before the disk is busy for nothing, and once more when it counts.
        self.table().index.victims(agent, len)?;
        let partial = folder.write_partial(&finished, [&header, state])?;
        let mut table = self.table();
        let replaced = self.replace(&mut table.index, agent, len, &partial, &finished);
        if replaced.is_ok() {
            // Unlike those that the files had when the folder was opened, and any later one.
            let stored = Stored { save: table.index.clock() | 1 << 63 };
            table.index.insert(agent.clone(), self.shelf.number, tokens.into(), len, stored);
        }
        table.publish();
        drop(table);
        if let Err(error) = replaced {
            folder::discard(&partial);
            return Err(error);
        }
        folder.sync()
    }

    fn replace(
        &self,
        index: &mut Index<Stored>,
        agent: &AgentId,
        len: u64,
        partial: &Path,
        finished: &Path,
    ) -> Result<(), CacheError> {
        let folder = &self.inner.folder;
        for victim in index.victims(agent, len)? {
            folder::remove(&folder.file(&victim)?)?;
            index.remove(&victim);
        }
        folder::publish(partial, finished)
    }

    /// Reads what is stored for `agent`, which becomes the most recently used. A file that turns out to be
    /// damaged is removed, so that the next attempt finds nothing rather than the same again.
    ///
    /// # Errors
    /// [`CacheError::Missing`], [`CacheError::File`], [`CacheError::Memory`], [`CacheError::Io`].
    pub fn load(&self, agent: &AgentId) -> Result<SavedSequence, CacheError> {
        let missing = || CacheError::Missing { agent: agent.clone() };
        let path = self.inner.folder.file(agent)?;
        let stored = self.table().index.get(agent).copied().ok_or_else(missing)?;
        let mut file = match File::open(&path) {
            Ok(file) => file,
            // It made room just now, or somebody else removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.forget(agent, stored, &path);
                return Err(missing());
            }
            Err(error) => return Err(io_error("opening", &path)(error)),
        };
        let outcome = read(&mut file, &path, agent, &self.shelf.tag);
        match &outcome {
            Ok(_) => {
                self.table().index.touch(agent);
                // So that the order of use outlives the process; where it cannot be noted, it does not.
                let _noted = file.set_modified(SystemTime::now());
            }
            Err(CacheError::File { problem, .. }) if !is_foreign(problem) => {
                self.forget(agent, stored, &path);
            }
            Err(_) => {}
        }
        outcome
    }

    /// Removes a damaged or lost file, unless it has been replaced since it was read.
    fn forget(&self, agent: &AgentId, damaged: Stored, path: &Path) {
        let mut table = self.table();
        if table.index.get(agent) == Some(&damaged) {
            table.index.remove(agent);
            folder::discard(path);
            table.publish();
        }
    }

    /// The stored sequence of this model that has the most tokens in common with `asked`, from the start;
    /// it alone becomes the most recently used. Does not read the disk.
    pub fn longest_prefix(&self, asked: &[Token]) -> Option<PrefixMatch> {
        let index = &mut self.table().index;
        let found = index.longest_prefix(self.shelf.number, asked)?;
        index.touch(&found.agent);
        Some(found)
    }

    /// As [`longest_prefix`](Self::longest_prefix), of what was there after the last change, and without
    /// counting as a use: takes no lock, so that nobody who is frozen holds it up.
    pub fn peek(&self, asked: &[Token]) -> Option<PrefixMatch> {
        self.shelf.peek(asked)
    }

    /// Whether exactly these tokens are stored for `agent`, by what was there after the last change. Takes
    /// no lock.
    pub fn has(&self, agent: &AgentId, tokens: &[Token]) -> bool {
        self.shelf.has(agent, tokens)
    }

    /// Keeps what is or will be stored for `agent` from making room for others.
    #[must_use = "it is pinned as long as this lives"]
    pub fn pin(&self, agent: &AgentId) -> Pin {
        self.table().index.pin(agent);
        Pin { inner: Arc::clone(&self.inner), agent: agent.clone() }
    }

    /// Removes what is stored for `agent`, pinned or not. False when there was nothing.
    ///
    /// # Errors
    /// [`CacheError::Io`], [`CacheError::Id`].
    pub fn remove(&self, agent: &AgentId) -> Result<bool, CacheError> {
        let path = self.inner.folder.file(agent)?;
        let mut table = self.table();
        if table.index.get(agent).is_none() {
            return Ok(false);
        }
        folder::remove(&path)?;
        table.index.remove(agent);
        table.publish();
        drop(table);
        self.inner.folder.sync()?;
        Ok(true)
    }

    /// Agents with a file, least recently used first. Those of other models are among them.
    pub fn agents(&self) -> Vec<AgentId> {
        self.table().index.agents().cloned().collect()
    }

    /// Number of files.
    pub fn len(&self) -> usize {
        self.table().index.len()
    }

    /// Whether there is no file.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of all files together.
    pub fn bytes(&self) -> u64 {
        self.table().index.bytes()
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.inner.folder.path()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.inner.table()
    }

    /// As a thread does that is frozen under the lock.
    #[cfg(test)]
    pub(crate) fn freeze(&self) -> impl Drop + '_ {
        self.table()
    }
}

impl Inner {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it is held; what is there is what the folder has.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pin {
    /// Who is pinned.
    pub fn agent(&self) -> &AgentId {
        &self.agent
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.inner.table().index.unpin(&self.agent);
    }
}

/// A file whose header was read.
struct Found {
    agent: AgentId,
    tag: ModelTag,
    tokens: Vec<Token>,
    len: u64,
    used: SystemTime,
}

impl Found {
    /// Reads the header of a file when the folder is opened: the payload is checked when it is loaded.
    fn read(folder: &Folder, path: &Path) -> Result<Result<Self, FileProblem>, CacheError> {
        let failed = io_error("reading", path);
        let mut file = File::open(path).map_err(&failed)?;
        let metadata = file.metadata().map_err(&failed)?;
        let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let len = metadata.len();
        let header = match Header::read(&mut file, len) {
            Ok(header) => header,
            Err(HeaderError::Io(source)) => return Err(failed(source)),
            Err(HeaderError::Problem(problem)) => return Ok(Err(problem)),
        };
        // A file that somebody renamed would be looked for in another place.
        if folder.file(&header.agent).ok().as_deref() != Some(path) {
            return Ok(Err(FileProblem::OtherAgent { found: header.agent }));
        }
        let Header { agent, tag, tokens, .. } = header;
        Ok(Ok(Self { agent, tag, tokens, len, used }))
    }
}

/// Reads and checks a whole file. The payload is allocated once, in its length.
fn read(
    file: &mut File,
    path: &Path,
    agent: &AgentId,
    tag: &ModelTag,
) -> Result<SavedSequence, CacheError> {
    let wrong = |problem| CacheError::File { path: path.to_owned(), problem };
    let failed = io_error("reading", path);
    let len = file.metadata().map_err(&failed)?.len();
    let header = match Header::read(file, len) {
        Ok(header) => header,
        Err(HeaderError::Io(source)) => return Err(failed(source)),
        Err(HeaderError::Problem(problem)) => return Err(wrong(problem)),
    };
    if header.agent != *agent {
        return Err(wrong(FileProblem::OtherAgent { found: header.agent }));
    }
    if let Some(difference) = tag.difference(&header.tag) {
        return Err(wrong(FileProblem::Foreign(difference)));
    }
    let bytes = header.payload_len;
    let memory = || CacheError::Memory { agent: agent.clone(), bytes };
    let mut state = Vec::new();
    state.try_reserve_exact(usize::try_from(bytes).map_err(|_| memory())?).map_err(|_| memory())?;
    state.resize(bytes as usize, 0);
    file.read_exact(&mut state).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => wrong(FileProblem::Short { expected: len, found: len }),
        _ => failed(error),
    })?;
    header.verify(&state).map_err(wrong)?;
    Ok(SavedSequence { tokens: header.tokens, state })
}

/// Whole, but of another model or a newer version: it may be of use to somebody else.
fn is_foreign(problem: &FileProblem) -> bool {
    matches!(problem, FileProblem::Foreign(_) | FileProblem::Version { .. })
}

#[cfg(test)]
mod tests;
