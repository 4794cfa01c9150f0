/// The candidate that `word` was most likely meant to be, if any is close.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    // Longer than any word of these files: not a slip of a finger, and not worth the time.
    const LONGEST: usize = 64;
    if word.len() > LONGEST {
        return None;
    }
    // One edit makes any letter any other: a word of one or two says too little.
    let allowed = (word.chars().count() / 3).min(3);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST)
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, remove, replace, exchange neighbours) from one word to the other; letter case
/// and `-` for `_` cost nothing.
fn distance(from: &str, to: &str) -> usize {
    let folded = |text: &str| -> Vec<char> {
        text.chars()
            .map(|c| {
                if c == '_' {
                    '-'
                } else {
                    c.to_ascii_lowercase()
                }
            })
            .collect()
    };
    let (from, to) = (folded(from), folded(to));
    let width = to.len() + 1;
    let mut rows: Vec<Vec<usize>> = vec![(0..width).collect()];
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1; width];
        for (j, b) in to.iter().enumerate() {
            let replaced = rows[i][j] + usize::from(a != b);
            row[j + 1] = replaced.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                row[j + 1] = row[j + 1].min(rows[i - 1][j - 1] + 1);
            }
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_a_finger_are_understood() {
        let check = |word: &str, wanted: Option<&str>| {
            let candidates = ["member_size", "members", "spares", "cut", "console"];
            assert_eq!(nearest(word, candidates), wanted, "{word}");
        };
        check("membersize", Some("member_size"));
        check("member-size", Some("member_size"));
        check("Members", Some("members"));
        check("spraes", Some("spares"));
        check("cutt", Some("cut"));
        check("colour", None);
        check("B", None);
        check("", None);
        check(&"x".repeat(1 << 20), None);
    }
}
