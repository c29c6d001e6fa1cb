//! Has the linker put the functions that are run next to one another.
//!
//! Linux maps the 64 KiB around each page of code that is run, if the file is in memory. In a cluster a
//! quarter of the code is ever run, but some of it in nearly every 64 KiB as the compiler leaves it:
//! nearly all would count as memory of the process.

use std::{env, path::Path};

/// Names of functions as the linker knows them, made by `bench/link_order.py`. Those that are not there any more
/// are passed over.
const ORDER: &str = "link-order.txt";

fn main() {
    println!("cargo::rerun-if-changed={ORDER}");
    if !takes_order() {
        return;
    }
    let folder = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    let order = Path::new(&folder).join(ORDER);
    for argument in [
        "--no-warn-symbol-ordering",
        &format!("--symbol-ordering-file={}", order.display()),
    ] {
        println!("cargo::rustc-link-arg-bins=-Xlinker");
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}

/// Whether the names are those of this build, and its linker is LLVM's, which alone knows the option: rustc has
/// it for this target, unless somebody has chosen another.
fn takes_order() -> bool {
    let is = |variable, value: &str| env::var(variable).is_ok_and(|it| it == value);
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    is("PROFILE", "release")
        && is("TARGET", "x86_64-unknown-linux-gnu")
        && env::var_os("RUSTC_LINKER").is_none()
        && !flags.contains("link")
}
