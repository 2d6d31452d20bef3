//! Finds syntax that an older compiler does not know, in the tokens: comments, strings and `cfg`s
//! do not matter.

use std::str::FromStr;

use anyhow::{anyhow, Result};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A version of Rust: major, minor and patch.
pub type Version = (u32, u32, u32);

/// `LINE: WHAT (SINCE)` for each use of syntax that is newer than `msrv`.
pub fn newer(source: &str, msrv: Version) -> Result<Vec<String>> {
    let tokens = TokenStream::from_str(source).map_err(|error| anyhow!("{error}"))?;
    let mut found = Vec::new();
    scan(tokens, &mut found);
    found.retain(|find| find.since > msrv);
    found.sort_by_key(|find| find.line);
    Ok(found
        .iter()
        .map(|find| {
            format!(
                "{}: {} (Rust {}.{})",
                find.line, find.what, find.since.0, find.since.1
            )
        })
        .collect())
}

struct Find {
    line: usize,
    what: &'static str,
    since: Version,
}

fn scan(stream: TokenStream, found: &mut Vec<Find>) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        let rest = &tokens[at..];
        if let Some((what, minor)) = starts_newer(rest) {
            found.push(Find {
                line: token.span().start().line,
                what,
                since: (1, minor, 0),
            });
        }
        if let TokenTree::Group(group) = token {
            scan(group.stream(), found);
        }
    }
}

/// The syntax that begins at the first of `tokens`, and the minor version that introduced it.
fn starts_newer(tokens: &[TokenTree]) -> Option<(&'static str, u32)> {
    use Delimiter::{Brace, Bracket};
    let group = |at: usize, delimiter| match tokens.get(at) {
        Some(TokenTree::Group(group)) => group.delimiter() == delimiter,
        _ => false,
    };
    let text = |at: usize| {
        tokens
            .get(at)
            .filter(|token| !matches!(token, TokenTree::Group(_)))
            .map(ToString::to_string)
    };
    let is = |at: usize, word: &str| text(at).is_some_and(|text| text == word);

    if let TokenTree::Literal(literal) = &tokens[0] {
        let literal = literal.to_string();
        let c_string = ["c\"", "cr\"", "cr#"]
            .iter()
            .any(|prefix| literal.starts_with(prefix));
        return c_string.then_some(("C string literal", 77));
    }
    if is(0, "#") {
        let at = if is(1, "!") { 2 } else { 1 };
        let TokenTree::Group(attribute) = tokens.get(at).filter(|_| group(at, Bracket))? else {
            return None;
        };
        return newer_attribute(attribute.stream());
    }
    if is(0, "if") || is(0, "while") {
        return is_let_chain(tokens).then_some(("let chain", 88));
    }
    if is(0, "const") && group(1, Brace) {
        return Some(("inline const block", 79));
    }
    if is(0, "async") && (is(1, "|") || (is(1, "move") && is(2, "|"))) {
        return Some(("async closure", 85));
    }
    if is(0, "&") && is(1, "raw") && (is(2, "const") || is(2, "mut")) {
        return Some(("raw borrow", 82));
    }
    // `unsafe extern "C" fn` is old, `unsafe extern "C" {` is not.
    if is(0, "unsafe") && is(1, "extern") && (group(2, Brace) || group(3, Brace)) {
        return Some(("unsafe extern block", 82));
    }
    if is(0, "use") && is(1, "<") {
        return Some(("precise capturing", 82));
    }
    if is(0, "trait") {
        let body = tokens.iter().find_map(|token| match token {
            TokenTree::Group(group) if group.delimiter() == Brace => Some(group.stream()),
            _ => None,
        });
        return body
            .filter(promises_impl)
            .map(|_| ("async fn or impl Trait in a trait", 75));
    }
    None
}

fn newer_attribute(attribute: TokenStream) -> Option<(&'static str, u32)> {
    let tokens: Vec<TokenTree> = attribute.into_iter().collect();
    let starts_with = |word: &str| {
        tokens
            .first()
            .is_some_and(|token| token.to_string() == word)
    };
    if starts_with("unsafe") {
        return Some(("unsafe attribute", 82));
    }
    if starts_with("diagnostic") {
        return Some(("diagnostic attribute", 78));
    }
    has_expect(&tokens).then_some(("#[expect]", 81))
}

/// `expect(…)`, perhaps inside a `cfg_attr(…)`.
fn has_expect(tokens: &[TokenTree]) -> bool {
    tokens.iter().enumerate().any(|(at, token)| match token {
        TokenTree::Ident(ident) => {
            ident == "expect" && matches!(tokens.get(at + 1), Some(TokenTree::Group(_)))
        }
        TokenTree::Group(group) => has_expect(&group.stream().into_iter().collect::<Vec<_>>()),
        _ => false,
    })
}

/// Whether the condition that `tokens` starts with contains `let` and also `&&`. Without a chain
/// there is no `&&` at this level: older compilers require parentheses around it, and those are a
/// group of their own.
fn is_let_chain(tokens: &[TokenTree]) -> bool {
    let mut lets = false;
    let mut matched = false;
    let mut ands = false;
    for (at, token) in tokens.iter().enumerate().skip(1) {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => break,
            TokenTree::Ident(ident) if ident == "let" => {
                // `a && let …`
                if ands {
                    return true;
                }
                lets = true;
            }
            TokenTree::Punct(punct) => match (punct.as_char(), tokens.get(at + 1)) {
                // The end of a match arm's guard.
                ('=', Some(TokenTree::Punct(next))) if next.as_char() == '>' => break,
                ('=', _) if lets => matched = true,
                ('&', Some(TokenTree::Punct(next))) if next.as_char() == '&' => {
                    // `let … = … && …`; before the `=` it is a pattern of references.
                    if matched {
                        return true;
                    }
                    ands = !lets;
                }
                _ => {}
            },
            _ => {}
        }
    }
    false
}

/// Whether a trait's body has an `async fn`, or a function whose result is `impl …`.
fn promises_impl(body: &TokenStream) -> bool {
    let tokens: Vec<String> = body
        .clone()
        .into_iter()
        .map(|token| token.to_string())
        .collect();
    tokens.windows(2).any(|pair| pair == ["async", "fn"])
        || tokens.windows(3).any(|three| three == ["-", ">", "impl"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(source: &str) -> Vec<String> {
        newer(source, (1, 71, 0)).unwrap()
    }

    #[test]
    fn newer_syntax_is_found() {
        for (source, what) in [
            ("let s = c\"x\";", "C string literal"),
            ("let s = cr#\"x\"#;", "C string literal"),
            ("fn f() { if let Some(x) = a && x > 1 {} }", "let chain"),
            ("if a && let Some(x) = b {}", "let chain"),
            ("while let Some(x) = a && b {}", "let chain"),
            (
                "match x { y if a && let Some(z) = y => 1, _ => 2 }",
                "let chain",
            ),
            ("#[expect(dead_code)] fn f() {}", "#[expect]"),
            ("#![expect(dead_code)]", "#[expect]"),
            (
                "#[cfg_attr(test, expect(dead_code))] fn f() {}",
                "#[expect]",
            ),
            ("let p = &raw const x;", "raw borrow"),
            ("let p = &raw mut x;", "raw borrow"),
            ("unsafe extern \"C\" { fn f(); }", "unsafe extern block"),
            ("#[unsafe(no_mangle)] fn f() {}", "unsafe attribute"),
            ("let f = async || 1;", "async closure"),
            ("let f = async move |x| x;", "async closure"),
            ("let a = [const { None }; 4];", "inline const block"),
            ("fn f() -> impl Sized + use<'a> {}", "precise capturing"),
            (
                "trait T { async fn f(); }",
                "async fn or impl Trait in a trait",
            ),
            (
                "trait T { fn f() -> impl Sized; }",
                "async fn or impl Trait in a trait",
            ),
        ] {
            let found = found(source);
            assert_eq!(found.len(), 1, "{source}: {found:?}");
            assert!(found[0].contains(what), "{source}: {found:?}");
        }
    }

    #[test]
    fn older_syntax_is_not() {
        for source in [
            "let s = \"c\\\"x\"; let b = b\"c\"; // c\"x\"",
            "/// if let Some(x) = a && b {}\nfn f() {}",
            "if let Some(x) = (a && b).then(|| c && d) {}",
            "if a && b {} else if let Some(x) = y {}",
            "if let &&x = y {}",
            "match x { Some(y) if a && b => 1, _ => 2 }",
            "let Some(x) = y else { return };",
            "x.expect(\"there\"); #[allow(dead_code)] fn f() {}",
            "unsafe extern \"C\" fn f() {}",
            "extern \"C\" { fn f(); }",
            "unsafe { f() } const X: u8 = { 1 }; const fn g() {}",
            "let raw = &raw; let f = async { 1 }; let g = a || b;",
            "trait T { fn f(x: impl Sized) -> u8; } fn f() -> impl Sized {}",
        ] {
            assert_eq!(found(source), Vec::<String>::new(), "{source}");
        }
    }

    #[test]
    fn what_the_version_has_is_fine() {
        assert!(newer("let s = c\"x\";", (1, 77, 0)).unwrap().is_empty());
        assert_eq!(
            newer("fn f() {}\nlet s = c\"x\";", (1, 76, 0)).unwrap(),
            ["2: C string literal (Rust 1.77)"]
        );
    }
}
