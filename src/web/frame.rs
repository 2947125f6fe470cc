//! Round every answer but pixels and links: security headers, errors as pages or JSON, one log line.
//!
//! The log line holds method, route, status and time; never a path as sent, a query, a token or an address.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, web};

use super::edge::Edge;
use super::error::{Fault, answer};
use super::slow;
use crate::app::clock::Stopwatch;

/// What pages may load and do: their own stylesheet and scripts, nothing from elsewhere.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
                           frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Wraps a request.
pub async fn frame(mut request: ServiceRequest, next: Next<impl MessageBody + 'static>) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Stopwatch::start();
    let secure = request.app_data::<web::Data<Edge>>().is_some_and(|edge| edge.secure);
    slow::in_time(&mut request);
    let mut response = told(next.call(request).await?.map_into_boxed_body());
    let headers = response.headers_mut();
    let mut missing = |name: HeaderName, value: &'static str| {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    };
    missing(header::CONTENT_SECURITY_POLICY, PAGE_POLICY);
    missing(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    missing(header::REFERRER_POLICY, "no-referrer");
    missing(header::CACHE_CONTROL, "no-store");
    missing(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    missing(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    missing(HeaderName::from_static("x-robots-tag"), "noindex, nofollow");
    if secure {
        missing(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    let route = response.request().match_pattern().unwrap_or_else(|| "(none)".to_owned());
    let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(method = %response.request().method(), route, status = response.status().as_u16(), milliseconds, "answered");
    Ok(response)
}

/// An error's answer in place of its bare status.
fn told(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let status = response.status();
    let fault = response.response().error().and_then(|error| error.as_error::<Fault>());
    let written = match fault {
        Some(fault) => answer(response.request(), Some(fault), status),
        // A refusal of the framework's own, such as a path that cannot be decoded: its text is not for users.
        None if response.response().error().is_some() => answer(response.request(), None, status),
        None => return response,
    };
    ServiceResponse::new(response.request().clone(), written)
}
