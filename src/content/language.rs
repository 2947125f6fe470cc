//! In which language a letter is: what a screen reader and a translation tool must know, and the words Letterlab itself adds.
//!
//! Cast: [`declare`] (`lang`, `dir` and the dark mode of a finished document), [`declared`], [`unsubscribe_word`].
//!
//! It guesses no language: what neither letter nor campaign says stays unsaid.

use super::markup::{self, Kind, Token};

/// The languages Letterlab's own words are known in; others read English.
const UNSUBSCRIBE: [(&str, &str); 27] = [
    ("en", "Unsubscribe"),
    ("ar", "إلغاء الاشتراك"),
    ("cs", "Odhlásit odběr"),
    ("da", "Afmeld"),
    ("de", "Abmelden"),
    ("el", "Διαγραφή από τη λίστα"),
    ("es", "Darse de baja"),
    ("fi", "Peruuta tilaus"),
    ("fr", "Se désabonner"),
    ("he", "הסרה מרשימת התפוצה"),
    ("hi", "सदस्यता समाप्त करें"),
    ("hu", "Leiratkozás"),
    ("id", "Berhenti berlangganan"),
    ("it", "Annulla iscrizione"),
    ("ja", "配信停止"),
    ("ko", "수신 거부"),
    ("nb", "Meld deg av"),
    ("nl", "Afmelden"),
    ("pl", "Wypisz się"),
    ("pt", "Cancelar subscrição"),
    ("ro", "Dezabonare"),
    ("ru", "Отписаться"),
    ("sv", "Avsluta prenumerationen"),
    ("tr", "Abonelikten çık"),
    ("uk", "Відписатися"),
    ("vi", "Hủy đăng ký"),
    ("zh", "退订"),
];

/// Languages written from right to left.
const RIGHT_TO_LEFT: [&str; 7] = ["ar", "fa", "he", "ps", "sd", "ur", "yi"];

const COLOUR_SCHEME: &str =
    "<meta name=\"color-scheme\" content=\"light dark\"><meta name=\"supported-color-schemes\" content=\"light dark\">";

/// Whether this is a language tag as HTML and mail headers write them: `fr`, `pt-BR`.
pub fn is_language(tag: &str) -> bool {
    let mut subtags = tag.split('-');
    let primary =
        subtags.next().is_some_and(|primary| (2..=8).contains(&primary.len()) && primary.bytes().all(|byte| byte.is_ascii_alphabetic()));
    primary
        && tag.len() <= 35
        && subtags.all(|subtag| (1..=8).contains(&subtag.len()) && subtag.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

fn primary(language: &str) -> String {
    language.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase()
}

/// What to call the way out, in that language.
pub fn unsubscribe_word(language: Option<&str>) -> &'static str {
    let wanted = language.map(primary);
    // Norwegian goes by three names.
    let wanted = wanted.map(|tag| if tag == "no" || tag == "nn" { "nb".to_owned() } else { tag });
    let known = UNSUBSCRIBE.iter().find(|(tag, _)| wanted.as_deref() == Some(*tag));
    known.or(UNSUBSCRIBE.first()).map_or("Unsubscribe", |(_, word)| word)
}

/// The language a document states. `und`, which MJML writes for want of one, states none.
pub fn declared(html: &str) -> Option<String> {
    let tokens = markup::tokens(html);
    let attributes = html_tag(&tokens)?.1;
    let language = markup::decode(markup::attribute(attributes, "lang")?.value).trim().to_owned();
    (is_language(&language) && !language.eq_ignore_ascii_case("und")).then_some(language)
}

fn html_tag<'t, 's>(tokens: &'t [Token<'s>]) -> Option<(&'t Token<'s>, &'t [markup::Attribute<'s>])> {
    tokens.iter().find_map(|token| match &token.kind {
        Kind::Start { name, attributes, .. } if name.eq_ignore_ascii_case("html") => Some((token, attributes.as_slice())),
        _ => None,
    })
}

/// The document with its language and direction stated, as far as they are known, and with the dark mode announced that its own
/// styles bring. What the author wrote stays.
pub fn declare(html: &str, language: Option<&str>) -> String {
    let tokens = markup::tokens(html);
    let Some((tag, attributes)) = html_tag(&tokens) else { return html.to_owned() };
    let stated = declared(html);
    let language = stated.as_deref().or(language);
    let mut declared = String::with_capacity(html.len() + 200);
    let mut done = 0;
    let mut added = String::new();
    if let (None, Some(language)) = (&stated, language) {
        match markup::attribute(attributes, "lang") {
            Some(empty) => {
                declared.push_str(html.get(done..empty.span.start).unwrap_or_default());
                declared.push_str(&format!("lang=\"{language}\""));
                done = empty.span.end;
            }
            None => added.push_str(&format!(" lang=\"{language}\"")),
        }
    }
    if language.is_some_and(|language| RIGHT_TO_LEFT.contains(&primary(language).as_str()))
        && markup::attribute(attributes, "dir").is_none()
    {
        added.push_str(" dir=\"rtl\"");
    }
    let end = tag.span.end.saturating_sub(1);
    declared.push_str(html.get(done..end).unwrap_or_default());
    declared.push_str(&added);
    let rest = html.get(end..).unwrap_or_default();
    let has_dark_styles = html.contains("prefers-color-scheme");
    match head_end(&tokens).filter(|_| has_dark_styles && !announces_dark_mode(&tokens)) {
        Some(head) => {
            declared.push_str(html.get(end..head).unwrap_or_default());
            declared.push_str(COLOUR_SCHEME);
            declared.push_str(html.get(head..).unwrap_or_default());
        }
        None => declared.push_str(rest),
    }
    declared
}

/// Where the start tag of the head ends.
fn head_end(tokens: &[Token<'_>]) -> Option<usize> {
    let is_head = |token: &&Token<'_>| matches!(&token.kind, Kind::Start { name, .. } if name.eq_ignore_ascii_case("head"));
    tokens.iter().find(is_head).map(|token| token.span.end)
}

fn announces_dark_mode(tokens: &[Token<'_>]) -> bool {
    tokens.iter().any(|token| match &token.kind {
        Kind::Start { name, attributes, .. } if name.eq_ignore_ascii_case("meta") => {
            markup::attribute(attributes, "name").is_some_and(|name| name.value.eq_ignore_ascii_case("color-scheme"))
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn language_direction_and_dark_mode_are_stated_once() {
        let check = |html: &str, language: Option<&str>, expected: &str| assert_eq!(declare(html, language), expected);
        check("<html><head></head>", Some("de"), "<html lang=\"de\"><head></head>");
        check("<html lang=\"fr\"><head>", Some("de"), "<html lang=\"fr\"><head>");
        check("<html lang=\"und\" dir=\"auto\" x>", Some("ar"), "<html lang=\"ar\" dir=\"auto\" x>");
        check("<html class=a>", Some("ar-EG"), "<html class=a lang=\"ar-EG\" dir=\"rtl\">");
        check("<html lang=\"he\">", None, "<html lang=\"he\" dir=\"rtl\">");
        check("<html>", None, "<html>");
        check("<p>", Some("de"), "<p>");
        let dark = "<html><head><style>@media (prefers-color-scheme:dark){}</style></head>";
        assert!(declare(dark, None).starts_with("<html><head><meta name=\"color-scheme\" content=\"light dark\">"));
        let announced = "<html><head><meta name=\"color-scheme\" content=\"light\"><style>@media (prefers-color-scheme:dark){}</style>";
        check(announced, None, announced);
    }

    #[test]
    fn the_way_out_has_a_word_in_each_language() {
        for (language, word) in
            [("de", "Abmelden"), ("pt-BR", "Cancelar subscrição"), ("zh-Hans", "退订"), ("NO", "Meld deg av"), ("xx", "Unsubscribe")]
        {
            assert_eq!(unsubscribe_word(Some(language)), word);
        }
        assert_eq!(unsubscribe_word(None), "Unsubscribe");
        for asked in ["en", "de", "fr", "es", "it", "pt", "nl", "pl", "ru", "uk", "vi", "hi", "ar", "zh", "ja"] {
            assert!(UNSUBSCRIBE.iter().any(|(tag, word)| *tag == asked && !word.is_empty()), "{asked}");
        }
        assert!(is_language("pt-BR") && !is_language("") && !is_language("d") && !is_language("de\" x") && !is_language("de-"));
    }
}
