//! Hosts in C and C++: built with every warning an error, run, and run under the sanitizers.
#![cfg(target_os = "linux")]

mod compiler;

use std::path::Path;
use std::process::Command;

use self::compiler::{CHECKS, Check, Host, blocks, compiler, crate_folder, run};

/// Builds and runs a program both ways.
fn built_and_run(source: &str, args: &[&str]) -> Vec<String> {
    let host = Host::new();
    let source = crate_folder().join(source);
    let run_one = |check| run(Command::new(host.compile(&source, check)).args(args));
    CHECKS.into_iter().map(run_one).collect()
}

/// Its times are printed and not judged: other tests run beside it.
#[test]
fn the_real_time_loop_loses_nothing_beside_churn_and_a_frozen_thread() {
    let args = ["--seconds", "1", "--churn", "3", "--freeze"];
    for said in built_and_run("examples/realtime.c", &args) {
        assert!(said.contains("worst tick") && !said.contains("frozen 0 times"), "{said}");
    }
}

#[test]
fn the_agents_do_their_tasks_in_cpp() {
    for said in built_and_run("examples/agents.cpp", &[]) {
        assert!(said.contains("24 tasks by 3 agents; the narrator said: Tell it."), "{said}");
    }
}

/// As the engine's own tests find it: named, or in the cache where `cargo xtask test` keeps it.
#[cfg(feature = "llama")]
fn model() -> std::path::PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(std::path::PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cached = || cache.or_else(home).map(|cache| cache.join("latchless").join(MODEL_FILE));
    let path = std::env::var_os("LATCHLESS_MODEL").map(std::path::PathBuf::from).or_else(cached);
    path.filter(|path| path.exists()).unwrap_or_else(|| {
        panic!("the test model {MODEL_FILE} is not there: `cargo xtask test` fetches it and runs the tests")
    })
}

#[cfg(feature = "llama")]
const MODEL_FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

#[test]
#[cfg(feature = "llama")]
fn the_agents_ask_a_real_model() {
    let host = Host::new();
    let program = host.compile(&crate_folder().join("examples/agents.cpp"), Check::Optimised);
    let said = run(Command::new(program).arg(model()));
    assert!(said.contains("24 tasks by 3 agents"), "{said}");
}

#[test]
fn objects_may_go_in_any_order() {
    built_and_run("tests/c/order.c", &[]);
}

#[test]
fn a_forked_child_is_refused() {
    built_and_run("tests/c/fork.c", &[]);
}

#[test]
fn the_library_can_be_unloaded_and_loaded_again() {
    let host = Host::new();
    let source = crate_folder().join("tests/c/dlopen.c");
    for check in CHECKS {
        let mut program = Command::new(host.compile(&source, check));
        program.arg(host.library()).arg("40");
        // What an unloaded library leaves is bounded, and counted by the program itself.
        program.env("ASAN_OPTIONS", "detect_leaks=0");
        run(&mut program);
    }
}

#[test]
fn a_program_can_have_the_library_in_it() {
    let host = Host::new();
    let program = host.compile_static(&crate_folder().join("examples/realtime.c"));
    let said = run(Command::new(program).args(["--seconds", "1"]));
    assert!(said.contains("worst tick"), "{said}");
}

/// The headers need nothing before them, and please old and new compilers.
#[test]
fn the_headers_stand_alone() {
    let host = Host::new();
    for (file, header, standards) in [
        ("alone.c", "latchless.h", &["-std=c99", "-std=c11", "-std=c17"][..]),
        ("alone.cpp", "latchless.h", &["-std=c++11", "-std=c++17"]),
        ("wrapper.cpp", "latchless.hpp", &["-std=c++17", "-std=c++20"]),
    ] {
        let source = host.folder().join(file);
        std::fs::write(&source, format!("#include <{header}>\n")).unwrap();
        for standard in standards {
            let mut command = compiler(&source, Check::Optimised);
            run(command.arg(standard).arg("-fsyntax-only").arg(&source));
        }
    }
}

/// Every program of the guide is compiled and run as it stands there.
#[test]
fn the_guide_s_programs_run() {
    let host = Host::new();
    let page = crate_folder().join("../../docs/c-abi.md");
    let mut programs = 0;
    for language in ["c", "cpp"] {
        for block in blocks(&page, language, host.folder()) {
            run_block(&host, &block);
            programs += 1;
        }
    }
    assert!(programs >= 2, "{programs}");
}

fn run_block(host: &Host, block: &Path) {
    run(&mut Command::new(host.compile(block, Check::Sanitized)));
}
