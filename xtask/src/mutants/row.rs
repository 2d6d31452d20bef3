//! The table of systems in `src/sys/mod.rs`, reduced to one row.

use anyhow::{bail, Result};
use syn::spanned::Spanned;
use syn::{Attribute, Expr, Item, Lit, Meta};

/// `text` without the items `mod platform` of other rows than `row`.
pub fn keep(text: &str, row: &str) -> Result<String> {
    let kept = format!("platform/{row}.rs");
    let mut lines: Vec<&str> = text.lines().collect();
    let mut found = false;
    for item in syn::parse_file(text)?.items {
        let Item::Mod(module) = &item else { continue };
        let Some(path) = module.attrs.iter().find_map(path_of) else {
            continue;
        };
        if module.ident != "platform" {
            continue;
        }
        if path == kept {
            found = true;
            continue;
        }
        let span = item.span();
        // Empty, so that the other items stay where they are.
        lines[span.start().line - 1..span.end().line].fill("");
    }
    if !found {
        bail!("there is no row {kept}");
    }
    Ok(lines.join("\n") + "\n")
}

/// The value of `#[path = "…"]`.
fn path_of(attribute: &Attribute) -> Option<String> {
    match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutants::settings::Build;
    use crate::root;

    #[test]
    fn one_row_stays_and_everything_else_keeps_its_line() {
        let text = "mod a;\n#[cfg(x)]\n#[path = \"platform/x.rs\"]\nmod platform;\n\
                    #[cfg(y)]\n#[path = \"platform/y.rs\"]\nmod platform;\nmod b;\n";
        assert_eq!(
            keep(text, "y").unwrap(),
            "mod a;\n\n\n\n#[cfg(y)]\n#[path = \"platform/y.rs\"]\nmod platform;\nmod b;\n"
        );
        assert!(keep(text, "z").is_err());
    }

    #[test]
    fn the_table_has_the_row_of_each_build() {
        let table = std::fs::read_to_string(root().join("src/sys/mod.rs")).unwrap();
        for build in Build::ALL {
            let kept = keep(&table, build.row()).unwrap();
            assert_eq!(kept.matches("mod platform;").count(), 1, "{build}");
            assert_eq!(kept.lines().count(), table.lines().count());
        }
    }
}
