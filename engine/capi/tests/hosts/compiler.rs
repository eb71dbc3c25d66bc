//! Compiling programs in C and C++ against the library that the tests were built with, and running them.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// With what a program is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// As a host's own build would.
    Optimised,
    /// The address and undefined behaviour sanitizers in the program; its allocator is the library's, too.
    Sanitized,
}

pub(crate) const CHECKS: [Check; 2] = [Check::Optimised, Check::Sanitized];

/// A folder with the library as it is installed, and with the programs.
pub(crate) struct Host {
    folder: TempDir,
}

pub(crate) fn crate_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What was built with this test.
pub(crate) fn built(file: &str) -> PathBuf {
    let test = env::current_exe().expect("a test knows where it is");
    // Beside the tests, where cargo puts what they depend on.
    let path = test.parent().expect("it is in a folder").join(file);
    assert!(path.exists(), "{} was not built with the tests", path.display());
    path
}

impl Host {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let soname = format!("liblatchless.so.{}", latchless_capi::version::LATCHLESS_ABI_VERSION);
        symlink(built("liblatchless_capi.so"), folder.path().join(&soname)).unwrap();
        symlink(soname, folder.path().join("liblatchless.so")).unwrap();
        Self { folder }
    }

    pub(crate) fn library(&self) -> PathBuf {
        self.folder.path().join("liblatchless.so")
    }

    /// Compiles a program, every warning an error.
    pub(crate) fn compile(&self, source: &Path, check: Check) -> PathBuf {
        let program = self.program(source, check);
        let mut command = compiler(source, check);
        command.arg("-o").arg(&program).arg(source);
        command.arg("-L").arg(self.folder.path()).arg("-llatchless").arg("-ldl");
        command.arg(format!("-Wl,-rpath,{}", self.folder.path().display()));
        run(&mut command);
        program
    }

    /// The same with the library in it.
    pub(crate) fn compile_static(&self, source: &Path) -> PathBuf {
        let program = self.program(source, Check::Optimised).with_extension("static");
        let mut command = compiler(source, Check::Optimised);
        command.arg("-o").arg(&program).arg(source).arg(built("liblatchless_capi.a"));
        command.args(["-ldl", "-lm"]);
        if cfg!(feature = "llama") {
            command.arg("-lstdc++");
        }
        run(&mut command);
        program
    }

    fn program(&self, source: &Path, check: Check) -> PathBuf {
        let name = source.file_stem().unwrap().to_string_lossy();
        self.folder.path().join(format!("{name}-{check:?}"))
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// A compiler for this source, with its flags.
pub(crate) fn compiler(source: &Path, check: Check) -> Command {
    let is_cpp = source.extension().is_some_and(|extension| extension == "cpp");
    let (variable, usual, standard) =
        if is_cpp { ("CXX", "c++", "-std=c++17") } else { ("CC", "cc", "-std=c11") };
    let program = env::var_os(variable).unwrap_or_else(|| usual.into());
    assert!(
        Command::new(&program).arg("--version").output().is_ok_and(|out| out.status.success()),
        "no compiler for {}: install gcc or clang (Debian: `apt-get install g++`), or name one in {variable}",
        if is_cpp { "C++" } else { "C" }
    );
    let mut command = Command::new(program);
    command.args([standard, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pthread"]);
    command.arg("-I").arg(crate_folder().join("include"));
    match check {
        Check::Optimised => command.arg("-O2"),
        Check::Sanitized => command.args([
            "-O1",
            "-g",
            "-fno-omit-frame-pointer",
            "-fsanitize=address,undefined",
            "-fno-sanitize-recover=all",
        ]),
    };
    command
}

/// Runs a command to its end and returns what it said.
pub(crate) fn run(command: &mut Command) -> String {
    let shown = format!("{command:?}");
    let output = command.output().unwrap_or_else(|error| panic!("{shown}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (said, complained) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{shown}: {}\n{said}{complained}", output.status);
    said
}

/// The code blocks of a page in a language, each written to a file of its own.
pub(crate) fn blocks(page: &Path, language: &str, folder: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(page).unwrap();
    let fence = format!("```{language}\n");
    let blocks = text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap());
    let write = |(number, block)| {
        let path = folder.join(format!("block-{number}.{language}"));
        fs::write(&path, block).unwrap();
        path
    };
    blocks.enumerate().map(write).collect()
}
