//! `cargo xtask install`: the C library with its headers, where other programs find them; and
//! `cargo xtask header`, which writes the header anew.
//!
//! Everything goes under a name of its own first and is renamed into place: a program that runs with the library
//! of before keeps it.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::prerequisites;
use crate::run::{self, Failed};

/// Shown at the end of `cargo xtask install --help`.
pub(crate) const EXAMPLES: &str = "\
Examples:
  cargo xtask install --prefix ~/.local
  sudo -E cargo xtask install --prefix /usr/local
  cargo xtask install --prefix /usr --no-llama       scripts only: no cmake, and seconds to build
  DESTDIR=package cargo xtask install --prefix /usr  for who makes packages

Then `pkg-config --cflags --libs latchless` knows how to build with it. To uninstall, remove the files that
it names when it installs them.";

/// Shown at the end of `cargo xtask header --help`.
pub(crate) const HEADER_EXAMPLES: &str = "\
Examples:
  cargo xtask header       writes engine/capi/include/latchless.h from the sources of the C ABI";

/// The options of an installation.
#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    /// The folder that gets `lib` and `include`
    #[arg(long, value_name = "DIR")]
    prefix: PathBuf,

    /// The folder for libraries, seen from the prefix
    #[arg(long, value_name = "DIR", default_value = "lib")]
    libdir: PathBuf,

    /// Leave llama.cpp out: engines run scripts only
    #[arg(long)]
    no_llama: bool,
}

/// Why nothing, or not everything, was installed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It did not compile.
    #[error("the library could not be built: {0}; the reason is printed above")]
    Build(Failed),

    /// The header could not be written.
    #[error("the header could not be written: {0}; the reason is printed above")]
    Header(Failed),

    /// A file could not be put where it belongs.
    #[error("{} cannot be written: {source}; name a prefix that you may write to", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// 2 for what the user has to put right, else 1.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Build(_) | Self::Header(_) => 1,
            Self::Write { .. } => 2,
        }
    }
}

/// Builds the library and installs it.
///
/// # Errors
/// The machine is to be put right first, the build failed, or a folder cannot be written.
pub(crate) fn run(args: &InstallArgs) -> Result<(), crate::Error> {
    if !args.no_llama {
        prerequisites::ensure()?;
        eprintln!("the first time, llama.cpp is compiled: about 5 minutes on two cores");
    }
    let mut build = run::cargo();
    build.args(["build", "--release", "-p", "latchless-capi"]);
    if args.no_llama {
        build.arg("--no-default-features");
    }
    eprintln!("   {}", run::shown(&build));
    run::run(&mut build).map_err(Error::Build)?;
    let prefix = std::path::absolute(&args.prefix)
        .map_err(|source| Error::Write { path: args.prefix.clone(), source })?;
    let layout = Layout {
        built: run::target_folder().join("release"),
        root: env::var_os("DESTDIR").map(PathBuf::from),
        prefix,
        libdir: args.libdir.clone(),
        llama: !args.no_llama,
    };
    for path in layout.install()? {
        eprintln!("   {}", path.display());
    }
    Ok(())
}

/// Writes the header from the sources.
///
/// # Errors
/// The sources do not compile, or cbindgen does not understand them.
pub(crate) fn header() -> Result<(), crate::Error> {
    let mut command = run::cargo();
    command.args(["test", "--quiet", "-p", "latchless-capi", "--no-default-features"]);
    command.args(["--test", "header", "the_header_is_current"]).env("LATCHLESS_BLESS", "1");
    eprintln!("   {}", run::shown(&command));
    Ok(run::run(&mut command).map_err(Error::Header)?)
}

/// What goes where.
struct Layout {
    /// Where cargo put what it built.
    built: PathBuf,
    /// What is put before the prefix, and not written into any file.
    root: Option<PathBuf>,
    prefix: PathBuf,
    libdir: PathBuf,
    llama: bool,
}

/// The number that programs are linked by.
fn abi_version() -> String {
    let source = include_str!("../../engine/capi/src/version.rs");
    let line = "pub const LATCHLESS_ABI_VERSION: u32 = ";
    let number = source.lines().find_map(|text| text.strip_prefix(line)).unwrap_or("0;");
    number.trim_end_matches(';').to_owned()
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Layout {
    fn place(&self, folder: &Path) -> PathBuf {
        let inside = self.prefix.join(folder);
        match &self.root {
            // A path that begins at the root would replace what it is joined to.
            Some(root) => root.join(inside.strip_prefix("/").unwrap_or(&inside)),
            None => inside,
        }
    }

    /// Puts everything in place and returns what was put there.
    fn install(&self) -> Result<Vec<PathBuf>, Error> {
        let (lib, include) = (self.place(&self.libdir), self.place(Path::new("include")));
        let pkgconfig = lib.join("pkgconfig");
        for folder in [&lib, &include, &pkgconfig] {
            write(folder, |path| fs::create_dir_all(path))?;
        }
        let mut installed = Vec::new();
        let mut put = |path: PathBuf, make: &dyn Fn(&Path) -> io::Result<()>| {
            replace(&path, make)?;
            installed.push(path);
            Ok::<_, Error>(())
        };

        let abi = abi_version();
        let (built, [whole, by_abi, by_name]) = if cfg!(target_os = "macos") {
            let names = [format!("{VERSION}.dylib"), format!("{abi}.dylib"), "dylib".to_owned()];
            ("liblatchless_capi.dylib", names)
        } else {
            let names = [format!("so.{VERSION}"), format!("so.{abi}"), "so".to_owned()];
            ("liblatchless_capi.so", names)
        };
        let [whole, by_abi, by_name] =
            [whole, by_abi, by_name].map(|ending| format!("liblatchless.{ending}"));
        put(lib.join(&whole), &|path| copy(&self.built.join(built), path))?;
        put(lib.join(&by_abi), &|path| link(&whole, path))?;
        put(lib.join(by_name), &|path| link(&by_abi, path))?;
        let archive = self.built.join("liblatchless_capi.a");
        put(lib.join("liblatchless.a"), &|path| copy(&archive, path))?;
        let headers = run::workspace_root().join("engine/capi/include");
        for header in ["latchless.h", "latchless.hpp"] {
            put(include.join(header), &|path| copy(&headers.join(header), path))?;
        }
        put(pkgconfig.join("latchless.pc"), &|path| fs::write(path, self.pkgconfig()))?;
        Ok(installed)
    }

    fn pkgconfig(&self) -> String {
        // What the library needs when it is put into a program as a whole.
        let cpp = match (self.llama, cfg!(target_os = "macos")) {
            (false, _) => "",
            (true, true) => " -lc++",
            (true, false) => " -lstdc++",
        };
        format!(
            "prefix={}\nlibdir=${{prefix}}/{}\nincludedir=${{prefix}}/include\n\n\
             Name: latchless\n\
             Description: Many agents, one inference engine, no lock\n\
             URL: https://crates.io/crates/latchless\n\
             Version: {VERSION}\n\
             Libs: -L${{libdir}} -llatchless\n\
             Libs.private: -lpthread -ldl -lm{cpp}\n\
             Cflags: -I${{includedir}}\n",
            self.prefix.display(),
            self.libdir.display(),
        )
    }
}

fn write<R>(path: &Path, make: impl FnOnce(&Path) -> io::Result<R>) -> Result<R, Error> {
    make(path).map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Makes a file beside its place, and renames it into that.
fn replace(path: &Path, make: &dyn Fn(&Path) -> io::Result<()>) -> Result<(), Error> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    // Left by an installation that was ended.
    let _none = fs::remove_file(&beside);
    write(path, |path| make(&beside).and_then(|()| fs::rename(&beside, path)))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to).map(drop)
}

#[cfg(unix)]
fn link(target: &str, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

#[cfg(not(unix))]
fn link(target: &str, path: &Path) -> io::Result<()> {
    copy(&path.with_file_name(target), path)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn built() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("liblatchless_capi.so"), "shared").unwrap();
        fs::write(folder.path().join("liblatchless_capi.a"), "static").unwrap();
        folder
    }

    #[test]
    fn programs_find_the_library_by_its_abi_and_by_its_name() {
        let (built, prefix) = (built(), tempfile::tempdir().unwrap());
        let layout = Layout {
            built: built.path().to_owned(),
            root: None,
            prefix: prefix.path().to_owned(),
            libdir: "lib".into(),
            llama: true,
        };
        // The second time over what the first one left.
        for _ in 0..2 {
            let installed = layout.install().unwrap();
            assert_eq!(installed.len(), 7, "{installed:?}");
            assert!(installed.iter().all(|path| path.exists()));
        }
        let lib = prefix.path().join("lib");
        let link = |name: &str| fs::read_link(lib.join(name)).unwrap();
        let by_abi = format!("liblatchless.so.{}", abi_version());
        assert_eq!(link("liblatchless.so"), Path::new(&by_abi));
        assert_eq!(link(&by_abi), Path::new(&format!("liblatchless.so.{VERSION}")));
        assert_eq!(fs::read_to_string(lib.join("liblatchless.so")).unwrap(), "shared");
        let described = fs::read_to_string(lib.join("pkgconfig/latchless.pc")).unwrap();
        let first = format!("prefix={}\n", prefix.path().display());
        assert!(described.starts_with(&first) && described.contains("-lstdc++"), "{described}");
        assert_eq!(fs::read_dir(&lib).unwrap().count(), 5, "nothing else is left there");
    }

    #[test]
    fn a_root_goes_before_the_prefix_and_into_no_file() {
        let (built, root) = (built(), tempfile::tempdir().unwrap());
        let layout = Layout {
            built: built.path().to_owned(),
            root: Some(root.path().to_owned()),
            prefix: "/usr".into(),
            libdir: "lib64".into(),
            llama: false,
        };
        layout.install().unwrap();
        let described = root.path().join("usr/lib64/pkgconfig/latchless.pc");
        let described = fs::read_to_string(described).unwrap();
        assert!(described.starts_with("prefix=/usr\nlibdir=${prefix}/lib64\n"), "{described}");
        assert!(!described.contains("stdc++"), "{described}");
        assert!(root.path().join("usr/include/latchless.h").exists());
    }

    #[test]
    fn the_abi_is_a_number() {
        assert!(abi_version().parse::<u32>().is_ok_and(|abi| abi > 0), "{}", abi_version());
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let (built, file) = (built(), tempfile::NamedTempFile::new().unwrap());
        let layout = Layout {
            built: built.path().to_owned(),
            root: None,
            prefix: file.path().to_owned(),
            libdir: "lib".into(),
            llama: false,
        };
        let error = layout.install().unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("/lib cannot be written"), "{error}");
    }
}
