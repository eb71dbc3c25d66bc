//! Temporary folders: all of a run's are in one, which goes with the last of them, or when the process ends
//! without an orderly end.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

const PREFIX: &str = "latchless-stress-";

/// How often what is removed is tried again: threads that are still at work make files meanwhile.
const TRIES: u32 = 50;

static RUN: Mutex<Run> = Mutex::new(Run::NEW);

struct Run {
    /// The one that all others are in.
    folder: Weak<TempDir>,
    is_over: bool,
}

impl Run {
    const NEW: Self = Self { folder: Weak::new(), is_over: false };
}

fn lock(run: &Mutex<Run>) -> MutexGuard<'_, Run> {
    run.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A temporary folder, for as long as this is there.
#[derive(Debug)]
pub(crate) struct Scratch {
    // Before the one that it is in.
    own: TempDir,
    _run: Arc<TempDir>,
}

impl Scratch {
    pub(crate) fn new() -> io::Result<Self> {
        Self::of(&RUN)
    }

    fn of(run: &Mutex<Run>) -> io::Result<Self> {
        let mut run = lock(run);
        if run.is_over {
            return Err(io::Error::other("the process ends"));
        }
        let folder = match run.folder.upgrade() {
            Some(folder) => folder,
            None => Arc::new(TempDir::with_prefix(PREFIX)?),
        };
        run.folder = Arc::downgrade(&folder);
        let own = TempDir::with_prefix_in(PREFIX, folder.path())?;
        Ok(Self { own, _run: folder })
    }

    pub(crate) fn path(&self) -> &Path {
        self.own.path()
    }
}

/// Removes all that is there, and lets nothing new come: for whoever ends the process, which drops nothing.
pub(crate) fn clear() {
    clear_all(&RUN);
}

fn clear_all(run: &Mutex<Run>) {
    let mut run = lock(run);
    run.is_over = true;
    let Some(folder) = run.folder.upgrade() else { return };
    for _ in 0..TRIES {
        match fs::remove_dir_all(folder.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                thread::sleep(Duration::from_millis(2));
            }
            _ if !folder.path().exists() => return,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_in_one_which_goes_with_the_last_or_when_the_process_ends() {
        let run = Mutex::new(Run::NEW);
        let (one, other) = (Scratch::of(&run).unwrap(), Scratch::of(&run).unwrap());
        let parent = one.path().parent().unwrap().to_owned();
        assert_eq!(other.path().parent(), Some(&*parent));
        drop(one);
        assert!(other.path().exists() && parent.exists());
        drop(other);
        assert!(!parent.exists());

        let left = Scratch::of(&run).unwrap();
        fs::write(left.path().join("state"), "half").unwrap();
        let parent = left.path().parent().unwrap().to_owned();
        clear_all(&run);
        assert!(!parent.exists());
        assert!(Scratch::of(&run).is_err(), "nothing comes after it");
    }
}
