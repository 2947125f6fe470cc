//! `GET|HEAD /c/{token}`: on to where the campaign's frozen link leads, never to where the request says.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};

use super::hit::judge;
use crate::signal::HitKind;
use crate::token::Payload;
use crate::tracking::hit::Admission;
use crate::web::Web;

/// How long a reader waits for the hit to become durable; it is in the writer's hands then.
pub const PATIENCE: Duration = Duration::from_millis(50);

/// Beside where it leads.
pub const HEADERS: [(&str, &str); 4] = [
    ("cache-control", "no-store, private, max-age=0"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-robots-tag", "noindex, nofollow, noarchive"),
];

/// Whether a header can carry this address; what none can was refused when the letter was compiled.
pub fn is_header_value(url: &str) -> bool {
    url.bytes().all(|byte| byte >= 0x20 && byte != 0x7f)
}

/// Records the hit if it may be, then sends the reader on.
pub async fn follow(web: web::Data<Web>, request: HttpRequest) -> HttpResponse {
    let (payload, event) = match judge(&web, &request, HitKind::Click).await {
        Admission::Refused => return nothing_here(),
        Admission::Unrecorded(payload) => (payload, None),
        Admission::Recorded(payload, event) => (payload, Some(event)),
    };
    let Some(target) = target(&web, &payload) else { return nothing_here() };
    if let Some(event) = event {
        // Shed or late: the reader goes on all the same.
        let _ = web.lab.tracker.intake.record(&event, PATIENCE).await;
    }
    let mut answer = plain(StatusCode::FOUND);
    answer.headers_mut().insert(header::LOCATION, target);
    answer
}

fn target(web: &Web, payload: &Payload) -> Option<HeaderValue> {
    let campaign = web.lab.tracker.targets.campaign(payload.campaign)?;
    let url = campaign.links.get(&(payload.variant, payload.link?))?;
    // Byte for byte as frozen.
    HeaderValue::from_bytes(url.as_bytes()).ok().filter(|_| is_header_value(url))
}

fn nothing_here() -> HttpResponse {
    plain(StatusCode::NOT_FOUND)
}

fn plain(status: StatusCode) -> HttpResponse {
    let mut answer = HttpResponse::new(status);
    let headers = answer.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    answer
}
