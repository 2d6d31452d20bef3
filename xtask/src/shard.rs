//! A part of a long list, so that several machines share the work.

use std::str::FromStr;

use anyhow::{anyhow, bail, Context, Error, Result};

/// Part K of N equal parts, written `K/N`; K counts from 1.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    part: usize,
    parts: usize,
}

impl Shard {
    /// Every N-th of `all`, starting at the K-th.
    pub fn of<T>(self, all: Vec<T>) -> Vec<T> {
        let from_its_first = all.into_iter().skip(self.part - 1);
        from_its_first.step_by(self.parts).collect()
    }

    /// Whether it is everything.
    pub fn is_whole(self) -> bool {
        self.parts == 1
    }

    /// The name of the file with its results.
    pub fn file_name(self) -> String {
        format!("{}-of-{}.txt", self.part, self.parts)
    }

    /// K and N, for a program that counts K from 0.
    pub fn zero_based(self) -> (usize, usize) {
        (self.part - 1, self.parts)
    }
}

impl FromStr for Shard {
    type Err = Error;

    fn from_str(text: &str) -> Result<Shard> {
        let (part, parts) = text
            .split_once('/')
            .ok_or_else(|| anyhow!("it is not K/N, such as 1/4"))?;
        let number = |text: &str| {
            text.parse::<usize>()
                .with_context(|| format!("{text:?} is not a number"))
        };
        let shard = Shard {
            part: number(part)?,
            parts: number(parts)?,
        };
        if shard.part == 0 || shard.part > shard.parts {
            bail!("K is not one of 1 to N");
        }
        Ok(shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(shard: &str, n: usize) -> Vec<usize> {
        shard.parse::<Shard>().unwrap().of((1..=n).collect())
    }

    #[test]
    fn a_shard_takes_every_nth_item_from_the_kth_on() {
        assert_eq!(of("1/3", 7), [1, 4, 7]);
        assert_eq!(of("2/3", 7), [2, 5]);
        assert_eq!(of("3/3", 7), [3, 6]);
        assert_eq!(of("1/1", 3), [1, 2, 3]);
    }

    #[test]
    fn only_one_part_of_one_is_everything() {
        let is_whole = |shard: &str| shard.parse::<Shard>().unwrap().is_whole();
        assert!(is_whole("1/1"));
        assert!(!is_whole("1/2"));
    }

    #[test]
    fn a_shard_beyond_the_last_item_is_empty() {
        assert!(of("4/4", 3).is_empty());
        assert!(of("1/2", 0).is_empty());
    }

    #[test]
    fn text_that_names_no_part_is_refused() {
        for (text, why) in [
            ("", "not K/N"),
            ("2", "not K/N"),
            ("/2", "not a number"),
            ("1/", "not a number"),
            ("1/2/3", "not a number"),
            ("-1/2", "not a number"),
            (" 1/2", "not a number"),
            ("0/2", "not one of 1 to N"),
            ("3/2", "not one of 1 to N"),
            ("0/0", "not one of 1 to N"),
        ] {
            let error = text.parse::<Shard>().unwrap_err().to_string();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }
}
