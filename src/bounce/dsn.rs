//! RFC 3464: the machine-readable part of a delivery status notification.
//!
//! Cast: [`Report`], the fields of interest, one [`RecipientStatus`] per recipient.
//!
//! Strict where it costs nothing, tolerant where real servers are sloppy: any case, folding, comments, missing blank lines between
//! groups, missing Action. It never looks outside the part it is given.

use super::codes::EnhancedCode;
use super::reason;
use super::returned::{Action, MaskedAddress, RecipientStatus};

/// Most recipients taken from one report.
const RECIPIENTS_MAX: usize = 1000;
/// Most of a diagnostic kept, in characters.
const DIAGNOSTIC_MAX: usize = 500;

/// What a message/delivery-status part says.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Original-Envelope-Id: what we gave as ENVID.
    pub(super) envelope_id: Option<String>,
    /// One entry per recipient.
    pub(super) recipients: Vec<RecipientStatus>,
}

/// The fields of one recipient as they came.
#[derive(Default)]
struct Group {
    original_recipient: Option<String>,
    final_recipient: Option<String>,
    action: Option<String>,
    status: Option<String>,
    diagnostic: Option<String>,
    /// A blank line came after its last field.
    closed: bool,
}

/// Reads the part's text.
pub(super) fn read(text: &str) -> Report {
    let mut report = Report::default();
    let mut group = Group::default();
    for field in fields(text) {
        let Some((name, value)) = field else {
            group.closed = true;
            continue;
        };
        // A new group begins at a recipient field when this group has one already, blank line or not.
        let begins = match name.as_str() {
            "final-recipient" => group.final_recipient.is_some() || (group.closed && group.action.is_some()),
            "original-recipient" => group.original_recipient.is_some() || (group.closed && group.final_recipient.is_some()),
            _ => false,
        };
        if begins {
            report.recipients.extend(std::mem::take(&mut group).finish());
        }
        if report.recipients.len() >= RECIPIENTS_MAX {
            return report;
        }
        match name.as_str() {
            "original-envelope-id" => report.envelope_id = Some(value),
            "original-recipient" | "x-actual-recipient" => group.original_recipient = group.original_recipient.or(Some(value)),
            "final-recipient" => group.final_recipient = Some(value),
            "action" => group.action = Some(value),
            "status" => group.status = Some(value),
            "diagnostic-code" => group.diagnostic = Some(value),
            _ => continue,
        }
        group.closed = false;
    }
    report.recipients.extend(group.finish());
    report
}

impl Group {
    fn finish(self) -> Option<RecipientStatus> {
        let status = self.status.as_deref().and_then(|value| EnhancedCode::find(&without_comments(value)));
        let action = match self.action.as_deref().and_then(|value| read_action(&without_comments(value))) {
            Some(action) => action,
            // No Action, though mandatory: the class tells as much.
            None => match status?.class {
                5 => Action::Failed,
                4 => Action::Delayed,
                _ => Action::Delivered,
            },
        };
        let diagnostic = self.diagnostic.as_deref().map(diagnostic_text).unwrap_or_default();
        let class = (action == Action::Failed).then(|| reason::classify(status, &diagnostic));
        let address = |value: Option<String>| value.as_deref().and_then(read_address);
        Some(RecipientStatus {
            action,
            status,
            class,
            diagnostic: redacted(&diagnostic).chars().take(DIAGNOSTIC_MAX).collect(),
            original_recipient: address(self.original_recipient),
            final_recipient: address(self.final_recipient),
        })
    }
}

/// Name in lower case and unfolded value of each field; `None` for a blank line.
pub(super) fn fields(text: &str) -> Vec<Option<(String, String)>> {
    let mut fields: Vec<Option<(String, String)>> = Vec::new();
    for line in text.lines() {
        if line.trim().is_empty() {
            fields.push(None);
        } else if line.starts_with([' ', '\t']) {
            if let Some(Some((_, value))) = fields.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push(Some((name.trim().to_ascii_lowercase(), value.trim().to_owned())));
        }
    }
    fields
}

/// Removes comments: text in parentheses, nested, outside quotes (RFC 5322 §3.2.2).
fn without_comments(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for letter in value.chars() {
        let keep = depth == 0;
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' if keep => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted && depth > 0 => {
                depth -= 1;
                continue;
            }
            _ => {}
        }
        if keep && depth == 0 {
            plain.push(letter);
        }
    }
    plain.trim().to_owned()
}

fn read_action(value: &str) -> Option<Action> {
    let word = value.trim().to_ascii_lowercase();
    let actions = [
        ("fail", Action::Failed),
        ("delay", Action::Delayed),
        ("deliver", Action::Delivered),
        ("relay", Action::Relayed),
        ("expand", Action::Expanded),
    ];
    actions.into_iter().find(|(start, _)| word.starts_with(start)).map(|(_, action)| action)
}

/// The address of "rfc822; a@b", or nothing for other address types that hold none.
fn read_address(value: &str) -> Option<MaskedAddress> {
    let plain = without_comments(value);
    let address = plain.split_once(';').map_or(plain.as_str(), |(_, address)| address);
    MaskedAddress::read(address)
}

/// The text of "smtp; 550 5.1.1 …" without its type.
fn diagnostic_text(value: &str) -> String {
    let text = match value.split_once(';') {
        Some((kind, text)) if kind.trim().len() < 20 && !kind.trim().contains(' ') => text,
        _ => value,
    };
    text.trim().chars().take(DIAGNOSTIC_MAX).collect()
}

/// Without addresses: diagnostics are kept and shown, and servers love to repeat the address in them. Without control characters, too: a
/// NUL, which PostgreSQL stores in no text, would keep the returned letter from ever being recorded.
pub(super) fn redacted(text: &str) -> String {
    let word = |word: &str| if word.contains('@') { "[address]".to_owned() } else { word.to_owned() };
    let words = text.split(|character: char| character.is_whitespace() || character.is_control()).filter(|word| !word.is_empty());
    words.map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_said_is_kept_without_addresses_and_control_characters() {
        assert_eq!(
            redacted("550 5.1.1\0\u{18} <ann@example.net>:\r\n\tno\u{1b}[31m such\u{85}user"),
            "550 5.1.1 [address] no [31m such user"
        );
        let report = read("\r\nFinal-Recipient: rfc822; a@x.example\r\nAction: failed\r\nDiagnostic-Code: smtp; 550\0no such\u{7}user\r\n");
        assert!(report.recipients.iter().all(|recipient| recipient.diagnostic == "550 no such user"), "{report:?}");
        assert_eq!(report.recipients.len(), 1);
    }

    #[test]
    fn rfc_3464_fields_may_be_folded_commented_and_in_any_case() {
        let report = read(
            "REPORTING-MTA: dns; mx.example\r\nOriginal-Envelope-ID: abc\r\n\r\n\
             final-recipient : RFC822;\r\n <one@x.example> (the one)\r\nACTION: Failed (bad (really) address)\r\n\
             Status: 5.1.1 (No such user 4.2.2)\r\nDiagnostic-Code: smtp;\r\n\t550 5.1.1 <one@x.example>:\r\n no such user\r\n",
        );
        assert_eq!(report.envelope_id.as_deref(), Some("abc"));
        let [one] = report.recipients.as_slice() else { panic!("{report:?}") };
        assert_eq!(one.action, Action::Failed);
        assert_eq!(one.status.map(|code| code.to_string()).as_deref(), Some("5.1.1"));
        assert_eq!(one.final_recipient.as_ref().map(MaskedAddress::as_str), Some("one@x.example"));
        assert_eq!(one.diagnostic, "550 5.1.1 [address] no such user");
    }

    /// Actions of the recipients of a report.
    fn check(text: &str, actions: &[Action]) {
        let found: Vec<Action> = read(text).recipients.iter().map(|recipient| recipient.action).collect();
        assert_eq!(found, actions, "{text:?}");
    }

    #[test]
    fn rfc_3464_groups_are_told_apart_with_and_without_blank_lines() {
        use Action::*;
        check(
            "Final-Recipient: rfc822; a@x\nAction: failed\nStatus: 5.0.0\n\nFinal-Recipient: rfc822; b@x\nAction: delayed\nStatus: 4.0.0\n",
            &[Failed, Delayed],
        );
        check("Final-Recipient: rfc822; a@x\nAction: failed\nFinal-Recipient: rfc822; b@x\nAction: relayed\n", &[Failed, Relayed]);
        check("Final-Recipient: rfc822; a@x\n\nAction: expanded\n", &[Expanded]);
        check(
            "Final-Recipient: rfc822; a@x\nAction: delivered\n\nOriginal-Recipient: rfc822; o@x\nFinal-Recipient: rfc822; b@x\nAction: failed\n",
            &[Delivered, Failed],
        );
        check("Reporting-MTA: dns; x\n\n", &[]);
        check("", &[]);
    }

    #[test]
    fn rfc_3464_a_missing_action_follows_from_the_status() {
        check("Final-Recipient: rfc822; a@x\nStatus: 5.1.1\n", &[Action::Failed]);
        check("Final-Recipient: rfc822; a@x\nStatus: 4.4.1\n", &[Action::Delayed]);
        check("Final-Recipient: rfc822; a@x\n", &[]);
    }

    #[test]
    fn a_report_of_very_many_recipients_is_cut() {
        let text = "Final-Recipient: rfc822; a@x\nAction: failed\n\n".repeat(5000);
        assert_eq!(read(&text).recipients.len(), RECIPIENTS_MAX);
    }
}
