//! Campaigns: the overview, and one campaign's page from draft to closed. The form for a new one is in `campaign_form`.
//!
//! Cast: [`CampaignsView`], [`CampaignView`], [`Action`] (what may be done now, with a plain explanation).
//! Which actions are allowed is decided by the caller; this file only words them.

use super::progress::ProgressView;
use super::{Badge, Choice, Fact, Page, Tone};

/// One campaign in the overview.
#[derive(Debug, Clone)]
pub struct CampaignRow {
    /// Its page.
    pub url: String,
    /// Its name.
    pub name: String,
    /// The subject of its control.
    pub subject: String,
    /// Its state.
    pub state: Badge,
    /// The list it goes to.
    pub list: String,
    /// Progress in words, for example `8,000 of 20,000 sent`.
    pub progress: String,
    /// Share done, as width of the bar (`40%`), or `None` before sending.
    pub done: Option<String>,
    /// The verdict in a few words, or a dash.
    pub verdict: String,
}

/// All campaigns, newest first.
#[derive(Debug, Clone, askama::Template)]
#[template(path = "admin/campaigns.html")]
pub struct CampaignsView {
    /// The frame.
    pub page: Page,
    /// The campaigns.
    pub rows: Vec<CampaignRow>,
    /// Whether anybody was imported yet; without people the page says so first.
    pub has_people: bool,
}

/// Where a campaign stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// May be edited.
    Draft,
    /// Content and plan are frozen.
    Sealed,
    /// Letters are leaving.
    Sending,
    /// Opens and clicks are gathered.
    Observing,
    /// The verdict stands.
    Decided,
    /// Nothing is recorded any more.
    Closed,
}

impl Stage {
    /// All stages in order.
    pub const ALL: [Self; 6] = [Self::Draft, Self::Sealed, Self::Sending, Self::Observing, Self::Decided, Self::Closed];

    /// The stage as a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Draft => "Draft",
            Self::Sealed => "Sealed",
            Self::Sending => "Sending",
            Self::Observing => "Observing",
            Self::Decided => "Decided",
            Self::Closed => "Closed",
        }
    }

    /// The badge of a campaign in this stage.
    pub fn badge(self, paused: bool) -> Badge {
        match (self, paused) {
            (Self::Sending, true) => Badge::new("Paused", Tone::Warn),
            (Self::Sending | Self::Observing, _) => Badge::new(self.word(), Tone::Active),
            (Self::Decided, _) => Badge::new(self.word(), Tone::Good),
            _ => Badge::new(self.word(), Tone::Quiet),
        }
    }
}

/// One step of the line from draft to closed.
#[derive(Debug, Clone)]
pub struct Step {
    /// The stage as a word.
    pub word: &'static str,
    /// `past`, `now` or `later`.
    pub position: &'static str,
    /// When it was reached, or empty.
    pub time: String,
}

/// The line from draft to closed. `times` are in the order of [`Stage::ALL`]; missing ones stay empty.
pub fn steps(stage: Stage, times: &[String]) -> Vec<Step> {
    Stage::ALL
        .into_iter()
        .enumerate()
        .map(|(index, step)| Step {
            word: step.word(),
            position: match step.cmp(&stage) {
                std::cmp::Ordering::Less => "past",
                std::cmp::Ordering::Equal => "now",
                std::cmp::Ordering::Greater => "later",
            },
            time: times.get(index).cloned().unwrap_or_default(),
        })
        .collect()
}

/// A fact about a variant, marked where it is what differs.
#[derive(Debug, Clone)]
pub struct VariantFact {
    /// What it is.
    pub label: String,
    /// Its value.
    pub value: String,
    /// Whether it is the varied element.
    pub differs: bool,
}

/// One variant beside the others.
#[derive(Debug, Clone)]
pub struct VariantCard {
    /// A to D.
    pub letter: String,
    /// Number of its colour, 0 is the control.
    pub colour: usize,
    /// Its share of the test, for example `50%`.
    pub share: String,
    /// Sender, subject, preheader, and the varied block if it is one.
    pub facts: Vec<VariantFact>,
    /// Address of the rendered letter for the sandboxed frame.
    pub preview_url: String,
}

/// A row of the frozen link table.
#[derive(Debug, Clone)]
pub struct LinkRow {
    /// Link number.
    pub number: String,
    /// Where it leads.
    pub target: String,
    /// Letters of the variants that contain it, for example `A B`.
    pub variants: String,
}

/// What shows that the letters differ in one element.
#[derive(Debug, Clone)]
pub struct ProofView {
    /// One per variant: `B differs from A in: subject.`, and last how it was shown.
    pub sentences: Vec<String>,
    /// SHA-256 over the messages with the element masked.
    pub hash: String,
}

/// Something to look at before launch.
#[derive(Debug, Clone)]
pub struct Warning {
    /// `Warn`, or `Stop` when launch is refused because of it.
    pub tone: Tone,
    /// What it is and what to do.
    pub text: String,
}

/// Something that may be done now: one POST form with a plain explanation.
#[derive(Debug, Clone)]
pub struct Action {
    /// Where it is posted.
    pub url: String,
    /// Stable name for tests, for example `launch`.
    pub key: &'static str,
    /// Heading.
    pub title: String,
    /// What will happen, and whether it can be undone.
    pub explanation: String,
    /// Text of the button.
    pub button: String,
    /// Whether the button is the next step.
    pub primary: bool,
    /// A sentence to tick first (posted as `confirmed` = `yes`), for what cannot be undone.
    pub confirm: Option<String>,
    /// What the radio buttons are about.
    pub choices_title: String,
    /// Radio buttons posted as `choice`, when there is something to choose.
    pub choices: Vec<Choice>,
    /// Label of a field for a moment, posted as `start`; none for no such field.
    pub moment: Option<String>,
}

impl Action {
    /// Seal and launch. `recipients` in words.
    pub fn launch(url: String, recipients: &str) -> Self {
        Self {
            url,
            key: "launch",
            title: "Seal and launch".into(),
            explanation: format!(
                "Freezes the letter, its variants and the plan under one hash, draws who gets which variant, and starts sending to {recipients}. \
                 From then on nothing about the test can be changed, which is what makes its result believable."
            ),
            button: "Seal and launch".into(),
            primary: true,
            confirm: Some("I have read the previews and the plan.".into()),
            choices_title: String::new(),
            choices: Vec::new(),
            moment: None,
        }
    }

    /// Freeze it and send nothing yet.
    pub fn seal(url: String) -> Self {
        Self {
            url,
            key: "seal",
            title: "Seal only".into(),
            explanation:
                "Freezes the letter, its variants and the plan under one hash, as launching does, and sends nothing yet: to register \
                          the plan before the test."
                    .into(),
            button: "Seal".into(),
            primary: false,
            confirm: Some("Nothing about the test can be changed then.".into()),
            choices_title: String::new(),
            choices: Vec::new(),
            moment: None,
        }
    }

    /// Stop sending for now.
    pub fn pause(url: String) -> Self {
        Self {
            url,
            key: "pause",
            title: "Pause sending".into(),
            explanation: "Letters already handed to the relay arrive; the rest wait. Opens and clicks are recorded meanwhile. You can resume at any time.".into(),
            button: "Pause".into(),
            primary: false,
            confirm: None,
            choices_title: String::new(),
            choices: Vec::new(),
            moment: None,
        }
    }

    /// Go on sending.
    pub fn resume(url: String, waiting: &str) -> Self {
        Self {
            url,
            key: "resume",
            title: "Resume sending".into(),
            explanation: format!("Goes on with exactly the {waiting} still waiting."),
            button: "Resume".into(),
            primary: true,
            confirm: None,
            choices_title: String::new(),
            choices: Vec::new(),
            moment: None,
        }
    }

    /// Say when the first letter may leave. `set` is the moment set before.
    pub fn schedule(url: String, set: Option<String>) -> Self {
        let set = set.map(|moment| format!(" At present it is set to {moment}.")).unwrap_or_default();
        Self {
            url,
            key: "schedule",
            title: "Schedule".into(),
            explanation: format!("Holds every letter back until a moment; an empty field lets them leave as soon as it is launched.{set}"),
            button: "Set the time".into(),
            primary: false,
            confirm: None,
            choices_title: String::new(),
            choices: Vec::new(),
            moment: Some("First letter at (UTC)".into()),
        }
    }

    /// Send those again of which nobody knows whether they left.
    pub fn resend(url: String, unknown: &str) -> Self {
        Self {
            url,
            key: "resend",
            title: "Send again".into(),
            explanation: format!(
                "Nobody knows whether {unknown} left: the connection was lost between the end of the letter and the relay's answer. Whoever got \
                 theirs gets it a second time, under the same Message-ID, which some mail programs show as one."
            ),
            button: "Send them again".into(),
            primary: false,
            confirm: Some("This cannot be undone.".into()),
            choices_title: String::new(),
            choices: Vec::new(),
            moment: None,
        }
    }

    /// Send no more, for good.
    pub fn cancel(url: String, waiting: &str) -> Self {
        Self {
            url,
            key: "cancel",
            title: "Cancel sending".into(),
            explanation: format!("No letter goes to {waiting} still waiting. What was sent goes on being measured."),
            button: "Cancel sending".into(),
            primary: false,
            confirm: Some("This cannot be undone.".into()),
            choices_title: String::new(),
            choices: Vec::new(),
            moment: None,
        }
    }

    /// Decide: `choices` are the variants the rest of the list may get (and `none`).
    pub fn decide(url: String, rest: &str, choices: Vec<Choice>) -> Self {
        Self {
            url,
            key: "decide",
            title: "Decide".into(),
            explanation: format!(
                "Records the verdict as it stands and sends the chosen variant to the {rest} people of the list who were not in the test. \
                 Choosing against the sealed rule is allowed and is written down as a deviation."
            ),
            button: "Decide and send to the rest".into(),
            primary: true,
            confirm: Some("This cannot be undone.".into()),
            choices_title: "Send to the rest".into(),
            choices,
            moment: None,
        }
    }

    /// Throw a draft away.
    pub fn delete(url: String) -> Self {
        Self {
            url,
            key: "delete",
            title: "Delete the draft".into(),
            explanation: "Nothing was sent. Letter and plan are gone then; save the file first if you may want them again.".into(),
            button: "Delete draft".into(),
            primary: false,
            confirm: Some("This cannot be undone.".into()),
            choices_title: String::new(),
            choices: Vec::new(),
            moment: None,
        }
    }

    /// Close the campaign.
    pub fn close(url: String) -> Self {
        Self {
            url,
            key: "close",
            title: "Close".into(),
            explanation: "Ends measuring: what waits is not sent any more, links keep working, nothing more is recorded. The result stays."
                .into(),
            button: "Close campaign".into(),
            primary: false,
            confirm: Some("Later opens and clicks will not be counted.".into()),
            choices_title: String::new(),
            choices: Vec::new(),
            moment: None,
        }
    }
}

/// One campaign's page.
#[derive(Debug, Clone, askama::Template)]
#[template(path = "admin/campaign.html")]
pub struct CampaignView {
    /// The frame.
    pub page: Page,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: Badge,
    /// The list and how many people, in words.
    pub audience: String,
    /// Draft to closed.
    pub steps: Vec<Step>,
    /// Its results page, once there is something to see.
    pub results_url: Option<String>,
    /// The form that changes it, while it is a draft.
    pub edit_url: Option<String>,
    /// Its file.
    pub file_url: String,
    /// The list before launch, while it is a draft.
    pub check_url: Option<String>,
    /// Its variants beside each other.
    pub preview_url: String,
    /// What differs, for example `subject`.
    pub element: String,
    /// The plan in facts.
    pub plan: Vec<Fact>,
    /// What the test can show, for a draft; otherwise empty.
    pub outlook: Vec<String>,
    /// Hash of the sealed plan and its time, once sealed.
    pub seal: Option<String>,
    /// That the letters differ in one element.
    pub proof: Option<ProofView>,
    /// The variants, control first.
    pub variants: Vec<VariantCard>,
    /// The frozen link table.
    pub links: Vec<LinkRow>,
    /// What to look at before launch.
    pub warnings: Vec<Warning>,
    /// What may be done now, most likely first.
    pub actions: Vec<Action>,
    /// Live progress, once sealed.
    pub progress: Option<ProgressView>,
}
