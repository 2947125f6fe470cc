//! The HTTP API: the same verbs as pages and command line, in JSON, for programs with an API key.
//!
//! Errors are `{"error": …, "problems": […]}`; no answer but an exported list holds a person.

pub mod campaigns;
pub mod domain;
pub mod letters;
pub mod people;
pub mod preflight;
pub mod status;
pub mod steer;

use actix_web::http::Method;
use actix_web::{HttpResponse, web};

use super::error::Fault;
use super::routes::{Reach, TABLE};
use super::view::Page;
use super::view::api::{ApiRow, ApiView};
use super::{Web, page};

/// `GET /api`: a page about the API, its routes taken from the table itself.
pub async fn describe(web: web::Data<Web>) -> Result<HttpResponse, Fault> {
    let rows = TABLE
        .iter()
        .filter(|entry| entry.reach == Reach::ApiKey)
        .map(|entry| ApiRow {
            method: entry.method.to_string(),
            path: entry.path.to_owned(),
            purpose: purpose(&entry.method, entry.path).to_owned(),
        })
        .collect();
    page(&ApiView { page: Page::anonymous("HTTP API"), site: web.lab.config.web.base_url.clone(), rows })
}

fn purpose(method: &Method, path: &str) -> &'static str {
    let last = path.rsplit('/').next().unwrap_or_default();
    match (method.as_str(), last) {
        (_, "status") => "Whether every letter and hit is accounted for, how far background work is, and what the tracker does now.",
        ("GET", "rebuild") => "How far a rebuild is: idle, running, ended or failed.",
        ("POST", "rebuild") => "Make every recipient's state and every count anew from the events, in the background, or go on with it.",
        (_, "stop") if path.contains("/verify/") => "Stop verifying; nothing was changed.",
        (_, "stop") => "Stop the rebuild; the next one goes on.",
        (_, "verify") if path.contains("{campaign}") => {
            "Derive its states and counts from the events again and compare, while you wait; nothing is changed. One at a time: 409 while another is under way."
        }
        ("GET", "verify") => "How far verifying is: idle, running, ended with what was found, stopped or failed.",
        (_, "verify") => "Verify every campaign in the background; 409 while that is under way.",
        ("GET", "lists") => "Every list with how many people are on it.",
        ("GET", "people") => "Export a list as CSV: addresses, merge fields, what each agreed to, who may not be mailed.",
        (_, "people") => {
            "Import people: the body is a CSV file with a header. Query: recording_mode, consent_source, consent_date for lines that state none."
        }
        ("GET", "images") => "Every uploaded picture with its address.",
        ("POST", "images") => "Upload a picture for letters: the body is the file (PNG, JPEG, GIF, WebP). Answers its address.",
        (_, "parts") => "Everything in a letter that may vary, with its address: {\"format\": \"html\", \"source\": …}.",
        (_, "rewrite") => {
            "Rewrite merge tags of Mailchimp, Liquid and listmonk: {\"text\": …}. Lists what was rewritten and what could not be."
        }
        (_, "compare") => {
            "In what two to eight whole letters differ, the control first: {\"letters\": [{\"format\": \"html\", \"source\": …, \"subject\": …}, …]}; preheader, sender_name and reply_to may be given."
        }
        (_, "proof") => {
            "That its letters differ in one element: kept with the sealed plan, or of a draft tried just now; refused with every difference."
        }
        ("GET", "campaigns") => "Every campaign, the newest first.",
        ("POST", "campaigns") => "Store a draft: the body is campaign.toml, or JSON of the same shape.",
        ("GET", "{campaign}") => "A campaign by name or number: state, times, definition, hash.",
        ("PUT", "{campaign}") => "Replace a draft.",
        ("DELETE", "{campaign}") => "Delete a draft.",
        (_, "seal") => "Freeze letter and plan under one hash without sending yet.",
        (_, "launch") => "Seal, assign everybody, send.",
        (_, "pause") => "Stop sending for now.",
        (_, "cancel") => "Send no more, for good; what was sent is still measured.",
        (_, "resend") => {
            "Send letters again of which nobody knows whether they left; whoever got one gets it twice, under the same Message-ID."
        }
        (_, "schedule") => "When the first letter may leave: {\"start\": \"2026-12-01T08:00:00+01:00\"}; without it at once.",
        (_, "test") => "Try relays out, step by step, without a letter: {\"relay\": \"main\", \"sender\": \"news@example.org\"}.",
        (_, "letters") => "Whether one person may be mailed, and what became of every letter to them: {\"address\": \"…\"}.",
        (_, "suppress") => "No more letters to one person, whatever is imported later: {\"address\": \"…\"}.",
        (_, "unsuppress") => "Take that back: {\"address\": \"…\"}; 409 where an unsubscription, a complaint or a bounce forbids mail.",
        (_, "erase") => "Erase one person with every open and click of theirs, for good: {\"address\": \"…\"}.",
        (_, "resume") => "Go on sending.",
        (_, "decide") => "Choose what the rest get: {\"variant\": \"B\"}; before the plan's time with {\"early\": true} besides.",
        (_, "close") => "End it: nothing more is sent or recorded.",
        (_, "reclassify") => "Judge its stored hits again by the present rules and tell what changed; {\"dry_run\": true} only tells.",
        (_, "share") => "A reviewer's link: {\"days\": 30}.",
        (_, "preflight") => {
            "The list before launch, each point ok, warn or stop. Query: links=yes, domain=yes, spam=yes to ask the network and SpamAssassin."
        }
        (_, "{variant}") => "A variant for somebody made up, as HTML and text. Query: values of merge fields.",
        (_, "test-mail") => "Send variants to one address, uncounted: {\"to\": …, \"variants\": [\"A\"], \"values\": {…}}.",
        (_, "lacking") => "How many people lack a value the letter needs, and which: they would be skipped.",
        (_, "progress") => "How far sending is, and live counts per arm.",
        (_, "outlook") => "What a draft's test can show: base rate with its uncertainty, power, sample size, suggested test share.",
        (_, "assignment") => "The draw repeated from seed and pseudonyms: strata, everybody's arm, and whether they agree.",
        ("GET", "domain") => {
            "SPF, DKIM, DMARC, PTR and MX of a sender's domain, each with what to change. Query: name, and ip for addresses letters leave from."
        }
        (_, "results") => "The result: verdict, rates, intervals, checks, the sealed plan.",
        (_, "results.csv") => "Its counts, one line per arm.",
        (_, "results.R") => "A script for R that computes its numbers again from the counts.",
        (_, "results.py") => "The same for Python, standard library only.",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_says_what_it_does() {
        for entry in TABLE.iter().filter(|entry| entry.reach == Reach::ApiKey) {
            assert!(!purpose(&entry.method, entry.path).is_empty(), "{} {}", entry.method, entry.path);
        }
    }
}
