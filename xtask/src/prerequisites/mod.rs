//! What building llama.cpp needs and Rust does not bring: cmake, make, a C++ compiler, libclang;
//! and a CPU that runs what is built.
//!
//! What is missing is installed where a package manager can be used without a question (Debian and
//! its relatives, as root or by a sudo that asks for no password). Everywhere else the error names
//! the line to type.

use std::env;
use std::fmt;

use self::system::System;
use crate::run;

mod cpu;
mod libclang;
mod system;

pub(crate) use self::system::PackageError;

/// A program or library that has to be on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// Configures the build of llama.cpp.
    Cmake,
    /// Runs the build that cmake wrote.
    Make,
    /// Compiles it.
    Cxx,
    /// Reads its headers for the Rust bindings.
    Libclang,
    /// Fetches the model from the Python package index.
    Pip,
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cmake => "cmake",
            Self::Make => "make",
            Self::Cxx => "a C++ compiler",
            Self::Libclang => "libclang with its headers",
            Self::Pip => "Python 3 with pip",
        })
    }
}

/// Why this machine cannot build or run llama.cpp yet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Tools are missing and could not be installed.
    #[error(transparent)]
    Packages(#[from] PackageError),

    /// An environment variable names a tool that does not work.
    #[error(
        "{variable} is set to `{value}`, but {problem}; unset {variable} or point it elsewhere"
    )]
    Override {
        /// The variable.
        variable: &'static str,
        /// What it is set to.
        value: String,
        /// What is wrong with that.
        problem: String,
    },

    /// The CPU lacks instructions that the build would use.
    #[error(transparent)]
    Cpu(#[from] cpu::Unsuitable),
}

/// Makes sure that llama.cpp can be built here and run here, installing what is missing.
///
/// # Errors
/// What is still missing, and what to type.
pub(crate) fn ensure() -> Result<(), Error> {
    cpu::check()?;
    let missing = missing()?;
    if missing.is_empty() {
        return Ok(());
    }
    system::install(System::here(), &missing)?;
    let still = self::missing()?;
    if still.is_empty() { Ok(()) } else { Err(PackageError::Ineffective { tools: still }.into()) }
}

/// The same without installing anything.
///
/// # Errors
/// What is missing.
pub(crate) fn present() -> Result<(), Error> {
    cpu::check()?;
    let tools = missing()?;
    if tools.is_empty() {
        Ok(())
    } else {
        Err(PackageError::Missing { system: System::here(), tools }.into())
    }
}

fn missing() -> Result<Vec<Tool>, Error> {
    let mut missing = Vec::new();
    if !works("CMAKE", "cmake")? {
        missing.push(Tool::Cmake);
    }
    // Whoever chose another generator (Ninja, say) brought its program along.
    if env::var_os("CMAKE_GENERATOR").is_none() && !["make", "gmake"].into_iter().any(runs) {
        missing.push(Tool::Make);
    }
    // Cargo's `cc` asks for `c++`, so a bare g++ or clang++ under its own name would not be found.
    if !works("CXX", "c++")? {
        missing.push(Tool::Cxx);
    }
    match libclang::find() {
        Ok(_) => {}
        Err(libclang::NotFound::Override { variable, value, problem }) => {
            return Err(Error::Override { variable, value, problem });
        }
        Err(reason @ (libclang::NotFound::Library | libclang::NotFound::Headers { .. })) => {
            eprintln!("{reason}");
            missing.push(Tool::Libclang);
        }
    }
    Ok(missing)
}

/// Whether `program` runs, or what `variable` names in its place. A variable that names something
/// that does not run is the user's to mend: installing a package would not help.
fn works(variable: &'static str, program: &str) -> Result<bool, Error> {
    let named = env::var(variable).ok().filter(|value| !value.trim().is_empty());
    let Some(value) = named else {
        return Ok(runs(program));
    };
    // `CXX="ccache g++"` is usual: the first word must run.
    let program = value.split_whitespace().next().unwrap_or_default();
    if runs(program) {
        return Ok(true);
    }
    let problem = format!("`{program} --version` does not run");
    Err(Error::Override { variable, value, problem })
}

fn runs(program: &str) -> bool {
    run::probe(program, &["--version"]).is_some()
}

/// Makes sure that Python and pip are there, installing them where that is possible.
///
/// # Errors
/// What is missing, and what to type.
pub(crate) fn install_pip() -> Result<(), PackageError> {
    system::install(System::here(), &[Tool::Pip])
}

/// For a caller of [`install_pip`] that still finds none afterwards.
pub(crate) fn pip_still_missing() -> PackageError {
    PackageError::Ineffective { tools: vec![Tool::Pip] }
}
