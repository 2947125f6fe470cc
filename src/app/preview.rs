//! A campaign's letters before they leave: each variant as a person, or somebody made up, would get it.
//!
//! Cast: [`Reader`] (who reads), [`letters`] ([`Seen`]: what each variant is for them), [`Messages`] (finished messages, as for test
//! mail), [`made_up`], [`fields`], [`next_person`].
//!
//! Nothing is tracked and nothing is stored: no address in these letters belongs to anybody.

use std::collections::{BTreeMap, BTreeSet};

use crate::app::campaigns::{CampaignError, Done};
use crate::app::clock;
use crate::app::lab::{Lab, compile_letters};
use crate::campaign::file::Problem;
use crate::campaign::store::Campaign;
use crate::content::{CompiledLetter, LetterUrls, RenderedLetter, Tracking};
use crate::delivery::send::{Letters, TestCopy, test_message};
use crate::ids::{SubscriberId, VariantNumber, base32};
use crate::vault::address::EmailAddress;
use crate::vault::store as people;

/// What a field without a value shows in a preview: its name in brackets.
pub const IN_BRACKETS: &str = "[{}]";

/// Who reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reader {
    /// Somebody made up, with these values; what is needed besides shows its name in brackets.
    MadeUp(BTreeMap<String, String>),
    /// A person of the vault, with exactly their values.
    Person(SubscriberId),
}

/// One variant for a reader.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Which.
    pub variant: VariantNumber,
    /// The letter, or why there is none for this reader.
    pub letter: Result<RenderedLetter, String>,
}

/// Values of somebody made up: the given ones; for what the letter needs besides, `stand_in` with `{}` replaced by the field's name.
pub fn made_up(letter: &CompiledLetter, given: &BTreeMap<String, String>, stand_in: &str) -> BTreeMap<String, String> {
    let mut values: BTreeMap<String, String> =
        letter.required_fields().into_iter().map(|field| (field.clone(), stand_in.replace("{}", &field))).collect();
    let told = given.iter().filter(|(_, value)| !value.trim().is_empty());
    values.extend(told.map(|(field, value)| (field.clone(), value.clone())));
    values
}

/// Every merge field of any variant.
///
/// # Errors
/// What keeps a variant from being compiled.
pub fn fields(campaign: &Campaign) -> Done<BTreeSet<String>> {
    let arms = campaign.definition.arms().map_err(CampaignError::Problems)?;
    Ok(arms.iter().flat_map(|arm| arm.letter.merge_fields()).collect())
}

/// The person with an address.
///
/// # Errors
/// [`CampaignError::NoPerson`].
pub fn person(lab: &Lab, address: &str) -> Done<SubscriberId> {
    let address = EmailAddress::parse(address).map_err(|_| CampaignError::NoPerson)?;
    let found = lab.vault.read(|conn| people::person_by_address(conn, &address))?;
    found.map(|person| person.id).ok_or(CampaignError::NoPerson)
}

/// The next person of a campaign's list who may be mailed, in the order of their random ids; after the last comes the first.
///
/// # Errors
/// A database failure.
pub fn next_person(lab: &Lab, campaign: &Campaign, after: Option<SubscriberId>) -> Done<Option<SubscriberId>> {
    let list = &campaign.definition.list;
    let found = lab.vault.read(|conn| match people::eligible(conn, list, after, 1)? {
        found if found.is_empty() && after.is_some() => people::eligible(conn, list, None, 1),
        found => Ok(found),
    })?;
    Ok(found.first().map(|entry| entry.id))
}

/// The values a letter is filled in with for this reader.
fn values(lab: &Lab, letter: &CompiledLetter, reader: &Reader, stand_in: &str) -> Done<BTreeMap<String, String>> {
    match reader {
        Reader::MadeUp(given) => Ok(made_up(letter, given, stand_in)),
        Reader::Person(id) => {
            let mut found = lab.vault.read(|conn| people::people_by_id(conn, &[*id]))?;
            found.remove(id).map(|person| person.attributes).ok_or(CampaignError::NoPerson)
        }
    }
}

/// Each variant for a reader.
///
/// # Errors
/// [`CampaignError::NoPerson`]; what keeps a variant from being compiled. A letter that only this reader cannot get is no error.
pub fn letters(lab: &Lab, campaign: &Campaign, reader: &Reader) -> Done<Vec<Seen>> {
    let mut definition = campaign.definition.clone();
    // A browser cannot look inside the message for its pictures.
    definition.options.inline_images = false;
    let arms = definition.arms().map_err(CampaignError::Problems)?;
    let urls = LetterUrls { tracking: Tracking::Off, unsubscribe: format!("{}/privacy", lab.config.web.base_url) };
    let seen = |arm: &crate::campaign::definition::Arm| {
        let values = values(lab, &arm.letter, reader, IN_BRACKETS)?;
        Ok(Seen { variant: arm.variant, letter: arm.letter.render(&values, &urls).map_err(|error| error.to_string()) })
    };
    arms.iter().map(seen).collect()
}

/// A campaign's letters as whole messages.
pub struct Messages {
    letters: Letters,
    unsubscribe: String,
    now: jiff::Timestamp,
}

impl Messages {
    /// Compiles them; a draft's are never kept, because a draft changes.
    ///
    /// # Errors
    /// What keeps a variant from being compiled, and pictures that are not there.
    pub fn of(lab: &Lab, campaign: &Campaign) -> Done<Self> {
        let mut letters = compile_letters(campaign)?;
        letters.images = super::images::inside(&lab.ledger, &letters.arms)?;
        let base = &lab.config.web.base_url;
        let domain = letters.from_address.rsplit('@').next().unwrap_or_default();
        // Test mail from a site that is not yet reached by https has to carry an address all the same.
        let is_usable = base.starts_with("https://") || base.starts_with("http://127.0.0.1") || base.starts_with("http://localhost");
        let unsubscribe = if is_usable { format!("{base}/privacy") } else { format!("https://{domain}/") };
        Ok(Self { letters, unsubscribe, now: lab.clock.now() })
    }

    /// The variants there are.
    pub fn variants(&self) -> impl Iterator<Item = VariantNumber> {
        (0..self.letters.arms.len()).filter_map(|number| u8::try_from(number).ok().map(VariantNumber))
    }

    /// The domain letters are from.
    pub fn domain(&self) -> &str {
        self.letters.from_address.rsplit('@').next().unwrap_or_default()
    }

    /// The address letters are from.
    pub fn from_address(&self) -> &str {
        &self.letters.from_address
    }

    /// A variant as a whole message to somebody made up, not signed.
    ///
    /// # Errors
    /// What keeps it from being made, in words.
    pub fn message(&self, variant: VariantNumber, to: &str, given: &BTreeMap<String, String>, stand_in: &str) -> Result<Vec<u8>, String> {
        let letter = self.letters.arms.get(usize::from(variant.0)).ok_or("there is no such variant")?;
        self.finished(variant, to, &made_up(letter, given, stand_in))
    }

    /// A variant as a whole message for a reader, not signed. `to` is where it would go.
    ///
    /// # Errors
    /// [`CampaignError::NoPerson`], and what keeps it from being made.
    pub fn for_reader(&self, lab: &Lab, variant: VariantNumber, to: &str, reader: &Reader) -> Done<Vec<u8>> {
        let problem = |why: &str| CampaignError::Problems(vec![Problem::of("letter", why)]);
        let letter = self.letters.arms.get(usize::from(variant.0)).ok_or_else(|| problem("there is no such variant"))?;
        let values = values(lab, letter, reader, IN_BRACKETS)?;
        self.finished(variant, to, &values).map_err(|why| problem(&why))
    }

    fn finished(&self, variant: VariantNumber, to: &str, values: &BTreeMap<String, String>) -> Result<Vec<u8>, String> {
        let id = format!("test-{}-{}", variant.to_string().to_lowercase(), base32().encode(&clock::fresh()).to_lowercase());
        let copy = TestCopy { to, to_name: &format!("Test of variant {variant}"), id: &id, unsubscribe: &self.unsubscribe, now: self.now };
        test_message(&self.letters, variant, &copy, values)
    }
}
