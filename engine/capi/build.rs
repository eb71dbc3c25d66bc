//! Names the library that programs are linked to: by its ABI, not by its version.

fn main() {
    println!("cargo::rerun-if-changed=src/version.rs");
    let version = std::fs::read_to_string("src/version.rs").unwrap_or_default();
    let abi = version
        .lines()
        .find_map(|line| line.strip_prefix("pub const LATCHLESS_ABI_VERSION: u32 = "))
        .map_or("1", |number| number.trim_end_matches(';'));
    match std::env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("linux" | "android" | "freebsd") => {
            println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,liblatchless.so.{abi}");
        }
        Ok("macos") => {
            let name = format!("@rpath/liblatchless.{abi}.dylib");
            println!("cargo::rustc-cdylib-link-arg=-Wl,-install_name,{name}");
        }
        _ => {}
    }
}
