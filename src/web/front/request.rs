//! The bytes of a request, read: a plain GET or HEAD of a pixel or link, or something for the application.
//!
//! Cast: [`read`], [`Read`], [`HitRequest`] (borrowed from the bytes).
//!
//! Whatever is unusual – a body, an upgrade, an escaped path, a header too many – is the application's: two readers must not disagree.

use httparse::{EMPTY_HEADER, Status};

use crate::signal::HitKind;

/// Most headers read here.
const HEADERS: usize = 64;
/// How requests begin that may be answered here.
const BEGINNINGS: [(&[u8], HitKind, bool); 4] = [
    (b"GET /o/", HitKind::Open, false),
    (b"GET /c/", HitKind::Click, false),
    (b"HEAD /o/", HitKind::Open, true),
    (b"HEAD /c/", HitKind::Click, true),
];

/// What the bytes are.
pub enum Read<'a> {
    /// A pixel or link, and how many bytes of it.
    Hit(HitRequest<'a>, usize),
    /// Perhaps one, when more comes.
    Incomplete,
    /// For the application.
    Other,
}

/// A request for a pixel or link.
pub struct HitRequest<'a> {
    /// Pixel or link.
    pub kind: HitKind,
    /// Whether only the head of the answer is wanted.
    pub is_head: bool,
    /// The token as sent, not judged.
    pub token: &'a str,
    /// Whether the connection ends with the answer.
    pub is_last: bool,
    /// `User-Agent`; empty where missing or not UTF-8.
    pub user_agent: &'a str,
    /// `Sec-Purpose`, `Purpose` or `X-Moz`.
    pub purpose: Option<&'a str>,
    /// `Referer`.
    pub referer: Option<&'a str>,
    /// Whether `Accept-Language` came.
    pub accept_language: bool,
    /// Whether `Sec-Fetch-User: ?1` came.
    pub fetch_user: bool,
    /// The last `X-Forwarded-For`.
    pub forwarded_for: Option<&'a str>,
    /// The last `Forwarded`.
    pub forwarded: Option<&'a str>,
}

/// Reads the request at the beginning of `bytes`.
pub fn read(bytes: &[u8]) -> Read<'_> {
    let beginning = |(begin, _, _): &&(&[u8], HitKind, bool)| {
        let shared = begin.len().min(bytes.len());
        begin.get(..shared) == bytes.get(..shared)
    };
    let Some((begin, kind, is_head)) = BEGINNINGS.iter().find(beginning) else { return Read::Other };
    if bytes.len() < begin.len() {
        return Read::Incomplete;
    }
    let mut headers = [EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Read::Incomplete,
        Err(_) => return Read::Other,
    };
    let hit = request.path.and_then(|path| token(*kind, path)).map(|token| HitRequest {
        kind: *kind,
        is_head: *is_head,
        token,
        is_last: request.version == Some(0),
        user_agent: "",
        purpose: None,
        referer: None,
        accept_language: false,
        fetch_user: false,
        forwarded_for: None,
        forwarded: None,
    });
    match hit.and_then(|hit| with_headers(hit, request.headers)) {
        Some(hit) => Read::Hit(hit, length),
        None => Read::Other,
    }
}

/// The token in a path; none for a path that is not exactly a pixel's or link's.
fn token(kind: HitKind, path: &str) -> Option<&str> {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let token = match kind {
        HitKind::Open => path.strip_prefix("/o/")?.strip_suffix(".gif")?,
        HitKind::Click => path.strip_prefix("/c/")?,
    };
    let is_plain = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_plain.then_some(token)
}

/// None when a header says that this is no plain request.
fn with_headers<'a>(mut hit: HitRequest<'a>, headers: &[httparse::Header<'a>]) -> Option<HitRequest<'a>> {
    // Of several ways to announce a prefetch the first of this order counts.
    let mut purposes = [None; 3];
    let mut hosts = 0;
    for header in headers {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        let text = std::str::from_utf8(header.value).ok();
        match header.name.len() {
            4 if is("host") => hosts += 1,
            5 if is("x-moz") => purposes[2] = purposes[2].or(text),
            6 if is("expect") => return None,
            7 if is("upgrade") => return None,
            7 if is("referer") => hit.referer = hit.referer.or(text),
            7 if is("purpose") => purposes[1] = purposes[1].or(text),
            // More than one line of them is one list; the application puts it together.
            9 if is("forwarded") && hit.forwarded.is_some() => return None,
            9 if is("forwarded") => hit.forwarded = text,
            10 if is("user-agent") && hit.user_agent.is_empty() => hit.user_agent = text.unwrap_or_default(),
            10 if is("connection") => match text {
                Some(text) if text.eq_ignore_ascii_case("close") => hit.is_last = true,
                Some(text) if text.eq_ignore_ascii_case("keep-alive") => {}
                _ => return None,
            },
            11 if is("sec-purpose") => purposes[0] = purposes[0].or(text),
            14 if is("content-length") => return None,
            14 if is("sec-fetch-user") => hit.fetch_user |= header.value == b"?1",
            15 if is("accept-language") => hit.accept_language = true,
            15 if is("x-forwarded-for") && hit.forwarded_for.is_some() => return None,
            15 if is("x-forwarded-for") => hit.forwarded_for = text,
            17 if is("transfer-encoding") => return None,
            _ => {}
        }
    }
    hit.purpose = purposes.into_iter().flatten().next();
    (hosts == 1 || hit.is_last && hosts == 0).then_some(hit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token_of(request: &str) -> Option<(String, bool)> {
        match read(request.as_bytes()) {
            Read::Hit(hit, length) if length == request.len() => Some((hit.token.to_owned(), hit.is_last)),
            Read::Hit(..) | Read::Incomplete | Read::Other => None,
        }
    }

    #[test]
    fn plain_pixels_and_links_are_read_here() {
        for (request, is_last) in [
            ("GET /o/abc.gif HTTP/1.1\r\nHost: a\r\n\r\n", false),
            ("HEAD /c/abc HTTP/1.1\r\nhost: a\r\nConnection: keep-alive\r\n\r\n", false),
            ("GET /c/abc?utm=1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", true),
            ("GET /c/abc HTTP/1.0\r\n\r\n", true),
        ] {
            assert_eq!(token_of(request), Some(("abc".to_owned(), is_last)), "{request}");
            for length in 0..request.len() {
                assert!(matches!(read(&request.as_bytes()[..length]), Read::Incomplete), "{length} of {request}");
            }
        }
    }

    #[test]
    fn everything_else_is_the_applications() {
        for request in [
            "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
            "POST /o/abc.gif HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET /o/abc HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET /o/.gif HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET /o/a/b.gif HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET /c/%61bc HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET http://a/c/abc HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET /c/abc HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc",
            "GET /c/abc HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
            "GET /c/abc HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n\r\n",
            "GET /c/abc HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\n\r\n",
            "GET /c/abc HTTP/1.1\r\n\r\n",
            "GET /c/abc HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
            "GET /c/abc HTTP/1.1\r\nhost: a\r\nbroken\r\n\r\n",
            "GET /c/abc HTTP/9\r\n\r\n",
        ] {
            assert!(matches!(read(request.as_bytes()), Read::Other), "{request}");
        }
    }

    #[test]
    fn the_facts_are_read_from_their_headers() {
        let request = "GET /c/abc HTTP/1.1\r\nHost: a\r\nUser-Agent: Some/1.0\r\nPurpose: prefetch\r\nSec-Purpose: preview\r\nReferer: r\r\n\
                       Accept-Language: de\r\nSec-Fetch-User: ?1\r\nx-forwarded-for: 192.0.2.2\r\nForwarded: for=192.0.2.3\r\n\r\nGET /";
        let Read::Hit(hit, length) = read(request.as_bytes()) else { panic!("a hit") };
        assert_eq!(&request[length..], "GET /");
        assert_eq!((hit.user_agent, hit.purpose, hit.referer), ("Some/1.0", Some("preview"), Some("r")));
        assert!(hit.accept_language && hit.fetch_user && !hit.is_head);
        assert_eq!((hit.forwarded_for, hit.forwarded), (Some("192.0.2.2"), Some("for=192.0.2.3")));
    }
}
