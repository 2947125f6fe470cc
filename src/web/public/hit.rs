//! A request for a pixel or a link as the tracker takes it: facts are borrowed, nothing is copied or kept.

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::http::header::HeaderMap;

use crate::app::clock;
use crate::ids::EventId;
use crate::signal::{HitKind, RequestFacts};
use crate::token::Kind;
use crate::tracking::hit::{Admission, admit};
use crate::web::Web;

/// Judges a request, after looking once for a campaign the tracker does not know yet.
pub async fn judge(web: &Web, request: &HttpRequest, kind: HitKind) -> Admission {
    let token = request.match_info().get("token").unwrap_or_default();
    let tracker = &web.lab.tracker;
    let token_kind = if kind == HitKind::Open { Kind::Open } else { Kind::Click };
    if let Ok(payload) = tracker.keys.open(token_kind, token)
        && tracker.targets.campaign(payload.campaign).is_none()
    {
        web.look_again().await;
    }
    let headers = request.headers();
    let method = if request.method() == Method::HEAD { "HEAD" } else { "GET" };
    let facts = RequestFacts {
        method,
        peer: web.peer(request),
        user_agent: text(headers, "user-agent").unwrap_or_default(),
        purpose: text(headers, "sec-purpose").or_else(|| text(headers, "purpose")).or_else(|| text(headers, "x-moz")),
        referer: text(headers, "referer"),
        accept_language: headers.contains_key("accept-language"),
        fetch_user: text(headers, "sec-fetch-user") == Some("?1"),
    };
    admit(tracker, kind, token, facts, web.lab.clock.now(), EventId::from_bytes(clock::fresh()))
}

/// A header's value; user agents may hold UTF-8.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
}
