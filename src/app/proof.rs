//! The one-element proof over finished messages: for a sample of people, each variant's message as it would leave.
//!
//! Cast: [`prove`] (the proof, or every reason why there is none), [`shown`] (what is kept of a sealed campaign, or a draft tried just now).
//!
//! Message-ID, date, boundary and tokens are the same for all variants here, because what is fixed per mailing is an argument of the
//! message; a link's stand-in follows from its target, so that another target is another message. Only the element is masked, and
//! the bytes that are left are compared. Nothing of a person is kept: the proof holds counts and a hash.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::app::campaigns::{CampaignError, Done};
use crate::app::lab::Lab;
use crate::bridge::launch::LaunchError;
use crate::campaign::definition::{Arm, Definition};
use crate::campaign::file::Problem;
use crate::campaign::proof::Proof;
use crate::campaign::state::State;
use crate::campaign::store::Campaign;
use crate::content::difference::{
    DifferenceFacet, FinishedDifference, Letter, MASK, Outcome, Place, compare, compare_finished, differing_words,
};
use crate::content::{LetterUrls, RenderedLetter, Tracking};
use crate::db::DbError;
use crate::delivery::message::{MessageParts, compose};
use crate::experiment::assign::Seed;
use crate::ids::SubscriberId;
use crate::vault::store as people;

/// People whose messages are made at the launch.
const SAMPLE: i64 = 24;
/// People whose messages are made each time somebody looks at a draft.
const SAMPLE_OF_A_DRAFT: i64 = 5;
/// Problems listed at most per variant.
const LISTED: usize = 10;

/// Shows that the variants differ in one element, in their sources and in the finished messages of a sample of people that `seed` draws.
///
/// # Errors
/// [`LaunchError::Problems`] naming each difference.
pub fn prove(lab: &Lab, definition: &Definition, seed: &Seed) -> Done<Proof> {
    prove_on(lab, definition, seed, SAMPLE)
}

/// A campaign's proof for page, command line and API.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ShownProof {
    /// Whether it is kept with the sealed plan; a draft's is only tried.
    pub kept: bool,
    /// In words.
    pub sentences: Vec<String>,
    /// The proof itself.
    #[serde(flatten)]
    pub proof: Proof,
}

/// The proof that is kept with a campaign; a draft's letters are tried just now, on a few people. None for a campaign sealed without one.
///
/// # Errors
/// As [`prove`], for a draft.
pub fn shown(lab: &Lab, campaign: &Campaign) -> Done<Option<ShownProof>> {
    if campaign.state == State::Draft {
        // A draft is tried on the same few people each time: what is shown changes with the letter, and not by chance.
        let proof = prove_on(lab, &campaign.definition, &[0; 32], SAMPLE_OF_A_DRAFT)?;
        return Ok(Some(ShownProof { kept: false, sentences: proof.sentences_of_a_draft(), proof }));
    }
    Ok(campaign.proof.clone().map(|proof| ShownProof { kept: true, sentences: proof.sentences(), proof }))
}

fn prove_on(lab: &Lab, definition: &Definition, seed: &Seed, most: i64) -> Done<Proof> {
    let arms = definition.arms().map_err(CampaignError::Problems)?;
    let Some((control, others)) = arms.split_first() else { return Err(refused(vec![Problem::of("variants", "there are none")])) };
    let mut variants = Vec::new();
    for arm in others {
        let outcome = sources(definition, control, arm).map_err(|problem| refused(vec![Problem::of(&key(arm), problem)]))?;
        variants.push((arm, outcome));
    }
    let sample = sample(lab, definition, seed, most)?;
    let made_up: BTreeMap<String, String> =
        arms.iter().flat_map(|arm| arm.letter.merge_fields()).map(|field| (field, "Sample".to_owned())).collect();
    let mut proof = Proof { statements: Vec::new(), people: 0, left_out: 0, every_byte: true, hash: String::new() };
    let mut problems = Vec::new();
    let mut hasher = Sha256::new();
    for (place, values) in std::iter::once(&made_up).chain(&sample).enumerate() {
        match compared(definition, control, &variants, values) {
            None => proof.left_out += 1,
            Some(Err(found)) => {
                problems = found;
                break;
            }
            Some(Ok(one)) => {
                proof.people += u32::from(place > 0);
                proof.every_byte &= one.every_byte;
                hasher.update(&one.masked);
            }
        }
    }
    if !problems.is_empty() {
        return Err(refused(problems));
    }
    proof.statements = variants.iter().map(|(arm, outcome)| statement(definition, control, arm, outcome)).collect();
    proof.hash = data_encoding::HEXLOWER.encode(&hasher.finalize());
    Ok(proof)
}

fn refused(problems: Vec<Problem>) -> CampaignError {
    LaunchError::Problems(problems).into()
}

/// Merge values of people who may be mailed, from a point in the order of their random ids that the seed draws.
fn sample(lab: &Lab, definition: &Definition, seed: &Seed, most: i64) -> Result<Vec<BTreeMap<String, String>>, DbError> {
    let mut start = [0; 16];
    start.copy_from_slice(&seed[..16]);
    lab.vault.read(|conn| {
        let mut entries = people::eligible(conn, &definition.list, Some(SubscriberId::from_bytes(start)), most)?;
        let missing = most - i64::try_from(entries.len()).unwrap_or(most);
        if missing > 0 {
            let known: Vec<SubscriberId> = entries.iter().map(|entry| entry.id).collect();
            entries.extend(people::eligible(conn, &definition.list, None, missing)?.into_iter().filter(|entry| !known.contains(&entry.id)));
        }
        let ids: Vec<SubscriberId> = entries.iter().map(|entry| entry.id).collect();
        let mut found: Vec<_> = people::people_by_id(conn, &ids)?.into_iter().collect();
        found.sort_by_key(|(id, _)| id.to_string());
        Ok(found.into_iter().map(|(_, person)| person.attributes).collect())
    })
}

/// What one person's messages showed.
struct Compared {
    every_byte: bool,
    masked: Vec<u8>,
}

/// A person's messages, each variant's beside the control's; none when one cannot be made for them.
fn compared(
    definition: &Definition,
    control: &Arm,
    variants: &[(&Arm, Outcome)],
    values: &BTreeMap<String, String>,
) -> Option<Result<Compared, Vec<Problem>>> {
    let one = render(control, values)?;
    let mut result = Compared { every_byte: true, masked: Vec::new() };
    for (arm, outcome) in variants {
        let other = render(arm, values)?;
        let key = key(arm);
        let in_words = |problem: String| vec![Problem::of(&key, problem)];
        let finished = match compare_finished(&one.html, &other.html) {
            Ok(finished) => finished,
            Err(error) => return Some(Err(in_words(error.to_string()))),
        };
        if let Some(problems) = unexplained(&key, arm, outcome, &finished, (&one, &other)) {
            return Some(Err(problems));
        }
        let messages = (masked(definition, outcome, &one, &finished.masked.0), masked(definition, outcome, &other, &finished.masked.1));
        let (Some(mut before), Some(mut after)) = messages else {
            return Some(Err(in_words("its finished message cannot be written".to_owned())));
        };
        // The text part follows from the HTML part; a new word breaks other lines, so that it is compared by words, above.
        if one.text == other.text {
            before.extend_from_slice(one.text.as_bytes());
            after.extend_from_slice(other.text.as_bytes());
        }
        let equal = before == after;
        let whole_letters = was_brought_whole(definition, arm);
        let comes_or_goes = matches!(outcome, Outcome::One(element) if element.facet == DifferenceFacet::Presence);
        if !equal && !whole_letters && !comes_or_goes {
            let problem =
                format!("outside {} the finished messages of {} and A are not equal byte for byte", definition.element, arm.variant);
            return Some(Err(in_words(problem)));
        }
        result.every_byte &= equal;
        result.masked.extend(before);
    }
    Some(Ok(result))
}

fn was_brought_whole(definition: &Definition, arm: &Arm) -> bool {
    definition.variants.get(usize::from(arm.variant.0)).is_some_and(|variant| variant.letter.is_some())
}

/// What the letters themselves say; an error when they differ in several elements.
fn sources(definition: &Definition, control: &Arm, arm: &Arm) -> Result<Outcome, String> {
    let letters = [control, arm].map(|arm| Letter { newsletter: &arm.newsletter, reply_to: arm.reply_to.as_deref() });
    let compared = compare(&letters).map_err(|error| error.to_string())?;
    match &compared.outcome {
        Outcome::Several(differences) => {
            let words: Vec<String> = differences.iter().take(LISTED).map(ToString::to_string).collect();
            Err(format!("{} differs from A in {} elements: {}", arm.variant, differences.len(), words.join("; ")))
        }
        Outcome::Same if !definition.design.same_letters && control.newsletter != arm.newsletter => {
            Err(format!("{} differs from A in nothing a reader or a mail program could notice", arm.variant))
        }
        _ => Ok(compared.outcome),
    }
}

fn statement(definition: &Definition, control: &Arm, arm: &Arm, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Same if definition.design.same_letters => format!("{} and {} are the same letter", arm.variant, control.variant),
        _ => format!("{} differs from {} in: {}", arm.variant, control.variant, definition.element),
    }
}

fn key(arm: &Arm) -> String {
    format!("variants[{}].text", arm.variant.0)
}

/// Stand-ins for a person's addresses: a link's follows from its target, without the variant's own letter that web analytics may be told.
fn render(arm: &Arm, values: &BTreeMap<String, String>) -> Option<RenderedLetter> {
    let base = "https://letterlab.example";
    let variant = format!("utm_content={}", arm.variant);
    let stand_in = |url: &str| format!("{base}/c/{}", blake3::hash(url.replace(&variant, "utm_content=").as_bytes()).to_hex());
    let links = arm.letter.links().iter().map(|link| stand_in(&link.url)).collect();
    let urls =
        LetterUrls { tracking: Tracking::On { pixel: format!("{base}/o/token.gif"), links }, unsubscribe: format!("{base}/u/token") };
    arm.letter.render(values, &urls).ok()
}

/// Differences of two finished letters that do not follow from the element; none when all do.
fn unexplained(
    key: &str,
    arm: &Arm,
    outcome: &Outcome,
    finished: &FinishedDifference,
    (one, other): (&RenderedLetter, &RenderedLetter),
) -> Option<Vec<Problem>> {
    let mut problems = Vec::new();
    if !outcome.explains(finished) {
        let words = |difference: &crate::content::difference::Difference| {
            let message = format!(
                "the finished messages of {} and A differ in more than the element, here in {difference}: A has {:?}, {} has {:?}",
                arm.variant, difference.control, arm.variant, difference.variant
            );
            Problem::of(key, message)
        };
        problems.extend(finished.differences.iter().take(LISTED).map(words));
    }
    let place = match outcome {
        Outcome::One(element) => Some((&element.place, element.facet)),
        _ => None,
    };
    let lines = [
        (Place::Subject, one.subject == other.subject, "subject"),
        (Place::SenderName, one.sender_name == other.sender_name, "sender name"),
        (Place::Preheader, one.preheader == other.preheader, "preheader"),
    ];
    for (line, equal, name) in lines {
        if !equal && place.is_none_or(|(place, _)| *place != line) {
            problems.push(Problem::of(key, format!("the finished messages of {} and A differ in the {name}", arm.variant)));
        }
    }
    if !text_follows(place, finished, &one.text, &other.text) {
        let message = format!("the text parts of {} and A differ in more than the element", arm.variant);
        problems.push(Problem::of(key, message));
    }
    (!problems.is_empty()).then_some(problems)
}

/// Whether what differs in the text parts is of the element.
fn text_follows(place: Option<(&Place, DifferenceFacet)>, finished: &FinishedDifference, one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    let (gone, new) = differing_words(one, other);
    let within =
        |words: &[&str], value: &str| words.iter().all(|word| value.contains(word.trim_matches(|edge: char| !edge.is_alphanumeric())));
    match place {
        Some((Place::Body(_), DifferenceFacet::Text)) => within(&gone, &finished.values.0) && within(&new, &finished.values.1),
        Some((Place::Body(_), DifferenceFacet::Link)) => gone.iter().chain(&new).all(|word| word.contains("://")),
        Some((Place::Body(_), DifferenceFacet::Presence | DifferenceFacet::Image | DifferenceFacet::AlternativeText)) => true,
        _ => false,
    }
}

/// A finished message with the element masked.
fn masked(definition: &Definition, outcome: &Outcome, letter: &RenderedLetter, html: &str) -> Option<Vec<u8>> {
    let is = |wanted: &Place| matches!(outcome, Outcome::One(element) if element.place == *wanted);
    let line = |wanted: Place, text: &str| if is(&wanted) { MASK.to_owned() } else { text.to_owned() };
    let domain = definition.sender.address.rsplit('@').next().unwrap_or_default();
    compose(&MessageParts {
        from_name: &line(Place::SenderName, &letter.sender_name),
        from_address: &definition.sender.address,
        reply_to: definition.sender.reply_to.as_deref(),
        to_name: None,
        to_address: "somebody@recipient.example",
        subject: &line(Place::Subject, &letter.subject),
        date: Timestamp::UNIX_EPOCH,
        message_id: &format!("proof@{domain}"),
        list_id: &format!("list.{domain}"),
        list_unsubscribe_url: "https://letterlab.example/u/token",
        list_unsubscribe_mailto: None,
        feedback_id: None,
        language: None,
        text: "The text part is compared by itself.",
        html,
    })
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_text_part_must_be_the_elements_own() {
        let finished = |from: &str, to: &str| FinishedDifference {
            differences: Vec::new(),
            outlook_only: Vec::new(),
            masked: Default::default(),
            values: (from.to_owned(), to.to_owned()),
        };
        let place = Place::Body("button".to_owned());
        let check = |facet, one: &str, other: &str, follows: bool| {
            let found = text_follows(Some((&place, facet)), &finished("Buy now", "Get it"), one, other);
            assert_eq!(found, follows, "{facet}: {one} / {other}");
        };
        check(DifferenceFacet::Text, "Hi\nBuy now\nBye", "Hi\nGet it\nBye", true);
        check(DifferenceFacet::Text, "Hi\nBuy now\nBye", "Hi\nGet it\nCiao", false);
        check(DifferenceFacet::Formatting, "Hi Buy now", "Hi Buy now", true);
        check(DifferenceFacet::Formatting, "Hi Buy now", "Hi Buy", false);
        check(DifferenceFacet::Link, "Buy <https://a>", "Buy <https://b>", true);
        check(DifferenceFacet::Link, "Buy <https://a>", "Get <https://b>", false);
        assert!(!text_follows(Some((&Place::Subject, DifferenceFacet::Text)), &finished("", ""), "a", "b"));
    }
}
