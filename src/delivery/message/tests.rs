//! What a finished message looks like, byte by byte.

use mail_parser::{Address as ParsedAddress, MessageParser};

use super::*;

const SINGLE: [&str; 16] = [
    "From",
    "To",
    "Reply-To",
    "Subject",
    "Date",
    "Message-ID",
    "List-Id",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "Feedback-ID",
    "Precedence",
    "X-Auto-Response-Suppress",
    "Content-Language",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];

fn example() -> MessageParts<'static> {
    MessageParts {
        from_name: "The Letter",
        from_address: "letter@example.org",
        reply_to: Some("answers@example.org"),
        to_name: None,
        to_address: "ann@example.net",
        subject: "Hello",
        date: "2026-11-03T07:08:09Z".parse().unwrap(),
        message_id: "abc234.1@example.org",
        list_id: "news.example.org",
        list_unsubscribe_url: "https://example.org/u/abc234?x=1",
        list_unsubscribe_mailto: Some("unsubscribe+abc234@example.org?subject=unsubscribe"),
        feedback_id: Some("7:A:news:letterlab"),
        language: Some("pt-BR"),
        text: "Hello Ann,\n\n.read this\nFrom here on.\n",
        html: "<p>Hello Ann,</p>\n<p>read <a href=\"https://example.org/c/x?a=b\">this</a></p>\n",
    }
}

/// Header lines, unfolded.
fn headers(message: &[u8]) -> Vec<(String, String)> {
    let text = std::str::from_utf8(message).unwrap();
    let (head, _) = text.split_once("\r\n\r\n").unwrap();
    let unfolded = head.replace("\r\n ", " ");
    unfolded.split("\r\n").map(|line| line.split_once(": ").unwrap()).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Every rule that holds for every letter; gives the bytes for more.
fn check(parts: &MessageParts<'_>) -> Vec<u8> {
    let message = compose(parts).unwrap();
    assert!(message.ends_with(b"\r\n"));
    let without_line_ends = message.split(|&byte| byte == b'\n').collect::<Vec<_>>();
    let (last, lines) = without_line_ends.split_last().unwrap();
    assert!(last.is_empty());
    for line in lines {
        let line = line.strip_suffix(b"\r").expect("a bare line feed");
        assert!(line.len() <= LONGEST_LINE, "{} bytes", line.len());
        assert!(line.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t')), "{:?}", String::from_utf8_lossy(line));
        assert!(!line.starts_with(b".") && !line.starts_with(b"From "));
    }
    let names: Vec<String> = headers(&message).into_iter().map(|(name, _)| name).collect();
    for name in &names {
        assert_eq!(names.iter().filter(|other| other.eq_ignore_ascii_case(name)).count(), 1, "{name}");
        assert!(SINGLE.contains(&name.as_str()), "{name} was not asked for");
    }
    let parsed = MessageParser::default().parse(&message).unwrap();
    assert_eq!(parsed.subject().unwrap_or_default(), clean(parts.subject));
    assert_eq!(parsed.message_id(), Some(parts.message_id));
    assert_eq!(parsed.text_body_count(), 1);
    assert_eq!(parsed.html_body_count(), 1);
    assert_eq!(parsed.attachment_count(), 0);
    assert_eq!(parsed.body_text(0).unwrap().replace("\r\n", "\n"), parts.text.replace("\r\n", "\n"));
    assert_eq!(parsed.body_html(0).unwrap().replace("\r\n", "\n"), parts.html.replace("\r\n", "\n"));
    message
}

fn first_address(address: Option<&ParsedAddress<'_>>) -> (String, String) {
    let first = address.and_then(ParsedAddress::first).unwrap();
    (first.name.as_deref().unwrap_or_default().to_owned(), first.address.as_deref().unwrap_or_default().to_owned())
}

#[test]
fn a_letter_is_written_line_by_line_as_designed() {
    let message = String::from_utf8(check(&example())).unwrap();
    let expected = [
        "From: \"The Letter\" <letter@example.org>",
        "To: ann@example.net",
        "Reply-To: answers@example.org",
        "Subject: Hello",
        "Date: Tue, 03 Nov 2026 07:08:09 +0000",
        "Message-ID: <abc234.1@example.org>",
        "List-Id: <news.example.org>",
        "List-Unsubscribe: <https://example.org/u/abc234?x=1>, <mailto:unsubscribe+abc234@example.org?subject=unsubscribe>",
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
        "Feedback-ID: 7:A:news:letterlab",
        "Precedence: bulk",
        "X-Auto-Response-Suppress: OOF, AutoReply",
        "Content-Language: pt-BR",
        "MIME-Version: 1.0",
        "Content-Type: multipart/alternative; boundary=\"=_letter_abc2341exampleorg\"",
        "",
        "--=_letter_abc2341exampleorg",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: quoted-printable",
        "",
        "Hello Ann,",
        "",
        "=2Eread this",
        "=46rom here on.",
        "",
        "--=_letter_abc2341exampleorg",
        "Content-Type: text/html; charset=utf-8",
        "Content-Transfer-Encoding: quoted-printable",
        "",
        "<p>Hello Ann,</p>",
        "<p>read <a href=3D\"https://example.org/c/x?a=3Db\">this</a></p>",
        "",
        "--=_letter_abc2341exampleorg--",
        "",
    ];
    assert_eq!(message.split("\r\n").collect::<Vec<_>>(), expected);
}

#[test]
fn the_same_parts_give_the_same_bytes() {
    assert_eq!(compose(&example()), compose(&example()));
    let other = MessageParts { message_id: "abc234.2@example.org", ..example() };
    assert_ne!(compose(&example()), compose(&other));
}

#[test]
fn nasty_subjects_and_names_neither_break_the_letter_nor_change_its_headers() {
    let long_words = "Phở Hà Nội ".repeat(110);
    let long_word = "a".repeat(1200);
    let long_plain = "plain words ".repeat(100);
    let cases = [
        "",
        "x",
        " leading and trailing ",
        "two  spaces",
        "a\r\nBcc: eve@example.net\r\n\r\nbody",
        "a\0b\u{1b}c\u{7f}d",
        "invoice\u{202e}fdp.exe",
        "=?utf-8?B?SGVsbG8=?=",
        "=?utf-8?Q?broken",
        "🎉 50 % off 👩\u{200d}🚀🏳️\u{200d}🌈",
        "Tiếng Việt: Phở, bún chả và cà phê sữa đá",
        "Tie\u{302}\u{301}ng Vie\u{323}\u{302}t in decomposed form",
        "नमस्ते दुनिया, क्षत्रिय",
        "שלום עולם",
        "quote \" backslash \\ comma, at @ <angle> (comment); colon:",
        &long_words,
        &long_word,
        &long_plain,
        &"🎉".repeat(1200),
    ];
    for text in cases {
        let message = check(&MessageParts { subject: text, from_name: text, to_name: Some(text), ..example() });
        let parsed = MessageParser::default().parse(&message).unwrap();
        assert_eq!(first_address(parsed.from()), (clean(text), "letter@example.org".to_owned()));
        assert_eq!(first_address(parsed.to()), (clean(text), "ann@example.net".to_owned()));
        assert!(parsed.bcc().is_none());
    }
}

#[test]
fn bodies_of_any_script_and_shape_decode_back() {
    let wide = format!("<p>{}</p>", "x".repeat(20_000));
    let cases = [
        ("x", "<p></p>"),
        ("no trailing newline", "<p>é</p>"),
        ("trailing blank lines\n\n\n", "<p>\n\n</p>\n\n\n"),
        ("trailing space \nand tab\t\n", " "),
        ("--=_letter_abc2341exampleorg\n--\n", "--=_letter_abc2341exampleorg--\r\n<p>boundary inside</p>"),
        ("Tiếng Việt, дружба, नमस्ते, 👩\u{200d}🚀, שלום", "<p>Tiếng Việt, дружба, नमस्ते, 👩\u{200d}🚀, שלום</p>"),
        (".\n..\n.dot\nFrom \n", &wide),
    ];
    for (text, html) in cases {
        if html.trim().is_empty() {
            assert_eq!(compose(&MessageParts { text, html, ..example() }), Err(MessageFault::BlankPart { part: "HTML" }));
        } else {
            check(&MessageParts { text, html, ..example() });
        }
    }
}

#[test]
fn international_domains_become_a_labels_and_an_international_name_stays() {
    let parts = MessageParts {
        from_address: "letter@bücher.example",
        reply_to: Some("a@bücher.example"),
        to_address: "ann@пример.example",
        list_id: "nachrichten.bücher.example",
        ..example()
    };
    let message = String::from_utf8(check(&parts)).unwrap();
    assert!(message.contains("<letter@xn--bcher-kva.example>\r\n"));
    assert!(message.contains("Reply-To: a@xn--bcher-kva.example\r\n"));
    assert!(message.contains("To: ann@xn--e1afmkfd.example\r\n"));
    assert!(message.contains("List-Id: <nachrichten.xn--bcher-kva.example>\r\n"));

    let message = String::from_utf8(compose(&MessageParts { to_address: "आन@example.net", ..example() }).unwrap()).unwrap();
    assert!(message.contains("\r\nTo: आन@example.net\r\n"));
}

#[test]
fn list_unsubscribe_is_one_physical_line_however_long() {
    let url = format!("https://example.org/u/{}", "a".repeat(800));
    let parts = MessageParts { list_unsubscribe_url: &url, list_unsubscribe_mailto: None, ..example() };
    let message = String::from_utf8(check(&parts)).unwrap();
    assert!(message.contains(&format!("\r\nList-Unsubscribe: <{url}>\r\nList-Unsubscribe-Post: ")));
}

#[test]
fn what_cannot_be_written_is_refused_and_named_without_personal_data() {
    let long = format!("https://example.org/{}", "a".repeat(990));
    let base = example();
    let cases: &[(MessageParts<'_>, &str)] = &[
        (MessageParts { from_address: "nobody", ..base }, "From"),
        (MessageParts { from_address: "änn@example.org", ..base }, "From"),
        (MessageParts { to_address: "ann@example.net>\r\nBcc: eve@example.net", ..base }, "To"),
        (MessageParts { reply_to: Some("a b@example.org"), ..base }, "Reply-To"),
        (MessageParts { message_id: "<a@b>", ..base }, "Message-ID"),
        (MessageParts { message_id: "a", ..base }, "Message-ID"),
        (MessageParts { message_id: "a@b\r\nX: y", ..base }, "Message-ID"),
        (MessageParts { list_id: "news", ..base }, "List-Id"),
        (MessageParts { list_id: "<news.example.org>", ..base }, "List-Id"),
        (MessageParts { list_unsubscribe_url: "http://example.org/u", ..base }, "List-Unsubscribe"),
        (MessageParts { list_unsubscribe_url: "https://example.org/é", ..base }, "List-Unsubscribe"),
        (MessageParts { list_unsubscribe_url: "https://example.org/>\r\nX: y", ..base }, "List-Unsubscribe"),
        (MessageParts { list_unsubscribe_url: &long, ..base }, "List-Unsubscribe"),
        (MessageParts { list_unsubscribe_mailto: Some("nobody"), ..base }, "List-Unsubscribe"),
        (MessageParts { feedback_id: Some("a:b:c:d"), ..base }, "Feedback-ID"),
        (MessageParts { feedback_id: Some("a:a:c:letterlab"), ..base }, "Feedback-ID"),
        (MessageParts { language: Some("fr\r\nX: y"), ..base }, "Content-Language"),
        (MessageParts { date: jiff::Timestamp::MIN, ..base }, "Date"),
        (MessageParts { text: " \n", ..base }, "text"),
    ];
    for (parts, name) in cases {
        let fault = compose(parts).unwrap_err().to_string();
        assert!(fault.contains(name), "{fault:?} should name {name}");
        assert!(!fault.contains("eve") && !fault.contains("nobody") && !fault.contains("ann@"), "{fault}");
    }
}

#[test]
fn the_envelope_sender_carries_the_token() {
    assert_eq!(verp("abc234", "bounce.example.org"), "b+abc234@bounce.example.org");
}

#[test]
fn pictures_inside_the_message_are_related_to_the_html_part() {
    let image = InlineImage::new("abc@images.letterlab".to_owned(), "image/png", &[0x89; 200]);
    let bytes = compose_with(&example(), &[image]).unwrap();
    let message = String::from_utf8(bytes).unwrap();
    let order = [
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "Content-Type: image/png",
        "Content-ID: <abc@images.letterlab>",
    ];
    let places: Vec<usize> = order.iter().map(|words| message.find(words).unwrap_or_else(|| panic!("{words}: {message}"))).collect();
    assert!(places.is_sorted(), "{places:?}");
    assert!(message.contains("Content-Disposition: inline") && message.contains("Content-Transfer-Encoding: base64"), "{message}");
    assert!(message.split("\r\n").all(|line| line.len() <= 998 && !line.contains('\n')), "{message}");
    let read = mail_parser::MessageParser::default().parse(message.as_bytes()).unwrap();
    let picture = read.parts.iter().find(|part| mail_parser::MimeHeaders::content_id(*part) == Some("abc@images.letterlab")).unwrap();
    assert_eq!(picture.contents(), &[0x89; 200]);
    let bad = InlineImage::new("a b".to_owned(), "image/png", b"x");
    assert!(compose_with(&example(), &[bad]).is_err());
}
