//! System calls in one line, in which calls that repeat many times in a row are written once: `poll
//! 64x(recvfrom sendto) read`.

/// The minimum number of repetitions.
const LEAST: usize = 3;

/// Folds calls that are separated by blanks.
pub fn fold(calls: &str) -> String {
    let mut calls: &[&str] = &calls.split(' ').collect::<Vec<_>>();
    let mut line = Vec::new();
    while let Some(first) = calls.first() {
        // The group that saves most, and among equal ones the shortest.
        let repeated = (1..=calls.len() / LEAST)
            .rev()
            .map(|length| (length, times(calls, length)))
            .filter(|(_, times)| *times >= LEAST)
            .max_by_key(|(length, times)| length * (times - 1));
        let (length, times) = repeated.unwrap_or((1, 1));
        line.push(match times {
            1 => first.to_string(),
            _ => format!("{times}x({})", calls[..length].join(" ")),
        });
        calls = &calls[length * times..];
    }
    line.join(" ")
}

/// How often the first calls, in a group of that length, repeat in a row.
fn times(calls: &[&str], length: usize) -> usize {
    let first = &calls[..length];
    let chunks = calls.chunks(length);
    chunks.take_while(|chunk| *chunk == first).count()
}

/// The number of calls.
pub fn count(folded: &str) -> usize {
    let mut count = 0;
    let mut factor = 1;
    for word in folded.split(' ').filter(|word| *word != "-") {
        if let Some((times, _)) = word.split_once("x(") {
            factor = times.parse().unwrap_or(1);
        }
        count += factor;
        if word.ends_with(')') {
            factor = 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_many_times_is_written_once() {
        for (calls, folded, number) in [
            ("-", "-", 0),
            ("poll read read", "poll read read", 3),
            ("poll read read read", "poll 3x(read)", 4),
            ("a b a b a b a b c", "4x(a b) c", 9),
            ("a a b a a b a a b", "3x(a a b)", 9),
            ("a a a b b b b", "3x(a) 4x(b)", 7),
        ] {
            assert_eq!(fold(calls), folded);
            assert_eq!(count(folded), number, "{folded}");
        }
    }
}
