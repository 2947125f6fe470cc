//! Lists, imports and exports.

use std::ops::ControlFlow;

use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt as _;
use jiff::Timestamp;

use crate::app::people::import_file;
use crate::vault::import::ImportOptions;
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
    let options = ImportOptions { list: name.into_inner(), stated: stated(&Fields::parse(request.query_string())?)? };
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

fn stated(query: &Fields) -> Result<Option<Consent>, Fault> {
    let (mode, source, date) = (query.trimmed("recording_mode"), query.trimmed("consent_source"), query.trimmed("consent_date"));
    if mode.is_empty() && source.is_empty() && date.is_empty() {
        return Ok(None);
    }
    if mode.is_empty() || source.is_empty() || date.is_empty() {
        let words = "recording_mode, consent_source and consent_date belong together: what people agreed to, where, and when. Give all three or none.";
        return Err(Fault::Bad(words.to_owned()));
    }
    let mode = mode.parse().map_err(|_| Fault::Bad("recording_mode is off, aggregate, pseudonymous or identified.".to_owned()))?;
    let at: Timestamp = if date.len() == 10 { format!("{date}T00:00:00Z").parse() } else { date.parse() }
        .map_err(|_| Fault::Bad("consent_date is a day such as 2026-03-31, or a moment such as 2026-03-31T12:00:00Z.".to_owned()))?;
    Ok(Some(Consent { mode, source: source.to_owned(), at }))
}
