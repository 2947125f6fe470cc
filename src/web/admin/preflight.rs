//! The list before launch as a page, and the people a letter cannot be filled in for.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template as _;

use super::campaign::find;
use crate::app::letters;
use crate::app::preflight::{Preflight, Wishes, check};
use crate::campaign::store::Campaign;
use crate::content::preflight::{Item, Level, Topic};
use crate::web::error::Fault;
use crate::web::form::{Fields, PostForm};
use crate::web::session::{User, flash};
use crate::web::view::format::{count, counted};
use crate::web::view::preflight::{PointRow, PreflightView, SkippedView};
use crate::web::view::{Badge, Section, Tone};
use crate::web::{Web, page};

/// What a form or a query asks for. Private addresses are never asked from a page: whoever may write a letter is not whoever may look
/// into this server's network.
pub fn wishes(fields: &Fields) -> Wishes {
    let is = |name: &str| fields.get(name) == "yes";
    Wishes { links: is("links"), private_addresses: false, domain: is("domain"), spam: is("spam") }
}

async fn view(web: &Web, user: &User, campaign: Campaign, wishes: Wishes) -> Result<PreflightView, Fault> {
    let url = format!("/campaigns/{}", campaign.number);
    let list = web.run(move |lab| check(lab, &campaign, wishes)).await?;
    let lacks = list.items.iter().any(|item| item.topic == Topic::MissingFields && item.level != Level::Ok);
    Ok(PreflightView {
        page: user.page(&format!("Before launch: {}", list.campaign), Section::Campaigns),
        name: list.campaign.clone(),
        url: format!("{url}/check"),
        preview_url: format!("{url}/preview"),
        skipped_url: lacks.then(|| format!("{url}/check/people")),
        campaign_url: url,
        overall: Badge::new(list.level.as_str(), tone(list.level)),
        summary: summary(&list),
        points: list.items.iter().map(row).collect(),
        not_asked: list.not_asked.clone(),
        asked: [wishes.links, wishes.domain, wishes.spam],
    })
}

fn tone(level: Level) -> Tone {
    match level {
        Level::Ok => Tone::Good,
        Level::Warn => Tone::Warn,
        Level::Stop => Tone::Stop,
    }
}

fn summary(list: &Preflight) -> String {
    let of = |level, one, many| counted(list.count(level) as u64, one, many);
    match list.level {
        Level::Ok => "Everything that was looked at is as it should be.".to_owned(),
        Level::Warn => format!("It may be launched; {} worth a look.", of(Level::Warn, "thing is", "things are")),
        Level::Stop => format!("{} to be mended before it can be launched.", of(Level::Stop, "thing has", "things have")),
    }
}

fn row(item: &Item) -> PointRow {
    PointRow {
        level: item.level.as_str(),
        topic: item.topic.to_string(),
        variants: item.variants.clone(),
        found: item.found.clone(),
        advice: item.advice.clone(),
        details: item.details.clone(),
    }
}

/// `GET /campaigns/{number}/check`: all that needs neither network nor patience.
pub async fn show(web: web::Data<Web>, user: User, number: web::Path<String>) -> Result<HttpResponse, Fault> {
    let campaign = find(&web, &number).await?;
    page(&view(&web, &user, campaign, Wishes::default()).await?)
}

/// `POST /campaigns/{number}/check` with `links`, `domain`, `spam`: the same list, and what was ticked.
pub async fn ask(web: web::Data<Web>, number: web::Path<String>, form: PostForm) -> Result<HttpResponse, Fault> {
    let campaign = find(&web, &number).await?;
    page(&view(&web, &form.user, campaign, wishes(&form.fields)).await?)
}

/// The list as the answer to a launch that was refused.
pub async fn refused(web: &Web, user: &User, campaign: Campaign) -> Result<HttpResponse, Fault> {
    let mut view = view(web, user, campaign, Wishes::default()).await?;
    view.page.flashes = vec![flash(Tone::Stop, "Not launched, and nothing is sealed: the list below says what to mend first.")];
    Ok(HttpResponse::build(StatusCode::UNPROCESSABLE_ENTITY).content_type("text/html; charset=utf-8").body(view.render()?))
}

/// `GET /campaigns/{number}/check/people`: by random id; a preview shows what each would get.
pub async fn people(web: web::Data<Web>, user: User, number: web::Path<String>) -> Result<HttpResponse, Fault> {
    let campaign = find(&web, &number).await?;
    let definition = campaign.definition.clone();
    let found = web.run(move |lab| letters::lacking(lab, &definition)).await?;
    let url = format!("/campaigns/{}", campaign.number);
    let left = found.lacking.saturating_sub(found.named.len() as u64);
    page(&SkippedView {
        page: user.page("Who would be skipped", Section::Campaigns),
        name: campaign.definition.name.clone(),
        preview_url: format!("{url}/preview"),
        campaign_url: url,
        summary: found
            .words()
            .map_or_else(|| "Nobody: everybody has a value for what the letter needs.".to_owned(), |words| format!("{words}.")),
        rows: found.named.iter().map(|(person, lacks)| (person.to_string(), lacks.clone())).collect(),
        more: if left > 0 { format!("{} more are not listed.", count(left)) } else { String::new() },
    })
}
