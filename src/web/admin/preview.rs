//! Variants beside each other as a reader would see them, in frames that can do nothing, and test mail of them.

use std::collections::BTreeMap;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use super::campaign::{find, variant_of};
use crate::app::campaigns::CampaignError;
use crate::app::lab::Lab;
use crate::app::preview::{self, Messages, Reader, Seen};
use crate::app::test_mail;
use crate::campaign::store::Campaign;
use crate::content::{Look, Shade, inert};
use crate::ids::SubscriberId;
use crate::vault::address::EmailAddress;
use crate::web::error::Fault;
use crate::web::form::{Fields, PostForm};
use crate::web::session::{User, flash};
use crate::web::view::preflight::{MergeField, PreviewView, Sight};
use crate::web::view::{Choice, Choices, Section, Tone};
use crate::web::{Web, page, see_other};

/// What a preview may do: nothing but show itself, its pictures and its fonts.
const POLICY: &str = "sandbox; default-src 'none'; img-src https: http: data:; style-src 'unsafe-inline'; font-src https: data:; \
                      form-action 'none'; base-uri 'none'; frame-ancestors 'self'";
/// Merge fields in a query begin so.
const FIELD: &str = "f.";

/// What is looked at, and how, as a query says it.
#[derive(Debug, Clone)]
struct Sighting {
    part: Part,
    is_phone: bool,
    look: Look,
    reader: Reader,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Letter,
    Text,
    Html,
    Message,
}

impl Sighting {
    fn read(fields: &Fields) -> Result<Self, Fault> {
        let part = match fields.get("part") {
            "text" => Part::Text,
            "html" => Part::Html,
            "message" => Part::Message,
            _ => Part::Letter,
        };
        let shade = match fields.get("shade") {
            "dark" => Shade::Dark,
            "inverted" => Shade::Inverted,
            _ => Shade::Light,
        };
        let look = Look { images: fields.get("images") != "off", shade };
        Ok(Self { part, is_phone: fields.get("width") == "phone", look, reader: reader(fields)? })
    }

    const fn part(&self) -> &'static str {
        match self.part {
            Part::Letter => "letter",
            Part::Text => "text",
            Part::Html => "html",
            Part::Message => "message",
        }
    }

    const fn shade(&self) -> &'static str {
        match self.look.shade {
            Shade::Light => "light",
            Shade::Dark => "dark",
            Shade::Inverted => "inverted",
        }
    }

    /// How it is looked at, without who reads.
    fn query(&self) -> String {
        let width = if self.is_phone { "phone" } else { "desktop" };
        let images = if self.look.images { "on" } else { "off" };
        format!("part={}&width={width}&images={images}&shade={}", self.part(), self.shade())
    }
}

fn reader(fields: &Fields) -> Result<Reader, Fault> {
    match fields.get("person") {
        "" => Ok(Reader::MadeUp(
            fields.all().filter_map(|(name, value)| Some((name.strip_prefix(FIELD)?.to_owned(), value.to_owned()))).collect(),
        )),
        id => Ok(Reader::Person(id.parse().map_err(|_| Fault::Missing("There is no such person.".to_owned()))?)),
    }
}

/// Who reads, as a query.
fn reader_query(reader: &Reader) -> String {
    match reader {
        Reader::Person(id) => format!("&person={id}"),
        Reader::MadeUp(values) => values
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("&{}={}", escaped(&format!("{FIELD}{name}")), escaped(value)))
            .collect(),
    }
}

fn escaped(text: &str) -> String {
    let escape = |byte: u8| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(escape).collect()
}

/// What the page needs from the databases.
struct Known {
    seen: Vec<Seen>,
    texts: Vec<String>,
    fields: Vec<String>,
    next: Option<SubscriberId>,
}

fn read(lab: &Lab, campaign: &Campaign, sighting: &Sighting) -> Result<Known, CampaignError> {
    let seen = preview::letters(lab, campaign, &sighting.reader)?;
    let texts = if sighting.part == Part::Message { messages(lab, campaign, sighting, &seen)? } else { Vec::new() };
    let current = match sighting.reader {
        Reader::Person(id) => Some(id),
        Reader::MadeUp(_) => None,
    };
    Ok(Known { texts, fields: preview::fields(campaign)?.into_iter().collect(), next: preview::next_person(lab, campaign, current)?, seen })
}

/// Whole messages; for a variant this reader does not get, nothing.
fn messages(lab: &Lab, campaign: &Campaign, sighting: &Sighting, seen: &[Seen]) -> Result<Vec<String>, CampaignError> {
    let messages = Messages::of(lab, campaign)?;
    let one = |seen: &Seen| {
        if seen.letter.is_err() {
            return Ok(String::new());
        }
        let bytes = messages.for_reader(lab, seen.variant, "reader@example.org", &sighting.reader)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    seen.iter().map(one).collect()
}

/// `GET /campaigns/{number}/preview`
pub async fn show(web: web::Data<Web>, user: User, number: web::Path<String>, request: HttpRequest) -> Result<HttpResponse, Fault> {
    let campaign = find(&web, &number).await?;
    let fields = Fields::parse(request.query_string())?;
    let sighting = Sighting::read(&fields)?;
    let view = view(&web, &user, campaign, sighting).await?;
    page(&view)
}

async fn view(web: &Web, user: &User, campaign: Campaign, sighting: Sighting) -> Result<PreviewView, Fault> {
    let (asked, how) = (campaign.clone(), sighting.clone());
    let known = web.run(move |lab| read(lab, &asked, &how)).await?;
    let campaign_url = format!("/campaigns/{}", campaign.number);
    let url = format!("{campaign_url}/preview");
    let query = sighting.query();
    let (person, typed) = match &sighting.reader {
        Reader::Person(id) => (id.to_string(), BTreeMap::new()),
        Reader::MadeUp(values) => (String::new(), values.clone()),
    };
    let login = &user.account.login;
    Ok(PreviewView {
        page: user.page(&format!("Preview of {}", campaign.definition.name), Section::Campaigns),
        name: campaign.definition.name.clone(),
        test_url: format!("{campaign_url}/test-mail"),
        reader: if person.is_empty() { "somebody made up".to_owned() } else { "one person of the list".to_owned() },
        next_url: known.next.map_or_else(|| url.clone(), |next| format!("{url}?{query}&person={next}")),
        made_up_url: (!person.is_empty()).then(|| format!("{url}?{query}")),
        fields: fields(&known, &typed, &person),
        part: choices(PARTS, sighting.part()),
        width: choices(WIDTHS, if sighting.is_phone { "phone" } else { "desktop" }),
        images: choices(IMAGES, if sighting.look.images { "on" } else { "off" }),
        shade: choices(SHADES, sighting.shade()),
        frame_class: if sighting.is_phone { "phone" } else { "desktop" }.to_owned(),
        to: if EmailAddress::parse(login).is_ok() { login.clone() } else { String::new() },
        sights: known.seen.iter().enumerate().map(|(index, seen)| sight(&url, &sighting, index, seen, known.texts.get(index))).collect(),
        campaign_url,
        url,
        person,
    })
}

const PARTS: &[(&str, &str)] =
    &[("letter", "The letter"), ("text", "Its text part"), ("html", "Its HTML source"), ("message", "The whole message")];
const WIDTHS: &[(&str, &str)] = &[("desktop", "Desktop, 680 px"), ("phone", "Telephone, 375 px")];
const IMAGES: &[(&str, &str)] = &[("on", "Shown"), ("off", "Not shown")];
const SHADES: &[(&str, &str)] = &[("light", "Light"), ("dark", "Dark, as in Apple Mail"), ("inverted", "Dark, turned round by the app")];

fn choices(known: &[(&str, &str)], chosen: &str) -> Choices {
    let option = |(value, label): &(&str, &str)| Choice {
        value: (*value).to_owned(),
        label: (*label).to_owned(),
        hint: String::new(),
        chosen: *value == chosen,
    };
    Choices { options: known.iter().map(option).collect(), error: None }
}

/// The letter's merge fields, and what was typed for them; a person has values of their own.
fn fields(known: &Known, typed: &BTreeMap<String, String>, person: &str) -> Vec<MergeField> {
    if !person.is_empty() {
        return Vec::new();
    }
    let field = |name: &String| MergeField { name: name.clone(), value: typed.get(name).cloned().unwrap_or_default() };
    known.fields.iter().map(field).collect()
}

fn sight(url: &str, sighting: &Sighting, index: usize, seen: &Seen, message: Option<&String>) -> Sight {
    let letter = seen.variant.to_string();
    let address = || format!("{url}/{}?{}{}", letter.to_lowercase(), sighting.query(), reader_query(&sighting.reader));
    let empty = Sight {
        colour: index,
        sender: String::new(),
        subject: String::new(),
        preheader: String::new(),
        frame_url: None,
        text: String::new(),
        problem: None,
        letter: letter.clone(),
    };
    match &seen.letter {
        Err(why) => Sight { problem: Some(why.clone()), ..empty },
        Ok(rendered) => Sight {
            sender: rendered.sender_name.clone(),
            subject: rendered.subject.clone(),
            preheader: rendered.preheader.clone(),
            frame_url: (sighting.part == Part::Letter).then(address),
            text: match sighting.part {
                Part::Letter => String::new(),
                Part::Text => rendered.text.clone(),
                Part::Html => rendered.html.clone(),
                Part::Message => message.cloned().unwrap_or_default(),
            },
            ..empty
        },
    }
}

/// `POST /campaigns/{number}/preview` with `address`: the address is looked up and not kept in the page's own.
pub async fn choose(web: web::Data<Web>, number: web::Path<String>, form: PostForm) -> Result<HttpResponse, Fault> {
    let campaign = find(&web, &number).await?;
    let address = form.fields.trimmed("address").to_owned();
    let person = web.run(move |lab| preview::person(lab, &address)).await?;
    Ok(see_other(&format!("/campaigns/{}/preview?person={person}", campaign.number)))
}

/// `GET /campaigns/{number}/preview/{variant}`: a variant's letter, to be looked at only, under a policy of its own.
pub async fn frame(
    web: web::Data<Web>,
    _user: User,
    path: web::Path<(String, String)>,
    request: HttpRequest,
) -> Result<HttpResponse, Fault> {
    let (number, letter) = path.into_inner();
    let campaign = find(&web, &number).await?;
    let variant = variant_of(&letter).ok_or(Fault::NotFound)?;
    let sighting = Sighting::read(&Fields::parse(request.query_string())?)?;
    let look = sighting.look;
    let seen = web.run(move |lab| preview::letters(lab, &campaign, &sighting.reader)).await?;
    let seen = seen.into_iter().find(|seen| seen.variant == variant).ok_or(Fault::NotFound)?;
    let rendered = seen.letter.map_err(Fault::Conflict)?;
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .body(inert(&rendered.html, look)))
}

/// `POST /campaigns/{number}/test-mail` with `to`, and who reads as on the page.
pub async fn test_mail(web: web::Data<Web>, number: web::Path<String>, form: PostForm) -> Result<HttpResponse, Fault> {
    let campaign = find(&web, &number).await?;
    let sighting = Sighting::read(&form.fields)?;
    let to = form.fields.trimmed("to").to_owned();
    let (asked, reader, address) = (campaign.clone(), sighting.reader.clone(), to.clone());
    let sent = web.run(move |lab| test_mail::send(lab, &asked, &address, &[], &reader)).await?;
    let mut view = view(&web, &form.user, campaign, sighting).await?;
    view.to = to;
    let refused: Vec<String> = sent.iter().filter(|one| !one.accepted).map(|one| format!("{}: {}", one.variant, one.why)).collect();
    let accepted: Vec<&str> = sent.iter().filter(|one| one.accepted).map(|one| one.variant.as_str()).collect();
    view.page.flashes = vec![if refused.is_empty() {
        flash(Tone::Good, &format!("Test mail of {} is on its way.", accepted.join(", ")))
    } else {
        flash(Tone::Stop, &format!("Not every test could be sent. {}.", refused.join("; ")))
    }];
    page(&view)
}
