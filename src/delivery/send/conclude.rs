//! What a relay's answer means: for the letter, for the campaign's breaker, for the batch.
//!
//! Cast: [`conclude`].
//!
//! It keeps codes and masked words, never a person's or a machine's address, and writes nothing itself.

use std::sync::PoisonError;

use jiff::SignedDuration;

use super::{BatchReport, Post, end};
use crate::delivery::breaker::Judged;
use crate::delivery::mailing::{Attempt, HARD, Leased, Verdict};
use crate::delivery::retry::{self, Cause};
use crate::delivery::smtp::{Judgement, Outcome, Stage, is_goodbye, judge};

/// How often a letter refused for its sender or content is tried again: once what was wrong is mended it may still leave, but nobody is
/// asked all day.
const BLOCKED_TRIES: u32 = 2;

/// How often a letter is tried before it may be given up for its age: a campaign that was paused over a week-end, or may send in a few hours
/// of the day only, has not been tried as long as it is old.
const LEAST_TRIES: u32 = 5;

/// Takes the relay's word for what became of a letter.
pub(super) async fn conclude(post: &Post, mailing: Leased, outcome: Outcome, report: &mut BatchReport) {
    let attempt = attempt(&post.relay.name, &outcome);
    let verdict = match outcome {
        Outcome::Accepted { .. } => {
            report.accepted += 1;
            // Whatever was the matter with a connection before is over.
            report.relay_trouble = None;
            judged(post, Judged::Accepted, report);
            Verdict::Accepted
        }
        Outcome::Refused { stage, code, enhanced, text } => refused(post, &mailing, (stage, code, enhanced, text), report),
        Outcome::Deferred { stage, code, enhanced, text } => {
            let blocks = judge(stage, code, enhanced.as_deref(), &text) == Judgement::SenderFault;
            if blocks {
                report.blocked += 1;
                judged(post, Judged::Sender, report);
            }
            let cause = match blocks {
                true => Cause::Blocked,
                false if is_goodbye(code, enhanced.as_deref(), &text) => Cause::Connection,
                false => Cause::Later,
            };
            defer(post, &mailing, cause, coded("later", code, enhanced.as_deref()), report)
        }
        Outcome::Lost { after_dot: true, .. } => Verdict::Unknown,
        Outcome::Lost { after_dot: false, why, .. } => {
            report.relay_trouble = Some(why);
            defer(post, &mailing, Cause::Connection, "connection lost".to_owned(), report)
        }
        Outcome::Unsupported { why } => {
            report.skipped += 1;
            report.untried(&mailing);
            Verdict::Skipped { reason: why.to_string() }
        }
        // Its caller has dealt with it: nothing was tried.
        Outcome::Withheld => return,
    };
    end(post, mailing, verdict, attempt).await;
}

/// The try as it is kept; the connection has masked addresses already.
fn attempt(relay: &str, outcome: &Outcome) -> Option<Attempt> {
    let tried = |stage: Stage, code: Option<u16>, enhanced: Option<&String>, text: &str| Attempt {
        relay: relay.to_owned(),
        stage: stage_word(stage).to_owned(),
        code,
        enhanced: enhanced.cloned(),
        text: without_machines(text),
    };
    match outcome {
        Outcome::Accepted { reply } => Some(tried(Stage::Dot, None, None, reply)),
        Outcome::Refused { stage, code, enhanced, text } | Outcome::Deferred { stage, code, enhanced, text } => {
            Some(tried(*stage, Some(*code), enhanced.as_ref(), text))
        }
        Outcome::Lost { stage, why, .. } => Some(tried(*stage, None, None, why)),
        Outcome::Unsupported { .. } | Outcome::Withheld => None,
    }
}

/// A reply without the network addresses that relays like to name: the vault holds people, and no machine.
pub(super) fn without_machines(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    let of_address = |character: char| character.is_ascii_hexdigit() || matches!(character, '.' | ':');
    while let Some(start) = rest.find(of_address) {
        let (before, from) = rest.split_at(start);
        let (word, after) = from.split_at(from.find(|character| !of_address(character)).unwrap_or(from.len()));
        // A full stop or a colon after it belongs to the sentence.
        let bare = word.trim_end_matches(['.', ':']);
        kept.push_str(before);
        if [word, bare].iter().any(|text| text.parse::<std::net::IpAddr>().is_ok()) {
            kept.push_str("<machine>");
            kept.push_str(word.get(bare.len()..).unwrap_or_default());
        } else {
            kept.push_str(word);
        }
        rest = after;
    }
    kept.push_str(rest);
    kept
}

const fn stage_word(stage: Stage) -> &'static str {
    match stage {
        Stage::Connect => "connect",
        Stage::Hello => "hello",
        Stage::Auth => "auth",
        Stage::Mail => "mail",
        Stage::Rcpt => "rcpt",
        Stage::Data => "data",
        Stage::Dot => "dot",
    }
}

fn judged(post: &Post, judged: Judged, report: &mut BatchReport) {
    let reason = post.breaker.lock().unwrap_or_else(PoisonError::into_inner).note(judged, (post.now)());
    if report.pause.is_none() {
        report.pause = reason;
    }
}

type Refusal = (Stage, u16, Option<String>, String);

fn refused(post: &Post, mailing: &Leased, (stage, code, enhanced, text): Refusal, report: &mut BatchReport) -> Verdict {
    let judgement = judge(stage, code, enhanced.as_deref(), &text);
    if judgement == Judgement::SenderFault && !matches!(stage, Stage::Rcpt | Stage::Dot) {
        let text = without_machines(&text);
        report.pause = Some(format!("the relay refuses our letters at {} with {code}: {text}", stage_word(stage)));
        return Verdict::Deferred { until: (post.now)(), reason: coded("block", code, enhanced.as_deref()) };
    }
    let class = match judgement {
        // Its end and the suppression of the address are written together.
        Judgement::AddressFault => HARD,
        Judgement::SenderFault => "block",
        Judgement::MailboxFault | Judgement::Retry => "soft",
    };
    judged(post, if class == "block" { Judged::Sender } else { Judged::Recipient }, report);
    let reason = coded(class, code, enhanced.as_deref());
    if class == "block" {
        report.blocked += 1;
        if mailing.attempts < BLOCKED_TRIES {
            return defer(post, mailing, Cause::Blocked, reason, report);
        }
    }
    report.refused += 1;
    Verdict::Refused { reason }
}

/// `hard 550 5.1.1`: a class and codes, nothing a relay could hide an address in.
fn coded(class: &str, code: u16, enhanced: Option<&str>) -> String {
    match enhanced {
        Some(enhanced) => format!("{class} {code} {enhanced}"),
        None => format!("{class} {code}"),
    }
}

fn defer(post: &Post, mailing: &Leased, cause: Cause, reason: String, report: &mut BatchReport) -> Verdict {
    let now = (post.now)();
    let tried_for = mailing.first_attempt_at.map_or(SignedDuration::ZERO, |first| now.duration_since(first));
    if tried_for >= post.give_up_after && mailing.attempts + 1 >= LEAST_TRIES {
        return Verdict::Failed { reason };
    }
    report.deferred += 1;
    let chance = (post.mint)()[0];
    let until = now.checked_add(retry::wait(cause, mailing.attempts, chance)).unwrap_or(now);
    Verdict::Deferred { until, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_addresses_are_not_kept() {
        for (text, kept) in [
            ("greylisted from 192.0.2.99", "greylisted from <machine>"),
            ("blocked [192.0.2.99]: see 2001:db8::1.", "blocked [<machine>]: see <machine>."),
            ("queued as 4ABC 5.1.1 at 12:30:01.", "queued as 4ABC 5.1.1 at 12:30:01."),
            ("é192.0.2.1: no", "é<machine>: no"),
            ("", ""),
        ] {
            assert_eq!(without_machines(text), kept);
        }
    }
}
