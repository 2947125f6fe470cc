//! A request for a pixel or a link as the tracker takes it: facts are borrowed, nothing is copied or kept.

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap};
use actix_web::{HttpRequest, HttpResponse};

use crate::app::clock;
use crate::ids::EventId;
use crate::signal::{HitKind, RequestFacts};
use crate::token::Kind;
use crate::tracking::hit::{Admission, admit};
use crate::web::edge::{Edge, PAUSE_SECONDS};

/// Judges a request, after looking once for a campaign the tracker does not know yet. Err: an answer to who has asked too much.
pub async fn judge(edge: &Edge, request: &HttpRequest, kind: HitKind) -> Result<Admission, HttpResponse> {
    let token = request.match_info().get("token").unwrap_or_default();
    let tracker = &edge.outpost.tracker;
    let token_kind = if kind == HitKind::Open { Kind::Open } else { Kind::Click };
    if let Ok(payload) = tracker.keys.open(token_kind, token)
        && tracker.targets.campaign(payload.campaign).is_none()
    {
        edge.look_again().await;
    }
    let headers = request.headers();
    let method = if request.method() == Method::HEAD { "HEAD" } else { "GET" };
    let peer = edge.peer(request);
    let facts = RequestFacts {
        method,
        peer,
        user_agent: text(headers, "user-agent").unwrap_or_default(),
        purpose: text(headers, "sec-purpose").or_else(|| text(headers, "purpose")).or_else(|| text(headers, "x-moz")),
        referer: text(headers, "referer"),
        accept_language: headers.contains_key("accept-language"),
        fetch_user: text(headers, "sec-fetch-user") == Some("?1"),
    };
    let admission = admit(tracker, kind, token, facts, edge.outpost.clock.now(), EventId::from_bytes(clock::fresh_in_turn()));
    if matches!(admission, Admission::Refused) && edge.miss(peer) {
        return Err(too_many());
    }
    Ok(admission)
}

/// To a source of too many forged tokens.
fn too_many() -> HttpResponse {
    HttpResponse::TooManyRequests().insert_header((header::RETRY_AFTER, PAUSE_SECONDS.to_string())).force_close().finish()
}

/// A header's value; user agents may hold UTF-8.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
}
