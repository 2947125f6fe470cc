//! `/privacy`: what is recorded, and how to block it.

use actix_web::{HttpResponse, web};

use crate::web::Web;
use crate::web::error::Fault;
use crate::web::view::Page;
use crate::web::view::public::PrivacyView;

/// `GET /privacy`
pub async fn show(web: web::Data<Web>) -> Result<HttpResponse, Fault> {
    let base = &web.lab.config.web.base_url;
    let host = base.split_once("://").map_or(base.as_str(), |(_, host)| host);
    super::super::page(&PrivacyView {
        page: Page::anonymous("What is recorded"),
        operator: host.to_owned(),
        contact: String::new(),
        pixel_rule: format!("||{host}/o/"),
    })
}
