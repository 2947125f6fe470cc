//! What the pages show: one plain struct per page, every value already words or a simple number.
//!
//! Cast: [`Page`] (the frame round every page), [`Field`] and [`Choice`] (form values that survive an error), [`Tone`] (how a badge is
//! coloured, always beside a word), and one file per group of pages: [`account`], [`people`], [`person`], [`campaign`],
//! [`campaign_form`], [`result`], [`status`], [`public`].
//!
//! A view never queries, never reads a clock and never decides: handlers map what the rooms below return into these structs.

pub mod account;
pub mod api;
pub mod assignment;
pub mod band;
pub mod beside;
pub mod campaign;
pub mod campaign_form;
pub mod chart;
pub mod comparison;
pub mod domain;
pub mod format;
pub mod images;
pub mod people;
pub mod person;
pub mod preflight;
pub mod progress;
pub mod public;
pub mod result;
pub mod status;

/// The part of the navigation that is marked as current.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Section {
    /// Campaigns and their results.
    Campaigns,
    /// Lists and people.
    People,
    /// The status page.
    Status,
    /// Nothing marked.
    #[default]
    Elsewhere,
}

/// The frame round a page: title, who is logged in, messages carried over from the last action.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Title of the browser window, without the product's name.
    pub title: String,
    /// Marked in the navigation.
    pub section: Section,
    /// The person logged in. `None` (login, recipients, reviewers) shows no navigation.
    pub account: Option<Account>,
    /// Token that every POST form carries in the hidden field `csrf`.
    pub csrf: String,
    /// Messages above the content, oldest first.
    pub flashes: Vec<Flash>,
}

impl Page {
    /// A page without account, navigation or messages.
    pub fn anonymous(title: &str) -> Self {
        Self { title: title.to_owned(), ..Self::default() }
    }

    /// Whether the navigation marks this section.
    pub fn in_campaigns(&self) -> bool {
        self.section == Section::Campaigns
    }

    /// Whether the navigation marks this section.
    pub fn in_people(&self) -> bool {
        self.section == Section::People
    }

    /// Whether the navigation marks this section.
    pub fn in_status(&self) -> bool {
        self.section == Section::Status
    }
}

/// Who is logged in.
#[derive(Debug, Clone)]
pub struct Account {
    /// Name to greet by.
    pub name: String,
    /// Role in words, for example `administrator`.
    pub role: String,
}

/// How something is coloured. Colour never stands alone: a word or an icon says the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// Without judgement.
    #[default]
    Quiet,
    /// Under way, worth a look.
    Active,
    /// As it should be.
    Good,
    /// Worth a doubt.
    Warn,
    /// Wrong, or stops a verdict.
    Stop,
}

impl Tone {
    /// The suffix of the style class.
    pub fn class(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Active => "active",
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Stop => "stop",
        }
    }
}

/// A short word on a coloured ground.
#[derive(Debug, Clone, Default)]
pub struct Badge {
    /// The word.
    pub word: String,
    /// The ground.
    pub tone: Tone,
}

impl Badge {
    /// A badge from its word and tone.
    pub fn new(word: &str, tone: Tone) -> Self {
        Self { word: word.to_owned(), tone }
    }
}

/// A message above the content, shown once.
#[derive(Debug, Clone)]
pub struct Flash {
    /// `Good`, `Warn` and `Stop` get an icon; `Stop` is announced at once.
    pub tone: Tone,
    /// What happened and, if it failed, what to do.
    pub text: String,
}

/// A form value that survives an error, with what is wrong about it.
#[derive(Debug, Clone, Default)]
pub struct Field {
    /// As typed.
    pub value: String,
    /// What is wrong and what to do.
    pub error: Option<String>,
}

impl Field {
    /// A value without complaint.
    pub fn new(value: &str) -> Self {
        Self { value: value.to_owned(), error: None }
    }

    /// A value with a complaint.
    pub fn wrong(value: &str, error: &str) -> Self {
        Self { value: value.to_owned(), error: Some(error.to_owned()) }
    }
}

/// One of several options of a selection or of radio buttons.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Sent by the form.
    pub value: String,
    /// Shown.
    pub label: String,
    /// One sentence below the label, or empty.
    pub hint: String,
    /// Whether it is the chosen one.
    pub chosen: bool,
}

impl Choice {
    /// Options from `(value, label, hint)`, the one equal to `chosen` marked.
    pub fn several(options: &[(&str, &str, &str)], chosen: &str) -> Vec<Self> {
        options
            .iter()
            .map(|(value, label, hint)| Self {
                value: (*value).to_owned(),
                label: (*label).to_owned(),
                hint: (*hint).to_owned(),
                chosen: *value == chosen,
            })
            .collect()
    }
}

/// A selection with what is wrong about it.
#[derive(Debug, Clone, Default)]
pub struct Choices {
    /// The options in the order shown.
    pub options: Vec<Choice>,
    /// What is wrong and what to do.
    pub error: Option<String>,
}

/// A label with its value, for lists of facts.
#[derive(Debug, Clone)]
pub struct Fact {
    /// What it is.
    pub label: String,
    /// Its value in words.
    pub value: String,
}

impl Fact {
    /// A fact from its label and value.
    pub fn new(label: &str, value: &str) -> Self {
        Self { label: label.to_owned(), value: value.to_owned() }
    }
}

/// A link with its text.
#[derive(Debug, Clone)]
pub struct Link {
    /// Where it leads, on this site.
    pub url: String,
    /// What it says.
    pub text: String,
}

/// Which rows of a longer table are shown.
#[derive(Debug, Clone, Default)]
pub struct Pager {
    /// Number of the first row shown, in words.
    pub from: String,
    /// Number of the last row shown.
    pub to: String,
    /// All rows.
    pub total: String,
    /// The page before, if there is one.
    pub previous: Option<String>,
    /// The page after, if there is one.
    pub next: Option<String>,
}

#[cfg(test)]
mod tests {
    use askama::Template;

    use super::account::{LoginNotice, LoginView};
    use super::campaign_form::NewCampaignView;
    use super::public::{ErrorView, Measurement, UnsubscribeView};
    use super::{Field, Page};

    /// What the strict content security policy and the forms need of every page.
    fn check(html: &str) {
        assert!(!html.contains(" style=") && !html.contains("<style"), "an inline style");
        assert!(!html.contains("<script>") && !html.contains(" onclick="), "an inline script");
        assert_eq!(html.matches("method=\"post\"").count(), html.matches("name=\"csrf\"").count(), "each POST form carries one csrf field");
        assert_eq!(html.matches("<h1").count(), 1, "one main heading");
        assert_eq!(html.matches("<main").count(), 1, "one main landmark");
    }

    #[test]
    fn pages_carry_a_csrf_field_per_form_and_nothing_inline() {
        let page = || Page { csrf: "token".into(), ..Page::anonymous("A page") };
        let login = LoginView { page: page(), notice: LoginNotice::Refused, login: Field::default(), next: "/".into() };
        let stop =
            UnsubscribeView { page: page(), url: "/u/x".into(), sender: "Fern".into(), unsubscribed: false, measurement: Measurement::On };
        let done = UnsubscribeView { unsubscribed: true, measurement: Measurement::Never, ..stop.clone() };
        check(&login.render().unwrap());
        check(&stop.render().unwrap());
        check(&done.render().unwrap());
        check(&ErrorView::plain(page(), 404).render().unwrap());
        check(&NewCampaignView::empty(page(), &[]).render().unwrap());
    }

    #[test]
    fn what_was_typed_comes_back_escaped_and_beside_its_complaint() {
        let mut form = NewCampaignView::empty(Page::anonymous("New campaign"), &[]);
        form.subject = Field::wrong("\"><script>alert(1)</script>", "Too long.");
        let html = form.render().unwrap();
        check(&html);
        assert!(html.contains("Too long.") && html.contains("alert(1)"));
        assert_eq!(form.complaints(), 1);
    }
}
