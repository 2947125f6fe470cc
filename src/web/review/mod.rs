//! Reviewers: the result page by a link, without an account, without navigation and without any person.

use actix_web::{HttpResponse, web};

use super::admin::results::{as_csv, as_json, compute};
use super::error::Fault;
use super::session::Review;
use super::view::Page;
use super::view::result::{ResultLinks, ResultView};
use super::{Web, page};

/// `GET /r/{token}`
pub async fn show(web: web::Data<Web>, review: Review) -> Result<HttpResponse, Fault> {
    let url = format!("/r/{}", review.token);
    let result = compute(&web, review.campaign).await?;
    let links =
        ResultLinks { campaign_url: None, csv_url: format!("{url}/results.csv"), json_url: format!("{url}/results.json"), reviewers: None };
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
