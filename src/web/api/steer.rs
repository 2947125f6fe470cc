//! What changes a campaign's life, for programs.

use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::campaigns::{answer, find};
use crate::app::campaigns::{self, CampaignError};
use crate::app::lab::Lab;
use crate::app::{relays, signals};
use crate::campaign::definition::moment;
use crate::campaign::store::Campaign;
use crate::web::Web;
use crate::web::admin::campaign::variant_of;
use crate::web::admin::results::DAYS_MOST;
use crate::web::admin::steer::by_role;
use crate::web::error::Fault;
use crate::web::form::{SMALL_BYTES, read_body};
use crate::web::session::Program;

/// A small JSON body; an empty one says nothing.
pub struct Small<T>(T);

impl<T> Small<T> {
    /// What it says.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for Small<T> {
    type Error = Fault;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self, Fault>>>>;

    fn from_request(request: &HttpRequest, payload: &mut actix_web::dev::Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let body = read_body(&request, &mut payload, SMALL_BYTES).await?;
            let text: &[u8] = if body.is_empty() { b"{}" } else { &body };
            serde_json::from_slice(text).map(Self).map_err(|error| Fault::Bad(format!("The body is not the JSON expected here: {error}.")))
        })
    }
}

/// Which variant the rest get.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    variant: String,
    /// Meant so before the plan's time, too.
    #[serde(default)]
    early: bool,
}

/// Whether judging stored hits again only tells what would change.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Again {
    #[serde(default)]
    dry_run: bool,
}

/// How long a reviewer's link works.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    #[serde(default = "thirty")]
    days: u32,
}

const fn thirty() -> u32 {
    30
}

async fn step(
    web: &Web,
    name: web::Path<String>,
    work: impl FnOnce(&Lab, &Campaign) -> Result<(), CampaignError> + Send + 'static,
) -> Result<HttpResponse, Fault> {
    let campaign = find(web, name.into_inner()).await?;
    let after = web.run(move |lab| {
        work(lab, &campaign)?;
        campaigns::by_number(lab, campaign.number)
    });
    Ok(answer(&after.await?))
}

/// `POST …/seal`
pub async fn seal(web: web::Data<Web>, _program: Program, name: web::Path<String>) -> Result<HttpResponse, Fault> {
    step(&web, name, |lab, campaign| campaigns::seal(lab, campaign).map(|_| ())).await
}

/// `POST …/launch`
pub async fn launch(web: web::Data<Web>, _program: Program, name: web::Path<String>) -> Result<HttpResponse, Fault> {
    step(&web, name, |lab, campaign| campaigns::launch(lab, campaign, &mut |_, _| {})).await
}

/// `POST …/pause`
pub async fn pause(web: web::Data<Web>, program: Program, name: web::Path<String>) -> Result<HttpResponse, Fault> {
    let reason = format!("paused by {}", by_role(&program.account));
    step(&web, name, move |lab, campaign| campaigns::pause(lab, campaign, &reason)).await
}

/// `POST …/resume`
pub async fn resume(web: web::Data<Web>, _program: Program, name: web::Path<String>) -> Result<HttpResponse, Fault> {
    step(&web, name, campaigns::resume).await
}

/// `POST …/resend`
pub async fn resend(web: web::Data<Web>, _program: Program, name: web::Path<String>) -> Result<HttpResponse, Fault> {
    step(&web, name, |lab, campaign| campaigns::resend(lab, campaign).map(|_| ())).await
}

/// `POST …/cancel`
pub async fn cancel(web: web::Data<Web>, _program: Program, name: web::Path<String>) -> Result<HttpResponse, Fault> {
    step(&web, name, |lab, campaign| campaigns::cancel(lab, campaign).map(|_| ())).await
}

/// When the first letter may leave.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// None for at once.
    #[serde(default)]
    start: Option<String>,
}

/// `POST …/schedule`
pub async fn schedule(
    web: web::Data<Web>,
    _program: Program,
    name: web::Path<String>,
    body: Small<Schedule>,
) -> Result<HttpResponse, Fault> {
    let start = body.0.start.as_deref().map(moment).transpose().map_err(|why| Fault::Bad(format!("start: {why}.")))?;
    step(&web, name, move |lab, campaign| campaigns::schedule(lab, campaign, start)).await
}

/// Which relay to try, and with which sender.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    #[serde(default)]
    relay: Option<String>,
    #[serde(default)]
    sender: Option<String>,
}

/// `POST /api/v1/relays/test`
pub async fn test_relays(web: web::Data<Web>, _program: Program, body: Small<Trial>) -> Result<HttpResponse, Fault> {
    let Trial { relay, sender } = body.0;
    Ok(HttpResponse::Ok().json(relays::test(web.lab.sending.relays.all(), relay.as_deref(), sender.as_deref()).await))
}

/// `POST …/decide`
pub async fn decide(web: web::Data<Web>, program: Program, name: web::Path<String>, body: Small<Decision>) -> Result<HttpResponse, Fault> {
    let Decision { variant: letter, early } = body.0;
    let variant = variant_of(letter.trim()).ok_or_else(|| Fault::Bad("variant is a letter, such as \"B\".".to_owned()))?;
    let by = by_role(&program.account);
    step(&web, name, move |lab, campaign| campaigns::decide(lab, campaign, variant, &by, early)).await
}

/// `POST …/close`
pub async fn close(web: web::Data<Web>, _program: Program, name: web::Path<String>) -> Result<HttpResponse, Fault> {
    step(&web, name, campaigns::close).await
}

/// `POST …/reclassify`
pub async fn reclassify(
    web: web::Data<Web>,
    _program: Program,
    name: web::Path<String>,
    body: Small<Again>,
) -> Result<HttpResponse, Fault> {
    let campaign = find(&web, name.into_inner()).await?;
    let report = web.run(move |lab| signals::reclassify(lab, &campaign, body.0.dry_run)).await?;
    Ok(HttpResponse::Ok().json(report))
}

/// `POST …/share`
pub async fn share(web: web::Data<Web>, _program: Program, name: web::Path<String>, body: Small<Share>) -> Result<HttpResponse, Fault> {
    let days = body.0.days;
    if !(1..=DAYS_MOST).contains(&days) {
        return Err(Fault::Bad(format!("days is a whole number from 1 to {DAYS_MOST}.")));
    }
    let campaign = find(&web, name.into_inner()).await?;
    if campaign.sealed.is_none() {
        return Err(Fault::Conflict("A draft has no result to show yet. Launch it first.".to_owned()));
    }
    Ok(HttpResponse::Ok().json(json!({ "url": campaigns::share(&web.lab, &campaign, days), "days": days })))
}
