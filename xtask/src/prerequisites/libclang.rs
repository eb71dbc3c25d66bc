//! Finding libclang where the build will look for it, and clang's own headers beside it.
//!
//! `bindgen` loads libclang through `clang-sys`; the places searched here are a part of those that
//! `clang-sys` 1.9 searches, so what is found here is found there. The library alone is not
//! enough: without the compiler's own `stddef.h`, which some packages leave out, `bindgen` stops at
//! the first header.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::run;

/// Why libclang cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotFound {
    /// There is no library in any of the usual places.
    #[error("libclang was not found")]
    Library,

    /// The library is there, the headers that belong to it are not.
    #[error("{} was found, but clang's own headers (stddef.h) were not", library.display())]
    Headers {
        /// The library.
        library: PathBuf,
    },

    /// A variable of the environment points to a place without libclang.
    #[error("{variable} is set to `{value}`, but {problem}")]
    Override {
        /// The variable.
        variable: &'static str,
        /// What it is set to.
        value: String,
        /// What is wrong with that.
        problem: String,
    },
}

/// The libclang that the build will load.
pub(super) fn find() -> Result<PathBuf, NotFound> {
    let library = match env::var("LIBCLANG_PATH") {
        // If it is set, nothing else is searched.
        Ok(value) => {
            let path = Path::new(&value);
            let found = if path.is_file() { Some(path.to_path_buf()) } else { in_folder(path) };
            found.ok_or(NotFound::Override {
                variable: "LIBCLANG_PATH",
                value,
                problem: "there is no libclang".to_owned(),
            })?
        }
        Err(_) => {
            search_folders().iter().find_map(|folder| in_folder(folder)).ok_or(NotFound::Library)?
        }
    };
    // Whoever passes arguments to clang may well pass the headers' place.
    let trusted = env::var_os("BINDGEN_EXTRA_CLANG_ARGS").is_some();
    if trusted || has_headers(&library, &usual_resource_folders()) {
        Ok(library)
    } else {
        Err(NotFound::Headers { library })
    }
}

/// The folders to search, in the order of `clang-sys`.
fn search_folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    let llvm_config = env::var_os("LLVM_CONFIG_PATH").unwrap_or_else(|| "llvm-config".into());
    if let Some(prefix) = run::probe(llvm_config, &["--prefix"]) {
        let prefix = Path::new(prefix.trim());
        folders.extend([prefix.join("lib"), prefix.join("lib64")]);
    }
    if cfg!(target_os = "macos") {
        if let Some(tools) = run::probe("xcode-select", &["--print-path"]) {
            let tools = Path::new(tools.trim());
            folders.push(tools.join("Toolchains/XcodeDefault.xctoolchain/usr/lib"));
        }
        folders.push("/Library/Developer/CommandLineTools/usr/lib".into());
        folders.push("/usr/local/opt/llvm/lib".into());
    }
    for variable in ["LD_LIBRARY_PATH", "LIBRARY_PATH"] {
        folders.extend(env::var_os(variable).iter().flat_map(env::split_paths));
    }
    for root in ["/usr/local/lib", "/usr/local/lib64", "/usr/lib", "/usr/lib64"] {
        let root = Path::new(root);
        let inner = folders_in(root);
        folders.extend(
            inner.iter().filter(|folder| name_starts_with(folder, "llvm")).map(|f| f.join("lib")),
        );
        folders.extend(inner);
        folders.push(root.to_path_buf());
    }
    folders
}

/// A libclang directly in `folder`.
fn in_folder(folder: &Path) -> Option<PathBuf> {
    let mut found: Vec<_> = entries(folder)
        .into_iter()
        .filter(|path| path.file_name().and_then(OsStr::to_str).is_some_and(is_libclang))
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    found.pop()
}

fn is_libclang(name: &str) -> bool {
    // `libclang-cpp.so.14` is another library, with a C++ interface.
    (name.starts_with("libclang.") || name.starts_with("libclang-"))
        && !name.contains("-cpp.")
        && name.split('.').any(|part| part == "so" || part == "dylib")
}

/// Whether clang's own headers lie where this library, or any clang of the system, has them.
fn has_headers(library: &Path, usual: &[PathBuf]) -> bool {
    let real = fs::canonicalize(library).unwrap_or_else(|_| library.to_path_buf());
    let beside = [library, &real].into_iter().filter_map(Path::parent).flat_map(|folder| {
        // `lib/clang/14/include` beside the library; `lib64/libclang.so` may go with `lib/clang`.
        [folder.join("clang"), folder.join("../lib/clang")]
    });
    beside
        .chain(usual.iter().cloned())
        .flat_map(|resources| folders_in(&resources))
        .any(|version| version.join("include/stddef.h").is_file())
}

fn usual_resource_folders() -> Vec<PathBuf> {
    let mut usual = vec![PathBuf::from("/usr/lib/clang"), PathBuf::from("/usr/lib64/clang")];
    let llvm = folders_in(Path::new("/usr/lib")).into_iter();
    usual.extend(
        llvm.filter(|folder| name_starts_with(folder, "llvm")).map(|f| f.join("lib/clang")),
    );
    usual
}

fn name_starts_with(path: &Path, start: &str) -> bool {
    path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with(start))
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let mut folders = entries(folder);
    folders.retain(|path| path.is_dir());
    folders
}

/// What is in `folder`; nothing if it cannot be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_the_library_are_told_from_its_neighbours() {
        for name in ["libclang.so", "libclang-14.so.1", "libclang.so.18.1.8", "libclang.dylib"] {
            assert!(is_libclang(name), "{name}");
        }
        for name in ["libclang-cpp.so.14", "libclang_rt.asan.so", "libclang.a", "libclangAST.so"] {
            assert!(!is_libclang(name), "{name}");
        }
    }

    #[test]
    fn a_library_without_headers_is_not_enough() {
        let root = tempfile::tempdir().unwrap();
        let lib = root.path().join("lib");
        fs::create_dir(&lib).unwrap();
        fs::write(lib.join("libclang-cpp.so.17"), "").unwrap();
        assert_eq!(in_folder(&lib), None);

        fs::write(lib.join("libclang.so.17"), "").unwrap();
        let library = in_folder(&lib).unwrap();
        assert_eq!(library, lib.join("libclang.so.17"));
        assert!(!has_headers(&library, &[]));

        let include = lib.join("clang/17/include");
        fs::create_dir_all(&include).unwrap();
        assert!(!has_headers(&library, &[]));
        fs::write(include.join("stddef.h"), "").unwrap();
        assert!(has_headers(&library, &[]));
    }

    #[test]
    fn headers_of_the_system_count_too() {
        let root = tempfile::tempdir().unwrap();
        let library = root.path().join("libclang.so");
        fs::write(&library, "").unwrap();
        let resources = root.path().join("system/clang");
        assert!(!has_headers(&library, std::slice::from_ref(&resources)));
        fs::create_dir_all(resources.join("18/include")).unwrap();
        fs::write(resources.join("18/include/stddef.h"), "").unwrap();
        assert!(has_headers(&library, &[resources]));
    }
}
