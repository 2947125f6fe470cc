//! Looking into letters that are being written: parts, to point at; tags of other systems, rewritten; whole letters, compared.
//!
//! The letter is shown in a sandboxed frame of no origin. Scripts of its own cannot run there: only one script may, ours, by a secret
//! said in the same answer. It tells the form beside it which part was clicked, and can do nothing else.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use super::draft;
use super::draft_form::{self, Typed, lines};
use super::draft_letters;
use crate::app::{clock, letters};
use crate::content::{BodyFormat, PART_ATTRIBUTE, PART_CLASS, Parts};
use crate::ids::{CampaignNumber, base32};
use crate::web::error::Fault;
use crate::web::form::{Fields, PostForm};
use crate::web::session::User;
use crate::web::view::campaign_form::{NewCampaignView, RewritingView};
use crate::web::view::comparison::ComparisonView;
use crate::web::{Web, page};

const SCRIPT: &str = include_str!("../../../assets/pick.frame.js");
const STYLE: &str = "[data-letterlab-over]{outline:3px solid #2563eb!important;outline-offset:1px;cursor:pointer!important}";

/// `POST /campaigns/letter/parts`: the letter of the form, with parts that can be clicked.
pub async fn parts(web: web::Data<Web>, mut form: PostForm) -> Result<HttpResponse, Fault> {
    draft_letters::take_files(&mut form.fields);
    let source = lines(form.fields.get("body"));
    let format = format_of(form.fields.get("format"));
    let shown = web.run(move |_| Ok::<_, Fault>(letters::pointable(format, &source))).await?;
    Ok(match shown {
        Ok((html, parts)) => framed(html, &parts),
        Err(why) => refusal(&why.to_string()),
    })
}

/// The form's word for how a letter is written.
pub fn format_of(word: &str) -> BodyFormat {
    match word {
        "mjml" => BodyFormat::Mjml,
        "html" => BodyFormat::Html,
        _ => BodyFormat::Markdown,
    }
}

/// The letter and our script, under a policy that lets nothing else run.
fn framed(html: String, parts: &Parts) -> HttpResponse {
    let nonce = base32().encode(&clock::fresh());
    // Within a script, only `<` could end it.
    let data = serde_json::to_string(parts).unwrap_or_default().replace('<', "\\u003c");
    let script = SCRIPT.replace("{ATTRIBUTE}", PART_ATTRIBUTE).replace("{CLASS}", PART_CLASS).replacen("{PARTS}", &data, 1);
    let policy = format!(
        "sandbox allow-scripts; default-src 'none'; img-src https: http: data:; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; \
         form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
    );
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, policy))
        .body(format!("{html}<style>{STYLE}</style><script nonce=\"{nonce}\">{script}</script>"))
}

fn refusal(why: &str) -> HttpResponse {
    let why = why.replace('&', "&amp;").replace('<', "&lt;");
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'; frame-ancestors 'self'"))
        .body(format!("<!doctype html><meta charset=\"utf-8\"><title>Letter</title><p>The letter cannot be shown yet: {why}.</p>"))
}

/// The fields of the form that may hold merge tags, with their words.
fn taggable(fields: &Fields) -> Vec<(String, String)> {
    let fixed = [("subject", "subject"), ("preheader", "preheader"), ("sender_name", "sender name"), ("body", "letter")];
    let variants = (1..=8).flat_map(|row| {
        let letter = letters::letter_name(row - 1);
        let of = |field: &str, words: &str| (format!("variant_{row}_{field}"), format!("{letter}, {words}"));
        [
            of("value", "value"),
            of("subject", "subject"),
            of("preheader", "preheader"),
            of("sender_name", "sender name"),
            of("body", "letter"),
        ]
    });
    let all = fixed.into_iter().map(|(name, words)| (name.to_owned(), words.to_owned())).chain(variants);
    all.filter(|(name, _)| !fields.get(name).is_empty()).collect()
}

/// The form again as it was sent, chosen files taken in; `?draft=` names the draft it changes.
async fn again(web: &Web, request: &HttpRequest, user: &User, fields: &mut Fields) -> Result<(NewCampaignView, Typed), Fault> {
    let query = Fields::parse(request.query_string())?;
    let number: Option<CampaignNumber> = query.get("draft").parse().ok();
    let unreadable = draft_letters::take_files(fields);
    let typed = draft_form::read(fields, None);
    let mut view: NewCampaignView = draft::empty(web, user, number).await?;
    draft_form::refill(&mut view, fields);
    draft_form::place(&mut view, &typed, &unreadable);
    Ok((view, typed))
}

/// `POST /campaigns/letter/rewrite`: the form again, with the tags of other systems rewritten and told one by one. Nothing is stored.
pub async fn rewrite(web: web::Data<Web>, request: HttpRequest, form: PostForm) -> Result<HttpResponse, Fault> {
    let mut fields = form.fields;
    draft_letters::take_files(&mut fields);
    let mut told = RewritingView::default();
    for (name, words) in taggable(&fields) {
        let rewriting = letters::rewrite(&lines(fields.get(&name)));
        let place = |line: usize| format!("{words}, line {line}");
        told.rewritten.extend(rewriting.rewritten.into_iter().map(|one| (place(one.line), one.from, one.to)));
        told.left.extend(rewriting.left.into_iter().map(|one| (place(one.line), one.tag, one.why)));
        fields.set(&name, rewriting.text);
    }
    clear_files(&mut fields);
    let (mut view, _) = again(&web, &request, &form.user, &mut fields).await?;
    view.rewriting = Some(told);
    page(&view)
}

/// Their text stands in the fields now.
fn clear_files(fields: &mut Fields) {
    for row in 1..=8 {
        let name = if row == 1 { "file".to_owned() } else { format!("variant_{row}_file") };
        if fields.get(&format!("{name}.unreadable")).is_empty() {
            fields.set(&name, String::new());
        }
    }
}

/// `POST /campaigns/letter/compare`: the form again, with what its whole letters differ in. Nothing is stored.
pub async fn compare(web: web::Data<Web>, request: HttpRequest, form: PostForm) -> Result<HttpResponse, Fault> {
    let mut fields = form.fields;
    let (mut view, typed) = again(&web, &request, &form.user, &mut fields).await?;
    match draft::compared(&web, &typed).await? {
        Some(Ok(compared)) => view.comparison = Some(ComparisonView::new(&compared, &typed.names())),
        Some(Err(why)) => view.errors.push(format!("The letters cannot be compared: {why}.")),
        None => view.errors.push("Two letters are compared at least: choose whole letters as the element, and bring one for B.".to_owned()),
    }
    page(&view)
}
