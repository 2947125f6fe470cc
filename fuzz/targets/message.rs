//! Any text in any field of a message: what comes out has the headers we write, each once, and nothing smuggled in.

#![no_main]

use letterlab::delivery::message::{MessageParts, compose};
use letterlab_fuzz::fields;

const HEADERS: [&str; 15] = [
    "from",
    "to",
    "reply-to",
    "subject",
    "date",
    "message-id",
    "list-id",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "feedback-id",
    "precedence",
    "x-auto-response-suppress",
    "content-language",
    "mime-version",
    "content-type",
];

libfuzzer_sys::fuzz_target!(|input: &str| {
    let [subject, from_name, to_name, to_address, reply_to, message_id, list_id, url, mailto, feedback_id, language, text, html] =
        fields(input);
    let given = |field: &'static str, text| if text == "" { field } else { text };
    let parts = MessageParts {
        from_name,
        from_address: "letter@example.org",
        reply_to: (!reply_to.is_empty()).then_some(reply_to),
        to_name: Some(to_name),
        to_address: given("ann@example.net", to_address),
        subject,
        date: jiff::Timestamp::UNIX_EPOCH,
        message_id: given("abc.1@example.org", message_id),
        list_id: given("news.example.org", list_id),
        list_unsubscribe_url: given("https://example.org/u/abc", url),
        list_unsubscribe_mailto: (!mailto.is_empty()).then_some(mailto),
        feedback_id: (!feedback_id.is_empty()).then_some(feedback_id),
        language: (!language.is_empty()).then_some(language),
        text: given("Hello", text),
        html: given("<p>Hello</p>", html),
    };
    let Ok(message) = compose(&parts) else { return };
    let mut boundaries = 0;
    let mut seen: Vec<String> = Vec::new();
    let mut in_head = true;
    assert!(message.ends_with(b"\r\n"));
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        let bare = line.strip_suffix(b"\r\n").expect("a line ends in CRLF");
        assert!(bare.len() <= 998 && !bare.contains(&b'\r') && !bare.contains(&0));
        boundaries += usize::from(bare.starts_with(b"--=_letter_"));
        if bare.is_empty() {
            in_head = false;
        } else if in_head && !bare.starts_with(b" ") {
            let colon = bare.iter().position(|byte| *byte == b':').expect("a header has a colon");
            seen.push(String::from_utf8_lossy(&bare[..colon]).to_lowercase());
        }
    }
    assert_eq!(boundaries, 3, "two parts and their end");
    for name in &seen {
        assert!(HEADERS.contains(&name.as_str()), "{name}");
        assert_eq!(seen.iter().filter(|other| *other == name).count(), 1, "{name}");
    }
});
