//! `GET|HEAD /o/{token}.gif`: one transparent pixel, the same for every token, genuine or not.

use std::time::Duration;

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};

use super::hit::judge;
use crate::signal::HitKind;
use crate::tracking::hit::Admission;
use crate::web::edge::Edge;

/// A transparent GIF of one pixel, 43 bytes.
pub const GIF: &[u8; 43] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00\x21\xf9\x04\x01\x00\x00\x00\x00\
      \x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b";
/// How long a pixel waits until its hit is durable.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The same for every token.
pub const HEADERS: [(&str, &str); 6] = [
    ("content-type", "image/gif"),
    ("cache-control", "no-store, private, max-age=0"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("cross-origin-resource-policy", "cross-origin"),
    ("x-robots-tag", "noindex, nofollow, noarchive"),
];

/// Records the hit if it may be, then answers.
pub async fn show(edge: web::Data<Edge>, request: HttpRequest) -> HttpResponse {
    let admission = match judge(&edge, &request, HitKind::Open).await {
        Ok(admission) => admission,
        Err(answer) => return answer,
    };
    if let Admission::Recorded(_, event) = admission {
        // Shed or late: the reader gets the picture all the same, and the count of shed hits is shown.
        let _ = edge.outpost.tracker.intake.record(&event, PATIENCE).await;
    }
    let mut answer = HttpResponse::Ok().body(web::Bytes::from_static(GIF));
    let headers = answer.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::GIF;

    #[test]
    fn the_pixel_is_byte_for_byte_the_documented_one() {
        let expected = "47494638396101000100800000ffffff00000021f90401000000002c00000000010001000002024401003b";
        assert_eq!(data_encoding::HEXLOWER.encode(GIF), expected);
    }
}
