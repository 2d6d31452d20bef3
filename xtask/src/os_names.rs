//! Where operating systems are named. What is there on which system is said by the platform table,
//! src/sys/mod.rs, which gives groups of systems names; other code asks for these. A public item
//! that some systems only have says so itself.
//!
//! The tests have a table of their own, tests/util/mod.rs: they are programs apart, and can't see the
//! other.
//!
//! What names a system in another place of src/ and tests/ is counted, and the number only falls.

use std::fs;
use std::path::Path;
use std::str::FromStr;

use anyhow::{anyhow, bail, Context, Result};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::msrv::rust_files;
use crate::root;

/// How often a system is named in another place. To be lowered whenever it can be.
const ELSEWHERE: usize = 16;

const TABLES: [&str; 2] = ["src/sys/mod.rs", "tests/util/mod.rs"];

const NAMES: [&str; 2] = ["target_os", "target_vendor"];

pub fn run() -> Result<()> {
    let mut total = 0;
    for folder in ["src", "tests"] {
        for file in rust_files(&root().join(folder))? {
            let shown = file.strip_prefix(root())?;
            if TABLES.map(Path::new).contains(&shown) {
                continue;
            }
            // Nothing in tests/ is anybody's interface.
            let count = count(&fs::read_to_string(&file)?, folder == "src")
                .with_context(|| format!("cannot parse {}", shown.display()))?;
            if count > 0 {
                println!("{}: {count}", shown.display());
            }
            total += count;
        }
    }
    println!("{total} in all, {ELSEWHERE} allowed");
    if total > ELSEWHERE {
        bail!(
            "an operating system is named {total} times outside {}, where {ELSEWHERE} are allowed: \
             give the group of systems a name there, and ask for that",
            TABLES.join(" and ")
        );
    }
    if total < ELSEWHERE {
        bail!("only {total} names are left: lower ELSEWHERE in xtask/src/os_names.rs to that");
    }
    Ok(())
}

/// How often a source file names a system: its tokens, its documentation and its strings, but not
/// its comments. Where `public_may`, a public item's own `cfg`s are free.
fn count(source: &str, public_may: bool) -> Result<usize> {
    let tokens = TokenStream::from_str(source).map_err(|error| anyhow!("{error}"))?;
    Ok(scan(tokens, public_may))
}

fn scan(stream: TokenStream, public_may: bool) -> usize {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    let mut count = 0;
    let mut at = 0;
    while at < tokens.len() {
        let mut attributes = Vec::new();
        while let Some(attribute) = attribute(&tokens[at..]) {
            attributes.push(attribute);
            at += 2;
        }
        let free = public_may && is_public(&tokens[at..]);
        for attribute in attributes {
            if !(free && is_cfg(&attribute)) {
                count += scan(attribute, public_may);
            }
        }
        match tokens.get(at) {
            Some(TokenTree::Group(group)) => count += scan(group.stream(), public_may),
            Some(TokenTree::Ident(ident)) => {
                count += usize::from(NAMES.iter().any(|name| ident == name));
            }
            Some(TokenTree::Literal(literal)) => {
                let text = literal.to_string();
                count += NAMES
                    .map(|name| text.matches(name).count())
                    .iter()
                    .sum::<usize>();
            }
            Some(TokenTree::Punct(_)) | None => {}
        }
        at += 1;
    }
    count
}

/// What is in the attribute, where `tokens` begin with one that belongs to what follows.
fn attribute(tokens: &[TokenTree]) -> Option<TokenStream> {
    match tokens {
        [TokenTree::Punct(hash), TokenTree::Group(group), ..]
            if hash.as_char() == '#' && group.delimiter() == Delimiter::Bracket =>
        {
            Some(group.stream())
        }
        _ => None,
    }
}

fn is_cfg(attribute: &TokenStream) -> bool {
    match attribute.clone().into_iter().next() {
        Some(TokenTree::Ident(name)) => name == "cfg" || name == "cfg_attr",
        _ => false,
    }
}

/// Whether an item begins that is `pub`, and not `pub(crate)`.
fn is_public(tokens: &[TokenTree]) -> bool {
    match tokens {
        [TokenTree::Ident(word), TokenTree::Group(group), ..] => {
            word == "pub" && group.delimiter() != Delimiter::Parenthesis
        }
        [TokenTree::Ident(word), ..] => word == "pub",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(source: &str) -> [usize; 2] {
        [true, false].map(|public_may| count(source, public_may).unwrap())
    }

    #[test]
    fn a_public_items_own_cfg_is_free_in_src() {
        let item = r#"
            /// Says what it is.
            #[cfg(any(target_os = "linux", target_os = "android"))]
            #[cfg_attr(docsrs, doc(cfg(target_os = "linux")))]
            pub fn f() {}
        "#;
        assert_eq!(counted(item), [0, 3]);
    }

    #[test]
    fn everything_else_counts() {
        for source in [
            r#"#[cfg(target_os = "linux")] fn f() {}"#,
            r#"#[cfg(target_vendor = "apple")] pub(crate) fn f() {}"#,
            r#"#![cfg(target_os = "linux")] pub fn f() {}"#,
            r#"pub fn f() { if cfg!(target_os = "linux") {} }"#,
            r#"pub fn f() { #[cfg(target_os = "linux")] g() }"#,
            "/// # #[cfg(target_os = \"linux\")]\npub fn f() {}",
            r#"macro_rules! m { () => { #[cfg(target_os = "linux")] fn f() {} } }"#,
        ] {
            assert_eq!(counted(source), [1, 1], "{source}");
        }
        assert_eq!(counted("// target_os = \"linux\"\nfn f() {}"), [0, 0]);
    }
}
