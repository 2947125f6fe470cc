//! What the fuzz targets share: inputs are texts a person can read and write, so that a finding can be looked at as it is.
//!
//! Cast: [`fields`] (several texts in one input), [`newsletter`] (a text as a letter), [`urls`], [`values`].

use std::collections::BTreeMap;

use letterlab::content::{Body, BodyFormat, CompiledLetter, LetterUrls, Newsletter, Tracking};

/// What stands between the texts of one input.
const BETWEEN: &str = "\n===\n";

/// The texts of one input; those that are missing are empty.
pub fn fields<const N: usize>(input: &str) -> [&str; N] {
    let mut pieces = input.split(BETWEEN);
    std::array::from_fn(|_| pieces.next().unwrap_or_default())
}

/// A letter of this body, whose format is seen from how it begins.
pub fn newsletter(source: &str) -> Newsletter {
    let format = match source.trim_start() {
        begin if begin.starts_with("<mj") => BodyFormat::Mjml,
        begin if begin.starts_with('#') => BodyFormat::Markdown,
        _ => BodyFormat::Html,
    };
    let body = Body { format, source: source.to_owned() };
    Newsletter { subject: "A letter".to_owned(), preheader: "What is in it".to_owned(), sender_name: "Letterlab".to_owned(), body }
}

/// Where the link of that number leads in [`urls`].
pub fn tracked(number: usize) -> String {
    format!("https://t.example/c/{number}x")
}

/// Addresses as a campaign gives them.
pub fn urls(letter: &CompiledLetter) -> LetterUrls {
    let links = (1..=letter.links().len()).map(tracked).collect();
    LetterUrls {
        tracking: Tracking::On { pixel: "https://t.example/o/pixel.gif".to_owned(), links },
        unsubscribe: "https://t.example/u/person".to_owned(),
    }
}

/// The same value for every field of a letter.
pub fn values(letter: &CompiledLetter, value: &str) -> BTreeMap<String, String> {
    letter.merge_fields().into_iter().map(|field| (field, value.to_owned())).collect()
}

/// Whether a text is fit for a header: one line, nothing invisible that ends one.
pub fn is_one_line(text: &str) -> bool {
    !text.chars().any(|character| character.is_control() || matches!(character, '\u{2028}' | '\u{2029}'))
}
