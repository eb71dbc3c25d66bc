//! Where a report goes: a folder that is tried before the run, and files that are whole or not there.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tempfile::NamedTempFile;
use thiserror::Error;

use crate::exit;

/// The report for programs, and for `replay`.
pub(crate) const JSON: &str = "report.json";
/// The report for people.
pub(crate) const PAGE: &str = "report.html";

/// Why a folder cannot take a report.
#[derive(Debug, Error)]
pub(crate) enum FolderError {
    /// It cannot be made, or nothing can be written there.
    #[error("{path} cannot be written; choose another --report")]
    Unwritable { path: PathBuf, source: io::Error },
    /// An earlier run told something there.
    #[error("{path} holds a report; choose another --report, or add --overwrite")]
    Holds { path: PathBuf },
}

/// A folder that could be written to when the run began.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes the folder if it is not there. Those above it must be. A report that is there is replaced only
    /// by whoever says so.
    pub(crate) fn open(path: &Path, overwrite: bool) -> anyhow::Result<Self> {
        match try_out(path) {
            Ok(()) => {}
            Err(source) if exit::is_want(&source) => {
                return Err(FolderError::Unwritable { path: path.to_owned(), source }.into());
            }
            Err(source) => {
                let error = FolderError::Unwritable { path: path.to_owned(), source };
                return Err(exit::bad_arguments(error));
            }
        }
        if !overwrite && [JSON, PAGE].iter().any(|name| path.join(name).exists()) {
            return Err(FolderError::Holds { path: path.to_owned() }.into());
        }
        Ok(Self(path.to_owned()))
    }

    /// Writes the report for programs. The page of an earlier one goes: it is not this one's.
    pub(crate) fn write(&self, report: &impl Serialize) -> io::Result<()> {
        self.replace(JSON, &serde_json::to_vec_pretty(report)?)?;
        match fs::remove_file(self.0.join(PAGE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes the page, and returns where it is.
    pub(crate) fn write_page(&self, page: &str) -> io::Result<PathBuf> {
        self.replace(PAGE, page.as_bytes())?;
        Ok(self.0.join(PAGE))
    }

    /// An earlier report stays until the new one is whole.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = NamedTempFile::new_in(&self.0)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        let file = file.persist(self.0.join(name))?;
        readable(&file)
    }
}

/// Whether files can be made there.
fn try_out(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let mut file = NamedTempFile::new_in(path)?;
    file.write_all(b"to see whether there is room\n")
}

/// As any other file: temporary ones are for their owner only.
#[cfg(unix)]
fn readable(file: &fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable(_: &fs::File) -> io::Result<()> {
    Ok(())
}
