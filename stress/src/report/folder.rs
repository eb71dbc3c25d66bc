//! Where a report goes: a folder that is tried before the run, and files that are whole or not there.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::{Report, page};

/// A folder that could be written to when the run began.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes the folder if it is not there. Those above it must be.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        NamedTempFile::new_in(path)?;
        Ok(Self(path.to_owned()))
    }

    /// Writes both files, and returns where the page is.
    pub(crate) fn write(&self, report: &Report) -> io::Result<PathBuf> {
        let json = serde_json::to_vec_pretty(report)?;
        self.replace("report.json", &json)?;
        self.replace("report.html", page::page(report).as_bytes())?;
        Ok(self.0.join("report.html"))
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
