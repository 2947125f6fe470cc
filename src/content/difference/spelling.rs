//! One spelling for what means the same: character references, white space, style text.
//!
//! Cast: [`decoded`] (entities as characters), [`collapsed`] (white space), [`css_value`], [`css_prelude`].
//!
//! It never changes what a reader or a client could notice: strings, addresses and names keep their case.

use std::borrow::Cow;

use markup5ever::data::NAMED_ENTITIES;

/// Longest name of a character reference, `&CounterClockwiseContourIntegral;`, with room to spare.
const LONGEST_NAME: usize = 40;

/// Character references as the characters they stand for (HTML, §13.2.5.72 onward), decoded once.
pub fn decoded(text: &str, in_attribute: bool) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut decoded = String::with_capacity(text.len());
    let mut remaining = text;
    while let Some(start) = remaining.find('&') {
        decoded.push_str(&remaining[..start]);
        remaining = &remaining[start..];
        let length = match numbered(remaining) {
            Some((character, length)) => {
                decoded.push(character);
                length
            }
            None => named(remaining, in_attribute, &mut decoded).unwrap_or_else(|| {
                decoded.push('&');
                1
            }),
        };
        remaining = &remaining[length..];
    }
    decoded.push_str(remaining);
    Cow::Owned(decoded)
}

/// `&#169;`, `&#xA9;`, with or without the semicolon: the character and the length of what stands for it.
fn numbered(text: &str) -> Option<(char, usize)> {
    let after = text.strip_prefix("&#")?;
    let (digits, radix, before) = match after.strip_prefix(['x', 'X']) {
        Some(digits) => (digits, 16, 3),
        None => (after, 10, 2),
    };
    let count = digits.bytes().take_while(|byte| char::from(*byte).is_digit(radix)).count();
    let code = u32::from_str_radix(digits.get(..count)?, radix).ok()?;
    // Numbers of the C1 range, which browsers read as Windows-1252, are left alone: nobody spells a character so on purpose.
    let character = char::from_u32(code).filter(|found| !found.is_control() || found.is_ascii_whitespace())?;
    let semicolon = usize::from(digits.as_bytes().get(count) == Some(&b';'));
    Some((character, before + count + semicolon))
}

/// `&copy;`: writes the characters and answers the length of what stands for them.
fn named(text: &str, in_attribute: bool, decoded: &mut String) -> Option<usize> {
    let after = text.get(1..)?;
    let mut best = None;
    for length in 1..=LONGEST_NAME {
        let Some(&(first, second)) = after.get(..length).and_then(|name| NAMED_ENTITIES.get(name)) else { break };
        if first != 0 {
            best = Some((length, first, second));
        }
    }
    let (length, first, second) = best?;
    let next = after.as_bytes().get(length);
    let complete = after.as_bytes().get(length - 1) == Some(&b';');
    if !complete && in_attribute && next.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'=') {
        return None;
    }
    decoded.extend([first, second].into_iter().filter(|code| *code != 0).filter_map(char::from_u32));
    Some(1 + length)
}

/// Runs of white space as one space. A no-break space is no white space.
pub fn collapsed(text: &str) -> String {
    let mut collapsed = String::with_capacity(text.len());
    for character in text.chars() {
        let space = matches!(character, ' ' | '\t' | '\n' | '\r' | '\u{C}');
        if !space {
            collapsed.push(character);
        } else if !collapsed.ends_with(' ') {
            collapsed.push(' ');
        }
    }
    collapsed
}

/// A declaration's value in one spelling: white space, quotes, the case of colours in hexadecimal.
pub fn css_value(text: &str) -> String {
    tidied(text, &['!'], true)
}

/// A selector or the condition of an at-rule in one spelling.
pub fn css_prelude(text: &str) -> String {
    tidied(text, &['>', '+', '~'], false)
}

/// `tight` are characters around which white space means nothing, besides commas and the insides of brackets.
fn tidied(text: &str, tight: &[char], colours: bool) -> String {
    let mut tidy = String::with_capacity(text.len());
    let mut characters = text.char_indices().peekable();
    let mut depth = 0_usize;
    let mut pending_space = false;
    while let Some((at, character)) = characters.next() {
        if character.is_ascii_whitespace() {
            pending_space = true;
            continue;
        }
        let closes_up =
            character == ',' || character == ')' || (depth == 0 && tight.contains(&character)) || (depth > 0 && character == ':');
        let after_tight = tidy.ends_with([',', '(']) || (depth == 0 && tidy.ends_with(tight)) || (depth > 0 && tidy.ends_with(':'));
        if pending_space && !closes_up && !after_tight && !tidy.is_empty() {
            tidy.push(' ');
        }
        pending_space = false;
        match character {
            '"' | '\'' => {
                let inner = string_inner(&text[at + 1..], character);
                for _ in inner.chars() {
                    characters.next();
                }
                if characters.peek().is_some() {
                    characters.next();
                }
                let quote = if inner.contains('"') { '\'' } else { '"' };
                tidy.extend([quote]);
                tidy.push_str(inner);
                tidy.push(quote);
            }
            '(' => {
                depth += 1;
                tidy.push('(');
                let is_address = tidy.len() >= 4 && tidy.get(tidy.len() - 4..).is_some_and(|end| end.eq_ignore_ascii_case("url("));
                let inside = text[at + 1..].trim_start();
                if is_address && !inside.starts_with(['"', '\'']) {
                    let inner = text[at + 1..].split(')').next().unwrap_or_default();
                    for _ in inner.chars() {
                        characters.next();
                    }
                    tidy.push_str(inner.trim());
                }
            }
            ')' => {
                depth = depth.saturating_sub(1);
                tidy.push(')');
            }
            '#' if colours => {
                tidy.push('#');
                let digits: String = text[at + 1..].chars().take_while(char::is_ascii_hexdigit).collect();
                let ends = text[at + 1 + digits.len()..].chars().next().is_none_or(|next| !next.is_alphanumeric());
                if ends {
                    for _ in digits.chars() {
                        characters.next();
                    }
                    tidy.push_str(&digits.to_ascii_lowercase());
                }
            }
            _ => tidy.push(character),
        }
    }
    tidy
}

/// What a string holds, up to its closing quote.
fn string_inner(text: &str, quote: char) -> &str {
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return &text[..at],
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_character_has_one_spelling() {
        for (written, text, attribute) in [
            ("&copy;&#169;&#xA9;&#XA9;©", "©©©©©", "©©©©©"),
            ("a&amp;amp;b", "a&amp;b", "a&amp;b"),
            ("?a=1&copy=2&lt", "?a=1©=2<", "?a=1&copy=2<"),
            ("&nbsp;", "\u{A0}", "\u{A0}"),
            ("& &; &#; &#x; &#xD800; &unknown;", "& &; &#; &#x; &#xD800; &unknown;", "& &; &#; &#x; &#xD800; &unknown;"),
            ("&notit;", "¬it;", "&notit;"),
            ("&ü", "&ü", "&ü"),
        ] {
            assert_eq!(decoded(written, false), text, "{written}");
            assert_eq!(decoded(written, true), attribute, "{written}");
        }
    }

    #[test]
    fn style_text_has_one_spelling_and_keeps_its_meaning() {
        for (written, expected) in [
            (" 1px   solid\n#FFF ", "1px solid #fff"),
            ("'Open Sans' , Arial", "\"Open Sans\",Arial"),
            ("'a\"b'", "'a\"b'"),
            ("red ! important", "red!important"),
            ("rgba( 0, 0 ,0, .5 )", "rgba(0,0,0,.5)"),
            ("url( http://x/A B,c.png )", "url(http://x/A B,c.png)"),
            ("url( 'a,  b.png' )", "url(\"a,  b.png\")"),
            ("\"open", "\"open\""),
            ("calc(100% - 10px)", "calc(100% - 10px)"),
        ] {
            assert_eq!(css_value(written), expected, "{written}");
        }
        assert_eq!(css_prelude("ul  >  li , a:hover"), "ul>li,a:hover");
        assert_eq!(css_prelude("a :hover"), "a :hover");
        assert_eq!(css_prelude("only screen and (max-width : 600px)"), "only screen and (max-width:600px)");
        assert_ne!(css_prelude("#A"), css_prelude("#a"));
    }
}
