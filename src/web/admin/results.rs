//! A campaign's result for those logged in, as page, CSV, JSON and scripts, and links for reviewers.

use actix_web::http::header;
use actix_web::{HttpResponse, web};

use super::campaign::find;
use crate::app::campaigns;
use crate::campaign::store::Campaign;
use crate::report::export;
use crate::report::page::ResultPage;
use crate::report::script::{Language, script};
use crate::web::error::Fault;
use crate::web::form::PostForm;
use crate::web::session::User;
use crate::web::view::Section;
use crate::web::view::result::{ResultLinks, ResultView, ReviewerLinks};
use crate::web::{Web, page};

/// Longest life of a reviewer's link, in days.
pub const DAYS_MOST: u32 = 365;

/// `GET /campaigns/{number}/results`
pub async fn show(web: web::Data<Web>, user: User, number: web::Path<String>) -> Result<HttpResponse, Fault> {
    let campaign = find(&web, &number).await?;
    view(&web, &user, campaign, None).await
}

async fn view(web: &Web, user: &User, campaign: Campaign, created: Option<String>) -> Result<HttpResponse, Fault> {
    let url = format!("/campaigns/{}", campaign.number);
    let campaign_is_drawn = campaign.enrolled_at.is_some();
    let result = compute(web, campaign).await?;
    let links = ResultLinks {
        campaign_url: Some(url.clone()),
        assignment_url: campaign_is_drawn.then(|| format!("{url}/assignment")),
        reviewers: Some(ReviewerLinks { create_url: format!("{url}/share"), created }),
        ..ResultLinks::below(&format!("{url}/"))
    };
    let frame = user.page(&format!("Result of {}", result.campaign), Section::Campaigns);
    page(&ResultView::new(frame, &result, links))
}

/// A campaign's result as of now.
pub async fn compute(web: &Web, campaign: Campaign) -> Result<ResultPage, Fault> {
    web.run(move |lab| campaigns::results(lab, &campaign)).await
}

/// `GET /campaigns/{number}/results.csv`
pub async fn csv(web: web::Data<Web>, _user: User, number: web::Path<String>) -> Result<HttpResponse, Fault> {
    as_csv(&compute(&web, find(&web, &number).await?).await?)
}

/// `GET /campaigns/{number}/results.json`
pub async fn json(web: web::Data<Web>, _user: User, number: web::Path<String>) -> Result<HttpResponse, Fault> {
    Ok(as_json(&compute(&web, find(&web, &number).await?).await?))
}

/// `GET /campaigns/{number}/results.R`
pub async fn r(web: web::Data<Web>, _user: User, number: web::Path<String>) -> Result<HttpResponse, Fault> {
    Ok(as_script(&compute(&web, find(&web, &number).await?).await?, Language::R))
}

/// `GET /campaigns/{number}/results.py`
pub async fn python(web: web::Data<Web>, _user: User, number: web::Path<String>) -> Result<HttpResponse, Fault> {
    Ok(as_script(&compute(&web, find(&web, &number).await?).await?, Language::Python))
}

/// A result to save as CSV.
pub fn as_csv(result: &ResultPage) -> Result<HttpResponse, Fault> {
    let text = export::csv(result).map_err(Fault::internal)?;
    let answer = HttpResponse::Ok().content_type("text/csv; charset=utf-8").insert_header(attachment(result, "csv")).body(text);
    Ok(answer)
}

/// A result to save as JSON.
pub fn as_json(result: &ResultPage) -> HttpResponse {
    HttpResponse::Ok().insert_header(attachment(result, "json")).json(result)
}

/// A result to save as a script that computes it again.
pub fn as_script(result: &ResultPage, language: Language) -> HttpResponse {
    let (kind, ending) = match language {
        Language::R => ("text/x-r; charset=utf-8", "R"),
        Language::Python => ("text/x-python; charset=utf-8", "py"),
    };
    HttpResponse::Ok().content_type(kind).insert_header(attachment(result, ending)).body(script(result, language))
}

fn attachment(result: &ResultPage, ending: &str) -> (header::HeaderName, String) {
    // A campaign's name is letters, digits, hyphens, dots and underscores: nothing that could break a header.
    (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}-results.{ending}\"", result.campaign))
}

/// `POST /campaigns/{number}/share` with `days`: a new reviewer's link, shown once.
pub async fn share(web: web::Data<Web>, number: web::Path<String>, form: PostForm) -> Result<HttpResponse, Fault> {
    let campaign = find(&web, &number).await?;
    let days = form.fields.trimmed("days").parse::<u32>().ok().filter(|days| (1..=DAYS_MOST).contains(days));
    let days = days.ok_or_else(|| Fault::Bad(format!("A link works for 1 to {DAYS_MOST} days; write a whole number.")))?;
    if campaign.sealed.is_none() {
        return Err(Fault::Conflict("A draft has no result to show yet. Launch it first.".to_owned()));
    }
    let link = campaigns::share(&web.lab, &campaign, days);
    view(&web, &form.user, campaign, Some(link)).await
}
