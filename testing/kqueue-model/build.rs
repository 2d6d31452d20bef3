//! If `MIO_KQUEUE_LIBRARY` names a shared library, the crate exports nothing and links that
//! library.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(kqueue_library)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=MIO_KQUEUE_LIBRARY");
    let Some(library) = env::var_os("MIO_KQUEUE_LIBRARY") else {
        return;
    };
    let library = Path::new(&library);
    assert!(
        library.is_file(),
        "MIO_KQUEUE_LIBRARY: {} is not a file",
        library.display()
    );
    let (Some(folder), Some(name)) = (library.parent(), library.file_name()) else {
        panic!("MIO_KQUEUE_LIBRARY: the path of a shared library is needed");
    };
    println!("cargo::rustc-cfg=kqueue_library");
    println!("cargo::rustc-link-search=native={}", folder.display());
    // Verbatim, because the library that Debian installs without headers is called
    // `libkqueue.so.0`.
    println!(
        "cargo::rustc-link-lib=dylib:+verbatim={}",
        name.to_string_lossy()
    );
}
