//! The merge language: any template with a hostile value, and any value in an honest template.

#![no_main]

use std::sync::LazyLock;

use letterlab::content::{CompiledLetter, rewrite};
use letterlab_fuzz::{fields, is_one_line, newsletter, urls, values};

const HONEST: &str = "<p title=\"{{ a }}\">{{ a }}</p><a href=\"https://a.example/\">x</a>";
const NEUTRAL: &str = "Neutralvalue";
/// Found in no template by chance, in no case.
const HOSTILE: &str = "<zq9 onload='x'>\r\nBcc: x\u{2028}{{ 7 * 191 }}";

static HONEST_LETTER: LazyLock<CompiledLetter> = LazyLock::new(|| {
    let mut letter = newsletter(HONEST);
    letter.subject = "{{ a }}".to_owned();
    CompiledLetter::compile(&letter).expect("an honest letter compiles")
});

libfuzzer_sys::fuzz_target!(|input: &str| {
    let [template, value] = fields(input);
    any_template(template);
    any_value(value);
    let rewriting = rewrite(template);
    assert!(rewriting.left.is_empty() || !rewriting.text.is_empty());
});

fn any_template(template: &str) {
    let mut letter = newsletter(&format!("<p>{template}</p>"));
    letter.subject = template.to_owned();
    let Ok(letter) = CompiledLetter::compile(&letter) else { return };
    let Ok(rendered) = letter.render(&values(&letter, HOSTILE), &urls(&letter)) else { return };
    assert!(is_one_line(&rendered.subject), "{:?}", rendered.subject);
    if !template.to_lowercase().contains("zq9") {
        assert!(!rendered.html.to_lowercase().contains("<zq9"), "{}", rendered.html);
    }
    if !template.contains("1337") {
        assert!(!rendered.html.contains("1337") && !rendered.text.contains("1337"), "{}", rendered.html);
    }
}

fn any_value(value: &str) {
    let letter = &*HONEST_LETTER;
    let urls = urls(letter);
    let neutral = letter.render(&values(letter, NEUTRAL), &urls).expect("a neutral value renders");
    let Ok(rendered) = letter.render(&values(letter, value), &urls) else { return assert!(value.trim().is_empty(), "refused {value:?}") };
    let escaped = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#x27;");
    assert_eq!(rendered.html, neutral.html.replace(NEUTRAL, &escaped));
    assert_eq!(rendered.text, neutral.text.replace(NEUTRAL, value));
    assert!(is_one_line(&rendered.subject), "{:?}", rendered.subject);
}
