//! Tries a letter out: does it compile, does it render with tracked links and a pixel? For tests and for scoring a folder of letters.

use std::collections::BTreeMap;

use super::letter::{CompiledLetter, LetterUrls, Tracking};
use super::newsletter::{Body, BodyFormat, Newsletter};

/// What came of one letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterReport {
    /// The letter's name, as given.
    pub name: String,
    /// It compiled, and rendered with every tracked link and the pixel in place.
    pub parsed: bool,
    /// Tracked links.
    pub links: usize,
    /// The HTML part in bytes, rendered with sample values.
    pub size: usize,
    /// Its warnings, in words.
    pub warnings: Vec<String>,
    /// Why it did not.
    pub error: Option<String>,
}

/// Compiles and renders a letter with a sample value for each of its fields.
pub fn report(name: &str, source: &str, format: BodyFormat) -> LetterReport {
    let newsletter = Newsletter {
        subject: "A letter".to_owned(),
        preheader: "What is in it".to_owned(),
        sender_name: "Letterlab".to_owned(),
        body: Body { format, source: source.to_owned() },
    };
    let mut report = LetterReport { name: name.to_owned(), parsed: false, links: 0, size: 0, warnings: Vec::new(), error: None };
    let letter = match CompiledLetter::compile(&newsletter) {
        Ok(letter) => letter,
        Err(error) => return LetterReport { error: Some(error.to_string()), ..report },
    };
    report.links = letter.links().len();
    report.warnings = letter.warnings().iter().map(ToString::to_string).collect();
    let values: BTreeMap<String, String> = letter.merge_fields().into_iter().map(|field| (field, "Sample".to_owned())).collect();
    let pixel = "https://t.example/o/sample.gif".to_owned();
    let links: Vec<String> = letter.links().iter().map(|link| format!("https://t.example/c/sample{}", link.number)).collect();
    let urls = LetterUrls {
        tracking: Tracking::On { pixel: pixel.clone(), links: links.clone() },
        unsubscribe: "https://t.example/u/sample".to_owned(),
    };
    match letter.render(&values, &urls) {
        Ok(rendered) => {
            report.size = rendered.html.len();
            let missing: Vec<&String> =
                links.iter().chain([&pixel, &urls.unsubscribe]).filter(|url| !rendered.html.contains(&format!("\"{url}\""))).collect();
            report.parsed = missing.is_empty();
            report.error = missing.first().map(|url| format!("{} addresses are missing, the first is {url}", missing.len()));
        }
        Err(error) => report.error = Some(error.to_string()),
    }
    report
}
