//! `GET /i/{name}`: a picture uploaded for letters. Its address cannot be guessed and what it shows never changes, so that mail
//! programs and their proxies may keep it. Nothing is counted: that is the pixel's work.

use actix_web::http::header::{self, HeaderName};
use actix_web::{HttpResponse, web};

use crate::campaign::store;
use crate::content::{ImageKind, uploaded_id};
use crate::web::edge::Edge;
use crate::web::error::Fault;

/// Answers the picture.
pub async fn show(edge: web::Data<Edge>, name: web::Path<String>) -> Result<HttpResponse, Fault> {
    let (_, ending) = name.rsplit_once('.').ok_or(Fault::NotFound)?;
    let kind = ImageKind::from_word(ending).ok_or(Fault::NotFound)?;
    let id = uploaded_id(&format!("https://here/i/{name}")).ok_or(Fault::NotFound)?.to_owned();
    let image = edge.run(move |outpost| outpost.ledger.read(|conn| store::image(conn, &id))).await?;
    let image = image.filter(|image| image.kind == kind).ok_or(Fault::NotFound)?;
    Ok(HttpResponse::Ok()
        .content_type(image.kind.media_type())
        .insert_header((header::CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .insert_header((HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"))
        .body(image.bytes))
}
