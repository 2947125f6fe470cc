//! The forms that change a campaign's life, and which of them can be pressed now.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};

use super::campaign::{find, variant_of};
use crate::app::campaigns::{self, CampaignError, Progress};
use crate::app::lab::Lab;
use crate::campaign::state::State;
use crate::campaign::store::Campaign;
use crate::content::Element;
use crate::ids::VariantNumber;
use crate::report::results::due;
use crate::report::wording::moment;
use crate::vault::account::{Account, Role};
use crate::web::error::Fault;
use crate::web::form::{Fields, PostForm};
use crate::web::session::flash;
use crate::web::view::campaign::Action;
use crate::web::view::format::{count, counted};
use crate::web::view::{Choice, Flash, Tone};
use crate::web::{Web, see_other};

/// How long a page waits for a launch; a long list is drawn on in the background.
const LAUNCH_PATIENCE: Duration = Duration::from_secs(10);

/// What the page before did, as a message: closed words, never text from the address.
pub fn done(request: &HttpRequest) -> Vec<Flash> {
    let query = Fields::parse(request.query_string()).unwrap_or_default();
    let (tone, text) = match query.get("done") {
        "welcome" => (Tone::Good, "You are the administrator. Import people first; then write a campaign."),
        "drafted" => (Tone::Good, "The draft is stored. Look at the previews and the plan, then launch."),
        "changed" => (Tone::Good, "The draft is changed."),
        "deleted" => (Tone::Good, "The draft is deleted."),
        "sealed" => (Tone::Good, "Sealed. Nothing was sent; launch it when you like."),
        "launched" => (Tone::Good, "Sealed and launched. Letters are leaving."),
        "launched-paused" => (Tone::Good, "Sealed and launched. It is paused: letters leave when you resume it."),
        "launching" => (Tone::Good, "Sealed. Everybody is being assigned; letters leave as soon as that is done."),
        "paused" => (Tone::Good, "Paused. Letters already handed over still arrive."),
        "cancelled" => (Tone::Good, "Cancelled. Nothing more is sent; what was sent is still measured."),
        "resent" => (Tone::Good, "They are in the queue again."),
        "scheduled" => (Tone::Good, "The time of the first letter is set."),
        "resumed" => (Tone::Good, "Sending goes on."),
        "decided" => (Tone::Good, "Decided. Whoever is left of the list gets the chosen variant."),
        "password" => (Tone::Good, "The password is changed; sessions have ended, API keys are withdrawn."),
        "withdrawn" => (Tone::Good, "The API keys are withdrawn. Programs that used them are refused from now on."),
        "account" => (Tone::Good, "The account is made."),
        "removed" => (Tone::Good, "The account is removed."),
        "suppressed" => (Tone::Good, "No more letters go to this person. Imports do not change that."),
        "unsuppressed" => (Tone::Good, "This person may be mailed again."),
        "erased" => (Tone::Good, "This person is erased."),
        "closed" => (Tone::Good, "Closed. Nothing more is sent or recorded."),
        _ => return Vec::new(),
    };
    vec![flash(tone, text)]
}

/// What can be done now, the most likely first.
pub fn actions(
    url: &str,
    campaign: &Campaign,
    progress: &Progress,
    people: Option<(u64, u64)>,
    is_ready: bool,
    now: jiff::Timestamp,
) -> Vec<Action> {
    let to = |verb: &str| format!("{url}/{verb}");
    let waiting = progress.mailings.waiting();
    let mut actions = Vec::new();
    match campaign.state {
        State::Draft | State::Sealed if is_ready => {
            let mailable = people.map_or(0, |(_, mailable)| mailable);
            let in_test = (mailable as f64 * campaign.definition.design.share).round() as u64;
            let words = if in_test == mailable {
                counted(mailable, "person", "people")
            } else {
                format!("{} of {} people", count(in_test), count(mailable))
            };
            actions.push(Action::launch(to("launch"), &words));
        }
        State::Observing if campaign.chosen.is_none() => actions.push(decide_action(to("decide"), campaign, waiting, now)),
        _ => {}
    }
    if campaign.paused.is_some() {
        actions.push(Action::resume(to("resume"), &counted(waiting, "recipient", "recipients")));
    } else if campaign.state.sends() && waiting > 0 && (campaign.state != State::Observing || campaign.chosen.is_some()) {
        actions.push(Action::pause(to("pause")));
    }
    if matches!(campaign.state, State::Draft | State::Sealed) || progress.starts_at.is_some() {
        actions.push(Action::schedule(to("schedule"), progress.starts_at.map(moment)));
    }
    if campaign.state.sends() && waiting > 0 {
        actions.push(Action::cancel(to("cancel"), &counted(waiting, "recipient", "recipients")));
    }
    if campaign.state.sends() && campaign.cancelled_at.is_none() && progress.mailings.unknown > 0 {
        actions.push(Action::resend(to("resend"), &counted(progress.mailings.unknown, "letter", "letters")));
    }
    if campaign.state == State::Draft && is_ready {
        actions.push(Action::seal(to("seal")));
    }
    match campaign.state {
        State::Draft => actions.push(Action::delete(to("delete"))),
        State::Closed => {}
        _ => actions.push(Action::close(to("close"))),
    }
    actions
}

fn decide_action(url: String, campaign: &Campaign, rest: u64, now: jiff::Timestamp) -> Action {
    let values = campaign.definition.shown_values();
    let choices = (0u8..)
        .zip(&values)
        .map(|(number, value)| Choice {
            value: VariantNumber(number).to_string(),
            label: format!("{}{}", VariantNumber(number), if number == 0 { ", the control" } else { "" }),
            hint: value.chars().take(120).collect(),
            chosen: false,
        })
        .collect();
    let mut action = Action::decide(url, &count(rest), choices);
    if rest == 0 {
        action.explanation = "Nobody waits for a letter, so nothing is sent. This records which variant you go on with.".to_owned();
        action.button = "Record the decision".to_owned();
        action.choices_title = "Go on with".to_owned();
    }
    if rest > 0 && campaign.definition.element == Element::SendTime {
        action.explanation.push_str(
            " They get it when its time comes round: at that time of the day, or of the week where the variants' times lie a day or more apart.",
        );
    }
    if let Some(due) = due(campaign).filter(|due| now < *due) {
        action.primary = false;
        action.explanation.push_str(&format!(
            " The plan looks at the result on {}; deciding earlier gives up what the test would have shown.",
            moment(due)
        ));
    }
    action
}

/// The form's tick, for what cannot be undone: a script is no excuse to skip it.
pub(super) fn confirmed(form: &PostForm) -> Result<(), Fault> {
    if form.fields.get("confirmed") == "yes" {
        Ok(())
    } else {
        Err(Fault::Bad("Tick the sentence above the button first; this cannot be undone.".to_owned()))
    }
}

/// Who did it, for the ledger and the result page, which reviewers read: a role, because a login may be an e-mail address. The log
/// names the account by its id.
pub fn by_role(account: &Account) -> String {
    tracing::info!(account = account.id, "a campaign is steered");
    let article = if account.role == Role::Administrator { "an" } else { "a" };
    format!("{article} {}", account.role.as_str())
}

async fn step(
    web: &Web,
    number: &str,
    word: &str,
    work: impl FnOnce(&Lab, &Campaign) -> Result<(), CampaignError> + Send + 'static,
) -> Result<HttpResponse, Fault> {
    let campaign = find(web, number).await?;
    let url = format!("/campaigns/{}?done={word}", campaign.number);
    web.run(move |lab| work(lab, &campaign)).await?;
    Ok(see_other(&url))
}

/// `POST /campaigns/{number}/launch`
pub async fn launch(web: web::Data<Web>, number: web::Path<String>, form: PostForm) -> Result<HttpResponse, Fault> {
    confirmed(&form)?;
    let campaign = find(&web, &number).await?;
    let url = format!("/campaigns/{}", campaign.number);
    let (shared, asked) = (web.clone(), campaign.clone());
    // A task of its own, so that a browser that goes away does not end it.
    let launching = tokio::spawn(async move { shared.run(move |lab| campaigns::launch(lab, &campaign, &mut |_, _| {})).await });
    match tokio::time::timeout(LAUNCH_PATIENCE, launching).await {
        // What is wrong is shown as the whole list before launch.
        Ok(Ok(Err(Fault::Problems(_)))) if asked.state == State::Draft => super::preflight::refused(&web, &form.user, asked).await,
        Ok(Ok(launched)) => launched.map(|()| {
            let word = if asked.paused.is_some() { "launched-paused" } else { "launched" };
            see_other(&format!("{url}?done={word}"))
        }),
        Ok(Err(error)) => Err(Fault::internal(error)),
        Err(_) => Ok(see_other(&format!("{url}?done=launching"))),
    }
}

/// `POST /campaigns/{number}/seal`
pub async fn seal(web: web::Data<Web>, number: web::Path<String>, form: PostForm) -> Result<HttpResponse, Fault> {
    confirmed(&form)?;
    by_role(&form.user.account);
    step(&web, &number, "sealed", |lab, campaign| campaigns::seal(lab, campaign).map(|_| ())).await
}

/// `POST /campaigns/{number}/pause`
pub async fn pause(web: web::Data<Web>, number: web::Path<String>, form: PostForm) -> Result<HttpResponse, Fault> {
    let reason = format!("paused by {}", by_role(&form.user.account));
    step(&web, &number, "paused", move |lab, campaign| campaigns::pause(lab, campaign, &reason)).await
}

/// `POST /campaigns/{number}/resume`
pub async fn resume(web: web::Data<Web>, number: web::Path<String>, _form: PostForm) -> Result<HttpResponse, Fault> {
    step(&web, &number, "resumed", campaigns::resume).await
}

/// `POST /campaigns/{number}/cancel`
pub async fn cancel(web: web::Data<Web>, number: web::Path<String>, form: PostForm) -> Result<HttpResponse, Fault> {
    confirmed(&form)?;
    by_role(&form.user.account);
    step(&web, &number, "cancelled", |lab, campaign| campaigns::cancel(lab, campaign).map(|_| ())).await
}

/// `POST /campaigns/{number}/resend`
pub async fn resend(web: web::Data<Web>, number: web::Path<String>, form: PostForm) -> Result<HttpResponse, Fault> {
    confirmed(&form)?;
    step(&web, &number, "resent", |lab, campaign| campaigns::resend(lab, campaign).map(|_| ())).await
}

/// `POST /campaigns/{number}/schedule` with `start`, a moment in UTC as browsers write it; empty for at once.
pub async fn schedule(web: web::Data<Web>, number: web::Path<String>, form: PostForm) -> Result<HttpResponse, Fault> {
    let start = match form.fields.trimmed("start") {
        "" => None,
        text => Some(
            text.parse::<jiff::civil::DateTime>()
                .ok()
                .and_then(|local| jiff::tz::Offset::UTC.to_timestamp(local).ok())
                .ok_or_else(|| Fault::Bad("Write the moment as 2026-12-01T08:00, in UTC.".to_owned()))?,
        ),
    };
    step(&web, &number, "scheduled", move |lab, campaign| campaigns::schedule(lab, campaign, start)).await
}

/// `POST /campaigns/{number}/decide` with `choice`, a variant's letter.
pub async fn decide(web: web::Data<Web>, number: web::Path<String>, form: PostForm) -> Result<HttpResponse, Fault> {
    confirmed(&form)?;
    let variant = variant_of(form.fields.trimmed("choice")).ok_or_else(|| Fault::Bad("Choose one of the variants first.".to_owned()))?;
    let by = by_role(&form.user.account);
    // The form says when the plan looks, above what was ticked.
    step(&web, &number, "decided", move |lab, campaign| campaigns::decide(lab, campaign, variant, &by, true)).await
}

/// `POST /campaigns/{number}/close`
pub async fn close(web: web::Data<Web>, number: web::Path<String>, form: PostForm) -> Result<HttpResponse, Fault> {
    confirmed(&form)?;
    step(&web, &number, "closed", campaigns::close).await
}

/// `POST /campaigns/{number}/delete`
pub async fn delete(web: web::Data<Web>, number: web::Path<String>, form: PostForm) -> Result<HttpResponse, Fault> {
    confirmed(&form)?;
    let campaign = find(&web, &number).await?;
    web.run(move |lab| campaigns::delete(lab, &campaign)).await?;
    Ok(see_other("/campaigns?done=deleted"))
}
