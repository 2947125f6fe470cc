//! A letter as a reader's mail program sees it.
//!
//! Cast: [`Letter`], its subject, images, links and unsubscribe address; [`read`], from the message as received.
//!
//! Only URLs under the tracking address are kept: everything else would be somebody else's server.

use std::cell::RefCell;

use lol_html::{RewriteStrSettings, element, rewrite_str};
use mail_parser::MessageParser;

/// Most URLs of a kind kept of one letter.
const URLS_MAX: usize = 200;
/// Longer HTML is not shown: no mail program would.
const HTML_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What matters of a letter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Letter {
    /// Decoded subject.
    pub(super) subject: String,
    /// Tracking pixels: images of one by one pixel.
    pub(super) pixels: Vec<String>,
    /// Tracked links, in reading order, without unsubscribe links.
    pub(super) links: Vec<String>,
    /// Unsubscribe and preference links in the text.
    pub(super) unsubscribe_links: Vec<String>,
    /// Links that lead past the tracker, as in letters to people who agreed to nothing.
    pub(super) untracked_links: usize,
    /// Where a one-click unsubscription is posted (RFC 8058).
    pub(super) unsubscribe: Option<String>,
}

/// Reads a message; `None` when it is no mail. `tracking` is the start of tracked URLs without a slash at the end.
pub(super) fn read(message: &[u8], tracking: &str) -> Option<Letter> {
    let mail = MessageParser::default().parse(message)?;
    let mut letter = Letter { subject: mail.subject().unwrap_or_default().to_owned(), ..Letter::default() };
    let one_click = mail.header("List-Unsubscribe-Post").is_some();
    if let Some(header) = mail.header_raw("List-Unsubscribe").filter(|_| one_click) {
        letter.unsubscribe = header.split(['<', '>', ',', ' ', '\r', '\n', '\t']).find(|url| is_tracked(url, tracking)).map(str::to_owned);
    }
    if let Some(html) = mail.body_html(0).filter(|html| html.len() <= HTML_BYTES_MAX) {
        read_html(&html, tracking, &mut letter);
    }
    Some(letter)
}

fn read_html(html: &str, tracking: &str, letter: &mut Letter) {
    let letter = RefCell::new(letter);
    let settings = RewriteStrSettings::new()
        .append_element_content_handler(element!("img[src]", |image| {
            let url = decoded(&image.get_attribute("src").unwrap_or_default());
            let is_one = |name| image.get_attribute(name).is_some_and(|value| matches!(value.trim(), "1" | "1px"));
            let mut letter = letter.borrow_mut();
            if is_tracked(&url, tracking) && is_one("width") && is_one("height") && letter.pixels.len() < URLS_MAX {
                letter.pixels.push(url);
            }
            Ok(())
        }))
        .append_element_content_handler(element!("a[href]", |link| {
            let url = decoded(&link.get_attribute("href").unwrap_or_default());
            let mut letter = letter.borrow_mut();
            let is_full = letter.links.len() + letter.unsubscribe_links.len() >= URLS_MAX;
            match url.strip_prefix(tracking).filter(|_| is_tracked(&url, tracking)) {
                Some(_) if is_full => {}
                Some(path) if path.starts_with("/u/") => letter.unsubscribe_links.push(url),
                Some(_) => letter.links.push(url),
                None if url.starts_with("http") => letter.untracked_links += 1,
                None => {}
            }
            Ok(())
        }));
    // A letter whose HTML cannot be read shows nothing; whatever was found before stays.
    if let Err(error) = rewrite_str(html, settings) {
        tracing::debug!(%error, "a reader could not read a letter's HTML");
    }
}

/// Whether a URL lies under the tracking address: the address itself must end where a path begins, or it would match other hosts.
fn is_tracked(url: &str, tracking: &str) -> bool {
    url.strip_prefix(tracking).is_some_and(|rest| rest.starts_with('/'))
}

/// Attribute values come as written; in URLs the ampersand is what gets escaped.
fn decoded(value: &str) -> String {
    value.trim().replace("&#38;", "&").replace("&#x26;", "&").replace("&#61;", "=").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACKING: &str = "http://127.0.0.1:8080";

    #[test]
    fn pixel_links_and_unsubscribe_address_are_found_as_received() {
        let message = b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\
            List-Unsubscribe: <mailto:u@b.example>, <http://127.0.0.1:8080/u/tok>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\
            MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=x\r\n\r\n\
            --x\r\nContent-Type: text/plain\r\n\r\nhttp://127.0.0.1:8080/c/text\r\n\
            --x\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
            <a href=3D\"http://127.0.0.1:8080/c/one?a=3D1&amp;b=3D2\">1</a><a href=3D\"https://shop.example/\">2</a>\r\n\
            <a href=3D\"http://127.0.0.1:8080.evil.example/c/x\">3</a><a href=3D\"http://127.0.0.1:8080/u/tok\">4</a>\r\n\
            <a href=3D\"mailto:a@b.example\">5</a><img src=3D\"http://127.0.0.1:8080/logo.png\" width=3D\"600\" height=3D\"80\">\r\n\
            <img src=3D\"http://127.0.0.1:8080/o/tok.gif\" width=3D\"1\" height=3D\"1\" alt=3D\"\">\r\n--x--\r\n";
        let letter = read(message, TRACKING).unwrap();
        let expected = Letter {
            subject: "Grüße".into(),
            pixels: vec![format!("{TRACKING}/o/tok.gif")],
            links: vec![format!("{TRACKING}/c/one?a=1&b=2")],
            unsubscribe_links: vec![format!("{TRACKING}/u/tok")],
            untracked_links: 2,
            unsubscribe: Some(format!("{TRACKING}/u/tok")),
        };
        assert_eq!(letter, expected);
    }

    #[test]
    fn without_the_one_click_header_nobody_posts() {
        let letter = read(b"List-Unsubscribe: <http://127.0.0.1:8080/u/tok>\r\n\r\nhello\r\n", TRACKING).unwrap();
        assert_eq!(letter.unsubscribe, None);
        assert!(read(b"", TRACKING).is_none());
    }
}
