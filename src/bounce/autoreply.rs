//! RFC 3834 automatic replies and sender challenges: mail that comes back and is no bounce.
//!
//! Cast: [`is_automatic_reply`], [`is_challenge`], [`is_unsubscribe`], [`is_from_mail_system`].
//!
//! Neither may ever count against an address. No header alone tells them from bounces (a third of real bounces say `auto-replied`), so
//! these are asked only when the message carries no delivery report, except for challenges, which may look like one.

use super::mail::Mail;

/// Subjects of out-of-office notes, lower case; the beginning of the subject is compared.
const AUTOREPLY_SUBJECTS: [&str; 34] = [
    "out of office",
    "out of the office",
    "out-of-office",
    "ooo:",
    "automatic reply",
    "automatic response",
    "automated reply",
    "automated response",
    "autoreply",
    "auto-reply",
    "auto reply",
    "auto:",
    "autoresponse",
    "auto-response",
    "auto response",
    "vacation",
    "on vacation",
    "away from",
    "i am away",
    "i am out of",
    "abwesen",
    "automatische antwort",
    "réponse automatique",
    "absence",
    "absent",
    "respuesta automática",
    "fuera de la oficina",
    "risposta automatica",
    "resposta automática",
    "automatisch antwoord",
    "автоответ",
    "автоматический ответ",
    "trả lời tự động",
    "自動",
];

/// Words of challenges, lower case, in the subject or the challenger's own text.
const CHALLENGE_WORDS: [&str; 14] = [
    "verify your email to me",
    "sender verification",
    "confirm that you are a human",
    "confirm you are human",
    "confirm that you sent",
    "requires verification of",
    "challenge-response",
    "challenge/response",
    "please confirm your message",
    "to confirm your message",
    "please click the link below to deliver",
    "unverified senders",
    "action required to deliver",
    "add you to my allowed sender",
];

/// Local parts and names mail systems write under.
const MAIL_SYSTEM_NAMES: [&str; 8] =
    ["mailer-daemon", "mailer_daemon", "maildaemon", "mdaemon@", "postmaster", "mail delivery", "mail administrator", "microsoftexchange"];

/// Whether the message says that a mail system wrote it.
pub(super) fn is_from_mail_system(mail: &Mail<'_>) -> bool {
    let from = mail.header("from").to_lowercase();
    MAIL_SYSTEM_NAMES.iter().any(|name| from.contains(name))
}

/// An out-of-office note or another answer of a machine on a person's behalf.
pub(super) fn is_automatic_reply(mail: &Mail<'_>) -> bool {
    let subject = mail.subject().trim().to_lowercase();
    if AUTOREPLY_SUBJECTS.iter().any(|start| subject.starts_with(start)) {
        return true;
    }
    // Mail systems use the same headers on bounces.
    if is_from_mail_system(mail) {
        return false;
    }
    let present = |name: &str| !mail.header(name).is_empty();
    let submitted = mail.header("auto-submitted").to_lowercase();
    present("x-autoreply")
        || present("x-autorespond")
        || present("x-vacation")
        || mail.header("precedence").to_lowercase().starts_with("auto")
        || submitted.starts_with("auto-replied")
        || submitted.starts_with("auto-notified")
}

/// A request to prove that the sender is a person. `own_text` is what the challenger wrote, without the quoted letter.
pub(super) fn is_challenge(mail: &Mail<'_>, own_text: &str) -> bool {
    let subject = mail.subject().to_lowercase();
    let text = own_text.to_lowercase();
    !is_from_mail_system(mail) && CHALLENGE_WORDS.iter().any(|words| subject.contains(words) || text.contains(words))
}

/// A mail to the address in List-Unsubscribe: what Apple Mail and others send for their unsubscribe button.
pub(super) fn is_unsubscribe(mail: &Mail<'_>) -> bool {
    mail.subject().trim().eq_ignore_ascii_case("unsubscribe")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(headers: &str) -> String {
        format!("{headers}\r\nTo: b@bounce.example\r\n\r\nI am at the sea.\r\n")
    }

    fn check(headers: &str, expected: bool) {
        let bytes = mail(headers);
        let mail = Mail::parse(bytes.as_bytes()).unwrap();
        assert_eq!(is_automatic_reply(&mail), expected, "{headers}");
    }

    #[test]
    fn rfc_3834_replies_are_recognised_by_header_or_subject() {
        check("From: Ann <a@x.example>\r\nAuto-Submitted: auto-replied (vacation)", true);
        check("From: Ann <a@x.example>\r\nSubject: =?utf-8?q?R=C3=A9ponse_automatique?= : sea", true);
        check("From: Ann <a@x.example>\r\nPrecedence: auto_reply", true);
        check("From: Ann <a@x.example>\r\nX-Autoreply: yes", true);
    }

    #[test]
    fn ordinary_replies_and_mail_systems_are_no_automatic_replies() {
        check("From: Ann <a@x.example>\r\nSubject: Re: your letter", false);
        check("From: Ann <a@x.example>\r\nAuto-Submitted: no", false);
        check("From: MAILER-DAEMON@x.example\r\nAuto-Submitted: auto-replied\r\nSubject: Undelivered", false);
        check("From: Ann <a@x.example>\r\nAuto-Submitted: auto-generated", false);
    }

    #[test]
    fn a_challenge_is_recognised_unless_a_mail_system_wrote_it() {
        let check = |from: &str, text: &str, expected: bool| {
            let bytes = mail(&format!("From: {from}\r\nSubject: x"));
            assert_eq!(is_challenge(&Mail::parse(bytes.as_bytes()).unwrap(), text), expected, "{from} {text}");
        };
        check("ann@x.example", "Please click: this mailbox uses Sender Verification", true);
        check("MAILER-DAEMON@x.example", "failed: sender verification", false);
        check("ann@x.example", "thanks", false);
    }
}
