//! Test mail: each variant to oneself, through the relay and signed, as real letters are.
//!
//! Cast: [`send`], [`Sent`] (what became of one). No mailing is made, no pixel and no tracked link is in it, and its way back is the
//! sender's own address: nothing anybody does with it can be counted.

use serde::Serialize;

use crate::app::campaigns::{CampaignError, Done};
use crate::app::lab::Lab;
use crate::app::preview::{Messages, Reader};
use crate::campaign::store::Campaign;
use crate::delivery::smtp::{BeforeDot, Connection, Outcome, RelaySettings};
use crate::ids::VariantNumber;
use crate::vault::address::EmailAddress;

/// What became of one test letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sent {
    /// Which variant.
    pub variant: String,
    /// Whether the relay took it.
    pub accepted: bool,
    /// Why not; empty when it did.
    pub why: String,
}

/// Sends variants to one address; without any named, all of them. Waits for the relay: not for threads that answer requests.
///
/// # Errors
/// [`CampaignError::TestMail`] when nothing could be sent at all, [`CampaignError::NoPerson`], and what keeps a letter from being made.
pub fn send(lab: &Lab, campaign: &Campaign, to: &str, variants: &[VariantNumber], reader: &Reader) -> Done<Vec<Sent>> {
    let failed = |why: String| CampaignError::TestMail(why);
    let to = EmailAddress::parse(to).map_err(|why| failed(why.to_string()))?;
    let messages = Messages::of(lab, campaign)?;
    let known: Vec<VariantNumber> = messages.variants().collect();
    if let Some(unknown) = variants.iter().find(|variant| !known.contains(variant)) {
        return Err(failed(format!("campaign {} has no variant {unknown}", campaign.definition.name)));
    }
    let wanted: Vec<VariantNumber> = known.into_iter().filter(|variant| variants.is_empty() || variants.contains(variant)).collect();
    let mut letters = Vec::new();
    for variant in wanted {
        let message = messages.for_reader(lab, variant, to.reveal(), reader)?;
        let signed = lab.dkim.sign(messages.domain(), message, lab.clock.now()).map_err(|error| failed(error.to_string()))?;
        letters.push((variant, signed));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| failed(error.to_string()))?;
    let relay = lab.sending.relays.choose(messages.domain(), lab.clock.now(), &[]).ok_or_else(|| failed("there is no relay".to_owned()))?;
    runtime.block_on(hand_over(&relay.smtp, messages.from_address(), to.reveal(), &letters))
}

async fn hand_over(relay: &RelaySettings, from: &str, to: &str, letters: &[(VariantNumber, Vec<u8>)]) -> Done<Vec<Sent>> {
    let mut sent = Vec::new();
    let mut connection = None;
    for (variant, message) in letters {
        let mut open = match connection.take().filter(Connection::usable) {
            Some(open) => open,
            None => Connection::open(relay).await.map_err(|fault| CampaignError::TestMail(fault.to_string()))?,
        };
        let outcome = open.transact(from, to, message, async { BeforeDot::Send }).await;
        sent.push(told(*variant, outcome));
        connection = Some(open);
    }
    if let Some(open) = connection {
        open.quit().await;
    }
    Ok(sent)
}

fn told(variant: VariantNumber, outcome: Outcome) -> Sent {
    let why = refusal(outcome).unwrap_or_default();
    Sent { variant: variant.to_string(), accepted: why.is_empty(), why }
}

/// Why a letter was not taken, in words; none when it was.
pub(super) fn refusal(outcome: Outcome) -> Option<String> {
    match outcome {
        Outcome::Accepted { .. } => None,
        Outcome::Refused { code, text, .. } => Some(format!("the relay refuses it with {code}: {text}")),
        Outcome::Deferred { code, text, .. } => Some(format!("the relay asks to come again later, with {code}: {text}")),
        Outcome::Lost { why, .. } => Some(format!("the connection to the relay broke: {why}")),
        Outcome::Unsupported { why } => Some(why.to_string()),
        Outcome::Withheld => Some("it was held back".to_owned()),
    }
}
