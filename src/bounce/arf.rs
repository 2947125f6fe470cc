//! RFC 5965: feedback reports, by which providers pass on that somebody pressed "this is spam".
//!
//! Cast: [`kind`], the report part to a [`ReturnedKind`]; [`junk_mail_report`], Microsoft's way of saying the same.
//!
//! RFC 6430's not-spam takes a complaint back, RFC 6591's auth-failure is about our set-up: neither is a complaint. Recipients are not read:
//! providers redact them, and the token in the returned headers identifies better.

use super::dsn::fields;
use super::mail::Mail;
use super::returned::ReturnedKind;

/// The kind of a message/feedback-report part; `None` when it has no Feedback-Type.
pub(super) fn kind(text: &str) -> Option<ReturnedKind> {
    let feedback = fields(text).into_iter().flatten().find(|(name, _)| name == "feedback-type")?.1;
    let word = feedback.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '-')).next().unwrap_or_default();
    Some(match word.to_ascii_lowercase().as_str() {
        "not-spam" => ReturnedKind::ComplaintWithdrawn,
        "auth-failure" | "dmarc" | "dkim" => ReturnedKind::AuthenticationReport,
        // abuse, fraud, virus, other, opt-out; RFC 5965 §3.2: treat what you do not know as "other".
        _ => ReturnedKind::Complaint,
    })
}

/// Microsoft's Junk Mail Reporting Program: no report part, just the letter with a header of theirs on top.
pub(super) fn junk_mail_report(mail: &Mail<'_>) -> Option<ReturnedKind> {
    let is_one = mail.subject().to_ascii_lowercase().starts_with("complaint about message from")
        && !mail.returned_headers(&["x-hmxmroriginalrecipient"]).is_empty();
    is_one.then_some(ReturnedKind::Complaint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_5965_feedback_types_are_told_apart() {
        let kind = |feedback: &str| kind(&format!("FEEDBACK-TYPE: {feedback}\r\nUser-Agent: x/1\r\nVersion: 1\r\n"));
        assert_eq!(kind("abuse"), Some(ReturnedKind::Complaint));
        assert_eq!(kind("Abuse (spam)"), Some(ReturnedKind::Complaint));
        assert_eq!(kind("opt-out"), Some(ReturnedKind::Complaint));
        assert_eq!(kind("never-heard-of"), Some(ReturnedKind::Complaint));
        assert_eq!(kind("not-spam"), Some(ReturnedKind::ComplaintWithdrawn));
        assert_eq!(kind("auth-failure"), Some(ReturnedKind::AuthenticationReport));
        assert_eq!(super::kind("User-Agent: x/1\r\n"), None);
    }

    #[test]
    fn microsoft_complaints_are_recognised_by_their_header_in_the_returned_letter() {
        let message = |header: &str| {
            format!(
                "From: staff@mail.example\r\nSubject: complaint about message from 192.0.2.1\r\nMIME-Version: 1.0\r\n\
                 Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: message/rfc822\r\n\r\n{header}: a@b.example\r\nSubject: news\r\n\r\nhi\r\n--x--\r\n"
            )
        };
        let check = |header: &str| junk_mail_report(&Mail::parse(message(header).as_bytes()).unwrap());
        assert_eq!(check("X-HmXmrOriginalRecipient"), Some(ReturnedKind::Complaint));
        assert_eq!(check("X-Other"), None);
    }
}
