//! Checks that on Android the library refers only to the functions of
//! testing/android/functions.txt.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{bail, Context, Result};
use serde_json::Value;

use crate::cross::Cross;
use crate::report::Report;
use crate::sh::Cmd;
use crate::{root, tools};

const TARGETS: [&str; 3] = [
    "aarch64-linux-android",
    "x86_64-linux-android",
    "i686-linux-android",
];

const LIST: &str = "testing/android/functions.txt";

pub fn run() -> Result<()> {
    Report::of(|report| {
        let allowed = Allowed::parse(&fs::read_to_string(root().join(LIST))?).context(LIST)?;
        tools::need("readelf", &["binutils"])?;
        for target in TARGETS {
            let checked = functions(target).and_then(|functions| {
                println!("{target}: {}", functions.join(" "));
                allowed.check(target, &functions)
            });
            report.one(target, checked);
        }
        Ok(())
    })
}

/// The functions that the objects of this crate refer to and do not define.
fn functions(target: &str) -> Result<Vec<String>> {
    // Not optimised, so that a function that would be inlined is seen as well.
    let build = Cross::new(target)?
        .building("build")
        .args(["--lib", "--all-features"])
        .arg("--message-format=json-render-diagnostics");
    println!("$ {build}");
    let messages = build.quiet()?.successful_stdout()?;
    let library = library(&messages).context("cargo has built no library")?;
    // One of the archive's files is no object. readelf warns of it, and continues.
    let symbols = Cmd::new("sh")
        .args([
            "-c",
            "exec readelf --wide --symbols \"$1\" 2>/dev/null",
            "sh",
        ])
        .arg(library)
        .quiet()?
        .stdout;
    let functions = undefined(&symbols);
    if functions.is_empty() {
        bail!("readelf shows no function at all");
    }
    Ok(functions)
}

/// The library's path, from cargo's messages.
fn library(messages: &str) -> Option<String> {
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut files = messages
        .filter(|message| {
            message["reason"] == "compiler-artifact" && message["target"]["name"] == "mio"
        })
        .flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default())
        .filter_map(|file| file.as_str().map(str::to_owned));
    files.find(|file| file.ends_with(".rlib"))
}

/// The undefined symbols in readelf's output, except for those of Rust code.
fn undefined(symbols: &str) -> Vec<String> {
    let mut names = BTreeSet::new();
    for line in symbols.lines() {
        let columns: Vec<&str> = line.split_whitespace().collect();
        // Number, value, size, type, binding, visibility, section, name.
        if let [number, _, _, _, _, _, "UND", name, ..] = columns[..] {
            let is_rust = name.starts_with("_R") || name.starts_with("_ZN");
            if number.ends_with(':') && !is_rust {
                names.insert(name.to_owned());
            }
        }
    }
    names.into_iter().collect()
}

/// The functions that may be called, each on all targets or on some.
struct Allowed(BTreeMap<String, Option<Vec<String>>>);

impl Allowed {
    fn parse(text: &str) -> Result<Allowed> {
        let mut allowed = BTreeMap::new();
        for line in text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let (name, targets) = match line.split_once(": ") {
                Some((name, targets)) => (name, Some(targets)),
                None => (line, None),
            };
            let targets: Option<Vec<String>> =
                targets.map(|targets| targets.split(' ').map(str::to_owned).collect());
            let unknown = targets
                .iter()
                .flatten()
                .find(|target| !TARGETS.contains(&target.as_str()));
            if let Some(unknown) = unknown {
                bail!("{name}: {unknown:?} is none of the targets");
            }
            if allowed.insert(name.to_owned(), targets).is_some() {
                bail!("{name} appears twice");
            }
        }
        Ok(Allowed(allowed))
    }

    fn check(&self, target: &str, functions: &[String]) -> Result<()> {
        let is_allowed = |name: &String| match self.0.get(name) {
            Some(Some(targets)) => targets.iter().any(|listed| listed == target),
            Some(None) => true,
            None => false,
        };
        let others: Vec<&str> = functions
            .iter()
            .filter(|name| !is_allowed(name))
            .map(String::as_str)
            .collect();
        if !others.is_empty() {
            bail!("not in {LIST}: {}", others.join(", "));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undefined_symbols_are_taken_but_for_rusts() {
        let symbols = "
File: libmio.rlib(lib.rmeta)

Symbol table '.symtab' contains 1 entry:
   Num:    Value  Size Type    Bind   Vis      Ndx Name
     0: 00000000     0 NOTYPE  LOCAL  DEFAULT  UND 
File: libmio.rlib(mio.rcgu.o)
     1: 00000000    12 FUNC    GLOBAL HIDDEN     3 defined
     2: 00000000     0 NOTYPE  GLOBAL DEFAULT  UND syscall
     3: 00000000     0 NOTYPE  GLOBAL DEFAULT  UND _ZN4core3fmt5Write9write_str17h0123E
     4: 00000000     0 NOTYPE  GLOBAL DEFAULT  UND _RNvCs1_3std4exit
     5: 00000000     0 NOTYPE  GLOBAL DEFAULT  UND syscall
     6: 00000000     0 NOTYPE  GLOBAL DEFAULT  UND epoll_wait
";
        assert_eq!(undefined(symbols), ["epoll_wait", "syscall"]);
    }

    #[test]
    fn functions_not_listed_for_the_target_are_reported() {
        let allowed = Allowed::parse("# a comment\n\nread\naccept4: aarch64-linux-android\n");
        let allowed = allowed.unwrap();
        let functions = ["accept4", "read"].map(String::from);
        assert!(allowed.check("aarch64-linux-android", &functions).is_ok());
        let error = allowed.check("i686-linux-android", &functions).unwrap_err();
        assert!(error.to_string().ends_with(": accept4"), "{error}");
        let raw = ["read", "syscall"].map(String::from);
        assert!(allowed.check("aarch64-linux-android", &raw).is_err());
    }

    #[test]
    fn a_list_that_is_none_is_refused() {
        assert!(Allowed::parse("read\nread\n").is_err());
        assert!(Allowed::parse("read: aarch64\n").is_err());
    }

    #[test]
    fn no_raw_call_is_allowed() {
        let allowed = Allowed::parse(&fs::read_to_string(root().join(LIST)).unwrap()).unwrap();
        for name in ["syscall", "epoll_pwait2"] {
            assert!(!allowed.0.contains_key(name), "{name}");
        }
        let accept4 = ["accept4".to_owned()];
        assert!(allowed.check("i686-linux-android", &accept4).is_err());
    }

    #[test]
    fn the_library_is_found_among_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"libc"},"filenames":["/t/liblibc.rlib"]}
{"reason":"compiler-artifact","target":{"name":"mio"},"filenames":["/t/libmio.rmeta","/t/libmio.rlib"]}"#;
        assert_eq!(library(messages).unwrap(), "/t/libmio.rlib");
    }
}
