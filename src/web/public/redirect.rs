//! `GET|HEAD /c/{token}`: on to where the campaign's frozen link leads, never to where the request says.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};

use super::hit::judge;
use crate::signal::HitKind;
use crate::token::Payload;
use crate::tracking::hit::Admission;
use crate::web::edge::Edge;

/// How long a reader waits for the hit to become durable; it is in the writer's hands then.
pub const PATIENCE: Duration = Duration::from_millis(50);

/// Beside where it leads.
pub const HEADERS: [(&str, &str); 4] = [
    ("cache-control", "no-store, private, max-age=0"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-robots-tag", "noindex, nofollow, noarchive"),
];

/// What a reader sees whose link leads nowhere.
pub const NOWHERE: &str = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\n<title>This link leads nowhere</title>\n<h1>This link leads nowhere</h1>\n<p>It is not complete, or was changed on its way. Open it from the letter itself. If it leads here from there, too, please tell the letter's sender.</p>\n<p>Nothing about you was recorded.</p>\n</html>\n";

/// Beside that page, which needs nothing else.
pub const NOWHERE_HEADERS: [(&str, &str); 2] =
    [("content-type", "text/html; charset=utf-8"), ("content-security-policy", "default-src 'none'; frame-ancestors 'none'")];

/// Whether a header can carry this address; what none can was refused when the letter was compiled.
pub fn is_header_value(url: &str) -> bool {
    url.bytes().all(|byte| byte >= 0x20 && byte != 0x7f)
}

/// Records the hit if it may be, then sends the reader on.
pub async fn follow(edge: web::Data<Edge>, request: HttpRequest) -> HttpResponse {
    let (payload, event) = match judge(&edge, &request, HitKind::Click).await {
        Err(answer) => return answer,
        Ok(Admission::Refused) => return nothing_here(),
        Ok(Admission::Unrecorded(payload)) => (payload, None),
        Ok(Admission::Recorded(payload, event)) => (payload, Some(event)),
    };
    let Some(target) = target(&edge, &payload) else { return nothing_here() };
    if let Some(event) = event {
        // Shed or late: the reader goes on all the same.
        let _ = edge.outpost.tracker.intake.record(&event, PATIENCE).await;
    }
    let mut answer = plain(StatusCode::FOUND);
    answer.headers_mut().insert(header::LOCATION, target);
    answer
}

fn target(edge: &Edge, payload: &Payload) -> Option<HeaderValue> {
    let campaign = edge.outpost.tracker.targets.campaign(payload.campaign)?;
    let url = campaign.links.get(&(payload.variant, payload.link?))?;
    // Byte for byte as frozen.
    HeaderValue::from_bytes(url.as_bytes()).ok().filter(|_| is_header_value(url))
}

fn nothing_here() -> HttpResponse {
    with_headers(HttpResponse::NotFound().body(NOWHERE), HEADERS.iter().chain(&NOWHERE_HEADERS))
}

fn plain(status: StatusCode) -> HttpResponse {
    with_headers(HttpResponse::new(status), HEADERS.iter())
}

fn with_headers<'a>(mut answer: HttpResponse, all: impl Iterator<Item = &'a (&'static str, &'static str)>) -> HttpResponse {
    let headers = answer.headers_mut();
    for (name, value) in all {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    answer
}
