//! Pictures brought along with a letter: which files are taken, and how a letter refers to those it carries itself.
//!
//! Cast: [`ImageKind`] (what a file is, by its first bytes), [`inline_uploaded`] (addresses of uploaded pictures → parts of the message).
//!
//! It decodes no picture and trusts no file name.

use serde::{Deserialize, Serialize};

use super::markup::{self, Kind};

/// The largest picture taken, in bytes: a letter with more is slow on a phone.
pub const MOST_IMAGE_BYTES: usize = 2 * 1024 * 1024;
/// What uploaded pictures' addresses have before their id.
pub const IMAGE_PATH: &str = "/i/";
/// The right side of the Content-ID of a picture inside the message.
const CONTENT_ID_HOST: &str = "images.letterlab";
/// Length of an id as text.
const ID_LENGTH: usize = 26;

/// A kind of picture that mail programs show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageKind {
    /// Portable Network Graphics.
    Png,
    /// JPEG.
    Jpg,
    /// GIF, also moving.
    Gif,
    /// WebP; Outlook for Windows shows nothing.
    Webp,
}

impl ImageKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Png, Self::Jpg, Self::Gif, Self::Webp];

    /// The ending of its address, and the word stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpg => "jpg",
            Self::Gif => "gif",
            Self::Webp => "webp",
        }
    }

    /// Its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpg => "image/jpeg",
            Self::Gif => "image/gif",
            Self::Webp => "image/webp",
        }
    }

    /// By the word stored.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// What a file is, by its first bytes. The error says why it is not taken and what to do.
    pub fn of(bytes: &[u8]) -> Result<Self, String> {
        if bytes.is_empty() {
            return Err("the file is empty".to_owned());
        }
        if bytes.len() > MOST_IMAGE_BYTES {
            let megabytes = MOST_IMAGE_BYTES / 1024 / 1024;
            return Err(format!(
                "the picture has {} kB; at most {megabytes} MB are taken: make it smaller, 1,200 pixels in width are enough",
                bytes.len() / 1024
            ));
        }
        let known = match bytes {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpg),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::Webp),
            _ => None,
        };
        known.ok_or_else(|| {
            let start = String::from_utf8_lossy(bytes.get(..256).unwrap_or(bytes)).to_ascii_lowercase();
            if start.contains("<svg") || start.trim_start().starts_with("<?xml") {
                "this is an SVG drawing, which most mail programs do not show; save it as PNG".to_owned()
            } else {
                "this is no picture that mail programs show; save it as PNG, JPEG, GIF or WebP".to_owned()
            }
        })
    }
}

/// The id in the address of an uploaded picture, such as `https://news.example.org/i/….png`; none for any other address.
pub fn uploaded_id(url: &str) -> Option<&str> {
    let (before, name) = url.trim().rsplit_once(IMAGE_PATH)?;
    let (id, ending) = name.split_once('.')?;
    let is_id = id.len() == ID_LENGTH && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'v').contains(&byte));
    (is_id && ImageKind::from_word(ending).is_some() && before.contains("://")).then_some(id)
}

/// The Content-ID of an uploaded picture, without brackets.
pub fn content_id(id: &str) -> String {
    format!("{id}@{CONTENT_ID_HOST}")
}

/// The document with its uploaded pictures as parts of the message (`cid:`, RFC 2392), and their ids in order, each once.
pub fn inline_uploaded(html: &str) -> (String, Vec<String>) {
    let mut inlined = String::with_capacity(html.len());
    let mut ids: Vec<String> = Vec::new();
    let mut done = 0;
    for token in markup::tokens(html) {
        let Kind::Start { attributes, .. } = &token.kind else { continue };
        for attribute in
            attributes.iter().filter(|attribute| ["src", "background"].iter().any(|name| attribute.name.eq_ignore_ascii_case(name)))
        {
            let url = markup::decode(attribute.value);
            let Some(id) = uploaded_id(&url) else { continue };
            inlined.push_str(html.get(done..attribute.span.start).unwrap_or_default());
            inlined.push_str(&format!("{}=\"cid:{}\"", attribute.name, content_id(id)));
            done = attribute.span.end;
            if !ids.iter().any(|known| known == id) {
                ids.push(id.to_owned());
            }
        }
    }
    inlined.push_str(html.get(done..).unwrap_or_default());
    (inlined, ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_judged_by_their_first_bytes() {
        for (bytes, expected) in [
            (&b"\x89PNG\r\n\x1a\nrest"[..], Ok(ImageKind::Png)),
            (b"\xff\xd8\xff\xe0", Ok(ImageKind::Jpg)),
            (b"GIF89a...", Ok(ImageKind::Gif)),
            (b"RIFF\x01\x02\x03\x04WEBPVP8 ", Ok(ImageKind::Webp)),
            (b"", Err("empty")),
            (b"<svg xmlns=", Err("save it as PNG")),
            (b"<html>", Err("no picture")),
            (b"\x89PNG", Err("no picture")),
            (b"%PDF-1.7", Err("no picture")),
        ] {
            match (ImageKind::of(bytes), expected) {
                (Ok(kind), Ok(expected)) => assert_eq!(kind, expected),
                (Err(why), Err(expected)) => assert!(why.contains(expected), "{why}"),
                (found, _) => panic!("{bytes:?}: {found:?}"),
            }
        }
        let large = [b"GIF89a".to_vec(), vec![0; MOST_IMAGE_BYTES]].concat();
        assert!(ImageKind::of(&large).unwrap_err().contains("at most 2 MB"));
        for kind in ImageKind::ALL {
            assert_eq!(ImageKind::from_word(kind.as_str()), Some(kind));
        }
    }

    #[test]
    fn uploaded_pictures_become_parts_of_the_message_and_no_others() {
        let id = "0123456789abcdefghijklmnop";
        let html = format!(
            "<img alt=\"\" src=\"https://n.example/i/{id}.png\"><td background='https://n.example/i/{id}.png'><img src=\"https://n.example/i/x.png\">\
             <a href=\"https://n.example/i/{id}.png\">"
        );
        let (inlined, ids) = inline_uploaded(&html);
        assert_eq!(ids, [id]);
        let cid = format!("cid:{id}@images.letterlab");
        assert_eq!(
            inlined,
            format!(
                "<img alt=\"\" src=\"{cid}\"><td background=\"{cid}\"><img src=\"https://n.example/i/x.png\"><a href=\"https://n.example/i/{id}.png\">"
            )
        );
    }
}
