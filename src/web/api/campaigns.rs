//! Campaigns as JSON: write, list, look at.

use actix_web::http::header;
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use serde::Serialize;

use crate::app::campaigns::{self, CampaignError};
use crate::campaign::definition::Definition;
use crate::campaign::file::Problem;
use crate::campaign::proof::Proof;
use crate::campaign::state::State;
use crate::campaign::store::Campaign;
use crate::ids::CampaignNumber;
use crate::report::script::Language;
use crate::web::Web;
use crate::web::admin::draft::no_files;
use crate::web::admin::results::{as_csv, as_script, compute};
use crate::web::error::Fault;
use crate::web::form::read_body;
use crate::web::session::Program;

/// Most bytes of a campaign.
const CAMPAIGN_BYTES: usize = 4 * 1024 * 1024;

/// A campaign as the API shows it.
#[derive(Serialize)]
struct Shown<'a> {
    number: CampaignNumber,
    name: &'a str,
    state: State,
    paused: Option<&'a str>,
    created_at: String,
    sealed_at: Option<String>,
    cancelled_at: Option<String>,
    closed_at: Option<String>,
    plan_hash: Option<&'a str>,
    chosen: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<&'a Proof>,
    #[serde(skip_serializing_if = "Option::is_none")]
    definition: Option<&'a Definition>,
}

fn shown(campaign: &Campaign, whole: bool) -> Shown<'_> {
    Shown {
        number: campaign.number,
        name: &campaign.definition.name,
        state: campaign.state,
        paused: campaign.paused.as_deref(),
        created_at: campaign.created_at.to_string(),
        sealed_at: campaign.sealed.as_ref().map(|sealed| sealed.at.to_string()),
        cancelled_at: campaign.cancelled_at.map(|at| at.to_string()),
        closed_at: campaign.closed_at.map(|at| at.to_string()),
        plan_hash: campaign.sealed.as_ref().map(|sealed| sealed.hash.as_str()),
        chosen: campaign.chosen.as_ref().map(|(variant, _)| variant.to_string()),
        proof: campaign.proof.as_ref().filter(|_| whole),
        definition: whole.then_some(&campaign.definition),
    }
}

/// The campaign a path names.
pub async fn find(web: &Web, name: String) -> Result<Campaign, Fault> {
    web.run(move |lab| campaigns::find(lab, &name)).await
}

/// A campaign's answer.
pub fn answer(campaign: &Campaign) -> HttpResponse {
    HttpResponse::Ok().json(shown(campaign, true))
}

/// `GET /api/v1/campaigns`
pub async fn list(web: web::Data<Web>, _program: Program) -> Result<HttpResponse, Fault> {
    let all = web.run(campaigns::all).await?;
    Ok(HttpResponse::Ok().json(all.iter().map(|campaign| shown(campaign, false)).collect::<Vec<_>>()))
}

/// A campaign's text: as sent, or written from JSON of the same shape.
pub struct CampaignBody {
    text: String,
    is_json: bool,
}

impl FromRequest for CampaignBody {
    type Error = Fault;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self, Fault>>>>;

    fn from_request(request: &HttpRequest, payload: &mut actix_web::dev::Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let body = read_body(&request, &mut payload, CAMPAIGN_BYTES).await?;
            let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
            if !kind.to_ascii_lowercase().starts_with("application/json") {
                let text = String::from_utf8(body.to_vec()).map_err(|_| Fault::Bad("The body is not UTF-8.".to_owned()))?;
                return Ok(Self { text, is_json: false });
            }
            let mut json: serde_json::Value =
                serde_json::from_slice(&body).map_err(|error| Fault::Bad(format!("The body is not JSON: {error}.")))?;
            without_nulls(&mut json);
            let text = toml::to_string(&json).map_err(|error| Fault::Bad(format!("The body is not a campaign: {error}.")))?;
            Ok(Self { text, is_json: true })
        })
    }
}

/// TOML knows no null: a key without a value is left out.
fn without_nulls(json: &mut serde_json::Value) {
    match json {
        serde_json::Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(without_nulls);
        }
        serde_json::Value::Array(values) => values.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

/// Lines are of the text as sent; JSON was not sent in the lines that were judged.
fn told(error: CampaignError, is_json: bool) -> Fault {
    match error {
        CampaignError::Problems(problems) if is_json => {
            Fault::Problems(problems.into_iter().map(|problem| Problem { line: None, ..problem }).collect())
        }
        other => other.into(),
    }
}

/// `POST /api/v1/campaigns`
pub async fn create(web: web::Data<Web>, _program: Program, body: CampaignBody) -> Result<HttpResponse, Fault> {
    let stored = web.run(move |lab| {
        let number = campaigns::draft(lab, &body.text, &no_files).map_err(|error| told(error, body.is_json))?;
        campaigns::by_number(lab, number).map_err(Fault::from)
    });
    let campaign = stored.await?;
    let place = format!("/api/v1/campaigns/{}", campaign.definition.name);
    Ok(HttpResponse::Created().insert_header((header::LOCATION, place)).json(shown(&campaign, true)))
}

/// `GET /api/v1/campaigns/{campaign}`
pub async fn get(web: web::Data<Web>, _program: Program, name: web::Path<String>) -> Result<HttpResponse, Fault> {
    Ok(answer(&find(&web, name.into_inner()).await?))
}

/// `PUT /api/v1/campaigns/{campaign}`
pub async fn replace(web: web::Data<Web>, _program: Program, name: web::Path<String>, body: CampaignBody) -> Result<HttpResponse, Fault> {
    let campaign = find(&web, name.into_inner()).await?;
    let replaced = web.run(move |lab| {
        campaigns::redraft(lab, campaign.number, &body.text, &no_files).map_err(|error| told(error, body.is_json))?;
        campaigns::by_number(lab, campaign.number).map_err(Fault::from)
    });
    Ok(answer(&replaced.await?))
}

/// `DELETE /api/v1/campaigns/{campaign}`
pub async fn delete(web: web::Data<Web>, _program: Program, name: web::Path<String>) -> Result<HttpResponse, Fault> {
    let campaign = find(&web, name.into_inner()).await?;
    web.run(move |lab| campaigns::delete(lab, &campaign)).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `GET /api/v1/campaigns/{campaign}/proof`
pub async fn proof(web: web::Data<Web>, _program: Program, name: web::Path<String>) -> Result<HttpResponse, Fault> {
    let campaign = find(&web, name.into_inner()).await?;
    let shown = web.run(move |lab| crate::app::proof::shown(lab, &campaign)).await?;
    Ok(HttpResponse::Ok().json(shown))
}

/// `GET /api/v1/campaigns/{campaign}/progress`
pub async fn progress(web: web::Data<Web>, _program: Program, name: web::Path<String>) -> Result<HttpResponse, Fault> {
    let campaign = find(&web, name.into_inner()).await?;
    Ok(HttpResponse::Ok().json(web.run(move |lab| campaigns::progress(lab, &campaign)).await?))
}

/// `GET /api/v1/campaigns/{campaign}/outlook`
pub async fn outlook(web: web::Data<Web>, _program: Program, name: web::Path<String>) -> Result<HttpResponse, Fault> {
    let campaign = find(&web, name.into_inner()).await?;
    let outlook = web.run(move |lab| crate::web::admin::draft_plan::figures(lab, &campaign.definition).map_err(CampaignError::from));
    Ok(HttpResponse::Ok().json(outlook.await?))
}

/// `GET /api/v1/campaigns/{campaign}/assignment`
pub async fn assignment(web: web::Data<Web>, _program: Program, name: web::Path<String>) -> Result<HttpResponse, Fault> {
    let campaign = find(&web, name.into_inner()).await?;
    Ok(HttpResponse::Ok().json(web.run(move |lab| crate::app::assignment::assignment(lab, &campaign)).await?))
}

/// `GET /api/v1/campaigns/{campaign}/results`
pub async fn results(web: web::Data<Web>, _program: Program, name: web::Path<String>) -> Result<HttpResponse, Fault> {
    let campaign = find(&web, name.into_inner()).await?;
    Ok(HttpResponse::Ok().json(compute(&web, campaign).await?))
}

/// `GET /api/v1/campaigns/{campaign}/results.csv`
pub async fn results_csv(web: web::Data<Web>, _program: Program, name: web::Path<String>) -> Result<HttpResponse, Fault> {
    let campaign = find(&web, name.into_inner()).await?;
    as_csv(&compute(&web, campaign).await?)
}

/// `GET /api/v1/campaigns/{campaign}/results.R`
pub async fn results_r(web: web::Data<Web>, _program: Program, name: web::Path<String>) -> Result<HttpResponse, Fault> {
    let campaign = find(&web, name.into_inner()).await?;
    Ok(as_script(&compute(&web, campaign).await?, Language::R))
}

/// `GET /api/v1/campaigns/{campaign}/results.py`
pub async fn results_python(web: web::Data<Web>, _program: Program, name: web::Path<String>) -> Result<HttpResponse, Fault> {
    let campaign = find(&web, name.into_inner()).await?;
    Ok(as_script(&compute(&web, campaign).await?, Language::Python))
}
