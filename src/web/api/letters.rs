//! Letters and pictures before they are part of a campaign, as JSON.

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use serde::Deserialize;

use crate::app::{images, letters};
use crate::content::{Body, BodyFormat, MOST_IMAGE_BYTES, Newsletter};
use crate::web::Web;
use crate::web::error::Fault;
use crate::web::form::read_body;
use crate::web::session::Program;

/// Most bytes of a letter with its JSON.
const LETTER_BYTES: usize = 4 * 1024 * 1024;

/// The body of a request, as it is: at most a picture or a letter.
pub struct WholeBody(web::Bytes);

impl FromRequest for WholeBody {
    type Error = Fault;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self, Fault>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move { Ok(Self(read_body(&request, &mut payload, LETTER_BYTES.max(MOST_IMAGE_BYTES)).await?)) })
    }
}

impl WholeBody {
    fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Fault> {
        serde_json::from_slice(&self.0).map_err(|error| Fault::Bad(format!("The body is not the JSON expected: {error}.")))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Letter {
    format: BodyFormat,
    source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Letters {
    letters: Vec<WholeLetter>,
}

/// A finished letter; lines left out are the same in all of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WholeLetter {
    format: BodyFormat,
    source: String,
    #[serde(default)]
    subject: String,
    #[serde(default)]
    preheader: String,
    #[serde(default)]
    sender_name: String,
    #[serde(default)]
    reply_to: Option<String>,
}

/// `POST /api/v1/letters/compare`
pub async fn compare(web: web::Data<Web>, _program: Program, body: WholeBody) -> Result<HttpResponse, Fault> {
    let letters: Letters = body.json()?;
    let compared = web.run(move |_| {
        let newsletters: Vec<(Newsletter, Option<String>)> = letters.letters.into_iter().map(newsletter).collect();
        letters::compare(&newsletters, &[]).map_err(|why| Fault::Bad(format!("The letters cannot be compared: {why}.")))
    });
    Ok(HttpResponse::Ok().json(compared.await?))
}

fn newsletter(letter: WholeLetter) -> (Newsletter, Option<String>) {
    let WholeLetter { format, source, subject, preheader, sender_name, reply_to } = letter;
    (Newsletter { subject, preheader, sender_name, body: Body { format, source } }, reply_to)
}

/// `POST /api/v1/letters/parts`
pub async fn parts(web: web::Data<Web>, _program: Program, body: WholeBody) -> Result<HttpResponse, Fault> {
    let letter: Letter = body.json()?;
    let found = web.run(move |_| letters::parts(letter.format, &letter.source).map_err(|error| Fault::Bad(error.to_string()))).await?;
    Ok(HttpResponse::Ok().json(found))
}

/// `POST /api/v1/letters/rewrite`
pub async fn rewrite(web: web::Data<Web>, _program: Program, body: WholeBody) -> Result<HttpResponse, Fault> {
    let text: Text = body.json()?;
    let rewriting = web.run(move |_| Ok::<_, Fault>(letters::rewrite(&text.text))).await?;
    Ok(HttpResponse::Ok().json(rewriting))
}

/// `GET /api/v1/images`
pub async fn images(web: web::Data<Web>, _program: Program) -> Result<HttpResponse, Fault> {
    Ok(HttpResponse::Ok().json(web.run(images::all).await?))
}

/// `POST /api/v1/images`
pub async fn upload(web: web::Data<Web>, _program: Program, body: WholeBody) -> Result<HttpResponse, Fault> {
    let stored = web.run(move |lab| images::upload(lab, &body.0)).await?;
    Ok(HttpResponse::Created().json(stored))
}

/// `GET /api/v1/campaigns/{campaign}/lacking`: people by number only; no answer of the API holds a person.
pub async fn lacking(web: web::Data<Web>, _program: Program, name: web::Path<String>) -> Result<HttpResponse, Fault> {
    let campaign = super::campaigns::find(&web, name.into_inner()).await?;
    let found = web.run(move |lab| letters::lacking(lab, &campaign.definition)).await?;
    Ok(HttpResponse::Ok().json(serde_json::json!({ "people": found.people, "lacking": found.lacking, "fields": found.fields })))
}
