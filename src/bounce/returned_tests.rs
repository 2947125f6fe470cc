//! Whole messages, written for these tests, one per standard and trap.

use super::*;
use crate::bounce::TokenPlace;

const TOKEN: &str = "0123456789abcdefghijklmnopqrstuv0123456789abcdefghij";

/// A delivery status notification with these per-recipient fields, returning a letter with our headers.
fn dsn(fields: &str) -> String {
    format!(
        "Return-Path: <>\r\nFrom: MAILER-DAEMON@mx.example\r\nTo: b+{TOKEN}@bounce.example\r\nSubject: Undelivered Mail\r\n\
         Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"=_x\"\r\n\r\n\
         --=_x\r\nContent-Type: text/plain\r\n\r\nYour mail could not be delivered.\r\n\
         --=_x\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example\r\n\r\n{fields}\r\n\
         --=_x\r\nContent-Type: message/rfc822\r\n\r\nFrom: news@letters.example\r\nTo: someone@mx.example\r\nSubject: 5.7.1 user unknown\r\n\
         List-Unsubscribe: <https://t.example/u/{TOKEN}>\r\n\r\nAction: failed\r\nStatus: 5.2.2\r\n--=_x--\r\n"
    )
}

fn check(message: &str, kind: ReturnedKind, class: Option<BounceClass>) -> Returned {
    let returned = read(message.as_bytes());
    assert_eq!((returned.kind, returned.class), (kind, class), "{message}");
    returned
}

#[test]
fn rfc_3464_a_failure_is_read_with_its_code_and_token() {
    let message = dsn(
        "Final-Recipient: rfc822; someone@mx.example\r\nAction: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n",
    );
    let returned = check(&message, ReturnedKind::Failed, Some(BounceClass::Hard));
    assert_eq!(returned.recipients.len(), 1);
    assert_eq!(returned.candidates.len(), 1);
    assert_eq!(returned.candidates[0], TokenCandidate { token: TOKEN.to_owned(), place: TokenPlace::Recipient });
    assert!(!format!("{returned:?}").contains("someone"), "addresses must not print");
}

#[test]
fn rfc_3464_delayed_and_delivered_are_no_failures() {
    check(&dsn("Final-Recipient: rfc822; a@x.example\r\nAction: delayed\r\nStatus: 4.4.1\r\n"), ReturnedKind::Delayed, None);
    check(&dsn("Final-Recipient: rfc822; a@x.example\r\nAction: relayed\r\nStatus: 2.0.0\r\n"), ReturnedKind::Delivered, None);
}

#[test]
fn rfc_3464_one_failed_recipient_among_others_is_a_failure() {
    let fields = "Final-Recipient: rfc822; a@x.example\r\nAction: delivered\r\nStatus: 2.0.0\r\n\r\n\
                  Final-Recipient: rfc822; b@x.example\r\nAction: failed\r\nStatus: 5.2.2\r\n";
    check(&dsn(fields), ReturnedKind::Failed, Some(BounceClass::Full));
}

#[test]
fn rfc_3464_codes_in_the_returned_letter_are_not_read() {
    // The returned letter holds "Action: failed" and "Status: 5.2.2".
    check(&dsn(""), ReturnedKind::NotUnderstood(Obstacle::FreeForm), None);
}

#[test]
fn rfc_3461_the_token_may_come_back_as_envelope_id_or_in_returned_headers() {
    let fields = "Final-Recipient: rfc822; a@x.example\r\nAction: failed\r\nStatus: 5.1.1\r\n";
    let elsewhere = dsn(fields).replace(&format!("b+{TOKEN}"), "postmaster");
    assert_eq!(read(elsewhere.as_bytes()).candidates[0].place, TokenPlace::ReturnedListHeader);
    let envelope = elsewhere.replace("Reporting-MTA: dns; mx.example", &format!("Original-Envelope-Id: {TOKEN}"));
    assert_eq!(read(envelope.as_bytes()).candidates[0].place, TokenPlace::EnvelopeId);
}

#[test]
fn rfc_6522_headers_only_returns_are_read_for_tokens() {
    let message = dsn("Final-Recipient: rfc822; a@x.example\r\nAction: failed\r\nStatus: 5.1.1\r\n")
        .replace(&format!("b+{TOKEN}"), "postmaster")
        .replace("message/rfc822", "text/rfc822-headers");
    assert_eq!(read(message.as_bytes()).candidates[0].place, TokenPlace::ReturnedListHeader);
}

#[test]
fn rfc_6533_global_delivery_status_is_read() {
    let message = dsn("Final-Recipient: utf-8; jürgen@x.example\r\nAction: failed\r\nStatus: 5.1.1\r\n")
        .replace("message/delivery-status", "message/global-delivery-status");
    check(&message, ReturnedKind::Failed, Some(BounceClass::Hard));
}

#[test]
fn rfc_5965_a_complaint_is_read_with_the_token_of_the_returned_letter() {
    let report = |feedback: &str| {
        format!(
            "From: fbl@isp.example\r\nTo: abuse@letters.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=feedback-report; boundary=y\r\n\r\n\
             --y\r\nContent-Type: text/plain\r\n\r\nA user complained.\r\n--y\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: {feedback}\r\nVersion: 1\r\nUser-Agent: f/1\r\n\r\n\
             --y\r\nContent-Type: message/rfc822\r\n\r\nFrom: news@letters.example\r\nMessage-ID: <{TOKEN}@letters.example>\r\n\r\nhello\r\n--y--\r\n"
        )
    };
    let returned = check(&report("abuse"), ReturnedKind::Complaint, None);
    assert_eq!(returned.candidates[0].place, TokenPlace::ReturnedMessageId);
    check(&report("not-spam"), ReturnedKind::ComplaintWithdrawn, None);
    check(&report("auth-failure"), ReturnedKind::AuthenticationReport, None);
}

#[test]
fn rfc_8098_a_read_receipt_is_no_bounce() {
    let message = dsn("Final-Recipient: rfc822; a@x.example\r\nAction: failed\r\nStatus: 5.1.1\r\n")
        .replace("report-type=delivery-status", "report-type=disposition-notification");
    check(&message, ReturnedKind::Disposition, None);
}

#[test]
fn rfc_3834_an_out_of_office_note_to_the_return_path_is_never_a_bounce() {
    let message = format!(
        "Return-Path: <>\r\nFrom: Ann <ann@x.example>\r\nTo: b+{TOKEN}@bounce.example\r\nSubject: Out of office: 5.1.1\r\nAuto-Submitted: auto-replied\r\n\r\n\
         550 5.1.1 user unknown is what I would say if I were not at the sea.\r\n"
    );
    check(&message, ReturnedKind::AutoReply, None);
}

#[test]
fn a_challenge_dressed_as_a_delivery_status_is_never_a_bounce() {
    let message = dsn("Final-Recipient: rfc822; a@x.example\r\nAction: failed\r\nStatus: 5.7.1\r\n")
        .replace("From: MAILER-DAEMON@mx.example", "From: guard@x.example")
        .replace("Your mail could not be delivered.", "This mailbox uses sender verification: click to confirm.");
    check(&message, ReturnedKind::Challenge, None);
}

#[test]
fn x_failed_recipients_is_read_without_the_quoted_letter() {
    let message = "From: Mail Delivery System <Mailer-Daemon@mx.example>\r\nX-Failed-Recipients: a@x.example,\r\n b@x.example\r\nSubject: Mail delivery failed\r\n\r\n\
                   This message was created automatically.\r\n\r\n  a@x.example\r\n    550 Mailbox quota exceeded\r\n\r\n\
                   ------ This is a copy of the message, including all the headers. ------\r\n\r\nSubject: 5.1.1 user unknown\r\n";
    let returned = check(message, ReturnedKind::Failed, Some(BounceClass::Full));
    assert_eq!(returned.recipients.len(), 2);
}

#[test]
fn a_mail_to_the_unsubscribe_address_is_an_unsubscription() {
    check("From: ann@x.example\r\nSubject: Unsubscribe\r\nAuto-Submitted: auto-replied\r\n\r\n", ReturnedKind::Unsubscribe, None);
}

#[test]
fn a_persons_answer_is_kept_as_not_understood() {
    check("From: ann@x.example\r\nSubject: Re: news\r\n\r\nThank you!\r\n", ReturnedKind::NotUnderstood(Obstacle::Ordinary), None);
}

#[test]
fn hostile_messages_are_not_understood_and_cost_little() {
    let nested: String = (0..20_000).map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n")).collect();
    check(&nested, ReturnedKind::NotUnderstood(Obstacle::NotReadable), None);
    check(&"Content-Type: message/rfc822\r\n\r\n".repeat(50_000), ReturnedKind::NotUnderstood(Obstacle::NotReadable), None);
    check(&"--x\r\n".repeat(100_000), ReturnedKind::NotUnderstood(Obstacle::NotReadable), None);
    check("", ReturnedKind::NotUnderstood(Obstacle::NotReadable), None);
    let huge = vec![b'x'; BYTES_MAX + 1];
    assert_eq!(read(&huge).kind, ReturnedKind::NotUnderstood(Obstacle::TooLarge));
    assert!(matches!(read(&vec![0; 2_000_000]).kind, ReturnedKind::NotUnderstood(_)));
}

#[test]
fn truncated_anywhere_a_message_is_read_without_panic() {
    let message = dsn("Final-Recipient: rfc822; a@x.example\r\nAction: failed\r\nStatus: 5.1.1\r\n");
    for length in 0..message.len() {
        read(&message.as_bytes()[..length]);
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600)) {
        read(&bytes);
    }

    #[test]
    fn no_damage_to_a_report_makes_it_panic(at in 0_usize..900, bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..12)) {
        let mut message = dsn("Final-Recipient: rfc822; a@x.example\r\nAction: failed\r\nStatus: 5.1.1\r\n").into_bytes();
        let at = at.min(message.len());
        message.splice(at..at, bytes);
        read(&message);
    }
}
