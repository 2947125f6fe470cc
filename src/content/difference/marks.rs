//! Two texts beside each other, with the words marked in which they differ.
//!
//! Cast: [`marked`], [`Stretch`]; [`around`] cuts long texts so that what differs stays in sight.
//!
//! It judges nothing: that two texts differ was found before.

use serde::Serialize;

/// Cells of the table of common words: beyond it the whole middle counts as different.
const MOST_CELLS: usize = 1 << 20;

/// A stretch of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stretch {
    /// The text, as it stands.
    pub text: String,
    /// Whether the other text has something else here, or nothing.
    pub differs: bool,
}

/// Both texts in stretches: what they have in common, and what only one of them has. Concatenated, they are the texts again.
pub fn marked(one: &str, other: &str) -> (Vec<Stretch>, Vec<Stretch>) {
    let (one, other) = (words(one), words(other));
    let start = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
    let end = one[start..].iter().rev().zip(other[start..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (middle, other_middle) = (&one[start..one.len() - end], &other[start..other.len() - end]);
    let mut common = in_common(middle, other_middle);
    without_islands(&mut common, middle, other_middle);
    let flags = |all: &[&str], length: usize, kept: Vec<usize>| -> Vec<bool> {
        let mut differs = vec![false; all.len()];
        for (place, flag) in differs.iter_mut().skip(start).take(length).enumerate() {
            *flag = kept.binary_search(&place).is_err();
        }
        differs
    };
    let differs = flags(&one, middle.len(), common.iter().map(|pair| pair.0).collect());
    let other_differs = flags(&other, other_middle.len(), common.iter().map(|pair| pair.1).collect());
    (stretches(&one, &differs), stretches(&other, &other_differs))
}

/// Words, white space and single signs.
fn words(text: &str) -> Vec<&str> {
    let kind = |character: char| match character {
        _ if character.is_alphanumeric() => 0,
        _ if character.is_whitespace() => 1,
        _ => 2,
    };
    let mut words = Vec::new();
    let mut start = 0;
    let mut before = None;
    for (at, character) in text.char_indices() {
        let now = kind(character);
        if before.is_some_and(|before| before != now || now == 2) {
            words.extend(text.get(start..at));
            start = at;
        }
        before = Some(now);
    }
    words.extend(text.get(start..).filter(|rest| !rest.is_empty()));
    words
}

/// Places of a longest common sequence, in order.
fn in_common(one: &[&str], other: &[&str]) -> Vec<(usize, usize)> {
    let width = other.len() + 1;
    if one.is_empty() || other.is_empty() || one.len().saturating_mul(width) > MOST_CELLS {
        return Vec::new();
    }
    let mut longest = vec![0u32; (one.len() + 1) * width];
    for row in (0..one.len()).rev() {
        for column in (0..other.len()).rev() {
            longest[row * width + column] = if one[row] == other[column] {
                longest[(row + 1) * width + column + 1] + 1
            } else {
                longest[(row + 1) * width + column].max(longest[row * width + column + 1])
            };
        }
    }
    let (mut row, mut column, mut common) = (0, 0, Vec::new());
    while row < one.len() && column < other.len() {
        if one[row] == other[column] {
            common.push((row, column));
            (row, column) = (row + 1, column + 1);
        } else if longest[(row + 1) * width + column] >= longest[row * width + column + 1] {
            row += 1;
        } else {
            column += 1;
        }
    }
    common
}

/// A space or sign that two quite different wordings happen to share is no common ground: marked with its neighbours it reads better.
fn without_islands(common: &mut Vec<(usize, usize)>, one: &[&str], other: &[&str]) {
    let mut kept = Vec::new();
    let mut run: Vec<(usize, usize)> = Vec::new();
    let keep = |run: &mut Vec<(usize, usize)>, kept: &mut Vec<(usize, usize)>| {
        let says = run.iter().any(|(row, _)| one.get(*row).is_some_and(|word| word.chars().any(char::is_alphanumeric)));
        if says {
            kept.append(run);
        }
        run.clear();
    };
    for pair in common.iter().copied() {
        if run.last().is_some_and(|last| (last.0 + 1, last.1 + 1) != pair) {
            keep(&mut run, &mut kept);
        }
        run.push(pair);
    }
    keep(&mut run, &mut kept);
    debug_assert!(kept.iter().all(|(row, column)| one.get(*row) == other.get(*column)));
    *common = kept;
}

fn stretches(words: &[&str], differs: &[bool]) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    for (word, differs) in words.iter().zip(differs) {
        match stretches.last_mut() {
            Some(last) if last.differs == *differs => last.text.push_str(word),
            _ => stretches.push(Stretch { text: (*word).to_owned(), differs: *differs }),
        }
    }
    stretches
}

/// Both texts, at most so many characters of each; where they are longer, from a little before the first difference.
pub fn around(one: &str, other: &str, most: usize) -> (String, String) {
    let (one, other) = (one.trim(), other.trim());
    let is_long = |text: &str| text.chars().nth(most).is_some();
    let alike = one.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    let skipped = if (is_long(one) || is_long(other)) && alike > most / 2 { alike - most / 4 } else { 0 };
    let cut = |text: &str| {
        let rest: String = text.chars().skip(skipped).collect();
        let shown = super::place::shortened(&rest, most);
        if skipped > 0 && !shown.is_empty() { format!("…{shown}") } else { shown }
    };
    (cut(one), cut(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each side with what differs in brackets.
    fn check(one: &str, other: &str, expected: (&str, &str)) {
        let (left, right) = marked(one, other);
        let plain = |side: &[Stretch]| side.iter().map(|stretch| stretch.text.as_str()).collect::<String>();
        assert_eq!((plain(&left), plain(&right)), (one.to_owned(), other.to_owned()), "nothing is lost");
        let shown = |side: &[Stretch]| -> String {
            side.iter().map(|stretch| if stretch.differs { format!("[{}]", stretch.text) } else { stretch.text.clone() }).collect()
        };
        assert_eq!((shown(&left).as_str(), shown(&right).as_str()), expected);
    }

    #[test]
    fn words_that_differ_are_marked_on_their_side() {
        check("Buy now", "Buy now", ("Buy now", "Buy now"));
        check("Buy now", "Buy it now", ("Buy now", "Buy [it ]now"));
        check("", "new", ("", "[new]"));
        check("Three things changed", "Some things moved", ("[Three] things [changed]", "[Some] things [moved]"));
        check("red, green", "blue; white", ("[red, green]", "[blue; white]"));
        check("https://a.example/x?a=1", "https://a.example/x?a=2", ("https://a.example/x?a=[1]", "https://a.example/x?a=[2]"));
        check("Привет, Анна", "Привет, Борис", ("Привет, [Анна]", "Привет, [Борис]"));
    }

    #[test]
    fn a_difference_far_behind_the_beginning_stays_in_sight() {
        let long = "word ".repeat(500);
        let (one, other) = around(&format!("{long}old end"), &format!("{long}new end"), 100);
        assert!(one.starts_with('…') && one.ends_with("old end") && other.ends_with("new end"), "{one} / {other}");
        let (one, other) = around(&long, "short", 100);
        assert!(one.starts_with("word") && one.ends_with('…') && other == "short");
    }

    #[test]
    fn texts_too_different_to_compare_word_by_word_are_marked_as_a_whole() {
        let (left, right) = marked(&"a b ".repeat(2_000), &"c d ".repeat(2_000));
        assert!(left[0].differs && right[0].differs && left.len() <= 2 && right.len() <= 2);
    }
}
