//! Selects rows of a chore's table by name.

use anyhow::{bail, Result};

/// The rows of these names, in the order of the names. Without names, all rows that are `usual`.
pub fn named<'a, T>(
    table: &'a [T],
    name: impl Fn(&T) -> &str,
    names: &[String],
    usual: impl Fn(&T) -> bool,
) -> Result<Vec<&'a T>> {
    if names.is_empty() {
        return Ok(table.iter().filter(|row| usual(row)).collect());
    }
    let mut rows = Vec::new();
    for wanted in names {
        match table.iter().find(|row| name(row) == wanted) {
            Some(row) => rows.push(row),
            None => {
                let known: Vec<&str> = table.iter().map(&name).collect();
                bail!("{wanted:?} is none of {}", known.join(", "));
            }
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(names: &[&str]) -> Result<Vec<&'static str>> {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        let rows = named(
            &["a", "b", "later"],
            |row| row,
            &names,
            |row| *row != "later",
        )?;
        Ok(rows.into_iter().copied().collect())
    }

    #[test]
    fn without_names_all_usual_rows_are_chosen() {
        assert_eq!(choose(&[]).unwrap(), ["a", "b"]);
    }

    #[test]
    fn by_name_any_row_is_chosen() {
        assert_eq!(choose(&["later", "a"]).unwrap(), ["later", "a"]);
    }

    #[test]
    fn an_unknown_name_is_an_error_that_names_the_others() {
        let error = choose(&["a", "c"]).unwrap_err().to_string();
        assert!(
            error.contains("\"c\"") && error.contains("a, b, later"),
            "{error}"
        );
    }
}
