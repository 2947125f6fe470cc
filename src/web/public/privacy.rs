//! `/privacy`: what is recorded, for how long, and how to block it.

use actix_web::{HttpResponse, web};

use crate::web::Web;
use crate::web::error::Fault;
use crate::web::view::Page;
use crate::web::view::public::PrivacyView;

/// Days after a campaign's end until the link between pseudonyms and people is destroyed.
const MAPPING_DAYS: &str = "30";
/// Months that events are kept.
const EVENT_MONTHS: &str = "13";

/// `GET /privacy`
pub async fn show(web: web::Data<Web>) -> Result<HttpResponse, Fault> {
    let base = &web.lab.config.web.base_url;
    let host = base.split_once("://").map_or(base.as_str(), |(_, host)| host);
    super::super::page(&PrivacyView {
        page: Page::anonymous("What is recorded"),
        operator: host.to_owned(),
        contact: String::new(),
        mapping_days: MAPPING_DAYS.to_owned(),
        event_months: EVENT_MONTHS.to_owned(),
        pixel_rule: format!("||{host}/o/"),
    })
}
