//! A campaign as checked, compiled and sealed.
//!
//! Cast: [`Definition`], [`Variant`], [`SenderAddress`], [`Options`], [`Arm`] (one variant's compiled letter), [`seal_hash`].
//!
//! Variants differ in exactly one element by construction: each is the same letter with that one element replaced.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::campaign::file::Problem;
use crate::content::{CompiledLetter, Element, Facet, LetterSettings, Newsletter, Utm, is_language, with_override};
use crate::experiment::assign::Seed;
use crate::experiment::design::{Design, InvalidDesign, Metric};
use crate::ids::{RecordingMode, VariantNumber};
use crate::token::LINKS_MAX;

pub use crate::token::TRAP_LINK;

/// Everything a campaign says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// Unique; used in commands and addresses of pages.
    pub name: String,
    /// The list to mail, by name.
    pub list: String,
    /// The most that may be recorded; a person's own choice may be less.
    pub recording: RecordingMode,
    /// Whether letters carry a link that no person sees, to tell machines by.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trap_link: bool,
    /// Whose address the letters come from.
    pub sender: SenderAddress,
    /// The letter all variants share.
    pub newsletter: Newsletter,
    /// The one element that varies.
    pub element: Element,
    /// The variants; the first is the control.
    pub variants: Vec<Variant>,
    /// The plan of the test.
    pub design: Design,
    /// What is added to every letter.
    #[serde(default, skip_serializing_if = "Options::is_usual")]
    pub options: Options,
}

/// What is added to every letter of a campaign, whatever the variant.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The language of a letter that does not state its own, such as `pt-BR`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Parameters for web analytics on tracked links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utm: Option<Utm>,
    /// Uploaded pictures travel inside the message instead of being loaded when it is read.
    #[serde(default)]
    pub inline_images: bool,
}

impl Options {
    /// Whether nothing is added.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// Whose address the letters come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SenderAddress {
    /// The address in From.
    pub address: String,
    /// Where answers go, if elsewhere.
    pub reply_to: Option<String>,
}

/// One variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// The element's value; none for the letter as written.
    pub value: Option<String>,
    /// The variant's whole letter, where the element is one found by comparison; `value` then only shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub letter: Option<Newsletter>,
}

/// One variant, ready to be filled in for a person.
#[derive(Debug)]
pub struct Arm {
    /// Which variant.
    pub variant: VariantNumber,
    /// The letter with the one element replaced.
    pub newsletter: Newsletter,
    /// Compiled.
    pub letter: CompiledLetter,
    /// Where answers to it go, if not to the sender.
    pub reply_to: Option<String>,
    /// It may not leave earlier.
    pub not_before: Option<Timestamp>,
}

impl Arm {
    /// Whether a recipient could tell the two apart.
    fn is_like(&self, other: &Self) -> bool {
        self.newsletter == other.newsletter && self.reply_to == other.reply_to && self.not_before == other.not_before
    }
}

impl Definition {
    /// Each variant's letter, compiled.
    ///
    /// # Errors
    /// What is wrong with which variant.
    pub fn arms(&self) -> Result<Vec<Arm>, Vec<Problem>> {
        let mut arms = Vec::new();
        let mut problems = Vec::new();
        for (number, variant) in (0u8..).zip(&self.variants) {
            let key = letter_key(number, variant);
            match self.arm(VariantNumber(number), variant) {
                Ok(arm) => arms.push(arm),
                Err(error) => problems.push(Problem::of(&key, error)),
            }
        }
        if problems.is_empty() {
            Ok(arms)
        } else {
            problems.dedup_by(|one, other| one.message == other.message);
            Err(problems)
        }
    }

    fn arm(&self, number: VariantNumber, variant: &Variant) -> Result<Arm, String> {
        let value = variant.value.as_deref();
        let newsletter = match (&variant.letter, value) {
            (Some(letter), _) => letter.clone(),
            (None, Some(value)) => with_override(&self.newsletter, &self.element, value).map_err(|error| error.to_string())?,
            (None, None) => self.newsletter.clone(),
        };
        let letter = CompiledLetter::compile_with(&newsletter, &self.letter_settings(number)).map_err(|error| error.to_string())?;
        let reply_to = match value.filter(|_| self.element == Element::ReplyTo).map(str::trim) {
            Some(address) if plausible_address(address) => Some(address.to_owned()),
            Some(_) => return Err(NO_ADDRESS.to_owned()),
            None => self.sender.reply_to.clone(),
        };
        let not_before = value.filter(|_| self.element == Element::SendTime).map(moment).transpose()?;
        Ok(Arm { variant: number, newsletter, letter, reply_to, not_before })
    }

    fn letter_settings(&self, variant: VariantNumber) -> LetterSettings {
        LetterSettings {
            language: self.options.language.clone(),
            parameters: self.options.utm.as_ref().map(|utm| utm.parameters(&variant.to_string())).unwrap_or_default(),
            inline_images: self.options.inline_images,
        }
    }

    /// When each variant's letters may leave; none for at once. A value that is no moment counts as none: [`Self::arms`] refuses it.
    pub fn send_times(&self) -> Vec<Option<Timestamp>> {
        let is_tested = self.element == Element::SendTime;
        self.variants.iter().map(|variant| variant.value.as_deref().filter(|_| is_tested).and_then(|value| moment(value).ok())).collect()
    }

    /// Send times that lie before `now`: such a variant would leave together with the control.
    pub fn time_problems(&self, now: Timestamp) -> Vec<Problem> {
        let past = |time: &Option<Timestamp>| time.is_some_and(|time| time < now);
        let times = self.send_times();
        let numbers = times.iter().enumerate().filter(|(_, time)| past(time)).map(|(number, _)| number);
        numbers.map(|number| Problem::of(&format!("variants[{number}].value"), "this send time has passed; write a later one")).collect()
    }

    /// The earliest send time of a test of send times.
    pub fn first_send_time(&self) -> Option<Timestamp> {
        self.send_times().into_iter().flatten().min()
    }

    /// When the rest may get the variant that was `chosen_at` a moment: in a test of send times when its time comes round again, by the day,
    /// or by the week where the variants' times lie a day or more apart; `sent_at` is the time of a variant that left at once. None: at once.
    pub fn time_for_rest(&self, variant: VariantNumber, sent_at: Timestamp, chosen_at: Timestamp) -> Option<Timestamp> {
        if self.element != Element::SendTime {
            return None;
        }
        let times: Vec<i64> = self.send_times().into_iter().map(|time| time.unwrap_or(sent_at).as_second()).collect();
        let time = *times.get(usize::from(variant.0))?;
        let (first, last) = (times.iter().min()?, times.iter().max()?);
        let round = if last - first < DAY { DAY } else { 7 * DAY };
        let late = (chosen_at.as_second() - time).max(0);
        Timestamp::from_second(time + (late + round - 1) / round * round).ok()
    }

    /// Everything that keeps this campaign from being launched. `fields` are the merge fields people of the list have; without
    /// them (the list is not there yet) merge fields are not checked.
    pub fn problems(&self, fields: Option<&BTreeSet<String>>) -> Vec<Problem> {
        let mut problems = self.name_problems();
        problems.extend(self.design.faults().into_iter().map(|fault| Problem::of(design_key(&fault), fault)));
        problems.extend(self.variant_problems());
        if self.options.language.as_deref().is_some_and(|language| !is_language(language)) {
            problems.push(Problem::of("letter.language", "this is no language tag; write for example de, fr or pt-BR"));
        }
        if self.newsletter.subject.trim().is_empty() {
            problems.push(Problem::of("letter.subject", "the letter needs a subject"));
        }
        if self.newsletter.sender_name.trim().is_empty() {
            problems.push(Problem::of("sender.name", "the sender needs a name"));
        }
        match self.arms() {
            Err(more) => problems.extend(more),
            Ok(arms) => {
                problems.extend(self.difference_problems(&arms));
                problems.extend(self.content_problems(&arms));
                if let Some(fields) = fields {
                    problems.extend(field_problems(&arms, fields, &self.list));
                }
            }
        }
        problems
    }

    fn name_problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let good = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
        if self.name.is_empty() || self.name.len() > 80 || !self.name.chars().all(good) {
            problems.push(Problem::of("name", "a campaign's name is 1 to 80 letters (a–z), digits, hyphens, dots or underscores"));
        }
        if self.list.is_empty() {
            problems.push(Problem::of("list", "name the list to mail"));
        }
        let addresses = [("sender.address", Some(&self.sender.address)), ("sender.reply_to", self.sender.reply_to.as_ref())];
        for (key, address) in addresses {
            if let Some(address) = address
                && !plausible_address(address)
            {
                problems.push(Problem::of(key, NO_ADDRESS));
            }
        }
        problems
    }

    fn variant_problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (number, variant) in self.variants.iter().enumerate().skip(1) {
            if !self.design.same_letters && variant.letter.is_none() && variant.value.as_deref().is_none_or(|value| value.trim().is_empty())
            {
                problems
                    .push(Problem::of(&format!("variants[{number}].value"), format!("give this variant its value for {}", self.element)));
            }
        }
        problems
    }

    /// Two variants that come out alike are no test, unless alike is what is tested; more links than a token can number cannot be tracked.
    fn difference_problems(&self, arms: &[Arm]) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (index, arm) in arms.iter().enumerate() {
            let links = arm.letter.links().len();
            // The last number is the trap link's.
            if links >= usize::from(LINKS_MAX) {
                let most = LINKS_MAX - 1;
                problems.push(Problem::of("letter.text", format!("the letter has {links} links; at most {most} can be tracked")));
            }
            if self.design.same_letters {
                if arms.first().is_some_and(|first| !first.is_like(arm)) {
                    let message = "same_letters asks for the same letter in every arm; take this value away, or write same_letters = false";
                    problems.push(Problem::of(&format!("variants[{index}].value"), message));
                }
            } else if let Some(twin) = arms.iter().take(index).find(|other| other.is_like(arm)) {
                let message = format!("variant {} is the same letter as variant {}; a test needs a difference", arm.variant, twin.variant);
                problems.push(Problem::of(&format!("variants[{index}].value"), message));
            }
        }
        problems
    }

    /// A letter without anything to read tests nothing, and one without a tracked link has no clicks to compare.
    fn content_problems(&self, arms: &[Arm]) -> Vec<Problem> {
        let needs_link = self.design.metric == Metric::Click;
        let is_blank = |arm: &Arm| arm.letter.is_blank();
        let is_dead = |arm: &Arm| needs_link && !is_blank(arm) && arm.letter.links().is_empty();
        let mut problems = self.of_arms(arms, is_blank, "is empty: it has neither text nor picture; write what people shall read");
        let dead = "has no link whose clicks can be counted, and the metric is click; add a link to an http or https address, or compare by \
                    opens (metric = \"open\")";
        problems.extend(self.of_arms(arms, is_dead, dead));
        problems
    }

    /// The same words about each variant they hold for, or once about the letter where they hold for all.
    fn of_arms(&self, arms: &[Arm], holds: impl Fn(&Arm) -> bool, words: &str) -> Vec<Problem> {
        let found: Vec<&Arm> = arms.iter().filter(|arm| holds(arm)).collect();
        if !found.is_empty() && found.len() == arms.len() {
            return vec![Problem::of("letter.text", format!("the letter {words}"))];
        }
        let key = |arm: &Arm| self.variants.get(usize::from(arm.variant.0)).map(|variant| letter_key(arm.variant.0, variant));
        found
            .iter()
            .map(|arm| Problem::of(&key(arm).unwrap_or_default(), format!("the letter of variant {} {words}", arm.variant)))
            .collect()
    }

    /// The value of the tested element in each variant, for people to read.
    pub fn shown_values(&self) -> Vec<String> {
        self.variants
            .iter()
            .map(|variant| match (&variant.value, &self.element) {
                (Some(value), _) => value.clone(),
                (None, Element::Subject) => self.newsletter.subject.clone(),
                (None, Element::Preheader) => self.newsletter.preheader.clone(),
                (None, Element::SenderName) => self.newsletter.sender_name.clone(),
                (None, Element::ReplyTo) => self.sender.reply_to.as_ref().unwrap_or(&self.sender.address).clone(),
                (None, Element::SendTime) => "at launch".to_owned(),
                (None, Element::Block { facet: Facet::Presence, .. }) => "present".to_owned(),
                (None, Element::Block { .. } | Element::Found(_)) => "as written".to_owned(),
            })
            .collect()
    }
}

/// The key in the file that a variant's letter is made by.
fn letter_key(number: u8, variant: &Variant) -> String {
    if variant.letter.is_some() {
        format!("variants[{number}].text")
    } else if variant.value.is_some() {
        format!("variants[{number}].value")
    } else {
        "letter.text".to_owned()
    }
}

/// Seconds.
const DAY: i64 = 24 * 60 * 60;
const NO_ADDRESS: &str = "this is not an e-mail address; write news@example.org";

/// A moment with its offset from UTC: a time without one means something else on every server.
///
/// # Errors
/// What to write instead.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    let why = |_| format!("'{}' is no moment; write it with its offset from UTC, for example 2026-12-01T09:00:00+01:00", text.trim());
    text.trim().parse().map_err(why)
}

/// Deeper checking is the vault's, for people's addresses; the sender's own only has to look like one.
fn plausible_address(address: &str) -> bool {
    let plain = |text: &str| !text.is_empty() && !text.chars().any(|character| character.is_whitespace() || character.is_control());
    address.rsplit_once('@').is_some_and(|(local, domain)| plain(local) && plain(domain) && domain.contains('.') && !local.contains('@'))
}

const fn design_key(fault: &InvalidDesign) -> &'static str {
    match fault {
        InvalidDesign::Arms(_) | InvalidDesign::Weight(_) => "variants",
        InvalidDesign::Share(_) => "test.share",
        InvalidDesign::Significance(_) => "test.significance",
        InvalidDesign::Observe(_) => "test.observe_hours",
        InvalidDesign::Lift(_) => "test.planned_lift",
        InvalidDesign::Holdout(_) => "test.holdout",
        InvalidDesign::Margin { .. } | InvalidDesign::GuardLevel { .. } => "test.guards",
        InvalidDesign::Secondary(_) => "test.secondary",
    }
}

fn field_problems(arms: &[Arm], fields: &BTreeSet<String>, list: &str) -> Vec<Problem> {
    let mut by_message: BTreeMap<String, Problem> = BTreeMap::new();
    for unknown in arms.iter().flat_map(|arm| arm.letter.check_fields(fields)) {
        let hint = unknown.suggestion.as_ref().map(|name| format!("; did you mean {name}?")).unwrap_or_default();
        let message = format!(
            "unknown merge field {{{{ {} }}}} in the {}, line {}: people of list {list} have no such attribute{hint}",
            unknown.field, unknown.part, unknown.line
        );
        by_message.entry(message.clone()).or_insert_with(|| Problem::of("letter", message));
    }
    by_message.into_values().collect()
}

/// SHA-256 over the canonical form of a definition and its seed, in hexadecimal: JSON with keys in declared order, a line feed, and the
/// seed in hexadecimal. What is shown with a result must hash to this.
///
/// # Errors
/// Only if the definition cannot be written as JSON, which numbers that are not finite would cause.
pub fn seal_hash(definition: &Definition, seed: &Seed) -> Result<String, serde_json::Error> {
    let mut hasher = Sha256::new();
    hasher.update(serde_json::to_string(definition)?.as_bytes());
    hasher.update(b"\n");
    hasher.update(data_encoding::HEXLOWER.encode(seed).as_bytes());
    Ok(data_encoding::HEXLOWER.encode(&hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::file;

    /// A test of send times: the control at launch, and others.
    fn about_times(times: &[&str]) -> Definition {
        let variants: String = times.iter().map(|time| format!("\n[[variants]]\nvalue = \"{time}\"\n")).collect();
        let text = format!(
            "name = \"t\"\nlist = \"l\"\n[sender]\nname = \"N\"\naddress = \"n@example.org\"\n[letter]\nsubject = \"S\"\ntext = \"Hello\"\n\
             [test]\nelement = \"send_time\"\n[[variants]]\n{variants}"
        );
        file::parse(&text, &|_| Err(String::new())).definition.unwrap()
    }

    #[test]
    fn the_rest_get_a_send_time_when_it_comes_round() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let sent = at("2026-12-01T08:00:00Z");
        let a_day = about_times(&["2026-12-01T14:00:00Z"]);
        let a_week = about_times(&["2026-12-03T08:00:00+01:00"]);
        for (definition, variant, chosen, expected) in [
            (&a_day, 0, "2026-12-04T09:30:00Z", "2026-12-05T08:00:00Z"),
            (&a_day, 1, "2026-12-04T09:30:00Z", "2026-12-04T14:00:00Z"),
            (&a_day, 1, "2026-12-04T14:00:00Z", "2026-12-04T14:00:00Z"),
            (&a_week, 0, "2026-12-04T09:30:00Z", "2026-12-08T08:00:00Z"),
            (&a_week, 1, "2026-12-04T09:30:00Z", "2026-12-10T07:00:00Z"),
        ] {
            assert_eq!(definition.time_for_rest(VariantNumber(variant), sent, at(chosen)), Some(at(expected)), "{variant} {chosen}");
        }
        assert_eq!(a_day.time_for_rest(VariantNumber(2), sent, sent), None);
        let other = Definition { element: Element::Subject, ..a_day };
        assert_eq!(other.time_for_rest(VariantNumber(1), sent, at("2026-12-04T09:30:00Z")), None);
    }
}
