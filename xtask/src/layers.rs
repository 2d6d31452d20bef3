//! Which source files use each other: no two of them in a circle, and in `src/` no layer uses one
//! above it.
//!
//! A file uses another file if a path in it (a `use`, or a path in the code) leads to an item that
//! the other file defines. A re-export leads to the file where the item is defined. Code for tests
//! does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail, Context, Result};
use syn::visit::Visit;
use syn::{Attribute, Item, Meta, UseTree};

use crate::root;

/// The layers of `src/`, the upper ones first: a file uses its own layer and those below.
/// ARCHITECTURE.md has a picture of them. A name that ends with `/` is a folder.
const LAYERS: [(&str, &[&str]); 6] = [
    (
        "the crate",
        &["lib.rs", "guide.rs", "guide/", "features.rs"],
    ),
    ("sources", &["net/", "unix/", "windows/"]),
    ("any source", &["io_source.rs", "macros.rs"]),
    (
        "polling",
        &[
            "poll.rs",
            "registry.rs",
            "waker.rs",
            "event/source.rs",
            "event/events.rs",
        ],
    ),
    ("systems", &["sys/"]),
    (
        "words",
        &[
            "event/",
            "interest.rs",
            "token.rs",
            "pending.rs",
            "backend.rs",
            "stats.rs",
        ],
    ),
];

/// They name each other publicly, and count as one file.
const ONE: [&str; 2] = ["registry.rs", "event/source.rs"];

pub fn run() -> Result<()> {
    let library = Crate::read(&root().join("src"), "lib.rs")?;
    library.show();
    let mut faults = library.circles(&ONE);
    faults.extend(library.upward_arrows()?);
    let chores = Crate::read(&root().join("xtask/src"), "main.rs")?;
    faults.extend(chores.circles(&[]));
    for fault in &faults {
        println!("FAILED: {fault}");
    }
    match faults.first() {
        None => Ok(()),
        Some(first) => bail!("{first}"),
    }
}

/// The files of a crate, by their paths below its folder.
struct Crate {
    /// The files that each uses.
    uses: BTreeMap<String, BTreeSet<String>>,
}

/// A module, as one file declares it. Where systems differ, several files declare one of the same
/// name.
struct Module {
    file: String,
    path: Vec<String>,
    /// The items defined here, except for modules.
    items: BTreeSet<String>,
    /// The names that a `use` binds here, each with its path. The name of a glob is `*`.
    imports: Vec<(String, Vec<String>)>,
    /// All paths that lead to an item: those of a `use` that is no re-export, and those in the
    /// code.
    paths: Vec<Vec<String>>,
}

impl Crate {
    fn read(folder: &Path, first: &str) -> Result<Crate> {
        let mut modules = Vec::new();
        read_file(folder, Path::new(first), Vec::new(), &mut modules)?;
        let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for module in &modules {
            let used = uses.entry(module.file.clone()).or_default();
            for path in &module.paths {
                let mut found = BTreeSet::new();
                resolve(&modules, &module.path, path, &mut found, 0);
                found.remove(&module.file);
                used.extend(found);
            }
        }
        Ok(Crate { uses })
    }

    fn show(&self) {
        for (file, used) in &self.uses {
            if !used.is_empty() {
                let used: Vec<&str> = used.iter().map(String::as_str).collect();
                println!("{file}: {}", used.join(" "));
            }
        }
    }

    /// The sets of files that use each other in a circle, each once. The files in `one` count as a
    /// single file.
    fn circles(&self, one: &[&str]) -> Vec<String> {
        let name = |file: &str| -> String {
            match one.contains(&file) {
                true => one.join(" and "),
                false => file.to_owned(),
            }
        };
        let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (file, used) in &self.uses {
            let file = name(file);
            let used = used.iter().map(|used| name(used));
            let others: Vec<String> = used.filter(|used| *used != file).collect();
            uses.entry(file).or_default().extend(others);
        }
        let reached = |from: &str| {
            let mut all = BTreeSet::new();
            let mut next = vec![from.to_owned()];
            while let Some(file) = next.pop() {
                for used in uses.get(&file).into_iter().flatten() {
                    if all.insert(used.clone()) {
                        next.push(used.clone());
                    }
                }
            }
            all
        };
        let all: BTreeMap<&String, BTreeSet<String>> =
            uses.keys().map(|file| (file, reached(file))).collect();
        let mut circles = BTreeSet::new();
        for (file, reached) in &all {
            if reached.contains(*file) {
                let back = |other: &&String| all.get(*other).is_some_and(|all| all.contains(*file));
                let circle: Vec<&str> = reached.iter().filter(back).map(String::as_str).collect();
                circles.insert(format!("a circle of files: {}", circle.join(" ")));
            }
        }
        circles.into_iter().collect()
    }

    fn upward_arrows(&self) -> Result<Vec<String>> {
        let mut faults = Vec::new();
        for (file, used) in &self.uses {
            let from = layer(file)?;
            for other in used {
                let to = layer(other)?;
                if to < from {
                    let (upper, lower) = (LAYERS[to].0, LAYERS[from].0);
                    faults.push(format!("{file} ({lower}) uses {other} ({upper})"));
                }
            }
        }
        Ok(faults)
    }
}

/// The longest name that matches counts.
fn layer(file: &str) -> Result<usize> {
    let fits = |name: &&str| *name == file || (name.ends_with('/') && file.starts_with(*name));
    let longest = |names: &[&str]| {
        names
            .iter()
            .filter(|name| fits(name))
            .map(|name| name.len())
            .max()
    };
    let all = LAYERS.iter().enumerate();
    let found = all.filter_map(|(index, (_, names))| Some((longest(names)?, index)));
    let best = found.max_by_key(|(length, _)| *length);
    let (_, index) = best.ok_or_else(|| anyhow!("{file} is in no layer of xtask/src/layers.rs"))?;
    Ok(index)
}

fn read_file(
    folder: &Path,
    file: &Path,
    path: Vec<String>,
    modules: &mut Vec<Module>,
) -> Result<()> {
    let source = fs::read_to_string(folder.join(file))
        .with_context(|| format!("cannot read {}", file.display()))?;
    let parsed =
        syn::parse_file(&source).with_context(|| format!("cannot parse {}", file.display()))?;
    // The folder of its modules' files.
    let parent = file.parent().unwrap_or(Path::new(""));
    let is_root = matches!(
        file.file_name().and_then(|name| name.to_str()),
        Some("mod.rs" | "lib.rs" | "main.rs")
    );
    let below = match is_root {
        true => parent.to_owned(),
        false => parent.join(file.file_stem().unwrap_or_default()),
    };
    let place = Place {
        folder,
        file,
        parent: parent.to_owned(),
        below,
    };
    read_items(&place, &parsed.items, path, modules)
}

struct Place<'a> {
    folder: &'a Path,
    file: &'a Path,
    /// The folder that a `#[path]` is relative to.
    parent: PathBuf,
    below: PathBuf,
}

fn read_items(
    place: &Place<'_>,
    items: &[Item],
    path: Vec<String>,
    modules: &mut Vec<Module>,
) -> Result<()> {
    let mut module = Module {
        file: place.file.display().to_string(),
        path: path.clone(),
        items: BTreeSet::new(),
        imports: Vec::new(),
        paths: Vec::new(),
    };
    for item in items {
        if is_for_tests(attributes(item)) {
            continue;
        }
        match item {
            Item::Mod(inner) => {
                let name = inner.ident.to_string();
                let below = [path.clone(), vec![name.clone()]].concat();
                if let Some((_, items)) = &inner.content {
                    let inside = Place {
                        folder: place.folder,
                        file: place.file,
                        parent: place.below.join(&name),
                        below: place.below.join(&name),
                    };
                    read_items(&inside, items, below, modules)?;
                    continue;
                }
                let file = match given_path(&inner.attrs) {
                    Some(given) => normal(&place.parent.join(given)),
                    None => {
                        let flat = place.below.join(format!("{name}.rs"));
                        match place.folder.join(&flat).is_file() {
                            true => flat,
                            false => place.below.join(&name).join("mod.rs"),
                        }
                    }
                };
                read_file(place.folder, &file, below, modules)?;
            }
            Item::Use(import) => {
                let mut found = Vec::new();
                leaves(&import.tree, &mut Vec::new(), &mut found);
                let is_reexport = !matches!(import.vis, syn::Visibility::Inherited);
                for (name, path) in found {
                    if !is_reexport {
                        module.paths.push(path.clone());
                    }
                    module.imports.push((name, path));
                }
            }
            other => {
                if let Some(name) = name_of(other) {
                    module.items.insert(name);
                }
                Paths(&mut module.paths).visit_item(other);
            }
        }
    }
    modules.push(module);
    Ok(())
}

/// All that a `use` binds: each name, and its path.
fn leaves(tree: &UseTree, before: &mut Vec<String>, found: &mut Vec<(String, Vec<String>)>) {
    let whole = |last: &str| {
        let mut path = before.clone();
        if last != "self" {
            path.push(last.to_owned());
        }
        path
    };
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            leaves(&path.tree, before, found);
            before.pop();
        }
        UseTree::Name(name) => {
            let path = whole(&name.ident.to_string());
            if let Some(name) = path.last().cloned() {
                found.push((name, path));
            }
        }
        UseTree::Rename(rename) => {
            found.push((rename.rename.to_string(), whole(&rename.ident.to_string())));
        }
        UseTree::Glob(_) => found.push(("*".to_owned(), before.clone())),
        UseTree::Group(group) => {
            for tree in &group.items {
                leaves(tree, before, found);
            }
        }
    }
}

/// The files that define the item that a path leads to, from a module.
fn resolve(
    modules: &[Module],
    from: &[String],
    path: &[String],
    found: &mut BTreeSet<String>,
    depth: usize,
) {
    // A circle of re-exports would not compile, but those of two systems may look like one.
    if depth > 16 {
        return;
    }
    let Some(first) = path.first() else {
        return;
    };
    let (mut at, mut rest) = match first.as_str() {
        "crate" => (Vec::new(), &path[1..]),
        "self" => (from.to_vec(), &path[1..]),
        "super" => (from.to_vec(), path),
        // A module of this crate, or a name that a `use` binds; otherwise another crate.
        _ => (from.to_vec(), path),
    };
    while rest.first().is_some_and(|name| name == "super") {
        at.pop();
        rest = &rest[1..];
    }
    while let Some(name) = rest.first() {
        let below = [at.clone(), vec![name.clone()]].concat();
        if !modules.iter().any(|module| module.path == below) {
            break;
        }
        at = below;
        rest = &rest[1..];
    }
    let is_relative = !matches!(first.as_str(), "crate" | "self" | "super");
    let here: Vec<&Module> = modules.iter().filter(|module| module.path == at).collect();
    let Some(name) = rest.first() else {
        found.extend(here.iter().map(|module| module.file.clone()));
        return;
    };
    for module in here {
        if module.items.contains(name) {
            found.insert(module.file.clone());
            continue;
        }
        for (bound, path) in &module.imports {
            if bound == name {
                let path = [path.as_slice(), &rest[1..]].concat();
                // Skips a `use` that imports a name from a path that begins with the same name.
                if !(is_relative && path.first() == Some(name)) {
                    resolve(modules, &module.path, &path, found, depth + 1);
                }
            } else if bound == "*" && !is_relative {
                let path = [path.as_slice(), rest].concat();
                resolve(modules, &module.path, &path, found, depth + 1);
            }
        }
    }
}

/// Collects the paths in code that begin at a module.
struct Paths<'a>(&'a mut Vec<Vec<String>>);

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string());
        let names: Vec<String> = names.collect();
        if names.len() > 1 {
            self.0.push(names);
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_item_use(&mut self, import: &'ast syn::ItemUse) {
        let mut found = Vec::new();
        leaves(&import.tree, &mut Vec::new(), &mut found);
        self.0.extend(found.into_iter().map(|(_, path)| path));
    }
}

fn name_of(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        _ => return None,
    };
    Some(name.to_string())
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// `#[cfg(test)]`, or `all(test, …)`.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let Meta::List(list) = &attribute.meta else {
            return false;
        };
        let condition = list.tokens.to_string().replace(' ', "");
        list.path.is_ident("cfg") && (condition == "test" || condition.starts_with("all(test,"))
    })
}

fn given_path(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| {
        let Meta::NameValue(pair) = &attribute.meta else {
            return None;
        };
        let syn::Expr::Lit(literal) = &pair.value else {
            return None;
        };
        match &literal.lit {
            syn::Lit::Str(text) if pair.path.is_ident("path") => Some(text.value()),
            _ => None,
        }
    })
}

/// Removes `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A crate in a folder of its own.
    fn read(files: &[(&str, &str)]) -> Crate {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = folder.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        Crate::read(folder.path(), "lib.rs").unwrap()
    }

    fn uses(found: &Crate, file: &str) -> Vec<String> {
        found.uses[file].iter().cloned().collect()
    }

    #[test]
    fn a_re_export_leads_to_where_the_item_is_defined() {
        let found = read(&[
            ("lib.rs", "mod a; mod b; mod c; pub use a::Thing as Other;"),
            ("a.rs", "pub struct Thing;"),
            ("b.rs", "use crate::Other;"),
            ("c.rs", "fn f(_: super::Other, _: crate::a::Thing) {}"),
        ]);
        assert_eq!(uses(&found, "b.rs"), ["a.rs"]);
        assert_eq!(uses(&found, "c.rs"), ["a.rs"]);
        assert!(found.circles(&[]).is_empty());
        assert!(uses(&found, "lib.rs").is_empty());
    }

    #[test]
    fn files_that_use_each_other_are_a_circle() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::b::B; pub struct A;"),
            ("b.rs", "pub struct B; fn f() { crate::c::g(); }"),
            ("c.rs", "use super::a::A; pub fn g() {}"),
        ];
        let found = read(&files);
        assert_eq!(found.circles(&[]), ["a circle of files: a.rs b.rs c.rs"]);
        assert!(found.circles(&["a.rs", "b.rs", "c.rs"]).is_empty());
    }

    #[test]
    fn a_child_that_uses_its_parent_which_uses_it_is_a_circle() {
        let found = read(&[
            ("lib.rs", "mod sys;"),
            (
                "sys/mod.rs",
                "mod calls { #[path = \"one.rs\"] mod one; } use calls::one::One; fn cvt() {}",
            ),
            ("sys/calls/one.rs", "use crate::sys::cvt; pub struct One;"),
        ]);
        assert_eq!(
            found.circles(&[]),
            ["a circle of files: sys/calls/one.rs sys/mod.rs"]
        );
    }

    #[test]
    fn each_of_several_modules_of_one_name_counts() {
        let found = read(&[
            ("lib.rs", "#[cfg(unix)] #[path = \"u.rs\"] mod p; #[cfg(windows)] #[path = \"w.rs\"] mod p; mod x;"),
            ("u.rs", "pub struct P;"),
            ("w.rs", "pub struct P;"),
            ("x.rs", "use crate::p::P;"),
        ]);
        assert_eq!(uses(&found, "x.rs"), ["u.rs", "w.rs"]);
    }

    #[test]
    fn code_for_tests_does_not_count() {
        let found = read(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::B; pub struct A; "),
            ("b.rs", "pub struct B; #[cfg(test)] mod tests { use crate::a::A; } #[cfg(all(test, x))] use crate::a::A;"),
        ]);
        assert!(found.circles(&[]).is_empty());
    }

    #[test]
    fn the_most_exact_name_tells_the_layer() {
        let name = |file| LAYERS[layer(file).unwrap()].0;
        assert_eq!(name("event/source.rs"), "polling");
        assert_eq!(name("event/event.rs"), "words");
        assert_eq!(name("sys/calls/poll.rs"), "systems");
        assert!(layer("unknown.rs").is_err());
    }
}
