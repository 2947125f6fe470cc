//! A campaign's form and its file are one thing: what is typed becomes the file's text and is judged as a file is; what a draft says
//! becomes form and text again.
//!
//! Cast: [`Typed`] (a form read: text and what could not even be written as one),
//! [`place`] (problems to the fields they are about).

use crate::app::letters::letter_name;
use crate::campaign::definition::Definition;
use crate::campaign::file::Problem;
use crate::experiment::design::{Design, Method};
use crate::web::admin::campaign_text::{CampaignText, LetterText, LinksText, SenderText, TestText, VariantText};
use crate::web::admin::draft_letters::{self, WHOLE};
use crate::web::form::Fields;
use crate::web::view::campaign_form::{NewCampaignView, VariantInput, body_formats, elements, image_ways, methods, metrics, rules};
use crate::web::view::people::recording_modes;
use crate::web::view::{Choices, Field};

/// Variants a test may have, and the form has room for.
pub const VARIANTS_MOST: usize = 8;

/// A form read.
#[derive(Debug)]
pub struct Typed {
    /// The file it amounts to.
    pub text: CampaignText,
    /// What could not be written as a number.
    pub problems: Vec<Problem>,
    /// Which variant each of the form's rows became; rows left empty became none.
    rows: Vec<usize>,
    /// Whether variants bring whole letters instead of values.
    pub is_whole: bool,
}

impl Typed {
    /// What the form calls its variants: where a row was left empty, a letter is passed over.
    pub fn names(&self) -> Vec<char> {
        self.rows.iter().map(|row| letter_name(row - 1)).collect()
    }
}

/// Reads a form. What the form does not ask for (secondary metrics, guards, the same letter in every arm, the trap link) stays as it was `before`.
pub fn read(fields: &Fields, before: Option<&Definition>) -> Typed {
    let mut problems = Vec::new();
    let is_whole = fields.get("element") == WHOLE;
    let share = per_cent(fields.trimmed("test_share"), "test.share", &mut problems);
    let significance = per_cent(fields.trimmed("level"), "test.significance", &mut problems);
    let observe_hours = whole(fields.trimmed("hours"), "test.observe_hours", 72, &mut problems);
    let method = Some(fields.trimmed("method")).filter(|word| !word.is_empty()).unwrap_or(Method::Fixed.as_str()).to_owned();
    let mut unless_empty = |name: &str, key: &str, otherwise: f64| match fields.trimmed(name) {
        "" => otherwise,
        text => per_cent(text, key, &mut problems),
    };
    let holdout = unless_empty("holdout", "test.holdout", 0.0);
    let planned_lift = unless_empty("planned_lift", "test.planned_lift", Design::default().planned_lift);
    let kept = before.map(|definition| CampaignText::of(definition).test);
    let (same_letters, secondary, guards) = kept.map(|test| (test.same_letters, test.secondary, test.guards)).unwrap_or_default();
    // A secondary metric that has become the primary one is no longer secondary.
    let secondary = secondary.into_iter().filter(|metric| metric != fields.trimmed("metric")).collect();
    let mut variants = Vec::new();
    let mut rows = Vec::new();
    for row in 1..=VARIANTS_MOST {
        let value = lines(fields.get(&format!("variant_{row}_value")));
        let is_control = row == 1;
        let letter = if is_whole && !is_control { draft_letters::read(fields, row) } else { None };
        let is_empty = if is_whole { letter.is_none() } else { value.trim().is_empty() };
        if is_empty && row > 2 {
            continue;
        }
        if is_whole && is_empty && !is_control {
            let message = "paste or choose the letter of this variant, or write what is different in it";
            problems.push(Problem::of("variants[1].text", message));
        }
        let weight = fields.trimmed(&format!("variant_{row}_weight"));
        let key = format!("variants[{}].weight", variants.len());
        let weight = if weight.is_empty() { 1 } else { whole(weight, &key, 1, &mut problems) };
        let may_be_empty = is_control || same_letters;
        let value = Some(value).filter(|value| !(is_whole || may_be_empty && value.trim().is_empty()));
        rows.push(row);
        variants.push(VariantText { value, weight, letter });
    }
    let (element, block) = match fields.get("element") {
        "sender-name" => ("sender_name", None),
        "reply-to" => ("reply_to", None),
        "send-time" => ("send_time", None),
        // It is found by the comparison.
        WHOLE => ("", None),
        other => match other.strip_prefix("block-") {
            Some(facet) => (facet, Some(fields.trimmed("block").to_owned())),
            None => (other, None),
        },
    };
    let text = |name: &str| fields.trimmed(name).to_owned();
    let filled = |name: &str| Some(text(name)).filter(|text| !text.is_empty());
    let text = CampaignText {
        name: text("name"),
        list: text("list"),
        recording: text("mode"),
        trap_link: before.is_some_and(|definition| definition.trap_link),
        sender: SenderText {
            name: text("sender_name"),
            address: text("sender_address"),
            reply_to: Some(text("reply_to")).filter(|text| !text.is_empty()),
        },
        letter: LetterText {
            subject: text("subject"),
            preheader: text("preheader"),
            format: text("format"),
            language: filled("language"),
            images: (fields.get("images") == "inline").then(|| "inline".to_owned()),
            text: lines(fields.get("body")),
        },
        links: LinksText { utm_source: filled("utm_source"), utm_medium: filled("utm_medium"), utm_campaign: filled("utm_campaign") },
        test: TestText {
            element: element.to_owned(),
            block,
            metric: text("metric"),
            share,
            significance,
            observe_hours,
            rule: text("rule"),
            method,
            planned_lift,
            holdout,
            same_letters,
            secondary,
            guards,
        },
        variants,
    };
    Typed { text, problems, rows, is_whole }
}

/// Browsers send line ends as carriage return and line feed.
pub fn lines(text: &str) -> String {
    text.replace("\r\n", "\n")
}

fn per_cent(text: &str, key: &str, problems: &mut Vec<Problem>) -> f64 {
    match text.trim_end_matches('%').trim().replace(',', ".").parse::<f64>() {
        Ok(number) if number.is_finite() => number / 100.0,
        _ => {
            problems.push(Problem::of(key, "write a number of per cent, such as 5"));
            0.05
        }
    }
}

fn whole(text: &str, key: &str, otherwise: u32, problems: &mut Vec<Problem>) -> u32 {
    text.parse().unwrap_or_else(|_| {
        problems.push(Problem::of(key, "write a whole number"));
        otherwise
    })
}

/// The form as it was sent, with nothing lost.
pub fn refill(view: &mut NewCampaignView, fields: &Fields) {
    let field = |name: &str| Field::new(fields.get(name));
    choose(&mut view.list, fields.get("list"));
    view.name = field("name");
    view.sender_name = field("sender_name");
    view.sender_address = field("sender_address");
    view.reply_to = field("reply_to");
    view.subject = field("subject");
    view.preheader = field("preheader");
    view.format = body_formats(fields.get("format"));
    view.language = field("language");
    view.images = image_ways(fields.get("images"));
    view.utm_source = field("utm_source");
    view.utm_medium = field("utm_medium");
    view.utm_campaign = field("utm_campaign");
    view.body = Field::new(&lines(fields.get("body")));
    view.mode = recording_modes(fields.get("mode"));
    view.element = elements(fields.get("element"));
    view.block = field("block");
    view.test_share = field("test_share");
    view.metric = metrics(fields.get("metric"));
    view.level = field("level");
    view.hours = field("hours");
    view.method = methods(fields.get("method"));
    view.holdout = field("holdout");
    view.planned_lift = field("planned_lift");
    view.rule = rules(fields.get("rule"));
    view.variants = (1..=VARIANTS_MOST)
        .map(|row| {
            let value = lines(fields.get(&format!("variant_{row}_value")));
            let input = variant(row, &value, fields.get(&format!("variant_{row}_weight")));
            VariantInput { whole: draft_letters::refill(fields, row), ..input }
        })
        .collect();
}

fn variant(number: usize, value: &str, weight: &str) -> VariantInput {
    let letter = letter_name(number - 1).to_string();
    VariantInput { number, letter, value: Field::new(value), weight: Field::new(weight), ..VariantInput::default() }
}

fn choose(choices: &mut Choices, value: &str) {
    for choice in &mut choices.options {
        choice.chosen = choice.value == value;
    }
}

/// A draft as a form.
pub fn fill(view: &mut NewCampaignView, definition: &Definition) {
    let text = CampaignText::of(definition);
    choose(&mut view.list, &text.list);
    view.name = Field::new(&text.name);
    view.sender_name = Field::new(&text.sender.name);
    view.sender_address = Field::new(&text.sender.address);
    view.reply_to = Field::new(text.sender.reply_to.as_deref().unwrap_or_default());
    view.subject = Field::new(&text.letter.subject);
    view.preheader = Field::new(&text.letter.preheader);
    view.format = body_formats(&text.letter.format);
    view.language = Field::new(text.letter.language.as_deref().unwrap_or_default());
    view.images = image_ways(text.letter.images.as_deref().unwrap_or("linked"));
    view.utm_source = Field::new(text.links.utm_source.as_deref().unwrap_or_default());
    view.utm_medium = Field::new(text.links.utm_medium.as_deref().unwrap_or_default());
    view.utm_campaign = Field::new(text.links.utm_campaign.as_deref().unwrap_or_default());
    view.body = Field::new(&text.letter.text);
    view.mode = recording_modes(&text.recording);
    let element = match (text.test.element.as_str(), &text.test.block) {
        ("sender_name", _) => "sender-name".to_owned(),
        ("reply_to", _) => "reply-to".to_owned(),
        ("send_time", _) => "send-time".to_owned(),
        (facet, Some(_)) => format!("block-{facet}"),
        ("", None) => WHOLE.to_owned(),
        (other, None) => other.to_owned(),
    };
    view.element = elements(&element);
    view.block = Field::new(text.test.block.as_deref().unwrap_or_default());
    view.test_share = Field::new(&in_per_cent(text.test.share));
    view.metric = metrics(&text.test.metric);
    view.level = Field::new(&in_per_cent(text.test.significance));
    view.hours = Field::new(&text.test.observe_hours.to_string());
    view.method = methods(&text.test.method);
    view.holdout = Field::new(&in_per_cent(text.test.holdout));
    view.planned_lift = Field::new(&in_per_cent(text.test.planned_lift));
    view.rule = rules(&text.test.rule);
    view.variants = (1..=VARIANTS_MOST)
        .map(|row| match text.variants.get(row - 1) {
            Some(known) => {
                let input = variant(row, known.value.as_deref().unwrap_or_default(), &known.weight.to_string());
                // The control is the form's own letter.
                let whole = known.letter.as_ref().filter(|_| row > 1).map(|whole| draft_letters::fill(whole, &text)).unwrap_or_default();
                VariantInput { whole, ..input }
            }
            None => variant(row, "", "1"),
        })
        .collect();
    view.toml = Field::new(&text.write());
}

/// A fraction in per cent, without digits that only the computer knows.
fn in_per_cent(fraction: f64) -> String {
    let text = format!("{:.6}", fraction * 100.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Puts each problem beside the field it is about; what belongs to none stands above the form.
pub fn place(view: &mut NewCampaignView, typed: &Typed, problems: &[Problem]) {
    for problem in problems {
        // Where no letter was brought, that is said at the letter.
        if typed.is_whole && problem.key == "test.element" {
            continue;
        }
        // The form asks for per cent, the file for fractions.
        let message = match problem.key.as_str() {
            "test.share" => "Write more than 0 and at most 100 per cent",
            "test.holdout" => "Write 0 to below 100 per cent; together with the share in the test at most 100",
            "test.planned_lift" => "Write a relative difference above 0 per cent; 20 is a fifth more",
            "test.significance" => "Write 0.01 to 20 per cent; 5 is usual",
            _ => &problem.message,
        };
        let place = match problem.key.as_str() {
            "name" => Some(&mut view.name.error),
            "list" => Some(&mut view.list.error),
            "recording" => Some(&mut view.mode.error),
            "sender.name" => Some(&mut view.sender_name.error),
            "sender.address" => Some(&mut view.sender_address.error),
            "sender.reply_to" => Some(&mut view.reply_to.error),
            "letter.subject" => Some(&mut view.subject.error),
            "letter.preheader" => Some(&mut view.preheader.error),
            "letter.format" => Some(&mut view.format.error),
            "letter.language" => Some(&mut view.language.error),
            "letter.images" => Some(&mut view.images.error),
            "letter" if message.contains(" in the subject,") => Some(&mut view.subject.error),
            "letter" if message.contains(" in the preheader,") => Some(&mut view.preheader.error),
            "letter" | "letter.text" | "variants[0].text" | "row[1].body" => Some(&mut view.body.error),
            "test.element" => Some(&mut view.element.error),
            "test.block" => Some(&mut view.block.error),
            "test.metric" => Some(&mut view.metric.error),
            "test.share" => Some(&mut view.test_share.error),
            "test.significance" => Some(&mut view.level.error),
            "test.observe_hours" => Some(&mut view.hours.error),
            "test.method" => Some(&mut view.method.error),
            "test.holdout" => Some(&mut view.holdout.error),
            "test.planned_lift" => Some(&mut view.planned_lift.error),
            "test.rule" => Some(&mut view.rule.error),
            key => variant_place(&mut view.variants, typed, key),
        };
        match place {
            Some(place) => match place {
                Some(before) => before.push_str(&format!(" {}", sentence(message))),
                None => *place = Some(sentence(message)),
            },
            None => view.errors.push(sentence(message)),
        }
    }
}

fn variant_place<'a>(inputs: &'a mut [VariantInput], typed: &Typed, key: &str) -> Option<&'a mut Option<String>> {
    let (row, facet) = match key.strip_prefix("row[") {
        Some(rest) => rest.split_once("].").and_then(|(row, facet)| Some((row.parse::<usize>().ok()?, facet)))?,
        None => {
            let (index, facet) = key.strip_prefix("variants[")?.split_once("].")?;
            (*typed.rows.get(index.parse::<usize>().ok()?)?, facet)
        }
    };
    let input = inputs.get_mut(row.checked_sub(1)?)?;
    Some(match facet {
        "weight" => &mut input.weight.error,
        "subject" => &mut input.whole.subject.error,
        "preheader" => &mut input.whole.preheader.error,
        "sender_name" => &mut input.whole.sender_name.error,
        _ if typed.is_whole => &mut input.whole.body.error,
        _ => &mut input.value.error,
    })
}

fn sentence(message: &str) -> String {
    let mut characters = message.chars();
    let text: String = characters.next().map_or(String::new(), |first| first.to_uppercase().chain(characters).collect());
    if text.ends_with(['.', '!', '?']) { text } else { format!("{text}.") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::file;
    use crate::web::view::Page;

    fn form(changes: &[(&str, &str)]) -> Fields {
        let mut pairs = vec![
            ("name", "spring"),
            ("list", "customers"),
            ("mode", "pseudonymous"),
            ("sender_name", "Fern"),
            ("sender_address", "a@example.org"),
            ("reply_to", ""),
            ("subject", "Hello \"you\""),
            ("preheader", ""),
            ("format", "markdown"),
            ("body", "Hi\r\n\r\n'''three''' \\ quotes\""),
            ("language", "de"),
            ("images", "inline"),
            ("utm_source", "shop"),
            ("element", "subject"),
            ("block", ""),
            ("variant_1_value", ""),
            ("variant_1_weight", "1"),
            ("variant_2_value", "Good day"),
            ("variant_2_weight", "2"),
            ("variant_3_value", ""),
            ("variant_3_weight", "1"),
            ("variant_4_value", "Hey"),
            ("variant_4_weight", "1"),
            ("test_share", "33.3"),
            ("metric", "click"),
            ("level", "5"),
            ("hours", "48"),
            ("rule", "automatic"),
        ];
        for (name, value) in changes {
            pairs.retain(|(known, _)| known != name);
            pairs.push((name, value));
        }
        let text: Vec<String> = pairs
            .iter()
            .map(|(name, value)| format!("{name}={}", value.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>()))
            .collect();
        Fields::parse(&text.join("&")).unwrap()
    }

    #[test]
    fn what_is_typed_reads_back_as_the_same_campaign_and_fills_the_same_form() {
        let typed = read(&form(&[]), None);
        assert_eq!(typed.problems, vec![]);
        let definition = file::read(&typed.text.write(), &|_| Err("no".to_owned())).unwrap();
        assert_eq!(definition.newsletter.subject, "Hello \"you\"");
        assert_eq!(definition.newsletter.body.source, "Hi\n\n'''three''' \\ quotes\"");
        assert_eq!(definition.design.weights, vec![1, 2, 1], "the empty third row is no variant");
        assert!((definition.design.share - 0.333).abs() < 1e-12);
        assert_eq!(definition.variants[0].value, None);
        let options = &definition.options;
        assert_eq!((options.language.as_deref(), options.inline_images), (Some("de"), true));
        let utm = options.utm.as_ref().unwrap();
        assert_eq!((utm.source.as_str(), utm.medium.as_str(), utm.campaign.as_str()), ("shop", "email", "spring"));
        let again = file::read(&CampaignText::of(&definition).write(), &|_| Err("no".to_owned())).unwrap();
        assert_eq!(again, definition);
        let mut view = NewCampaignView::empty(Page::default(), &[]);
        fill(&mut view, &definition);
        assert_eq!((view.test_share.value.as_str(), view.level.value.as_str(), view.variants.len()), ("33.3", "5", 8));
    }

    #[test]
    fn what_the_form_does_not_ask_for_survives_it() {
        let text = file::template()
            .replace("share = 1.0 ", "share = 0.5 ")
            .replace("holdout = 0.0", "holdout = 0.1")
            .replace("method = \"fixed\"", "method = \"anytime\"")
            .replace("{ margin = 0.005 }", "{ margin = 0.02 }\nguards.bounce = { off = true }");
        let load = |_: &str| Err("no".to_owned());
        let before = file::read(&text, &load).unwrap();
        assert_eq!(file::read(&CampaignText::of(&before).write(), &load).unwrap(), before);
        let typed = read(&form(&[("method", "anytime"), ("holdout", "10"), ("planned_lift", "30"), ("test_share", "50")]), Some(&before));
        let design = file::read(&typed.text.write(), &load).unwrap().design;
        assert_eq!((design.guards, design.secondary), (before.design.guards, before.design.secondary));
        assert_eq!((design.method, design.holdout, design.planned_lift), (Method::Anytime, 0.1, 0.3));
        let mut view = NewCampaignView::empty(Page::default(), &[]);
        let fields = form(&[("holdout", "80")]);
        let typed = read(&fields, None);
        let problems = file::read(&typed.text.write(), &load).unwrap().problems(None);
        refill(&mut view, &fields);
        place(&mut view, &typed, &problems);
        assert!(view.holdout.error.is_some(), "{problems:?}");
    }

    #[test]
    fn every_element_of_the_form_is_read_and_filled_in_again() {
        for choice in elements("").options {
            // Letters of as many paragraphs as the form's own, for where whole ones are brought.
            let brought = [2, 4].map(|row| (format!("variant_{row}_body"), format!("Hi {row}\n\n'''three''' \\ quotes\"")));
            let mut changes = vec![("element", choice.value.as_str()), ("block", ".part")];
            changes.extend(brought.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            let fields = form(&changes);
            let definition = file::read(&read(&fields, None).text.write(), &|_| Err("no".to_owned())).unwrap();
            let mut view = NewCampaignView::empty(Page::default(), &[]);
            fill(&mut view, &definition);
            let chosen: Vec<&str> =
                view.element.options.iter().filter(|option| option.chosen).map(|option| option.value.as_str()).collect();
            assert_eq!(chosen, [choice.value.as_str()]);
        }
    }

    #[test]
    fn each_complaint_stands_at_its_field() {
        let fields = form(&[("test_share", "many"), ("variant_4_value", "Good day"), ("name", "two words"), ("element", "block-text")]);
        let typed = read(&fields, None);
        let mut problems = typed.problems.clone();
        match file::read(&typed.text.write(), &|_| Err("no".to_owned())) {
            Ok(definition) => problems.extend(definition.problems(None)),
            Err(more) => problems.extend(more),
        }
        let mut view = NewCampaignView::empty(Page::default(), &[]);
        refill(&mut view, &fields);
        place(&mut view, &typed, &problems);
        assert!(view.test_share.error.is_some() && view.block.error.is_some(), "{problems:?}");
        assert_eq!(view.test_share.value, "many", "what was typed stays");
        let fields = form(&[("variant_4_value", "Good day"), ("name", "two words")]);
        let typed = read(&fields, None);
        let problems = file::read(&typed.text.write(), &|_| Err("no".to_owned())).unwrap().problems(None);
        let mut view = NewCampaignView::empty(Page::default(), &[]);
        refill(&mut view, &fields);
        place(&mut view, &typed, &problems);
        assert!(view.name.error.is_some());
        assert!(view.variants[3].value.error.as_deref().is_some_and(|error| error.contains("same letter")), "{problems:?}");
        assert!(view.variants[2].value.error.is_none());
    }
}
