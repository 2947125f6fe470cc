//! The form for a new campaign: everything typed survives an error, and every complaint stands at its field.
//!
//! Cast: [`NewCampaignView`], [`VariantInput`], [`WholeInput`], and the options of its choices ([`body_formats`], [`image_ways`], [`elements`], [`metrics`], [`methods`], [`rules`]).
//! It never validates: the caller puts complaints into the fields.

use super::{Choice, Choices, Field, Page};

/// One variant in the form: posted as `variant_1_value`, `variant_1_weight` and so on.
#[derive(Debug, Clone, Default)]
pub struct VariantInput {
    /// 1 to 8.
    pub number: usize,
    /// A to H.
    pub letter: String,
    /// What the varied element is in this variant.
    pub value: Field,
    /// Whole number, its share of the test relative to the others.
    pub weight: Field,
    /// Its letter, where variants bring whole ones.
    pub whole: WholeInput,
}

impl VariantInput {
    /// Whether nothing was typed into it.
    pub fn is_unused(&self) -> bool {
        let whole = [&self.whole.subject, &self.whole.preheader, &self.whole.sender_name, &self.whole.body];
        whole.into_iter().chain([&self.value]).all(|field| field.value.is_empty() && field.error.is_none())
    }
}

/// A variant's whole letter: posted as `variant_2_subject` and so on, or as the file `variant_2_file`. Empty is as in the control.
#[derive(Debug, Clone)]
pub struct WholeInput {
    /// The subject line.
    pub subject: Field,
    /// The preheader.
    pub preheader: Field,
    /// The sender's name.
    pub sender_name: Field,
    /// How it is written: [`letter_formats`].
    pub format: Choices,
    /// Its source.
    pub body: Field,
}

impl Default for WholeInput {
    fn default() -> Self {
        let empty = Field::default;
        Self { subject: empty(), preheader: empty(), sender_name: empty(), format: letter_formats(""), body: empty() }
    }
}

/// What became of the tags of other systems.
#[derive(Debug, Clone, Default)]
pub struct RewritingView {
    /// Where, as it was, as it is.
    pub rewritten: Vec<(String, String, String)>,
    /// Where, tag, why.
    pub left: Vec<(String, String, String)>,
}

/// Form for a new campaign or a draft.
#[derive(Debug, Clone, Default, askama::Template)]
#[template(path = "admin/campaign_new.html")]
pub struct NewCampaignView {
    /// The frame.
    pub page: Page,
    /// Heading.
    pub title: String,
    /// Where the form is posted.
    pub form_url: String,
    /// Where a file is posted.
    pub file_url: String,
    /// Where the form is posted to have foreign tags rewritten.
    pub rewrite_url: String,
    /// Where the form is posted to have its whole letters compared.
    pub compare_url: String,
    /// Where cancelling leads.
    pub back_url: String,
    /// `name`.
    pub name: Field,
    /// `list`.
    pub list: Choices,
    /// `sender_name`.
    pub sender_name: Field,
    /// `sender_address`.
    pub sender_address: Field,
    /// `reply_to`, may be empty.
    pub reply_to: Field,
    /// `subject`.
    pub subject: Field,
    /// `preheader`.
    pub preheader: Field,
    /// `format`: [`body_formats`].
    pub format: Choices,
    /// `body`.
    pub body: Field,
    /// `language`, may be empty.
    pub language: Field,
    /// `images`: [`image_ways`].
    pub images: Choices,
    /// `utm_source`, may be empty.
    pub utm_source: Field,
    /// `utm_medium`, may be empty.
    pub utm_medium: Field,
    /// `utm_campaign`, may be empty.
    pub utm_campaign: Field,
    /// In what its whole letters differ, when that was asked for or keeps them from being stored.
    pub comparison: Option<super::comparison::ComparisonView>,
    /// What became of the tags of other systems, when that was asked for.
    pub rewriting: Option<RewritingView>,
    /// `mode`: see [`super::people::recording_modes`].
    pub mode: Choices,
    /// `element`: [`elements`].
    pub element: Choices,
    /// `block`, for the elements that are part of the body.
    pub block: Field,
    /// Always eight; all but the first two may stay empty.
    pub variants: Vec<VariantInput>,
    /// `test_share`, per cent of the list.
    pub test_share: Field,
    /// `metric`: [`metrics`].
    pub metric: Choices,
    /// `level`, per cent.
    pub level: Field,
    /// `hours` of observation.
    pub hours: Field,
    /// `method`: [`methods`].
    pub method: Choices,
    /// `holdout`, per cent of the list.
    pub holdout: Field,
    /// `planned_lift`, per cent.
    pub planned_lift: Field,
    /// `rule`: [`rules`].
    pub rule: Choices,
    /// `toml`: the file's text as pasted, with its complaint (file, key, line).
    pub toml: Field,
    /// Complaints about the whole, for example that two variants are equal.
    pub errors: Vec<String>,
}

impl NewCampaignView {
    /// An empty form with the usual settings. `lists` are `(value, label)`.
    pub fn empty(page: Page, lists: &[(String, String)]) -> Self {
        let list = Choices {
            options: lists
                .iter()
                .map(|(value, label)| Choice { value: value.clone(), label: label.clone(), hint: String::new(), chosen: false })
                .collect(),
            error: None,
        };
        Self {
            page,
            list,
            format: body_formats("markdown"),
            images: image_ways("linked"),
            mode: super::people::recording_modes("pseudonymous"),
            element: elements("subject"),
            variants: ["A", "B", "C", "D", "E", "F", "G", "H"]
                .iter()
                .enumerate()
                .map(|(index, letter)| VariantInput {
                    number: index + 1,
                    letter: (*letter).to_owned(),
                    value: Field::default(),
                    weight: Field::new("1"),
                    whole: WholeInput::default(),
                })
                .collect(),
            test_share: Field::new("100"),
            metric: metrics("click"),
            level: Field::new("5"),
            hours: Field::new("48"),
            method: methods("fixed"),
            holdout: Field::new("0"),
            planned_lift: Field::new("20"),
            rule: rules("hand"),
            ..Self::default()
        }
    }

    /// How many fields or choices have a complaint.
    pub fn complaints(&self) -> usize {
        let fields = [
            &self.name,
            &self.sender_name,
            &self.sender_address,
            &self.reply_to,
            &self.subject,
            &self.preheader,
            &self.body,
            &self.language,
            &self.block,
            &self.test_share,
            &self.level,
            &self.hours,
            &self.holdout,
            &self.planned_lift,
            &self.toml,
        ];
        let choices = [&self.list, &self.format, &self.images, &self.mode, &self.element, &self.metric, &self.method, &self.rule];
        let variants = self.variants.iter().flat_map(|variant| {
            let whole = &variant.whole;
            [&variant.value, &variant.weight, &whole.subject, &whole.preheader, &whole.sender_name, &whole.body]
        });
        fields.into_iter().chain(variants).filter(|field| field.error.is_some()).count()
            + choices.into_iter().filter(|choice| choice.error.is_some()).count()
            + self.errors.len()
    }
}

/// Formats of the letter's source, `chosen` marked.
pub fn body_formats(chosen: &str) -> Choices {
    let options = Choice::several(
        &[
            ("markdown", "Markdown", "Plain text with a little structure."),
            ("mjml", "MJML", "Responsive e-mail markup; name a block with data-block."),
            ("html", "HTML", "A finished page; name a block with its id or data-block."),
        ],
        chosen,
    );
    Choices { options, error: None }
}

/// How a variant's whole letter is written, `chosen` marked.
pub fn letter_formats(chosen: &str) -> Choices {
    let options = [("", "As A", ""), ("markdown", "Markdown", ""), ("mjml", "MJML", ""), ("html", "HTML", "")];
    Choices { options: Choice::several(&options, chosen), error: None }
}

/// How uploaded pictures travel, `chosen` marked.
pub fn image_ways(chosen: &str) -> Choices {
    let chosen = if chosen == "inline" { "inline" } else { "linked" };
    let options = Choice::several(
        &[
            ("linked", "Linked", "Loaded from here when the letter is read. The usual way; the letter stays small."),
            ("inline", "Inside the message", "Seen without loading anything; every letter carries the pictures."),
        ],
        chosen,
    );
    Choices { options, error: None }
}

/// The elements that may vary, `chosen` marked. Those beginning with `block-` need the address of a part.
pub fn elements(chosen: &str) -> Choices {
    let options = Choice::several(
        &[
            ("subject", "Subject", "The line in the inbox."),
            ("preheader", "Preheader", "The grey text after the subject."),
            ("sender-name", "Sender name", "Who the letter is from."),
            ("reply-to", "Reply-to", "Where answers go."),
            ("send-time", "Send time", "When the letter leaves, with the offset: 2026-12-01T09:00:00+01:00. Empty is at launch."),
            ("block-text", "A part’s text", "One paragraph, heading or button label."),
            ("block-link", "A part’s link", "Where one link or button leads."),
            ("block-style", "A part’s style", "Colours and sizes of one part, or of all that a selector finds."),
            ("block-image", "A part’s image", "Which picture is shown."),
            ("block-presence", "A part’s presence", "Whether it is there: write present or absent."),
            ("block-rule", "A rule of the stylesheet", "For example the font: font-family: Georgia, serif."),
            ("letters", "Found in whole letters", "Each variant brings its finished letter; the one difference is found."),
        ],
        chosen,
    );
    Choices { options, error: None }
}

/// The primary metrics, `chosen` marked.
pub fn metrics(chosen: &str) -> Choices {
    let options = Choice::several(
        &[
            ("click", "Unique clicks", "Recipients with a click by a person. The sturdiest choice."),
            ("open", "Unique opens", "Recipients with an open by a person. Many machines open too; expect to need more people."),
        ],
        chosen,
    );
    Choices { options, error: None }
}

/// When the result is looked at, `chosen` marked.
pub fn methods(chosen: &str) -> Choices {
    let options = Choice::several(
        &[
            ("fixed", "Once, at the end", "Finds a difference with the fewest people; looking earlier decides nothing."),
            ("anytime", "Whenever you like", "Ends by itself as soon as the difference is clear, but needs more people."),
        ],
        chosen,
    );
    Choices { options, error: None }
}

/// What happens when the observation ends, `chosen` marked.
pub fn rules(chosen: &str) -> Choices {
    let options = Choice::several(
        &[
            ("hand", "Somebody chooses", "You look at the result and choose what the rest of the list gets."),
            ("automatic", "By itself", "The rest get the winner; without one, the control."),
        ],
        chosen,
    );
    Choices { options, error: None }
}
