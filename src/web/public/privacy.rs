//! `/privacy`: what is recorded, and how to block it.

use actix_web::{HttpResponse, web};

use crate::web::edge::Edge;
use crate::web::error::Fault;
use crate::web::view::Page;
use crate::web::view::public::PrivacyView;

/// `GET /privacy`
pub async fn show(edge: web::Data<Edge>) -> Result<HttpResponse, Fault> {
    let base = &edge.outpost.config.web.base_url;
    let host = base.split_once("://").map_or(base.as_str(), |(_, host)| host);
    super::super::page(&PrivacyView {
        page: Page::anonymous("What is recorded"),
        operator: host.to_owned(),
        contact: edge.outpost.config.web.contact.clone(),
        pixel_rule: format!("||{host}/o/"),
    })
}
