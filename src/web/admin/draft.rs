//! Writing campaigns: the form, a file, and changing a draft. All go through the same reader and are judged alike.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template as _;

use super::campaign::find;
use super::campaign_text::CampaignText;
use super::draft_form::{self, Typed, lines};
use super::draft_letters;
use crate::app::campaigns::{self, CampaignError};
use crate::app::letters::{self, Compared};
use crate::campaign::file::{Problem, template};
use crate::campaign::state::State;
use crate::campaign::store::Campaign;
use crate::ids::CampaignNumber;
use crate::vault::store;
use crate::web::error::Fault;
use crate::web::form::{Fields, PostForm, UploadForm};
use crate::web::session::User;
use crate::web::view::campaign_form::{NewCampaignView, elements};
use crate::web::view::comparison::ComparisonView;
use crate::web::view::format::counted;
use crate::web::view::{Field, Section};
use crate::web::{Web, page, see_other};

/// `GET /campaigns/new`; with `by=letters` the variants bring whole letters.
pub async fn new(web: web::Data<Web>, user: User, request: HttpRequest) -> Result<HttpResponse, Fault> {
    let mut view = empty(&web, &user, None).await?;
    if Fields::parse(request.query_string())?.get("by") == draft_letters::WHOLE {
        view.element = elements(draft_letters::WHOLE);
    }
    view.toml = Field::new(template());
    page(&view)
}

/// The form without values; `number` is the draft it changes, if any.
pub async fn empty(web: &Web, user: &User, number: Option<CampaignNumber>) -> Result<NewCampaignView, Fault> {
    let lists = web.run(|lab| lab.vault.read(store::lists)).await?;
    let options: Vec<(String, String)> = lists
        .into_iter()
        .map(|list| (list.name.clone(), format!("{} ({})", list.name, counted(list.people, "person", "people"))))
        .collect();
    let title = if number.is_some() { "Change the draft" } else { "New campaign" };
    let mut view = NewCampaignView::empty(user.page(title, Section::Campaigns), &options);
    view.title = title.to_owned();
    view.rewrite_url = number.map_or_else(String::new, |number| format!("?draft={number}"));
    view.compare_url = format!("/campaigns/letter/compare{}", view.rewrite_url);
    view.rewrite_url.insert_str(0, "/campaigns/letter/rewrite");
    (view.form_url, view.file_url, view.back_url) = match number {
        None => ("/campaigns/new".to_owned(), "/campaigns/upload".to_owned(), "/campaigns".to_owned()),
        Some(number) => {
            let url = format!("/campaigns/{number}");
            (format!("{url}/edit"), format!("{url}/edit-file"), url)
        }
    };
    Ok(view)
}

/// A campaign sent from a browser has no files beside it.
pub fn no_files(_: &str) -> Result<String, String> {
    Err("a campaign sent from here has no files beside it; put the letter into text = \"\"\"…\"\"\"".to_owned())
}

/// Stores a text as a new draft, or in place of one.
async fn store_text(web: &Web, number: Option<CampaignNumber>, text: String) -> Result<Result<CampaignNumber, Vec<Problem>>, Fault> {
    let stored = web.run(move |lab| {
        let stored = match number {
            None => campaigns::draft(lab, &text, &no_files),
            Some(number) => campaigns::redraft(lab, number, &text, &no_files).map(|()| number),
        };
        match stored {
            Ok(number) => Ok(Ok(number)),
            Err(CampaignError::Problems(problems)) => Ok(Err(problems)),
            Err(error @ CampaignError::NameTaken(_)) => Ok(Err(vec![Problem::of("name", error)])),
            Err(other) => Err(Fault::from(other)),
        }
    });
    stored.await
}

/// Whether a text could be stored, without storing it: for forms that have complaints of their own already.
async fn judge_text(web: &Web, text: String) -> Result<Vec<Problem>, Fault> {
    web.run(move |lab| campaigns::check(lab, &text, &no_files).map(|(_, problems)| problems)).await
}

/// The whole letters of a form, compared; none where variants have values, or a letter is still to come.
pub async fn compared(web: &Web, typed: &Typed) -> Result<Option<Result<Compared, String>>, Fault> {
    let all_there = typed.text.variants.iter().skip(1).all(|variant| variant.letter.is_some());
    if !typed.is_whole || !all_there {
        return Ok(None);
    }
    let letters = draft_letters::newsletters(&typed.text);
    let names = typed.names();
    web.run(move |_| Ok::<_, Fault>(Some(letters::compare(&letters, &names)))).await
}

async fn take_form(web: &Web, mut form: PostForm, before: Option<&Campaign>) -> Result<HttpResponse, Fault> {
    let number = before.map(|campaign| campaign.number);
    let unreadable = draft_letters::take_files(&mut form.fields);
    let mut typed = draft_form::read(&form.fields, before.map(|campaign| &campaign.definition));
    typed.problems.extend(unreadable);
    let problems = if typed.problems.is_empty() {
        match store_text(web, number, typed.text.write()).await? {
            Ok(stored) => return Ok(stored_page(stored, number)),
            Err(problems) => problems,
        }
    } else {
        let mut problems = typed.problems.clone();
        let known: Vec<String> = problems.iter().map(|problem| problem.key.clone()).collect();
        problems.extend(judge_text(web, typed.text.write()).await?.into_iter().filter(|problem| !known.contains(&problem.key)));
        problems
    };
    let mut view = empty(web, &form.user, number).await?;
    draft_form::refill(&mut view, &form.fields);
    let compared = compared(web, &typed).await?.and_then(Result::ok);
    draft_form::place(&mut view, &typed, &draft_letters::in_short(problems, compared.as_ref()));
    view.comparison = compared.map(|compared| ComparisonView::new(&compared, &typed.names()));
    refused(&view)
}

fn stored_page(stored: CampaignNumber, before: Option<CampaignNumber>) -> HttpResponse {
    let word = if before.is_some() { "changed" } else { "drafted" };
    see_other(&format!("/campaigns/{stored}?done={word}"))
}

fn refused(view: &NewCampaignView) -> Result<HttpResponse, Fault> {
    Ok(HttpResponse::build(StatusCode::UNPROCESSABLE_ENTITY).content_type("text/html; charset=utf-8").body(view.render()?))
}

async fn take_file(web: &Web, form: UploadForm, number: Option<CampaignNumber>) -> Result<HttpResponse, Fault> {
    let UploadForm { user, fields, file } = form;
    let text = match &file {
        Some((_, upload)) if upload.bytes > 0 => upload.text()?,
        _ => lines(fields.get("toml")),
    };
    let problems = match store_text(web, number, text.clone()).await? {
        Ok(stored) => return Ok(stored_page(stored, number)),
        Err(problems) => problems,
    };
    let mut view = empty(web, &user, number).await?;
    if let Some(number) = number {
        draft_form::fill(&mut view, &find(web, &number.to_string()).await?.definition);
    } else {
        draft_form::refill(&mut view, &Fields::default());
    }
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    view.toml = Field { value: text, error: Some(told.join(" · ")) };
    refused(&view)
}

/// `POST /campaigns/new`
pub async fn create(web: web::Data<Web>, form: PostForm) -> Result<HttpResponse, Fault> {
    take_form(&web, form, None).await
}

/// `POST /campaigns/upload`, with `toml_file` or `toml`.
pub async fn upload(web: web::Data<Web>, form: UploadForm) -> Result<HttpResponse, Fault> {
    take_file(&web, form, None).await
}

/// `GET /campaigns/{number}/edit`
pub async fn edit(web: web::Data<Web>, user: User, number: web::Path<String>) -> Result<HttpResponse, Fault> {
    let campaign = find(&web, &number).await?;
    if campaign.state != State::Draft {
        return Err(Fault::Conflict("The campaign is sealed: letter and plan cannot be changed any more.".to_owned()));
    }
    let mut view = empty(&web, &user, Some(campaign.number)).await?;
    draft_form::fill(&mut view, &campaign.definition);
    page(&view)
}

/// `POST /campaigns/{number}/edit`
pub async fn change(web: web::Data<Web>, number: web::Path<String>, form: PostForm) -> Result<HttpResponse, Fault> {
    let campaign = find(&web, &number).await?;
    take_form(&web, form, Some(&campaign)).await
}

/// `POST /campaigns/{number}/edit-file`, with `toml_file` or `toml`.
pub async fn change_by_file(web: web::Data<Web>, number: web::Path<String>, form: UploadForm) -> Result<HttpResponse, Fault> {
    let campaign = find(&web, &number).await?;
    take_file(&web, form, Some(campaign.number)).await
}

/// `GET /campaigns/{number}/campaign.toml`
pub async fn file(web: web::Data<Web>, _user: User, number: web::Path<String>) -> Result<HttpResponse, Fault> {
    let campaign = find(&web, &number).await?;
    let name = format!("attachment; filename=\"{}.toml\"", campaign.definition.name);
    Ok(HttpResponse::Ok()
        .content_type("application/toml; charset=utf-8")
        .insert_header((header::CONTENT_DISPOSITION, name))
        .body(CampaignText::of(&campaign.definition).write()))
}
