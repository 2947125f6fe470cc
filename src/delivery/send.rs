//! The work of one batch: letters leased from the queue → filled in → handed to the relay → what became of each.
//!
//! Cast: [`Post`] (all a batch needs), [`Letters`] (a campaign's compiled variants), [`Site`] (our addresses), [`BatchReport`].
//!
//! Each letter asks the vault again just before it leaves: who unsubscribed a minute ago is not mailed. It never decides which batch
//! is next, never sleeps, and tells the ledger nothing: outcomes wait for the bridge.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::content::{CompiledLetter, LetterUrls, Tracking, with_trap_link};
use crate::db::{DbError, VaultDb, blocking};
use crate::delivery::breaker::{Breaker, Judged};
use crate::delivery::dkim::DkimKeys;
use crate::delivery::journal::Journal;
use crate::delivery::mailing::{Attempt, Finished, HARD, Leased, Verdict};
use crate::delivery::message::{InlineImage, MessageParts, compose_with, verp};
use crate::delivery::relays::Relay;
use crate::delivery::retry::{self, Cause};
use crate::delivery::smtp::{BeforeDot, Connection, Judgement, Outcome, RelaySettings, SmtpFault, Stage, is_goodbye, judge};
use crate::delivery::window::Quiet;
use crate::ids::{CampaignNumber, EventId, LinkNumber, MailingId, Mint, RecordingMode, SubscriberId, VariantNumber};
use crate::token::{Bearer, Keys, Kind, Payload, TRAP_LINK};
use crate::vault::people::Person;
use crate::vault::store as people;

/// How often a letter refused for its sender or content is tried again: once what was wrong is mended it may still leave, but nobody is
/// asked all day.
const BLOCKED_TRIES: u32 = 2;

/// How long a batch is worked on before its rest is given back: others may be faster by now.
pub const HOLD: SignedDuration = SignedDuration::from_mins(10);

/// A campaign's letters, compiled once.
#[derive(Debug)]
pub struct Letters {
    /// The campaign.
    pub campaign: CampaignNumber,
    /// Its name, for List-Id and Feedback-ID.
    pub list: String,
    /// The address in From.
    pub from_address: String,
    /// Per variant: where answers go, if elsewhere.
    pub reply_to: Vec<Option<String>>,
    /// Whether they carry a link that no person sees.
    pub trap_link: bool,
    /// One per variant, the control first.
    pub arms: Vec<CompiledLetter>,
    /// Per variant: the pictures inside the message.
    pub images: Vec<Vec<InlineImage>>,
}

impl Letters {
    fn reply_to(&self, variant: VariantNumber) -> Option<&str> {
        self.reply_to.get(usize::from(variant.0)).and_then(Option::as_deref)
    }

    fn images(&self, variant: VariantNumber) -> &[InlineImage] {
        self.images.get(usize::from(variant.0)).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Our own addresses, as letters name them.
#[derive(Debug, Clone)]
pub struct Site {
    /// `https://news.example.org`, without a slash at the end.
    pub base_url: String,
    /// The domain returned letters come to.
    pub bounce_domain: String,
    /// The last field of Feedback-ID, 5 to 15 characters.
    pub sender_id: String,
}

/// All a batch needs.
#[derive(Clone)]
pub struct Post {
    /// People, and letters on their way.
    pub vault: VaultDb,
    /// Makes each step durable.
    pub journal: Journal,
    /// Where letters are handed over.
    pub relay: Arc<Relay>,
    /// Our own addresses.
    pub site: Arc<Site>,
    /// The operator's keys.
    pub keys: Arc<Keys>,
    /// Those that sign letters.
    pub dkim: Arc<DkimKeys>,
    /// The campaign's letters.
    pub letters: Arc<Letters>,
    /// The clock.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Chance.
    pub mint: Mint,
    /// Fresh ids whose rows go to one place of an index.
    pub mint_in_turn: Mint,
    /// Who holds the leases of this batch.
    pub owner: Arc<str>,
    /// Stops the campaign when too much is refused.
    pub breaker: Arc<Mutex<Breaker>>,
    /// When a person is left alone.
    pub quiet: Option<Arc<Quiet>>,
    /// How long a letter is tried before it is given up.
    pub give_up_after: SignedDuration,
    /// Says when to stop: the letter at hand is finished, the rest of the batch is given back.
    pub stop: watch::Receiver<bool>,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BatchReport {
    /// Accepted by the relay.
    pub accepted: u32,
    /// To be tried again later.
    pub deferred: u32,
    /// Refused for good.
    pub refused: u32,
    /// Of the refused: by policy or reputation, the sender's fault and not the recipient's.
    pub blocked: u32,
    /// Not sent.
    pub skipped: u32,
    /// Left for later because of the recipient's hours.
    pub postponed: u32,
    /// Given back untried, because the relay cannot be used now or the campaign was stopped.
    pub given_back: u32,
    /// Why the campaign should pause, if so.
    pub pause: Option<String>,
    /// Why the relay lets us send nothing, if so: somebody must change something.
    pub relay_refuses: Option<String>,
    /// Why the relay could not be used, if so; worth another try after a while.
    pub relay_trouble: Option<String>,
}

/// Sends a batch over `connection`, opening one when needed, and leaves it open for the next batch.
///
/// # Errors
/// When people cannot be read; the batch is given back.
pub async fn send_batch(post: &Post, connection: &mut Option<Connection>, batch: Vec<Leased>) -> Result<BatchReport, DbError> {
    let mut report = BatchReport::default();
    let sent = match load_people(post, &batch).await {
        Ok(people) => {
            send_to(post, connection, &people, batch, &mut report).await;
            Ok(report)
        }
        Err(error) => {
            give_back(post, batch.into_iter(), &mut report).await;
            Err(error)
        }
    };
    post.journal.over(post.owner.clone());
    sent
}

/// The next letter of a batch.
enum Next {
    Letter(Box<(Leased, Filled)>),
    /// It cannot be signed, and so none can.
    Unsigned(Box<Leased>, String),
    Nothing,
}

impl Next {
    fn mailing(self) -> Option<Leased> {
        match self {
            Self::Letter(ready) => Some(ready.0),
            Self::Unsigned(mailing, _) => Some(*mailing),
            Self::Nothing => None,
        }
    }
}

/// While a letter is at the relay, the next one is made.
async fn send_to(
    post: &Post,
    connection: &mut Option<Connection>,
    people: &HashMap<SubscriberId, Person>,
    batch: Vec<Leased>,
    report: &mut BatchReport,
) {
    let _session = post.journal.session();
    let mut left = batch.into_iter();
    let began = (post.now)();
    let mut next = next_letter(post, people, &mut left, report).await;
    loop {
        let (mailing, letter) = match next {
            Next::Letter(ready) => *ready,
            Next::Unsigned(mailing, reason) => {
                give_back(post, std::iter::once(*mailing).chain(left), report).await;
                report.pause = Some(reason);
                return;
            }
            Next::Nothing => return,
        };
        let open = match ensure_open(&post.relay.smtp, connection).await {
            Ok(open) => open,
            Err(fault) => {
                give_back(post, std::iter::once(mailing).chain(left), report).await;
                note_relay_fault(report, &fault);
                return;
            }
        };
        let mark = async { if post.journal.mark(mailing.id, post.owner.clone()).await { BeforeDot::Send } else { BeforeDot::Withhold } };
        let (outcome, following) = tokio::join!(
            open.transact(&letter.envelope_from, &letter.recipient, &letter.bytes, mark),
            next_letter(post, people, &mut left, report)
        );
        if outcome == Outcome::Withheld {
            // Stopped, or the mark is not durable: it has not left, and neither does the rest of the batch.
            give_back(post, std::iter::once(mailing).chain(following.mailing()).chain(left), report).await;
            return;
        }
        conclude(post, mailing, outcome, report).await;
        if report.pause.is_some() || *post.stop.borrow() || (post.now)().duration_since(began) >= HOLD {
            give_back(post, following.mailing().into_iter().chain(left), report).await;
            return;
        }
        next = following;
    }
}

/// Makes the next letter of a batch that is to leave now; what is not comes to its end on the way.
async fn next_letter(
    post: &Post,
    people: &HashMap<SubscriberId, Person>,
    left: &mut std::vec::IntoIter<Leased>,
    report: &mut BatchReport,
) -> Next {
    for mut mailing in left {
        let person = people.get(&mailing.subscriber);
        if let Some(until) = quiet_until(post, person) {
            report.postponed += 1;
            end(post, mailing, Verdict::Postponed { until }, None).await;
            continue;
        }
        match fill_in(post, &mailing, person) {
            Ok(letter) => {
                // What the letter is made with, so that the ledger does not take a recipient for measured who is not.
                mailing.recording = letter.recording;
                return match signed(post, letter).await {
                    Ok(letter) => Next::Letter(Box::new((mailing, letter))),
                    Err(reason) => Next::Unsigned(Box::new(mailing), reason),
                };
            }
            Err(reason) => {
                report.skipped += 1;
                end(post, mailing, Verdict::Skipped { reason }, None).await;
            }
        }
    }
    Next::Nothing
}

fn quiet_until(post: &Post, person: Option<&Person>) -> Option<Timestamp> {
    post.quiet.as_ref()?.until(&person?.attributes, (post.now)())
}

async fn load_people(post: &Post, batch: &[Leased]) -> Result<HashMap<SubscriberId, Person>, DbError> {
    let ids: Vec<SubscriberId> = batch.iter().map(|mailing| mailing.subscriber).collect();
    let vault = post.vault.clone();
    blocking(move || vault.read(|conn| people::people_by_id(conn, &ids))).await
}

/// By way of the journal: with the database away they go back as soon as it is there again.
async fn give_back(post: &Post, left: impl Iterator<Item = Leased>, report: &mut BatchReport) {
    let ids: Vec<MailingId> = left.map(|mailing| mailing.id).collect();
    report.given_back += u32::try_from(ids.len()).unwrap_or(u32::MAX);
    post.journal.give_back(ids, post.owner.clone()).await;
}

async fn ensure_open<'a>(relay: &RelaySettings, connection: &'a mut Option<Connection>) -> Result<&'a mut Connection, SmtpFault> {
    if !connection.as_ref().is_some_and(Connection::usable)
        && let Some(used_up) = connection.take()
    {
        used_up.quit().await;
    }
    match connection {
        Some(open) => Ok(open),
        none => Ok(none.insert(Connection::open(relay).await?)),
    }
}

fn note_relay_fault(report: &mut BatchReport, fault: &SmtpFault) {
    if fault.judgement() == Judgement::SenderFault {
        report.relay_refuses = Some(fault.to_string());
    } else {
        report.relay_trouble = Some(fault.to_string());
    }
}

/// A letter ready for the relay. Holds the address: it lives no longer than its transaction.
struct Filled {
    envelope_from: String,
    recipient: String,
    recording: RecordingMode,
    bytes: Vec<u8>,
}

/// The letter for this person, or why there is none: words without names or addresses.
fn fill_in(post: &Post, mailing: &Leased, person: Option<&Person>) -> Result<Filled, String> {
    let person = person.ok_or("the person is gone")?;
    if let Some(reason) = person.suppressed {
        return Err(reason.as_str().to_owned());
    }
    let letters = &post.letters;
    let compiled = letters.arms.get(usize::from(mailing.variant.0)).ok_or("the variant is gone")?;
    // The most restrictive wins: who opted out since enrolment is not measured.
    let recording = mailing.recording.min(person.recording);
    let seal = |kind, link| post.keys.seal(&payload(mailing, recording, kind, link));
    let unsubscribe_token = seal(Kind::Unsubscribe, None);
    let base = &post.site.base_url;
    let unsubscribe = format!("{base}/u/{unsubscribe_token}");
    let tracking = if recording == RecordingMode::Off {
        Tracking::Off
    } else {
        Tracking::On {
            pixel: format!("{base}/o/{}.gif", seal(Kind::Open, None)),
            links: compiled.links().iter().map(|link| format!("{base}/c/{}", seal(Kind::Click, Some(link.number)))).collect(),
        }
    };
    let urls = LetterUrls { tracking, unsubscribe: unsubscribe.clone() };
    let values: &BTreeMap<String, String> = &person.attributes;
    let rendered = compiled.render(values, &urls).map_err(|error| error.to_string())?;
    let html = if letters.trap_link && recording != RecordingMode::Off {
        with_trap_link(&rendered.html, &format!("{base}/c/{}", seal(Kind::Click, Some(TRAP_LINK))))
    } else {
        rendered.html
    };
    let domain = letters.from_address.rsplit('@').next().unwrap_or_default();
    let mailto = format!("u+{unsubscribe_token}@{}?subject=unsubscribe", post.site.bounce_domain);
    let parts = MessageParts {
        from_name: &rendered.sender_name,
        from_address: &letters.from_address,
        reply_to: letters.reply_to(mailing.variant),
        to_name: None,
        to_address: person.address.reveal(),
        subject: &rendered.subject,
        date: mailing.first_attempt_at.unwrap_or_else(|| (post.now)()),
        message_id: &format!("{}@{domain}", mailing.id),
        list_id: &format!("{}.{domain}", list_label(&letters.list)),
        list_unsubscribe_url: &unsubscribe,
        list_unsubscribe_mailto: Some(&mailto),
        feedback_id: Some(&feedback_id(letters.campaign, &letters.list, &post.site.sender_id)),
        language: compiled.language(),
        text: &rendered.text,
        html: &html,
    };
    let bytes = compose_with(&parts, letters.images(mailing.variant)).map_err(|fault| fault.to_string())?;
    let envelope_from = verp(&seal(Kind::Bounce, None), &post.site.bounce_domain);
    Ok(Filled { envelope_from, recipient: person.address.reveal().to_owned(), recording, bytes })
}

/// The letter with its DKIM signatures. They take a millisecond of computing: a thread for such work keeps the others talking.
async fn signed(post: &Post, mut letter: Filled) -> Result<Filled, String> {
    let domain = post.letters.from_address.rsplit('@').next().unwrap_or_default().to_owned();
    if post.dkim.signing(&domain).is_empty() {
        return Ok(letter);
    }
    let (dkim, now, bytes) = (post.dkim.clone(), (post.now)(), std::mem::take(&mut letter.bytes));
    let signing = tokio::task::spawn_blocking(move || dkim.sign(&domain, bytes, now));
    letter.bytes = signing.await.map_err(|_| "signing a letter ended unexpectedly")?.map_err(|error| error.to_string())?;
    Ok(letter)
}

/// Pixel and links of an arm in mode `aggregate` are shared by all of it; the way back of a letter never is.
fn payload(mailing: &Leased, recording: RecordingMode, kind: Kind, link: Option<LinkNumber>) -> Payload {
    let shared = recording == RecordingMode::Aggregate && matches!(kind, Kind::Open | Kind::Click);
    let bearer = if shared { Bearer::Arm { rest: mailing.is_rest } } else { Bearer::Recipient(mailing.pseudonym) };
    Payload { kind, campaign: mailing.campaign, bearer, variant: mailing.variant, link, mode: recording }
}

/// A list's name as a label of a domain name: letters, digits and hyphens.
fn list_label(name: &str) -> String {
    let label: String = name
        .chars()
        .map(|character| if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { '-' })
        .take(40)
        .collect();
    let label = label.trim_matches('-').to_owned();
    if label.is_empty() { "list".to_owned() } else { label }
}

/// Gmail wants fields that differ. Their hyphens keep ours apart from each other and from the sender's, which has none, whatever the
/// list is called.
fn feedback_id(campaign: CampaignNumber, list: &str, sender_id: &str) -> String {
    format!("campaign-{campaign}:list-{}:type-newsletter:{sender_id}", list_label(list))
}

async fn conclude(post: &Post, mailing: Leased, outcome: Outcome, report: &mut BatchReport) {
    let attempt = attempt(&post.relay.name, &outcome);
    let verdict = match outcome {
        Outcome::Accepted { .. } => {
            report.accepted += 1;
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
fn without_machines(text: &str) -> String {
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
        report.pause = Some(format!("the relay refuses our letters at {stage:?} with {code}: {text}"));
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
    if tried_for >= post.give_up_after {
        return Verdict::Failed { reason };
    }
    report.deferred += 1;
    let chance = (post.mint)()[0];
    let until = now.checked_add(retry::wait(cause, mailing.attempts, chance)).unwrap_or(now);
    Verdict::Deferred { until, reason }
}

async fn end(post: &Post, mailing: Leased, verdict: Verdict, attempt: Option<Attempt>) {
    let finished = Finished { mailing, verdict, attempt, event: EventId::from_bytes((post.mint_in_turn)()), at: (post.now)() };
    post.journal.finish(finished, post.owner.clone()).await;
}

/// What a test letter has that a real one takes from its mailing.
#[derive(Debug, Clone, Copy)]
pub struct TestCopy<'a> {
    /// Where it goes.
    pub to: &'a str,
    /// The name shown as recipient: it says which variant this is, so that nothing in the letter itself has to.
    pub to_name: &'a str,
    /// Unique; the left part of its Message-ID.
    pub id: &'a str,
    /// The address it shows where the unsubscribe address would be; it belongs to nobody.
    pub unsubscribe: &'a str,
    /// Now.
    pub now: Timestamp,
}

/// A finished message as a person would get it, for test mail and previews: no mailing, no tracking.
///
/// # Errors
/// What keeps the letter from being made, in words.
pub fn test_message(
    letters: &Letters,
    variant: VariantNumber,
    copy: &TestCopy<'_>,
    values: &BTreeMap<String, String>,
) -> Result<Vec<u8>, String> {
    let compiled = letters.arms.get(usize::from(variant.0)).ok_or("there is no such variant")?;
    let domain = letters.from_address.rsplit('@').next().unwrap_or_default();
    let urls = LetterUrls { tracking: Tracking::Off, unsubscribe: copy.unsubscribe.to_owned() };
    let rendered = compiled.render(values, &urls).map_err(|error| error.to_string())?;
    let parts = MessageParts {
        from_name: &rendered.sender_name,
        from_address: &letters.from_address,
        reply_to: letters.reply_to(variant),
        to_name: Some(copy.to_name),
        to_address: copy.to,
        subject: &rendered.subject,
        date: copy.now,
        message_id: &format!("{}@{domain}", copy.id),
        list_id: &format!("{}.{domain}", list_label(&letters.list)),
        list_unsubscribe_url: copy.unsubscribe,
        list_unsubscribe_mailto: None,
        feedback_id: None,
        language: compiled.language(),
        text: &rendered.text,
        html: &rendered.html,
    };
    compose_with(&parts, letters.images(variant)).map_err(|fault| fault.to_string())
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

    #[test]
    fn a_lists_name_becomes_a_label() {
        assert_eq!(list_label("Kunden & Freunde 2026"), "kunden---freunde-2026");
        assert_eq!(list_label("Клиенты"), "list");
    }
}
