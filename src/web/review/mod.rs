//! Reviewers: the result page by a link, without an account, without navigation and without any person.

use actix_web::{HttpResponse, web};

use super::admin::results::{as_csv, as_json, as_script, compute};
use super::error::Fault;
use super::session::Review;
use super::view::Page;
use super::view::result::{ResultLinks, ResultView};
use super::{Web, page};
use crate::report::script::Language;

/// `GET /r/{token}`
pub async fn show(web: web::Data<Web>, review: Review) -> Result<HttpResponse, Fault> {
    let links = ResultLinks::below(&format!("/r/{}/", review.token));
    let result = compute(&web, review.campaign).await?;
    page(&ResultView::new(Page::anonymous(&format!("Result of {}", result.campaign)), &result, links))
}

/// `GET /r/{token}/results.csv`
pub async fn csv(web: web::Data<Web>, review: Review) -> Result<HttpResponse, Fault> {
    as_csv(&compute(&web, review.campaign).await?)
}

/// `GET /r/{token}/results.json`
pub async fn json(web: web::Data<Web>, review: Review) -> Result<HttpResponse, Fault> {
    Ok(as_json(&compute(&web, review.campaign).await?))
}

/// `GET /r/{token}/results.R`
pub async fn r(web: web::Data<Web>, review: Review) -> Result<HttpResponse, Fault> {
    Ok(as_script(&compute(&web, review.campaign).await?, Language::R))
}

/// `GET /r/{token}/results.py`
pub async fn python(web: web::Data<Web>, review: Review) -> Result<HttpResponse, Fault> {
    Ok(as_script(&compute(&web, review.campaign).await?, Language::Python))
}
