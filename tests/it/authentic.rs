//! Purpose: letters before judges nobody here wrote: OpenDKIM, dkimpy, mail-auth, Python's strict parser, SpamAssassin; fresh, from the demo,
//! and after a real Postfix relayed them.
//!
//! Cast: [`Letter`]s in many scripts, [`nasty`] ones, the [`Verifiers`]; `tests/it/checks.py` is what Python is asked.
//!
//! Never: a judgement by our own code.
//!
//! The list of what letters must be, and where each item is tested:
//!
//! | item | where |
//! |---|---|
//! | 1 CRLF everywhere, 2 line lengths, 3 ASCII, 4 each header once | `delivery::message::tests` (`check`, every letter there); here [`is_well_formed`] on signed and relayed ones |
//! | 5 `From ` and leading dots survive | [`nasty`] through Postfix, LMTP and IMAP; bodies verify afterwards |
//! | 6 trailing spaces encoded | `delivery::message::body::tests`; [`nasty`] |
//! | 7 boundary in no part | `delivery::message::tests::bodies_of_any_script_and_shape_decode_back` |
//! | 8 text first, both parts say the same | [`every_letter_is_accepted_by_every_judge`] |
//! | 9 charset matches: NFC, NFD, Devanagari, ZWJ, right to left | [`letters`] |
//! | 10 subjects, 11 display names | `delivery::message::tests::nasty_subjects…`; here by Python for [`SUBJECTS`] |
//! | 12 List-Unsubscribe on one line | `delivery::message::tests::list_unsubscribe_is_one_physical_line_however_long`; [`is_well_formed`] |
//! | 13 bodies without an end: three verifiers | [`nasty`]. An empty body is no case: a letter with a blank part is refused (`MessageFault::BlankPart`) |
//! | 14 DKIM after Postfix, refolded, altered | [`relayed_letters_still_verify`], [`what_is_altered_fails`] |
//! | 15 international domains as A-labels | `delivery::message::tests::international_domains…`, `delivery::address::tests` |
//! | 16 international local part without SMTPUTF8 is skipped | `delivery::smtp::tests` |
//! | 17 quoted local parts, tags, lengths | `delivery::address::tests`; domains in one case: `vault::address` |
//! | 18 token survives a change of case, 19 local part ≤ 64 with it | [`a_return_path_survives_what_mail_servers_do_to_it`] |

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result};
use jiff::Timestamp;
use letterlab::app::clock::Clock;
use letterlab::app::domain::Record;
use letterlab::app::domain::keys::make;
use letterlab::app::keyfile::dkim_keys;
use letterlab::delivery::dkim::DkimKeys;
use letterlab::delivery::message::{MessageParts, compose, verp};
use letterlab::delivery::smtp::{BeforeDot, Connection, Outcome, RelaySettings, Security, Timeouts};
use letterlab::ids::{CampaignNumber, Pseudonym, RecordingMode, VariantNumber};
use letterlab::token::{Bearer, Keys, Kind, Payload};

use crate::servers::dovecot::{Dovecot, Mailboxes};
use crate::servers::postfix::{Postfix, Routes};
use crate::servers::verifiers::{Judged, Scored, Verifiers};

const READER: &str = "anna@readers.test";

/// The machine's time: judges refuse signatures from the future and letters from long ago.
fn now() -> Timestamp {
    Clock::wall().now()
}

/// What a letter says; the rest is the same for all.
#[derive(Clone)]
struct Letter {
    name: &'static str,
    subject: String,
    text: String,
    html: String,
}

impl Letter {
    fn new(name: &'static str, subject: &str, paragraphs: &[&str]) -> Self {
        let html: String = paragraphs.iter().map(|paragraph| format!("<p>{paragraph}</p>\n")).collect();
        let page = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>News</title></head>\n<body>\n";
        Self {
            name,
            subject: subject.to_owned(),
            text: paragraphs.iter().map(|paragraph| format!("{paragraph}\n\n")).collect(),
            html: format!("{page}{html}<p><a href=\"https://news.example.org/c/ab\">example.org</a></p>\n</body></html>\n"),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let parts = MessageParts {
            from_name: &self.subject,
            from_address: "letter@news.example.org",
            reply_to: Some("answers@example.org"),
            to_name: None,
            to_address: READER,
            subject: &self.subject,
            date: now(),
            message_id: &format!("{}.1@news.example.org", self.name),
            list_id: "readers.news.example.org",
            list_unsubscribe_url: "https://news.example.org/u/abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrstuvwxyz234567",
            list_unsubscribe_mailto: Some("u+abcdefghijklmnopqrstuvwxyz234567@bounces.example.org?subject=unsubscribe"),
            feedback_id: Some("campaign-7:list-readers:type-newsletter:letterlab"),
            language: None,
            text: &self.text,
            html: &self.html,
        };
        compose(&parts).unwrap()
    }
}

/// Letters as people write them, in scripts that go through different encodings.
fn letters() -> Vec<Letter> {
    let nfd = "Tie\u{302}\u{301}ng Vie\u{323}\u{302}t trong da\u{323}ng pha\u{302}n ra\u{303}";
    vec![
        Letter::new(
            "english",
            "What changed this autumn",
            &["Dear reader, this autumn brought three changes to the library.", "The reading room opens at eight from Monday to Friday."],
        ),
        Letter::new(
            "vietnamese",
            "Tiếng Việt: phở, bún chả và cà phê sữa đá",
            &["Kính gửi bạn đọc, mùa thu này thư viện có ba thay đổi.", "Phòng đọc mở cửa lúc tám giờ từ thứ hai đến thứ sáu.", nfd],
        ),
        Letter::new(
            "russian",
            "Что изменилось этой осенью в библиотеке",
            &[
                "Дорогой читатель, этой осенью в библиотеке три перемены.",
                "Читальный зал открывается в восемь часов с понедельника по пятницу.",
            ],
        ),
        Letter::new(
            "hindi",
            "इस शरद ऋतु में पुस्तकालय में क्या बदला",
            &["प्रिय पाठक, इस शरद ऋतु में पुस्तकालय में तीन बदलाव हुए।", "वाचनालय सोमवार से शुक्रवार तक आठ बजे खुलता है। क्षत्रिय क्\u{200d}ष"],
        ),
        Letter::new(
            "arabic",
            "ما الذي تغير هذا الخريف في المكتبة",
            &["عزيزي القارئ، شهدت المكتبة هذا الخريف ثلاثة تغييرات.", "تفتح قاعة القراءة في الثامنة من الاثنين إلى الجمعة."],
        ),
        Letter::new(
            "emoji",
            "🎉 Three changes 👩\u{200d}🚀 at the library 🏳️\u{200d}🌈",
            &["Dear reader, 📚 three changes 👨\u{200d}👩\u{200d}👧\u{200d}👦 this autumn.", "☕ at eight, Monday to Friday 🇻🇳."],
        ),
    ]
}

/// Letters that mail programs stumble over.
fn nasty() -> Vec<Letter> {
    let body = |name, text: &str, html: &str| Letter { name, subject: "Hello".to_owned(), text: text.to_owned(), html: html.to_owned() };
    let mut letters = vec![
        body("noend", "no newline at the end", "<p>no newline at the end</p>"),
        body("blank", "blank lines at the end\n\n\n\n", "<p>blank lines at the end</p>\n\n\n"),
        body("dots", ".\n..\n.dot at the start\nFrom here on\n>From there\n", "<p>x</p>\n.\nFrom the start\n"),
        body("spaces", "ends in spaces   \nand in a tab\t\n  two   in   the   middle\n \n", "<p>a  b</p>   \n\t\n"),
        body("long", &"x".repeat(5000), &format!("<p>{}</p>", "y ".repeat(5000))),
        body("equal", "1 + 1 = 2, =3D =20 =\n", "<p>a=b</p>"),
        body("boundary", "--=_letter_boundary1newsexampleorg\n--\n", "<p>--=_letter_boundary1newsexampleorg--</p>"),
    ];
    letters.extend(SUBJECTS.iter().map(|subject| Letter { subject: (*subject).to_owned(), ..body("subject", "Hello", "<p>Hello</p>") }));
    letters
}

/// Subjects, also used as display names, that Python must decode to what `cleaned` says.
const SUBJECTS: [&str; 8] = [
    "x",
    "Comma, \"quote\", \\ backslash; at @ <angle> (comment): colon",
    "=?utf-8?B?SGVsbG8=?=",
    " leading and trailing ",
    "two  spaces",
    "line\r\nBcc: eve@example.net",
    "nul\0 escape\u{1b} override\u{202e}",
    "a_word_longer_than_any_line_may_be_a_word_longer_than_any_line_may_be_a_word_longer_than_any_line_may_be",
];

/// What a subject is after what cannot stand in a header was taken out.
fn cleaned(text: &str) -> String {
    let text = text.replace("\r\n", " ");
    text.chars().filter(|character| !character.is_control() && *character != '\u{202e}').collect::<String>().trim().to_owned()
}

/// A sender with an RSA and an Ed25519 key, and its public records.
fn sender() -> Result<(DkimKeys, Vec<Record>)> {
    let folder = tempfile::tempdir()?;
    let made = make(folder.path(), "example.org", "s1", || [11; 32])?;
    let entries: Vec<_> = made.iter().map(|key| key.entry.clone()).collect();
    Ok((dkim_keys(&entries)?, made.into_iter().map(|key| key.record).collect()))
}

fn signed(keys: &DkimKeys, letters: &[Letter]) -> Result<Vec<Vec<u8>>> {
    let sign = |letter: &Letter| Ok(keys.sign("news.example.org", letter.bytes(), now())?);
    letters.iter().map(sign).collect()
}

/// What holds for every letter as it leaves: items 1 to 4 and 12 of the list.
fn is_well_formed(message: &[u8], site: &str) {
    let text = std::str::from_utf8(message).unwrap();
    assert!(text.is_ascii() && text.ends_with("\r\n"));
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    assert_eq!(text.matches('\r').count(), text.matches("\r\n").count());
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(body.split("\r\n").all(|line| line.len() <= 76), "no encoded line is over 76");
    assert!(head.split("\r\n").all(|line| line.len() <= 998));
    for name in ["From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type", "List-Unsubscribe"] {
        assert_eq!(head.split("\r\n").filter(|line| line.starts_with(&format!("{name}: "))).count(), 1, "{name}");
    }
    let one_line =
        head.contains(&format!("\r\nList-Unsubscribe: <{site}")) && head.contains("?subject=unsubscribe>\r\nList-Unsubscribe-Post: ");
    assert!(one_line, "{head}");
}

fn check_python(letter: &Letter, judged: &Judged) {
    let name = letter.name;
    assert_eq!(judged.defects, Vec::<String>::new(), "{name}");
    assert_eq!(judged.verified, [true, true], "{name}: both signatures by dkimpy");
    assert_eq!(judged.subject, cleaned(&letter.subject), "{name}");
    // Python 3.11 shows the space between two encoded-words of a display name, which RFC 2047 §6.2 forbids: only the rest is compared.
    let unspaced = |text: &str| text.replace(' ', "");
    assert_eq!(unspaced(&judged.from), unspaced(&cleaned(&letter.subject)), "{name}");
    let plain = |text: &str| text.replace("\r\n", "\n").trim_end().to_owned();
    assert_eq!(plain(&judged.text), plain(&letter.text), "{name}");
    assert_eq!(plain(&judged.html), plain(&letter.html), "{name}");
}

#[tokio::test]
async fn every_letter_is_accepted_by_every_judge() -> Result<()> {
    let (keys, records) = sender()?;
    let verifiers = Verifiers::new(&records)?;
    let all: Vec<Letter> = letters().into_iter().chain(nasty()).collect();
    let messages = signed(&keys, &all)?;
    messages.iter().for_each(|message| is_well_formed(message, "https://news.example.org"));
    for (letter, judged) in all.iter().zip(verifiers.python(&messages)?) {
        check_python(letter, &judged);
    }
    assert_eq!(verifiers.opendkim(&messages)?, vec![(2, 2); all.len()]);
    for (letter, message) in all.iter().zip(&messages) {
        assert_eq!(verifiers.mail_auth(message).await?, [true, true], "{}", letter.name);
    }
    Ok(())
}

#[tokio::test]
async fn what_is_altered_fails() -> Result<()> {
    let (keys, records) = sender()?;
    let verifiers = Verifiers::new(&records)?;
    let original = String::from_utf8(signed(&keys, &letters()[..1])?.remove(0))?;
    let changes = [
        ("List-Unsubscribe: <https://news.example.org", "List-Unsubscribe: <https://evil.example.org"),
        ("List-Unsubscribe-Post: List-Unsubscribe=One-Click", "List-Unsubscribe-Post: none"),
        ("Content-Type: multipart/alternative", "Content-Type: multipart/mixed"),
        ("\r\nFrom: ", "\r\nFrom: Eve <eve@example.net>\r\nFrom: "),
        ("Subject: What changed", "Subject: What never changed"),
        ("Reply-To: answers@", "Reply-To: others@"),
        ("Feedback-ID: campaign-7", "Feedback-ID: campaign-8"),
        ("List-Id: <readers", "List-Id: <others"),
        ("+0000\r\nMessage-ID", "+0100\r\nMessage-ID"),
        ("MIME-Version: 1.0", "MIME-Version: 1.1"),
        ("Dear reader", "Dear dreamer"),
    ];
    let mut messages = Vec::new();
    for (from, to) in changes {
        assert!(original.contains(from), "{from}");
        messages.push(original.replacen(from, to, 1).into_bytes());
    }
    // A relay that folds and spaces differently changes nothing that counts.
    let refolded =
        original.replacen("Subject: What changed this", "Subject:  What\r\n\tchanged  this", 1).replacen("List-Id: <", "List-Id:\r\n <", 1);
    assert_ne!(refolded, original);
    messages.push(refolded.into_bytes());
    messages.push(original.into_bytes());
    let mut expected = vec![false; changes.len()];
    expected.extend([true, true]);
    let by_opendkim: Vec<(usize, usize)> = expected.iter().map(|holds| (if *holds { 2 } else { 0 }, 2)).collect();
    assert_eq!(verifiers.opendkim(&messages)?, by_opendkim);
    for ((message, judged), holds) in messages.iter().zip(verifiers.python(&messages)?).zip(&expected) {
        let good = judged.verified.iter().filter(|verified| **verified == true).count();
        assert_eq!(good, if *holds { 2 } else { 0 }, "{:?}", judged.verified);
        let passed = verifiers.mail_auth(message).await?;
        assert!(passed.iter().all(|passed| passed == holds), "{passed:?} should all be {holds}: {}", String::from_utf8_lossy(message));
    }
    Ok(())
}

/// Through a real Postfix into a real mailbox, and out again by IMAP.
async fn relayed(letters: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
    let dovecot = Dovecot::start(&Mailboxes { open: &[READER], full: &[] }).await?;
    let postfix = Postfix::start(&Routes {
        readers_domain: "readers.test",
        readers_lmtp: dovecot.lmtp_address(),
        bounce_domain: "bounces.example.org",
        bounce_listener: dovecot.lmtp_address(),
    })
    .await?;
    let relay = RelaySettings {
        host: postfix.address().ip().to_string(),
        port: Some(postfix.address().port()),
        security: Security::None,
        credentials: None,
        hello_name: Some("news.example.org".to_owned()),
        root_certificates: None,
        timeouts: Timeouts::default(),
        messages_per_connection: 100,
        minutes_per_connection: 5,
    };
    let mut connection = Connection::open(&relay).await?;
    for letter in letters {
        let outcome = connection.transact("b+token@bounces.example.org", READER, letter, async { BeforeDot::Send }).await;
        assert!(matches!(outcome, Outcome::Accepted { .. }), "{outcome:?}");
    }
    connection.quit().await;
    let messages = dovecot.wait_for_messages(READER, letters.len()).await.with_context(|| postfix.log())?;
    assert!(messages.iter().all(|message| String::from_utf8_lossy(message).contains("Received: ")), "they went through Postfix");
    Ok(messages)
}

#[tokio::test(flavor = "multi_thread")]
async fn relayed_letters_still_verify() -> Result<()> {
    let (keys, records) = sender()?;
    let verifiers = Verifiers::new(&records)?;
    let all: Vec<Letter> = letters().into_iter().chain(nasty()).collect();
    let messages = relayed(&signed(&keys, &all)?).await?;
    assert_eq!(verifiers.opendkim(&messages)?, vec![(2, 2); all.len()]);
    // They may arrive in any order; those that share a name share what they say.
    let by_name: BTreeMap<&str, &Letter> = all.iter().map(|letter| (letter.name, letter)).collect();
    for (message, judged) in messages.iter().zip(verifiers.python(&messages)?) {
        let raw = String::from_utf8_lossy(message).into_owned();
        let name = raw.split("\r\nMessage-ID: <").nth(1).and_then(|rest| rest.split('.').next()).context("a Message-ID")?;
        let letter = by_name.get(name).with_context(|| format!("a letter {name}"))?;
        check_python(&Letter { subject: judged.subject.clone(), ..(*letter).clone() }, &judged);
        assert_eq!(verifiers.mail_auth(message).await?, [true, true], "{name}");
    }
    Ok(())
}

/// At most 0.0 points, and no rule but those that say what every newsletter is.
fn check_scores(scored: &[Scored], tolerated: &[&str]) {
    let harmless = ["HTML_MESSAGE", "MAILING_LIST_MULTI", "NO_RECEIVED", "NO_RELAYS"];
    for Scored { points, rules } in scored {
        assert!(*points <= 0.0, "{points}: {rules:?}");
        let others: Vec<&String> =
            rules.iter().filter(|rule| !harmless.contains(&rule.as_str()) && !tolerated.contains(&rule.as_str())).collect();
        assert!(others.is_empty(), "{others:?}");
    }
}

#[test]
fn letters_are_no_spam() -> Result<()> {
    let (keys, records) = sender()?;
    let verifiers = Verifiers::new(&records)?;
    let mut messages = signed(&keys, &letters())?;
    // The judge is awake: what it is told to take for spam gets points.
    let gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";
    messages.push(Letter::new("spam", gtube, &[gtube]).bytes());
    // It answers in an order of its own.
    let (spam, scored): (Vec<Scored>, Vec<Scored>) =
        verifiers.spamassassin(&messages)?.into_iter().partition(|scored| scored.points > 500.0);
    assert_eq!((spam.len(), scored.len()), (1, letters().len()));
    check_scores(&scored, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_of_the_demo_pass() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let output = Command::new(env!("CARGO_BIN_EXE_letterlab"))
        .args(["demo", "--exit", "--people", "100", "--seed", "7", "--mail"])
        .arg(folder.path())
        .output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut files: Vec<_> = std::fs::read_dir(folder.path())?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    let records: Vec<Record> = std::fs::read_to_string(folder.path().join("dns.txt"))?
        .lines()
        .filter_map(|line| line.split_once(". IN TXT "))
        .map(|(name, value)| Record { name: name.to_owned(), kind: "TXT", value: value.trim_matches('"').replace("\" \"", "") })
        .collect();
    let mut letters: Vec<Vec<u8>> =
        files.iter().filter(|file| file.extension().is_some_and(|end| end == "eml")).map(std::fs::read).collect::<Result<_, _>>()?;
    // The demo moves its clock on before the rest get theirs: signed at a moment that has not come, those would be refused.
    letters.truncate(60);
    assert!(letters.len() > 40 && records.len() == 2, "{} letters, {} records", letters.len(), records.len());

    let verifiers = Verifiers::new(&records)?;
    letters.iter().for_each(|message| is_well_formed(message, "http://127.0.0.1:"));
    for judged in verifiers.python(&letters)? {
        assert_eq!((judged.defects, judged.verified), (vec![], vec![true.into(), true.into()]));
    }
    assert_eq!(verifiers.opendkim(&letters)?, vec![(2, 2); letters.len()]);
    for message in &letters {
        assert_eq!(verifiers.mail_auth(message).await?, [true, true]);
    }
    let relayed = relayed(&letters[..10]).await?;
    assert_eq!(verifiers.opendkim(&relayed)?, [(2, 2); 10]);
    for (message, judged) in relayed.iter().zip(verifiers.python(&relayed)?) {
        assert_eq!((judged.defects, judged.verified), (vec![], vec![true.into(), true.into()]));
        assert_eq!(verifiers.mail_auth(message).await?, [true, true]);
    }
    // Two dozen; the demo's links lead to a port of this machine, which costs nothing.
    check_scores(&verifiers.spamassassin(&letters[..24])?, &["WEIRD_PORT"]);
    Ok(())
}

#[test]
fn a_return_path_survives_what_mail_servers_do_to_it() {
    let keys = Keys::new((1, [7; 32]), vec![]);
    let payload = Payload {
        kind: Kind::Bounce,
        campaign: CampaignNumber(u32::MAX),
        bearer: Bearer::Recipient(Pseudonym::from_bytes([0xff; 16])),
        variant: VariantNumber(7),
        link: None,
        mode: RecordingMode::Pseudonymous,
    };
    let token = keys.seal(&payload);
    let address = verp(&token, "bounces.example.org");
    let local = address.split('@').next().unwrap();
    assert!(local.len() <= 64, "{} characters", local.len());
    assert!(local.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+'), "{local}");
    for folded in [token.to_uppercase(), token.to_lowercase()] {
        assert_eq!(keys.open(Kind::Bounce, &folded), Ok(payload));
    }
}
