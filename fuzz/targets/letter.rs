//! Any text as a letter: MJML, HTML, Markdown; links found and rewritten; parts listed; a finished copy made.

#![no_main]

use letterlab::content::{BodyFormat, CompiledLetter, blocks, parts, report, rewrite};
use letterlab_fuzz::{newsletter, tracked, urls, values};

/// As the command line reports it; more is refused by delivery.
const MOST_OUTPUT: usize = 1024 * 1024;

libfuzzer_sys::fuzz_target!(|source: &str| {
    let newsletter = newsletter(source);
    let _ = (parts(&newsletter), blocks(&newsletter), rewrite(source));
    let Ok(letter) = CompiledLetter::compile(&newsletter) else { return };
    let _ = report("letter", source, newsletter.body.format);
    for link in letter.links() {
        let scheme = link.url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        assert!(matches!(scheme.as_deref(), Some("http" | "https")), "{}", link.url);
        // A redirect's target is written into a header.
        assert!(!link.url.contains(['\r', '\n', '\0']), "{:?}", link.url);
    }
    let Ok(rendered) = letter.render(&values(&letter, "value"), &urls(&letter)) else { return };
    assert!(rendered.html.len() <= MOST_OUTPUT && rendered.text.len() <= MOST_OUTPUT);
    // Conditions and loops may show a link never, or often.
    if !source.contains('{') && newsletter.body.format == BodyFormat::Html {
        for number in 1..=letter.links().len() {
            let href = format!("href=\"{}\"", tracked(number));
            assert_eq!(rendered.html.matches(&href).count(), 1, "{href} in {}", rendered.html);
        }
        assert_eq!(rendered.html.matches("https://t.example/o/pixel.gif").count(), 1);
    }
});
