//! The link that no person sees: at the end of the HTML part, the same in every arm, out of sight, out of the keyboard's way and out of
//! what screen readers say.
//!
//! Cast: [`with_trap_link`]. The text part never gets one: a reader would see it there.

use super::markup::{self, Kind};

/// A letter's HTML with the link at its end.
pub fn with_trap_link(html: &str, url: &str) -> String {
    let end = markup::tokens(html)
        .iter()
        .rfind(|token| matches!(&token.kind, Kind::End { name } if name.eq_ignore_ascii_case("body")))
        .map_or(html.len(), |token| token.span.start);
    let (before, after) = html.split_at(end);
    let url = markup::escape_attribute(url);
    format!(
        "{before}<a href=\"{url}\" aria-hidden=\"true\" tabindex=\"-1\" style=\"display:none;font-size:1px;line-height:1px;max-height:0;\
         max-width:0;opacity:0;overflow:hidden;mso-hide:all\"></a>{after}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_stands_at_the_end_of_the_body() {
        for (html, before, after) in [
            ("<html><body><p>Hello</p></body></html>", "<html><body><p>Hello</p>", "</body></html>"),
            ("<p>Hello</p>", "<p>Hello</p>", ""),
            ("<body><!-- </body> -->x</BODY>", "<body><!-- </body> -->x", "</BODY>"),
        ] {
            let with = with_trap_link(html, "https://t.example/c/x?a=1&b=2");
            let middle = with.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).unwrap();
            assert!(middle.starts_with("<a href=\"https://t.example/c/x?a=1&amp;b=2\" aria-hidden=\"true\" tabindex=\"-1\""), "{with}");
            assert!(middle.ends_with("></a>"), "{with}");
        }
    }
}
