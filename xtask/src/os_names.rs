//! Counts where operating systems are named. In `src/` that is in the rows of `sys/platform/`, in
//! `sys/mod.rs`, which picks the row, and at public items that only some systems have. Other code
//! asks for what a row provides.
//!
//! The tests have a table of their own, tests/util/mod.rs: they are separate programs, and cannot see
//! the rows.
//!
//! The numbers may only fall.

use std::fs;
use std::path::Path;
use std::str::FromStr;

use anyhow::{anyhow, bail, Context, Result};
use proc_macro2::{TokenStream, TokenTree};

use crate::msrv::rust_files;
use crate::root;

/// How often a system is named in a folder. Includes the rows and the public items, and excludes
/// the tests' own table. Lower the number whenever possible.
const FOLDERS: [(&str, usize); 2] = [("src", 52), ("tests", 8)];

const TABLE_OF_TESTS: &str = "tests/util/mod.rs";

const NAMES: [&str; 2] = ["target_os", "target_vendor"];

pub fn run() -> Result<()> {
    for (folder, allowed) in FOLDERS {
        let mut total = 0;
        for file in rust_files(&root().join(folder))? {
            let shown = file.strip_prefix(root())?;
            if shown == Path::new(TABLE_OF_TESTS) {
                continue;
            }
            let count = count(&fs::read_to_string(&file)?)
                .with_context(|| format!("cannot parse {}", shown.display()))?;
            if count > 0 {
                println!("{}: {count}", shown.display());
            }
            total += count;
        }
        println!("{folder}: {total} in all, {allowed} allowed");
        if total > allowed {
            bail!(
                "{folder} names operating systems {total} times, where {allowed} are allowed: let a \
                 row of src/sys/platform or {TABLE_OF_TESTS} say what differs"
            );
        }
        if total < allowed {
            bail!("{folder} has only {total} names left: lower its count in xtask/src/os_names.rs");
        }
    }
    Ok(())
}

/// How often a source file names a system: its tokens, its documentation and its strings, but not
/// its comments.
fn count(source: &str) -> Result<usize> {
    let tokens = TokenStream::from_str(source).map_err(|error| anyhow!("{error}"))?;
    Ok(scan(tokens))
}

fn scan(stream: TokenStream) -> usize {
    let count = |token| match token {
        TokenTree::Group(group) => scan(group.stream()),
        TokenTree::Ident(ident) => usize::from(NAMES.iter().any(|name| ident == name)),
        TokenTree::Literal(literal) => {
            let text = literal.to_string();
            NAMES.iter().map(|name| text.matches(name).count()).sum()
        }
        TokenTree::Punct(_) => 0,
    };
    stream.into_iter().map(count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_code_documentation_and_strings_count() {
        let source = r#"
            // target_os in a comment does not.
            /// target_os in the documentation
            #[cfg(any(target_os = "linux", target_vendor = "apple"))]
            pub fn f() { let _ = "target_os"; }
        "#;
        assert_eq!(count(source).unwrap(), 4);
        assert!(count("fn f( {").is_err());
    }
}
