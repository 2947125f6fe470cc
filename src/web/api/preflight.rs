//! What is looked at before a campaign leaves, for programs. No answer holds a person: previews are for somebody made up.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};

use super::campaigns::find;
use super::steer::Small;
use crate::app::preflight;
use crate::app::preview::{self, Reader};
use crate::app::test_mail as mail;
use crate::ids::VariantNumber;
use crate::web::Web;
use crate::web::admin::campaign::variant_of;
use crate::web::admin::preflight::wishes;
use crate::web::error::Fault;
use crate::web::form::Fields;
use crate::web::session::Program;

/// `GET …/preflight?links=yes&domain=yes&spam=yes`
pub async fn check(web: web::Data<Web>, _program: Program, name: web::Path<String>, request: HttpRequest) -> Result<HttpResponse, Fault> {
    let wishes = wishes(&Fields::parse(request.query_string())?);
    let campaign = find(&web, name.into_inner()).await?;
    Ok(HttpResponse::Ok().json(web.run(move |lab| preflight::check(lab, &campaign, wishes)).await?))
}

/// A variant as somebody made up would get it.
#[derive(Serialize)]
struct Shown {
    variant: String,
    sender_name: String,
    subject: String,
    preheader: String,
    html: String,
    text: String,
}

/// `GET …/preview/{variant}?first_name=Lan`: the query holds values of merge fields.
pub async fn preview(
    web: web::Data<Web>,
    _program: Program,
    path: web::Path<(String, String)>,
    request: HttpRequest,
) -> Result<HttpResponse, Fault> {
    let (name, letter) = path.into_inner();
    let variant = variant(&letter)?;
    let fields = Fields::parse(request.query_string())?;
    let reader = Reader::MadeUp(fields.all().map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
    let campaign = find(&web, name).await?;
    let seen = web.run(move |lab| preview::letters(lab, &campaign, &reader)).await?;
    let seen = seen.into_iter().find(|seen| seen.variant == variant);
    let seen = seen.ok_or_else(|| Fault::Missing(format!("There is no variant {variant}.")))?;
    let rendered = seen.letter.map_err(Fault::Conflict)?;
    Ok(HttpResponse::Ok().json(Shown {
        variant: variant.to_string(),
        sender_name: rendered.sender_name,
        subject: rendered.subject,
        preheader: rendered.preheader,
        html: rendered.html,
        text: rendered.text,
    }))
}

fn variant(letter: &str) -> Result<VariantNumber, Fault> {
    variant_of(letter.trim()).ok_or_else(|| Fault::Bad("A variant is a letter, such as \"B\".".to_owned()))
}

/// Where test mail goes, of which variants, filled in with what.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    to: String,
    #[serde(default)]
    variants: Vec<String>,
    #[serde(default)]
    values: BTreeMap<String, String>,
}

/// `POST …/test-mail`
pub async fn test_mail(web: web::Data<Web>, _program: Program, name: web::Path<String>, body: Small<Test>) -> Result<HttpResponse, Fault> {
    let Test { to, variants, values } = body.into_inner();
    let variants: Vec<VariantNumber> = variants.iter().map(|letter| variant(letter)).collect::<Result<_, _>>()?;
    let campaign = find(&web, name.into_inner()).await?;
    let sent = web.run(move |lab| mail::send(lab, &campaign, &to, &variants, &Reader::MadeUp(values))).await?;
    Ok(HttpResponse::Ok().json(sent))
}
