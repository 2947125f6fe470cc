//! What recipients, their mail programs and strangers reach: pixels, links, unsubscribing, privacy, health.
//!
//! It sets no cookie and keeps nothing of a request but what `tracking` keeps.

pub mod health;
mod hit;
pub mod image;
pub mod metrics;
pub mod pixel;
pub mod privacy;
pub mod redirect;
pub mod unsubscribe;

use actix_web::HttpResponse;

/// `GET /robots.txt`: nothing here is for search engines.
pub async fn robots() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("User-agent: *\nDisallow: /\n")
}
