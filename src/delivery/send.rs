//! The work of one batch: letters leased from the queue → filled in → handed to the relay → what became of each.
//!
//! Cast: [`Post`] (all a batch needs), [`Letters`] (a campaign's compiled variants), [`Site`] (our addresses), [`BatchReport`];
//! `letter` makes one person's letter, `conclude` takes the relay's word for what became of it.
//!
//! A batch asks the vault for its people when it begins, and before the last dot of each letter whether the person is still to have it.
//! It never decides which batch is next, never sleeps, and tells the ledger nothing: outcomes wait for the bridge.

mod conclude;
mod letter;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::content::CompiledLetter;
use crate::db::{DbError, VaultDb, blocking};
use crate::delivery::breaker::Breaker;
use crate::delivery::dkim::DkimKeys;
use crate::delivery::journal::Journal;
use crate::delivery::mailing::{Attempt, Finished, Leased, Verdict};
use crate::delivery::message::InlineImage;
use crate::delivery::relays::Relay;
use crate::delivery::smtp::{BeforeDot, Connection, Judgement, Message, Offers, Outcome, RelaySettings, SmtpFault};
use crate::delivery::window::Quiet;
use crate::ids::{CampaignNumber, EventId, MailingId, Mint, SubscriberId, VariantNumber};
use crate::token::Keys;
use crate::vault::people::Person;
use crate::vault::store as people;

use conclude::conclude;
pub use letter::{TestCopy, test_message};
use letter::{fill_in, signed};

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
    /// Those never offered to the relay, by mailbox provider: skipped, postponed or given back.
    pub untried: BTreeMap<String, u32>,
    /// Why the campaign should pause, if so.
    pub pause: Option<String>,
    /// Why the relay lets us send nothing, if so: somebody must change something.
    pub relay_refuses: Option<String>,
    /// Why the relay could not be used, if so; worth another try after a while.
    pub relay_trouble: Option<String>,
}

impl BatchReport {
    fn untried(&mut self, mailing: &Leased) {
        *self.untried.entry(mailing.provider.clone()).or_default() += 1;
    }
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
    /// Holds the address: it lives no longer than its transaction.
    Letter(Box<(Leased, Message)>),
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

    /// The word to send the letter before it, and to begin this one in the same breath.
    fn send_and_begin(&self, offers: Offers) -> BeforeDot {
        match self {
            // What this relay cannot take is found out again at its own turn.
            Self::Letter(ready) => ready.1.envelope(offers).map_or(BeforeDot::Send, BeforeDot::SendAndBegin),
            Self::Unsigned(..) | Self::Nothing => BeforeDot::Send,
        }
    }
}

/// While a letter's mark becomes durable, the next one is made, and begins behind its dot.
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
        let offers = open.offers();
        let mut following = None;
        let last_word = async {
            let mark = post.journal.mark(mailing.id, post.owner.clone());
            let (is_marked, made) = tokio::join!(mark, next_letter(post, people, &mut left, report));
            let word = if is_marked { made.send_and_begin(offers) } else { BeforeDot::Withhold };
            following = Some(made);
            word
        };
        let outcome = open.send(&letter, last_word).await;
        if outcome == Outcome::Withheld {
            // Stopped, unsubscribed, or the mark is not durable: it has not left, and neither does the rest of the batch.
            let following = following.and_then(Next::mailing);
            give_back(post, std::iter::once(mailing).chain(following).chain(left), report).await;
            return;
        }
        conclude(post, mailing, outcome, report).await;
        if report.pause.is_some() || *post.stop.borrow() || (post.now)().duration_since(began) >= HOLD {
            // What was begun is not sent: only the end of the connection tells the relay so.
            connection.take_if(|open| open.has_begun());
            give_back(post, following.and_then(Next::mailing).into_iter().chain(left), report).await;
            return;
        }
        next = match following {
            Some(made) => made,
            // Refused before the last word was asked for.
            None => next_letter(post, people, &mut left, report).await,
        };
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
            report.untried(&mailing);
            end(post, mailing, Verdict::Postponed { until }, None).await;
            continue;
        }
        match fill_in(post, &mailing, person) {
            Ok(letter) => {
                // What the letter is made with, so that the ledger does not take a recipient for measured who is not.
                mailing.recording = letter.recording;
                let letter = match signed(post, letter) {
                    Ok(letter) => letter,
                    Err(reason) => return Next::Unsigned(Box::new(mailing), reason),
                };
                match Message::new(&letter.envelope_from, &letter.recipient, letter.bytes) {
                    Ok(message) => return Next::Letter(Box::new((mailing, message))),
                    Err(why) => conclude(post, mailing, Outcome::Unsupported { why }, report).await,
                }
            }
            Err(reason) => {
                report.skipped += 1;
                report.untried(&mailing);
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
    let ids: Vec<MailingId> = left.inspect(|mailing| report.untried(mailing)).map(|mailing| mailing.id).collect();
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
        // It becomes the reason of a pause, beside the events.
        report.relay_refuses = Some(conclude::without_machines(&fault.to_string()));
    } else {
        report.relay_trouble = Some(fault.to_string());
    }
}

async fn end(post: &Post, mailing: Leased, verdict: Verdict, attempt: Option<Attempt>) {
    let finished = Finished { mailing, verdict, attempt, event: EventId::from_bytes((post.mint_in_turn)()), at: (post.now)() };
    post.journal.finish(finished, post.owner.clone()).await;
}
