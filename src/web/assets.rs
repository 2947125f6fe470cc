//! Stylesheet, scripts and icon, embedded in the binary.
//!
//! A browser asks again with the ETag each time and is answered 304 while nothing changed.

use std::sync::LazyLock;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use super::error::Fault;

struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
    etag: String,
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let asset = |name, kind, bytes: &'static [u8]| {
        let etag = format!("\"{}\"", blake3::hash(bytes).to_hex().chars().take(24).collect::<String>());
        Asset { name, kind, bytes, etag }
    };
    vec![
        asset("letterlab.css", "text/css; charset=utf-8", include_bytes!("../../assets/letterlab.css")),
        asset("letterlab.svg", "image/svg+xml", include_bytes!("../../assets/letterlab.svg")),
        asset("live.js", "text/javascript; charset=utf-8", include_bytes!("../../assets/live.js")),
        asset("form.js", "text/javascript; charset=utf-8", include_bytes!("../../assets/form.js")),
        asset("pick.js", "text/javascript; charset=utf-8", include_bytes!("../../assets/pick.js")),
        asset("copy.js", "text/javascript; charset=utf-8", include_bytes!("../../assets/copy.js")),
    ]
});

/// `GET /favicon.ico`, for those who do not read the page: the icon that pages name.
pub async fn icon(request: HttpRequest) -> Result<HttpResponse, Fault> {
    show(request, web::Path::from("letterlab.svg".to_owned())).await
}

/// `GET /assets/{name}`
pub async fn show(request: HttpRequest, name: web::Path<String>) -> Result<HttpResponse, Fault> {
    let asset = ASSETS.iter().find(|asset| asset.name == name.as_str()).ok_or(Fault::NotFound)?;
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let mut answer = if known == Some(asset.etag.as_str()) { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer.insert_header((header::ETAG, asset.etag.as_str())).insert_header((header::CACHE_CONTROL, "public, no-cache"));
    if known == Some(asset.etag.as_str()) {
        return Ok(answer.finish());
    }
    Ok(answer.content_type(asset.kind).body(asset.bytes))
}
