//! Lists, imports and exports; one person: how they stand, no more letters to them, erasing them.

use std::ops::ControlFlow;

use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::steer::Small;
use crate::app::people::{self, PersonError, import_file};
use crate::vault::address::EmailAddress;
use crate::vault::import::{ImportOptions, read_moment};
use crate::vault::people::Consent;
use crate::vault::store;
use crate::web::Web;
use crate::web::error::Fault;
use crate::web::form::{Fields, Upload, upload_folder};
use crate::web::listing::list_as_csv;
use crate::web::session::Program;

/// `GET /api/v1/lists`
pub async fn lists(web: web::Data<Web>, _program: Program) -> Result<HttpResponse, Fault> {
    Ok(HttpResponse::Ok().json(web.run(|lab| lab.vault.read(store::lists)).await?))
}

/// `GET /api/v1/lists/{name}/people`
pub async fn export(web: web::Data<Web>, _program: Program, name: web::Path<String>) -> Result<HttpResponse, Fault> {
    list_as_csv(&web, name.into_inner()).await
}

/// `POST /api/v1/lists/{name}/people?recording_mode=…&consent_source=…&consent_date=…` with a CSV file as body.
pub async fn import(
    web: web::Data<Web>,
    _program: Program,
    name: web::Path<String>,
    request: HttpRequest,
    mut body: web::Payload,
) -> Result<HttpResponse, Fault> {
    let options = ImportOptions { list: name.into_inner(), stated: stated(&Fields::parse(request.query_string())?, web.lab.clock.now())? };
    let mut upload = Upload::create(&upload_folder(&web))?;
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| Fault::Bad("The body ended before it was complete. Send it again.".to_owned()))?;
        upload = upload.add(chunk).await?;
    }
    let report = web
        .run(move |lab| import_file(lab, upload.path(), &options, &mut |_| ControlFlow::Continue(()), &mut |_| {}).map_err(Fault::from))
        .await?;
    Ok(HttpResponse::Ok().json(report))
}

/// Who is meant: an address belongs in a body, not in a log of paths.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Addressee {
    address: String,
}

fn address_of(body: Small<Addressee>) -> Result<EmailAddress, Fault> {
    EmailAddress::parse(&body.into_inner().address).map_err(|why| Fault::Bad(format!("This is no address: {why}.")))
}

/// `POST /api/v1/people/letters`
pub async fn letters_to(web: web::Data<Web>, _program: Program, body: Small<Addressee>) -> Result<HttpResponse, Fault> {
    let address = address_of(body)?;
    let standing = web.run(move |lab| people::letters_to(lab, &address)).await?;
    Ok(HttpResponse::Ok().json(standing.ok_or(PersonError::Unknown)?))
}

/// `POST /api/v1/people/suppress`
pub async fn suppress(web: web::Data<Web>, _program: Program, body: Small<Addressee>) -> Result<HttpResponse, Fault> {
    let address = address_of(body)?;
    let is_new = web.run(move |lab| people::suppress(lab, &address)).await?;
    Ok(HttpResponse::Ok().json(json!({ "suppressed": true, "new": is_new })))
}

/// `POST /api/v1/people/unsuppress`
pub async fn unsuppress(web: web::Data<Web>, _program: Program, body: Small<Addressee>) -> Result<HttpResponse, Fault> {
    let address = address_of(body)?;
    let was = web.run(move |lab| people::unsuppress(lab, &address)).await?;
    Ok(HttpResponse::Ok().json(json!({ "suppressed": false, "new": was })))
}

/// `POST /api/v1/people/erase`
pub async fn erase(web: web::Data<Web>, _program: Program, body: Small<Addressee>) -> Result<HttpResponse, Fault> {
    let address = address_of(body)?;
    web.run(move |lab| people::erase(lab, &address)).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn stated(query: &Fields, now: Timestamp) -> Result<Option<Consent>, Fault> {
    let (mode, source, date) = (query.trimmed("recording_mode"), query.trimmed("consent_source"), query.trimmed("consent_date"));
    if mode.is_empty() && source.is_empty() && date.is_empty() {
        return Ok(None);
    }
    if mode.is_empty() || source.is_empty() || date.is_empty() {
        let words = "recording_mode, consent_source and consent_date belong together: what people agreed to, where, and when. Give all three or none.";
        return Err(Fault::Bad(words.to_owned()));
    }
    let mode = mode.parse().map_err(|_| Fault::Bad("recording_mode is off, aggregate, pseudonymous or identified.".to_owned()))?;
    let at = read_moment(date, now).map_err(|wrong| Fault::Bad(format!("consent_date {wrong}.")))?;
    Ok(Some(Consent { mode, source: source.to_owned(), at }))
}
