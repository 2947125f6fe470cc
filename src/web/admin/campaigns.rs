//! All campaigns, the newest first.

use actix_web::{HttpRequest, HttpResponse, web};

use super::steer::done;
use crate::app::campaigns::{self, CampaignError, Progress};
use crate::app::lab::Lab;
use crate::campaign::state::State;
use crate::campaign::store::Campaign;
use crate::report::page::Outcome;
use crate::vault::store;
use crate::web::error::Fault;
use crate::web::session::User;
use crate::web::view::Section;
use crate::web::view::campaign::{CampaignRow, CampaignsView, Stage};
use crate::web::view::format::{DASH, count};
use crate::web::{Web, page};

/// `GET /campaigns`
pub async fn index(web: web::Data<Web>, user: User, request: HttpRequest) -> Result<HttpResponse, Fault> {
    let (rows, has_people) = web
        .run(|lab| {
            let rows = campaigns::all(lab)?.iter().map(|campaign| row(lab, campaign)).collect::<Result<Vec<_>, _>>()?;
            let has_people = !lab.vault.read(store::list_names)?.is_empty();
            Ok::<_, CampaignError>((rows, has_people))
        })
        .await?;
    let mut frame = user.page("Campaigns", Section::Campaigns);
    frame.flashes = done(&request);
    page(&CampaignsView { page: frame, rows, has_people })
}

/// Where a campaign stands, as pages show it.
pub const fn stage(state: State) -> Stage {
    match state {
        State::Draft => Stage::Draft,
        State::Sealed => Stage::Sealed,
        State::Sending => Stage::Sending,
        State::Observing => Stage::Observing,
        State::Decided => Stage::Decided,
        State::Closed => Stage::Closed,
    }
}

fn row(lab: &Lab, campaign: &Campaign) -> Result<CampaignRow, CampaignError> {
    let definition = &campaign.definition;
    let subject = match definition.shown_values().into_iter().next() {
        Some(value) if definition.element == crate::content::Element::Subject => value,
        _ => definition.newsletter.subject.clone(),
    };
    let (progress, done) = match campaign.state {
        State::Draft | State::Sealed => (DASH.to_owned(), None),
        _ => sent(&campaigns::progress(lab, campaign)?),
    };
    Ok(CampaignRow {
        url: format!("/campaigns/{}", campaign.number),
        name: definition.name.clone(),
        subject,
        state: stage(campaign.state).badge(campaign.paused.is_some()),
        list: definition.list.clone(),
        progress,
        done,
        verdict: verdict(lab, campaign)?,
    })
}

fn sent(progress: &Progress) -> (String, Option<String>) {
    let (accepted, enrolled) = (progress.mailings.accepted, progress.mailings.enrolled);
    let share = if enrolled == 0 { 0.0 } else { accepted as f64 * 100.0 / enrolled as f64 };
    (format!("{} of {} sent", count(accepted), count(enrolled)), Some(format!("{share:.1}%")))
}

fn verdict(lab: &Lab, campaign: &Campaign) -> Result<String, CampaignError> {
    if !matches!(campaign.state, State::Observing | State::Decided | State::Closed) {
        return Ok(DASH.to_owned());
    }
    let page = campaigns::results(lab, campaign)?;
    Ok(match (page.verdict.outcome, page.verdict.winner) {
        (Outcome::Winner, Some(winner)) => format!("{winner} wins"),
        (Outcome::Winner | Outcome::NoWinner, _) => "No winner".to_owned(),
        (Outcome::NotYet, _) => "Not yet".to_owned(),
        (Outcome::Stopped, _) => "Stopped by a check".to_owned(),
        (Outcome::NotEstimable, _) => "Cannot estimate".to_owned(),
    })
}
