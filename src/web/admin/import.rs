//! Importing people: the file goes to disk, is looked through and stored on a blocking thread, and every line is accounted for.

use std::ops::ControlFlow;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template as _;

use super::people::list_url;
use crate::app::clock::Stopwatch;
use crate::app::people::import_file;
use crate::ids::RecordingMode;
use crate::vault::import::{ImportOptions, ImportReport, WrongMoment, read_moment};
use crate::vault::people::Consent;
use crate::vault::store;
use crate::web::error::Fault;
use crate::web::form::{FILE_BYTES, Fields, UploadForm};
use crate::web::session::User;
use crate::web::view::format::{count, counted, sentence};
use crate::web::view::people::{ImportReportView, ImportView, RefusedLine, import_modes};
use crate::web::view::{Field, Link, Section};
use crate::web::{Web, page};

/// Refused lines shown; all are counted.
const SHOWN: usize = 200;

/// `GET /people/import`
pub async fn show(web: web::Data<Web>, user: User) -> Result<HttpResponse, Fault> {
    page(&view(&web, &user, &Fields::default()).await?)
}

async fn view(web: &Web, user: &User, fields: &Fields) -> Result<ImportView, Fault> {
    let mode = if fields.get("mode").is_empty() { "file" } else { fields.get("mode") };
    Ok(ImportView {
        page: user.page("Import people", Section::People),
        file_error: None,
        list: Field::new(fields.get("list")),
        known_lists: web.run(|lab| lab.vault.read(store::list_names)).await?,
        mode: import_modes(mode),
        consent_source: Field::new(fields.get("consent_source")),
        consent_date: Field::new(fields.get("consent_date")),
        largest_file: format!("{} MB", FILE_BYTES / 1024 / 1024),
    })
}

/// `POST /people/import`
pub async fn take(web: web::Data<Web>, form: UploadForm) -> Result<HttpResponse, Fault> {
    let UploadForm { user, fields, file } = form;
    let mut again = view(&web, &user, &fields).await?;
    let options = options(&web, &fields, &mut again);
    let Some((name, upload)) = file else {
        again.file_error = Some("Choose the file to import.".to_owned());
        return refused(&again);
    };
    let Some(options) = options else {
        again.file_error = Some("Choose the file again: a browser does not keep it when something else is wrong.".to_owned());
        return refused(&again);
    };
    let started = Stopwatch::start();
    let list = options.list.clone();
    // The upload goes along, so that its file is there until the import is done even if the browser goes away.
    let imported = web
        .run(move |lab| import_file(lab, upload.path(), &options, &mut |_| ControlFlow::Continue(()), &mut |_| {}).map_err(Fault::from))
        .await;
    match imported {
        Ok(report) => page(&report_view(&user, &name, &list, started.elapsed().as_secs_f64(), &report)),
        Err(Fault::Bad(message)) => {
            again.file_error = Some(sentence(&message));
            refused(&again)
        }
        Err(other) => Err(other),
    }
}

fn refused(view: &ImportView) -> Result<HttpResponse, Fault> {
    Ok(HttpResponse::build(StatusCode::UNPROCESSABLE_ENTITY).content_type("text/html; charset=utf-8").body(view.render()?))
}

/// What the form says about the whole file; complaints go to their fields.
fn options(web: &Web, fields: &Fields, view: &mut ImportView) -> Option<ImportOptions> {
    let list = fields.trimmed("list");
    if list.is_empty() || list.chars().count() > 100 || list.chars().any(char::is_control) {
        view.list.error = Some("Name the list, with at most 100 characters.".to_owned());
    }
    let stated = if fields.get("mode") == "file" { None } else { stated(web, fields, view) };
    let wrong = [&view.list.error, &view.mode.error, &view.consent_source.error, &view.consent_date.error];
    if wrong.iter().any(|error| error.is_some()) {
        return None;
    }
    Some(ImportOptions { list: list.to_owned(), stated })
}

/// What people agreed to, for lines that do not say: nothing without saying where and when.
fn stated(web: &Web, fields: &Fields, view: &mut ImportView) -> Option<Consent> {
    let mode: Option<RecordingMode> = fields.get("mode").parse().ok();
    if mode.is_none() {
        view.mode.error = Some("Choose one.".to_owned());
    }
    let source = fields.trimmed("consent_source");
    if source.is_empty() || source.chars().count() > 200 {
        view.consent_source.error = Some("Say where these people agreed, with at most 200 characters.".to_owned());
    }
    let at = read_moment(fields.trimmed("consent_date"), web.lab.clock.now());
    view.consent_date.error = match at {
        Ok(_) => None,
        Err(WrongMoment::ToCome) => Some("This day is still to come.".to_owned()),
        Err(WrongMoment::Unreadable) => Some("Write the day as 2026-03-31.".to_owned()),
    };
    Some(Consent { mode: mode?, source: source.to_owned(), at: at.ok()? })
}

fn report_view(user: &User, file: &str, list: &str, seconds: f64, report: &ImportReport) -> ImportReportView {
    let hidden = report.refused.saturating_sub(report.refusals.len().min(SHOWN) as u64);
    let mut notes = Vec::new();
    if report.needing_smtputf8 > 0 {
        let people = counted(report.needing_smtputf8, "address has", "addresses have");
        notes.push(format!("{people} letters beyond ASCII before the @ and need a relay with SMTPUTF8."));
    }
    if !report.dropped_columns.is_empty() {
        notes.push(format!("Left out, because not needed or personal: {}.", report.dropped_columns.join(", ")));
    }
    ImportReportView {
        page: user.page("Import report", Section::People),
        file: if file.is_empty() { "The file".to_owned() } else { file.to_owned() },
        list: Link { url: list_url(list), text: list.to_owned() },
        took: if seconds < 90.0 { format!("{seconds:.1} seconds") } else { format!("{:.1} minutes", seconds / 60.0) },
        lines: count(report.lines),
        added: count(report.added),
        updated: count(report.updated),
        unchanged: count(report.unchanged),
        repeated: count(report.repeated),
        refused: count(report.refused),
        adds_up: report.adds_up(),
        notes,
        refusals: report
            .refusals
            .iter()
            .take(SHOWN)
            .map(|refusal| RefusedLine { line: count(refusal.line), reason: refusal.why.clone() })
            .collect(),
        more_refusals: if hidden > 0 { format!("{} more, not shown.", count(hidden)) } else { String::new() },
    }
}
