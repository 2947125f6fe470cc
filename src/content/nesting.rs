//! How deep elements lie in one another. The tools behind call themselves once per level, and a stack that overflows
//! ends the whole program, so that depth is measured before any of them sees a letter.
//!
//! Cast: [`html_depth`], [`mjml_depth`]. Both count and repair nothing.

use super::markup::{Kind, is_void, tokens};

/// How deep the elements of an HTML source lie in one another at most. Those whose end tag may be left out do not count:
/// the parser closes them, and between two that count there is only a handful.
pub fn html_depth(source: &str) -> usize {
    const END_OPTIONAL: [&str; 13] = ["p", "li", "dt", "dd", "td", "th", "tr", "tbody", "thead", "tfoot", "option", "colgroup", "caption"];
    let counts = |name: &str| !is_void(name) && !END_OPTIONAL.iter().any(|optional| optional.eq_ignore_ascii_case(name));
    let tags = tokens(source).into_iter().map(|token| token.kind);
    deepest(tags.filter_map(|kind| match kind {
        Kind::Start { name, .. } => counts(name).then_some(true),
        Kind::End { name } => counts(name).then_some(false),
        _ => None,
    }))
}

/// As [`html_depth`] for MJML, whose parser closes nothing by itself and looks for tags inside style blocks and comments too.
/// It counts whatever could be a tag, so that it may find a level too many but never one too few.
pub fn mjml_depth(source: &str) -> usize {
    let mut tags = Vec::new();
    let mut at = 0;
    let mut close = 0;
    while let Some(offset) = source.get(at..).unwrap_or_default().find('<') {
        let start = at + offset;
        at = start + 1;
        if close < at {
            let Some(offset) = source.get(at..).unwrap_or_default().find('>') else { break };
            close = at + offset;
        }
        let after = source.get(at..).unwrap_or_default();
        if after.starts_with('/') {
            tags.push(false);
        } else if after.starts_with(|first: char| first.is_ascii_alphabetic()) {
            // No void element's name is longer than this, and a look at more would be a look at the whole source.
            let length = after.bytes().take(16).position(|byte| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>'));
            let name = length.and_then(|length| after.get(..length)).unwrap_or_default();
            // That parser knows void elements in lower case only.
            let void = is_void(name) && !name.contains(|letter: char| letter.is_ascii_uppercase());
            if !void && !source[..close].ends_with('/') {
                tags.push(true);
            }
        }
    }
    deepest(tags.into_iter())
}

/// The most elements open at once; true opens one, false closes one.
fn deepest(tags: impl Iterator<Item = bool>) -> usize {
    let (mut now, mut most) = (0_usize, 0);
    for opens in tags {
        now = if opens { now + 1 } else { now.saturating_sub(1) };
        most = most.max(now);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_nesting_and_not_length() {
        for (source, html, mjml) in [
            ("<p>x", 0, 500),
            ("<b>", 500, 500),
            ("<mj-image/>", 500, 0),
            ("<div></div>", 1, 1),
            ("<br>", 0, 0),
            ("<BR>", 0, 500),
            ("<style><b>", 1, 1000),
            ("<!--<b>-->", 0, 500),
        ] {
            let source = source.repeat(500);
            assert_eq!((html_depth(&source), mjml_depth(&source)), (html, mjml), "{}", &source[..10]);
        }
    }
}
