//! The committed header is what the sources say.

use std::fs;
use std::path::Path;

use cbindgen::{Builder, Config};

/// In the order in which a reader meets them.
const SOURCES: &[&str] = &[
    "version.rs",
    "status/mod.rs",
    "status/last.rs",
    "handles.rs",
    "arguments.rs",
    "pool/mod.rs",
    "pool/look.rs",
    "lease.rs",
    "options.rs",
    "engine/event.rs",
    "engine/request.rs",
    "engine/mod.rs",
    "engine/submit.rs",
    "engine/stream.rs",
    "engine/run.rs",
    "machine.rs",
    "tasks/mod.rs",
    "tasks/claim.rs",
    "tasks/look.rs",
];

fn crate_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn generated() -> String {
    let config = Config::from_file(crate_folder().join("cbindgen.toml")).expect("cbindgen.toml");
    let mut builder = Builder::new().with_config(config);
    // Copies that name no other file: cbindgen follows those, and would declare what is in them twice.
    let copies = tempfile::tempdir().expect("a folder for temporary files");
    for (number, source) in SOURCES.iter().enumerate() {
        let text = fs::read_to_string(crate_folder().join("src").join(source));
        let text = text.expect("a source of the list is there");
        let alone: Vec<_> = text.lines().filter(|line| !names_a_file(line)).collect();
        let copy = copies.path().join(format!("{number}.rs"));
        fs::write(&copy, alone.join("\n")).expect("a copy can be written");
        builder = builder.with_src(copy);
    }
    let mut header = Vec::new();
    builder.generate().expect("the sources are what cbindgen reads").write(&mut header);
    String::from_utf8(header).expect("a header is text")
}

/// `mod name;`, whoever may see it.
fn names_a_file(line: &str) -> bool {
    let item = line.strip_prefix("pub ").or_else(|| line.strip_prefix("pub(crate) "));
    item.unwrap_or(line).starts_with("mod ") && line.ends_with(';')
}

#[test]
fn the_header_is_current() {
    let path = crate_folder().join("include/latchless.h");
    let now = generated();
    if std::env::var_os("LATCHLESS_BLESS").is_some() {
        fs::write(&path, now).expect("the header can be written");
        return;
    }
    let committed = fs::read_to_string(&path).expect("engine/capi/include/latchless.h is there");
    let different = committed.lines().zip(now.lines()).find(|(old, new)| old != new);
    assert!(
        committed == now,
        "engine/capi/include/latchless.h is not what the sources say (first: {different:?}); run `cargo xtask \
         header` and commit what it writes"
    );
}

/// A source that is left out of the list would be left out of the header.
#[test]
fn every_function_is_in_the_header_once() {
    let header = generated();
    let mut functions = 0;
    let mut folders = vec![crate_folder().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = fs::read_to_string(&path).unwrap();
            for line in source.lines().filter(|line| line.contains("extern \"C\" fn latchless_")) {
                let name = line.split("fn ").nth(1).unwrap().split('(').next().unwrap();
                // A space or a star before it, and at the beginning of a line: declared, not mentioned.
                let declares = |line: &&str| {
                    let before = line.split_once(&format!("{name}(")).map(|(before, _)| before);
                    !line.starts_with([' ', '/']) && before.is_some_and(|b| b.ends_with([' ', '*']))
                };
                let times = header.lines().filter(declares).count();
                assert_eq!(times, 1, "{name} of {}", path.display());
                functions += 1;
            }
        }
    }
    assert!(functions > 50, "{functions}");
}

/// What a host may rely on is said of each function.
#[test]
fn every_function_says_whether_it_is_for_a_real_time_thread() {
    let header = generated();
    let mut functions = 0;
    for declaration in header.split("/**\n").skip(1) {
        let Some((comment, rest)) = declaration.split_once("*/") else { continue };
        let code = rest.trim_start();
        let is_function = (code.starts_with("latchless_status latchless_")
            || code.starts_with("const char *latchless_")
            || code.starts_with("uint32_t latchless_")
            || code.starts_with("bool latchless_"))
            && code.contains('(');
        if is_function {
            functions += 1;
            let name = code.split('(').next().unwrap();
            let says = comment.contains("eal-time")
                || comment.contains("as latchless_engine_swap_llama()");
            assert!(says, "{name} does not say it:\n{comment}");
        }
    }
    assert!(functions > 50, "{functions}");
}

#[test]
fn every_status_has_its_name() {
    let header = generated();
    let mut statuses = 0;
    for line in header.lines().map(str::trim) {
        let Some((name, number)) = line.trim_end_matches(',').split_once(" = ") else { continue };
        if !(name == "LATCHLESS_OK" || name.starts_with("LATCHLESS_ERROR_")) {
            continue;
        }
        let number = number.parse().unwrap();
        let text = latchless_capi::status::latchless_status_name(number);
        // SAFETY: it is a text of the library's, for ever.
        let text = unsafe { std::ffi::CStr::from_ptr(text) };
        assert_eq!(text.to_str().unwrap(), name);
        statuses += 1;
    }
    assert!(statuses > 40, "{statuses}");
}
