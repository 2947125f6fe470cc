//! Letters per second and core: rendered, finished, signed, beside lettre's own builder and signer-free formatting.
//!
//! `cargo bench --bench letters`. One thread; time is what the kernel says that thread was running for, so that other work on the machine
//! counts only by what it takes from the caches; each figure is the best of several rounds, as it only ever slows one down.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a measurement, not a part of the program")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use letterlab::content::{Body, BodyFormat, CompiledLetter, LetterUrls, Newsletter, Tracking};
use letterlab::delivery::dkim::{DkimKey, DkimKeys, generate};
use letterlab::delivery::message::{MessageParts, compose};
use lettre::Message;
use lettre::message::MultiPart;

const ROUNDS: usize = 7;

/// A newsletter whose HTML comes out at about `bytes`.
fn newsletter(bytes: usize) -> Newsletter {
    let paragraph = "<p style=\"margin:0 0 16px;font-size:16px;line-height:24px;color:#1d1d1f\">Dear {{ first_name | default(\"reader\") }}, the \
                     reading room opens at eight from Monday to Friday, and at ten on Saturday; phở &amp; cà phê are served upstairs. \
                     <a href=\"https://example.org/room?from=letter&amp;n=NUMBER\" style=\"color:#0b57d0\">More about it</a></p>\n";
    let mut source = "<!doctype html><html lang=\"en\"><head><title>News</title></head><body>\n".to_owned();
    for number in 0.. {
        if source.len() + paragraph.len() > bytes {
            break;
        }
        // Few links, much text, as letters are.
        let shown =
            if number % 4 == 0 { paragraph.replace("NUMBER", &number.to_string()) } else { paragraph.replace("<a href=", "<b id=") };
        source.push_str(&if number % 4 == 0 { shown } else { shown.replace("</a>", "</b>").replace("NUMBER", "") });
    }
    source.push_str("<p><a href=\"{{ unsubscribe_url }}\">Unsubscribe</a></p></body></html>\n");
    Newsletter {
        subject: "What changed this autumn, {{ first_name | default(\"reader\") }}".to_owned(),
        preheader: String::new(),
        sender_name: "The library".to_owned(),
        body: Body { format: BodyFormat::Html, source },
    }
}

struct Scene {
    letter: CompiledLetter,
    values: BTreeMap<String, String>,
    urls: LetterUrls,
}

impl Scene {
    fn new(bytes: usize) -> Self {
        let letter = CompiledLetter::compile(&newsletter(bytes)).unwrap();
        let token = "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrstuvwxyz2345".to_owned();
        let links = letter.links().iter().map(|_| format!("https://news.example.org/c/{token}")).collect();
        let urls = LetterUrls {
            tracking: Tracking::On { pixel: format!("https://news.example.org/o/{token}.gif"), links },
            unsubscribe: format!("https://news.example.org/u/{token}"),
        };
        Self { letter, values: BTreeMap::from([("first_name".to_owned(), "Nguyễn".to_owned())]), urls }
    }

    fn finished(&self) -> Vec<u8> {
        let rendered = self.letter.render(&self.values, &self.urls).unwrap();
        compose(&MessageParts {
            from_name: &rendered.sender_name,
            from_address: "letter@example.org",
            reply_to: None,
            to_name: None,
            to_address: "ann@example.net",
            subject: &rendered.subject,
            date: "2026-11-22T12:00:00Z".parse().unwrap(),
            message_id: "abc234.1@example.org",
            list_id: "readers.example.org",
            list_unsubscribe_url: &self.urls.unsubscribe,
            list_unsubscribe_mailto: Some("u+abc@bounces.example.org?subject=unsubscribe"),
            feedback_id: Some("campaign-7:list-readers:type-newsletter:letterlab"),
            language: None,
            text: &rendered.text,
            html: &rendered.html,
        })
        .unwrap()
    }

    /// The same letter by lettre's builder, with as many headers as it makes by itself.
    fn by_lettre(&self) -> Vec<u8> {
        let rendered = self.letter.render(&self.values, &self.urls).unwrap();
        Message::builder()
            .from("The library <letter@example.org>".parse().unwrap())
            .to("ann@example.net".parse().unwrap())
            .subject(rendered.subject)
            .message_id(Some("<abc234.1@example.org>".to_owned()))
            .multipart(MultiPart::alternative_plain_html(rendered.text, rendered.html))
            .unwrap()
            .formatted()
    }
}

fn keys(rsa: bool, ed25519: bool) -> DkimKeys {
    let mut keys = Vec::new();
    if rsa {
        keys.push(DkimKey::from_pem("example.org", "r", &generate::rsa_pem().unwrap()).unwrap());
    }
    if ed25519 {
        keys.push(DkimKey::from_pem("example.org", "e", &generate::ed25519_pem([1; 32])).unwrap());
    }
    DkimKeys::new(keys)
}

/// How long this thread has been running on a core.
fn running() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux says how long a thread ran");
    Duration::from_nanos(stat.split(' ').next().and_then(|nanoseconds| nanoseconds.parse().ok()).expect("nanoseconds come first"))
}

/// Microseconds a turn, the best round.
fn measure(turns: usize, mut turn: impl FnMut() -> Vec<u8>) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let began = running();
        for _ in 0..turns {
            black_box(turn());
        }
        best = best.min((running() - began).as_secs_f64() * 1e6 / turns as f64);
    }
    best
}

fn main() {
    let now = "2026-11-22T12:00:00Z".parse().unwrap();
    println!("| letter | message | made by | CPU µs | letters/s and core |");
    println!("|---|---|---|---|---|");
    for bytes in [10_000, 18_000, 60_000] {
        let scene = Scene::new(bytes);
        let html = scene.letter.render(&scene.values, &scene.urls).unwrap().html.len();
        let show = |name: &str, size: usize, microseconds: f64| {
            println!("| {} kB | {} kB | {name} | {microseconds:.1} | {:.0} |", html / 1000, size / 1000, 1e6 / microseconds);
        };
        show("rendered only", html, measure(5000, || scene.letter.render(&scene.values, &scene.urls).unwrap().html.into_bytes()));
        show("Letterlab, unsigned", scene.finished().len(), measure(5000, || scene.finished()));
        show("lettre's builder, unsigned", scene.by_lettre().len(), measure(1000, || scene.by_lettre()));
        for (name, keys) in [("Ed25519", keys(false, true)), ("RSA 2048", keys(true, false)), ("RSA 2048 and Ed25519", keys(true, true))] {
            let signed = || keys.sign("example.org", scene.finished(), now).unwrap();
            show(&format!("Letterlab, {name}"), signed().len(), measure(1000, signed));
        }
    }
}
