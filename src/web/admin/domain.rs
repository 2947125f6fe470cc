//! What the DNS says about a sender's domain.

use std::net::IpAddr;

use actix_web::{HttpRequest, HttpResponse, web};

use crate::app::domain::{DomainError, Finding, Level, Report, Request, check};
use crate::web::error::Fault;
use crate::web::form::Fields;
use crate::web::session::User;
use crate::web::view::domain::{DomainView, FindingRow};
use crate::web::view::{Badge, Section, Tone};
use crate::web::{Web, page};

/// `GET /domain?name=example.org`: without a name only the question.
pub async fn show(web: web::Data<Web>, user: User, http: HttpRequest) -> Result<HttpResponse, Fault> {
    let fields = Fields::parse(http.query_string())?;
    let (name, ip) = (fields.trimmed("name").to_owned(), fields.trimmed("ip").to_owned());
    let asked = match request(&fields)? {
        Some(asked) => Some(checked(&web, asked).await?),
        None => None,
    };
    let mut known: Vec<String> = web.lab.dkim.all().iter().map(|key| key.domain().to_owned()).collect();
    known.dedup();
    let (summary, overall) = asked.as_ref().map(summary).unzip();
    let findings = asked.iter().flat_map(|report| &report.findings).map(row).collect();
    page(&DomainView { page: user.page("Sender's domain", Section::Status), name, ip, known, summary, overall, findings })
}

/// What a query asks for, if it names a domain.
pub fn request(fields: &Fields) -> Result<Option<Request>, Fault> {
    let (name, ip) = (fields.trimmed("name"), fields.trimmed("ip"));
    if name.is_empty() {
        return Ok(None);
    }
    let addresses: Result<Vec<IpAddr>, _> = ip.split([',', ' ']).filter(|text| !text.is_empty()).map(str::parse).collect();
    let sends_from =
        addresses.map_err(|_| Fault::Bad("The IP addresses cannot be read. Write 192.0.2.1, several with commas.".to_owned()))?;
    Ok(Some(Request { domain: name.to_owned(), resolver: None, sends_from }))
}

/// Asks the DNS.
pub async fn checked(web: &Web, request: Request) -> Result<Report, Fault> {
    web.run(move |lab| check(&lab.config, &lab.dkim, &request).map_err(fault)).await
}

fn fault(error: DomainError) -> Fault {
    match error {
        DomainError::Name(_) => Fault::Bad(error.to_string()),
        DomainError::Resolver(_) | DomainError::Slow => Fault::Conflict(error.to_string()),
    }
}

fn tone(level: Level) -> Tone {
    match level {
        Level::Ok => Tone::Good,
        Level::Warn => Tone::Warn,
        Level::Stop => Tone::Stop,
    }
}

fn summary(report: &Report) -> (String, Badge) {
    let words = match report.level {
        Level::Ok => "Everything is as receivers want it.",
        Level::Warn => "Letters can leave; something is worth a look.",
        Level::Stop => "Something must be changed, or letters will be refused, taken for spam, or not find their way back.",
    };
    (format!("{words} Return paths are at {}.", report.return_domain), Badge::new(report.level.as_str(), tone(report.level)))
}

fn row(finding: &Finding) -> FindingRow {
    FindingRow {
        subject: finding.subject.to_owned(),
        name: finding.name.clone(),
        state: Badge::new(finding.level.as_str(), tone(finding.level)),
        found: finding.found.clone(),
        advice: finding.advice.clone(),
        record: finding.record.as_ref().map(|record| record.zone_line()),
    }
}
