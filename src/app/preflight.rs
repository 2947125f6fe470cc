//! The list before launch: everything that can be known of a campaign before anybody is mailed, each point ok, worth a look, or to be
//! mended first.
//!
//! Cast: [`check`] (gathers the list), [`Preflight`] (the same on page, command line and API), [`Wishes`] (what takes time or the
//! network is looked at only when asked for), [`at_hand`] (the part of the list that takes no time), [`gate`] (a launch repeats that part);
//! inside, `links` and `spam`.
//!
//! It changes nothing, and no point names a person: people who would be skipped are counted, and listed by `app::letters`.

mod links;
mod spam;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

use crate::app::campaigns::{self, CampaignError, Done};
use crate::app::domain;
use crate::app::lab::Lab;
use crate::app::{letters, preview, proof, sending};
use crate::bridge::launch::LaunchError;
use crate::campaign::definition::{Arm, Definition};
use crate::campaign::file::Problem;
use crate::campaign::store::Campaign;
use crate::content::preflight::{Item, Level, Topic, letter_items};
use crate::content::{LetterUrls, Tracking};
use crate::ids::VariantNumber;
use crate::report::wording::counted;
use crate::token::TOKEN_CHARACTERS;
use crate::vault::store as people;

/// What takes time or leaves this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wishes {
    /// Ask every link whether it answers.
    pub links: bool,
    /// Ask links on private addresses, too; otherwise they are only named.
    pub private_addresses: bool,
    /// Ask the DNS about the sender's domain.
    pub domain: bool,
    /// Ask SpamAssassin, when it is installed.
    pub spam: bool,
}

/// The whole list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Preflight {
    /// The campaign's name.
    pub campaign: String,
    /// The worst level of all points.
    pub level: Level,
    /// Every point, the worst first.
    pub items: Vec<Item>,
    /// What was not looked at, and how to have it looked at.
    pub not_asked: Vec<String>,
}

impl Preflight {
    fn new(campaign: &str, mut items: Vec<Item>, not_asked: Vec<String>) -> Self {
        items.sort_by_key(|item| (Reverse(item.level), item.topic));
        let level = items.iter().map(|item| item.level).max().unwrap_or(Level::Ok);
        Self { campaign: campaign.to_owned(), level, items, not_asked }
    }

    /// How many points have this level.
    pub fn count(&self, level: Level) -> usize {
        self.items.iter().filter(|item| item.level == level).count()
    }

    /// What is worth a look, in words, without advice and details.
    pub fn warns(&self) -> Vec<String> {
        let words = |item: &Item| {
            let variants = if item.variants.is_empty() { String::new() } else { format!(" of {}", item.variants) };
            format!("{}{variants}: {}", item.topic, item.found)
        };
        self.items.iter().filter(|item| item.level == Level::Warn).map(words).collect()
    }

    /// What keeps the campaign from being launched, in words.
    pub fn stops(&self) -> Vec<String> {
        let words = |item: &Item| {
            let details = if item.details.is_empty() { String::new() } else { format!(" ({})", item.details.join("; ")) };
            let advice = if item.advice.is_empty() { String::new() } else { format!(": {}", item.advice) };
            format!("{}: {}{details}{advice}", item.topic, item.found)
        };
        self.items.iter().filter(|item| item.level == Level::Stop).map(words).collect()
    }
}

/// Looks at everything that can be known of a campaign now.
///
/// # Errors
/// A database failure. What is wrong with the campaign is in the list.
pub fn check(lab: &Lab, campaign: &Campaign, wishes: Wishes) -> Done<Preflight> {
    let definition = &campaign.definition;
    let mut items = Vec::new();
    let mut not_asked = Vec::new();
    items.extend(campaign_item(lab, definition)?);
    items.extend(relay_item(lab, definition));
    match definition.arms() {
        Err(problems) => items.push(problem_item(Topic::Campaign, "the letter does not compile", &problems)),
        Ok(arms) => {
            items.extend(one_difference(lab, definition)?);
            items.extend(letters_of(lab, &arms));
            items.extend(missing_fields(lab, definition)?);
            if wishes.links {
                items.push(links::item(&arms, wishes.private_addresses));
            } else {
                not_asked.push("whether links answer".to_owned());
            }
            if !wishes.spam {
                not_asked.push("what SpamAssassin says".to_owned());
            } else if spam::is_installed() {
                items.extend(spam::items(lab, campaign));
            } else {
                not_asked.push("what SpamAssassin says: it is not installed on this machine (Debian package spamassassin)".to_owned());
            }
        }
    }
    if wishes.domain {
        items.extend(domain_items(lab, definition));
    } else {
        not_asked.push("what the DNS says of the sender's domain".to_owned());
    }
    Ok(Preflight::new(&definition.name, items, not_asked))
}

/// Everything about letters and people that needs neither the network nor another program nor a trial of the proof.
///
/// # Errors
/// [`CampaignError::Problems`] when the letter does not compile, and a database failure.
pub fn at_hand(lab: &Lab, definition: &Definition) -> Done<Preflight> {
    let arms = definition.arms().map_err(CampaignError::Problems)?;
    let mut items = letters_of(lab, &arms);
    items.extend(relay_item(lab, definition));
    items.extend(missing_fields(lab, definition)?);
    Ok(Preflight::new(&definition.name, items, Vec::new()))
}

/// What a launch repeats: [`at_hand`]. The campaign's problems and the proof are checked by sealing itself.
///
/// # Errors
/// [`CampaignError::NotReady`] with the list when a point says stop.
pub fn gate(lab: &Lab, definition: &Definition) -> Done<()> {
    let list = at_hand(lab, definition)?;
    if list.level == Level::Stop { Err(CampaignError::NotReady(Box::new(list))) } else { Ok(()) }
}

/// Whether the campaign could be sealed and has somebody to mail.
fn campaign_item(lab: &Lab, definition: &Definition) -> Done<Option<Item>> {
    let mut problems = campaigns::check_definition(lab, definition)?;
    problems.extend(definition.time_problems(lab.clock.now()));
    // A letter that does not compile is told where letters are looked at.
    if let Err(told) = definition.arms() {
        problems.retain(|problem| !told.iter().any(|other| other.message == problem.message));
        if problems.is_empty() {
            return Ok(None);
        }
    }
    if !problems.is_empty() {
        return Ok(Some(problem_item(Topic::Campaign, "the campaign cannot be sealed", &problems)));
    }
    let mailable = lab.vault.read(|conn| people::eligible_count(conn, &definition.list))?;
    let list = &definition.list;
    Ok(Some(match mailable {
        0 => Item::new(Topic::Campaign, Level::Stop, format!("nobody on list {list} may be mailed"))
            .advice("import people, or look at who is suppressed"),
        many => Item::new(Topic::Campaign, Level::Ok, format!("{} on list {list} may be mailed", counted(many, "person", "people"))),
    }))
}

/// Whether there is a relay for the sender's domain, where there is none.
fn relay_item(lab: &Lab, definition: &Definition) -> Option<Item> {
    let domain = definition.sender.address.rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
    let is_carried = lab.sending.relays.carry(&domain);
    (!is_carried).then(|| Item::new(Topic::Campaign, Level::Stop, sending::no_relay(&domain)))
}

fn problem_item(topic: Topic, found: &str, problems: &[Problem]) -> Item {
    Item::new(topic, Level::Stop, found).advice("change the draft").details(problems.iter().map(ToString::to_string).collect())
}

/// The proof, tried out on a sample drawn by a seed that is not the test's.
fn one_difference(lab: &Lab, definition: &Definition) -> Done<Option<Item>> {
    match proof::prove(lab, definition, &[0; 32]) {
        Ok(proof) if definition.design.same_letters => {
            Ok(Some(Item::new(Topic::OneDifference, Level::Ok, "all variants are the same letter, as asked for").details(proof.statements)))
        }
        Ok(proof) => {
            Ok(Some(Item::new(Topic::OneDifference, Level::Ok, "shown on sources and finished messages").details(proof.statements)))
        }
        // Told as a problem of the campaign already.
        Err(CampaignError::Problems(_)) => Ok(None),
        Err(CampaignError::Launch(LaunchError::Problems(problems))) => Ok(Some(
            problem_item(Topic::OneDifference, "variants differ in more than the one element", &problems)
                .advice("make every variant the control with one change; then a difference in the result has one cause"),
        )),
        Err(other) => Err(other),
    }
}

/// The points of every variant's letter; what several variants share is one point.
fn letters_of(lab: &Lab, arms: &[Arm]) -> Vec<Item> {
    let mut found: Vec<(Item, Vec<VariantNumber>)> = Vec::new();
    for arm in arms {
        for item in letter_of(lab, arm) {
            match found.iter_mut().find(|(known, _)| *known == item) {
                Some((_, variants)) => variants.push(arm.variant),
                None => found.push((item, vec![arm.variant])),
            }
        }
    }
    found.into_iter().map(|(item, variants)| Item { variants: named(&variants, arms.len()), ..item }).collect()
}

/// `A C`, or nothing when it is every variant.
fn named(variants: &[VariantNumber], all: usize) -> String {
    if variants.len() == all { String::new() } else { variants.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ") }
}

fn letter_of(lab: &Lab, arm: &Arm) -> Vec<Item> {
    let base = &lab.config.web.base_url;
    // As long as real ones: the size of a letter is that of the letter with its tracked addresses.
    let token = "a".repeat(TOKEN_CHARACTERS);
    let unsubscribe = format!("{base}/u/{token}");
    let tracking = Tracking::On {
        pixel: format!("{base}/o/{token}.gif"),
        links: arm.letter.links().iter().map(|_| format!("{base}/c/{token}")).collect(),
    };
    let values = preview::made_up(&arm.letter, &BTreeMap::new(), "Sample");
    match arm.letter.render(&values, &LetterUrls { tracking, unsubscribe: unsubscribe.clone() }) {
        Ok(rendered) => letter_items(&arm.letter, &rendered, &unsubscribe),
        Err(error) => vec![
            Item::new(Topic::Letter, Level::Stop, format!("the letter cannot be filled in: {error}"))
                .advice("change the letter, or give the field a default"),
        ],
    }
}

/// People who would get no letter, counted.
fn missing_fields(lab: &Lab, definition: &Definition) -> Done<Vec<Item>> {
    let found = letters::lacking(lab, definition)?;
    if found.lacking == 0 {
        return Ok(vec![Item::new(Topic::MissingFields, Level::Ok, "nobody lacks a value the letter needs")]);
    }
    let level = if found.lacking >= found.people { Level::Stop } else { Level::Warn };
    let fields = found.fields.iter().map(|(field, people)| format!("{field}: {people}")).collect();
    let verb = if found.lacking == 1 { "lacks" } else { "lack" };
    let people = counted(found.people, "person", "people");
    let words = format!("{} of {people} {verb} a value the letter needs and would be skipped", found.lacking);
    Ok(vec![
        Item::new(Topic::MissingFields, level, words)
            .advice("give the field a default, {{ first_name | default(\"there\") }}, or import the value")
            .details(fields),
    ])
}

fn domain_items(lab: &Lab, definition: &Definition) -> Vec<Item> {
    let sender = definition.sender.address.rsplit('@').next().unwrap_or_default().to_owned();
    let request = domain::Request { domain: sender, ..domain::Request::default() };
    match domain::check(&lab.config, &lab.dkim, &request) {
        Ok(report) => report
            .findings
            .into_iter()
            .map(|finding| {
                let level = match finding.level {
                    domain::Level::Ok => Level::Ok,
                    domain::Level::Warn => Level::Warn,
                    domain::Level::Stop => Level::Stop,
                };
                let publish = finding.record.as_ref().map(|record| format!("publish {}", record.zone_line()));
                Item::new(Topic::Domain, level, format!("{} {}: {}", finding.subject, finding.name, finding.found))
                    .advice(finding.advice)
                    .details(publish.into_iter().collect())
            })
            .collect(),
        Err(error) => vec![Item::new(Topic::Domain, Level::Warn, format!("could not be looked at: {error}")).advice("try again later")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_comes_first_and_names_the_level_of_the_whole() {
        let items = vec![
            Item::new(Topic::Subject, Level::Ok, "a"),
            Item::new(Topic::SpamScore, Level::Stop, "b").advice("mend it"),
            Item::new(Topic::Size, Level::Warn, "c"),
        ];
        let list = Preflight::new("x", items, Vec::new());
        assert_eq!(list.level, Level::Stop);
        assert_eq!(list.items.iter().map(|item| item.found.as_str()).collect::<Vec<_>>(), ["b", "c", "a"]);
        assert_eq!(list.stops(), ["spam score: b: mend it"]);
        assert_eq!(list.warns(), ["size: c"]);
        assert_eq!(list.count(Level::Warn), 1);
    }

    #[test]
    fn variants_are_named_unless_it_is_all_of_them() {
        assert_eq!(named(&[VariantNumber(0), VariantNumber(2)], 3), "A C");
        assert_eq!(named(&[VariantNumber(0), VariantNumber(1)], 2), "");
    }
}
